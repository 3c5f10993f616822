"""Training: random vertex subsets of on-the-fly pairs, resumable to the bit on CPU.

How it departs from the published recipe (Adam 5e-5, batch 4, 400 epochs, whole meshes), and why:

* Each step shows the network a random subset of vertices, drawn apart for pose and identity. The
  networks are point-wise with statistics over points, so they carry over to whole meshes, and a
  step costs a fraction. Subsets have no faces, so the edge term is left out.
* Matrices are trained with Muon (momentum, orthogonalised), everything else with Adam. At equal
  time on one CPU thread, NPT reached 19e-4 after 150 s where Adam alone reached 68e-4.

``points=None`` trains on whole meshes with the edge term, as published.

The steps may end with an adversarial part, see ``benchmark.training.adversarial``. Each part has
a rate schedule of its own, so the clean part of an adversarial run is a clean run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from posebench.benchmark.evaluation.memory import start_peak
from posebench.benchmark.training.averaging import DECAY, WeightAverage
from posebench.benchmark.training.checkpoint import load_checkpoint
from posebench.benchmark.training.distributed import rank_and_world, wait_for_all
from posebench.benchmark.training.optimisers import make_optimisers
from posebench.benchmark.training.pairs import part_generator
from posebench.benchmark.training.progress import Progress, Reporter
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.session import Session
from posebench.benchmark.training.state import HowToTrain, State
from posebench.benchmark.training.streams import pair_source, pairs_to_watch
from posebench.errors import InputError
from posebench.victims import SIZES, VICTIMS, PoseTransferNetwork

Deferred = Callable[[], AbstractContextManager[Callable[[], bool]]]
"""A context in which a wish to stop is kept, and the question whether there is one."""


@contextmanager
def undisturbed() -> Iterator[Callable[[], bool]]:
    """Nobody asks to stop."""
    yield lambda: False


@dataclass(frozen=True)
class Trained:
    """What a training run ends with.

    Attributes:
        network: in eval mode, with the average of its weights.
        recipe: with the lengths that a time budget has chosen.
        step: steps done; fewer than the recipe's if a deadline came first.
        curve: (step, mean training loss since the last entry), about 100 entries.
        seconds: spent on training steps.
    """

    network: PoseTransferNetwork
    recipe: Recipe
    step: int
    curve: tuple[tuple[int, float], ...]
    seconds: float


def train(
    recipe: Recipe,
    folder: Path,
    *,
    start: PoseTransferNetwork | None = None,
    how: HowToTrain | None = None,
    report: Callable[[Progress], None] | None = None,
    checkpoint_seconds: float = 60.0,
    deadline: float = math.inf,
    deferred: Deferred = undisturbed,
) -> Trained:
    """Train, or go on from the checkpoint in ``folder``.

    The folder's checkpoint is replaced atomically every ``checkpoint_seconds``, at the end, when
    ``deferred`` says that somebody wants to stop, and when ``deadline`` (of ``time.monotonic``)
    has passed. A finite deadline chooses the number of steps, see ``time_budget``. ``start`` is
    the network of ``recipe.start``. A victim without weights
    is trained after 0 steps.

    Raises:
        InputError: if the folder holds a checkpoint of another recipe or of other data, or the
            loss stops being finite (the last good checkpoint stays).
        session.Interrupted: after saving, if somebody wanted to stop.
    """
    how = how or HowToTrain()
    rank, world = rank_and_world()
    if not list((network := start or initial_network(recipe)).parameters()):
        return Trained(network.to(how.device).eval(), recipe, 0, (), 0.0)
    if recipe.batch % world:
        raise InputError(f"batch {recipe.batch} cannot be dealt to {world} processes evenly")
    start_peak(how.device)
    state = begin(recipe, start, how)
    resumed = load_checkpoint(folder, state, paced=deadline < math.inf)
    source = pair_source(recipe, how.device)
    pairs = source(recipe, state.generator)
    reporter = None
    if report is not None and rank == 0:
        watched = pairs_to_watch(recipe, source, how.device)
        reporter = Reporter(state, report, watched, how.device)
    session = Session(state, folder, how.device, pairs, reporter, saved=resumed)
    session.limit(deadline, checkpoint_seconds)
    with deferred() as asked:
        session.run(asked)
    wait_for_all()
    state.network.compiled = None
    state.take_average()
    curve = tuple(state.curve)
    return Trained(state.network.eval(), state.recipe, state.step, curve, state.seconds)


def begin(recipe: Recipe, start: PoseTransferNetwork | None, how: HowToTrain) -> State:
    """The state before the first step.

    Raises:
        InputError: if the victim cannot recompute and is to.
    """
    network = (start or initial_network(recipe)).to(how.device).train()
    if how.recompute:
        if not network.can_recompute:
            having = ", ".join(n for n, each in VICTIMS.working().items() if each.can_recompute)
            raise InputError(f"{recipe.victim} has no gradient checkpointing; {having} have")
        network.recompute = True
    network.compiled = torch.compile(network.transfer) if how.compiled else None
    return State(
        recipe,
        network,
        WeightAverage(network, DECAY if recipe.average is None else recipe.average),
        make_optimisers(network, recipe),
        part_generator(recipe, "training", how.device),
        first=recipe.first,
        step=recipe.first,
        sums=torch.zeros(3, device=how.device),
    )


def initial_network(recipe: Recipe) -> PoseTransferNetwork:
    """Freshly initialised weights that depend on the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        # The one place that touches the global generator: nn.Module constructors know no other.
        torch.manual_seed(recipe.seed)  # noqa: TID251
        return VICTIMS[recipe.victim](SIZES[recipe.size].width, **recipe.network)
