"""Training: random vertex subsets of on-the-fly pairs, resumable to the bit on CPU.

How it departs from the published recipe (Adam 5e-5, batch 4, 400 epochs, whole meshes), and why:

* Each step shows the network a random subset of vertices, drawn apart for pose and identity. The
  networks are point-wise with statistics over points, so they carry over to whole meshes, and a
  step costs a fraction. Subsets have no faces, so the edge term is left out.
* Matrices are trained with Muon (momentum, orthogonalised), everything else with Adam. At equal
  time on one CPU thread, NPT reached 19e-4 after 150 s where Adam alone reached 68e-4.

``points=None`` trains on whole meshes with the edge term, as published.

The steps may end with an adversarial part, see ``posebench.benchmark.adversarial``. Each part has
a rate schedule of its own, so the clean part of an adversarial run is a clean run.
"""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from posebench.benchmark.adversarial import Adversarial, attack_rows, fgm_and_pgd
from posebench.benchmark.anny import training_meshes
from posebench.benchmark.body import body_fingerprint, load_body
from posebench.benchmark.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from posebench.benchmark.distributed import (
    average_gradients,
    average_over_ranks,
    rank_and_world,
    wait_for_all,
)
from posebench.benchmark.metrics import edge_loss
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, Budget
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Float, Int
from posebench.victims import SIZES, VICTIMS, PoseTransferNetwork

TRIAL_STEPS = 8
"""A quarter of the steps whose time a budget is planned by."""

WATCH_EVERY = 5
"""Reports between two looks at FGM against PGD; a look costs about seven training steps."""

EDGE_WEIGHT = 0.0005
"""Weight of the edge term on whole meshes (released code)."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights a training run ends with.

    Attributes:
        victim, size: registry names.
        steps: optimiser steps; the learning rate decays to zero over them (half a cosine).
        batch: pairs per step.
        points: vertices of identity and target a step sees; None for whole meshes.
        pose_points: vertices of the pose source, for victims with free point counts.
        matrix_rate, rate: learning rates of Muon (matrices) and Adam (the rest).
        warmup: steps over which the rates rise from zero.
        bf16: run the forward under bfloat16 autocast.
        seed: of initial weights and all sampling.
        adversarial: what the last part of the steps trains on; None for clean training.
        start: sha256 of the clean weights that take the place of the clean part; None to train it.
    """

    victim: str
    size: str = "compact"
    steps: int = 40_000
    batch: int = 8
    points: int | None = 256
    pose_points: int | None = 256
    matrix_rate: float = 0.01
    rate: float = 0.001
    warmup: int = 200
    bf16: bool = True
    seed: int = 0
    adversarial: Adversarial | None = None
    start: str | None = None

    @property
    def clean_steps(self) -> int:
        """Steps before the adversarial part."""
        if self.adversarial is None:
            return self.steps
        return round(self.steps * self.adversarial.after)

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise unknown("size", self.size, SIZES)
        limit = SIZES[self.size].vertices
        for name in ("points", "pose_points"):
            value = getattr(self, name)
            if value is not None and not 2 <= value <= limit:
                raise InputError(f"{name} must be 2..{limit}, got {value}")
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("matrix_rate", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be a positive number, got {getattr(self, name)}")
        if self.warmup < 0:
            raise InputError(f"warmup must be 0 or more, got {self.warmup}")
        if (self.points is None) != (self.pose_points is None):
            raise InputError("points and pose_points must both be numbers or both be left out")
        if self.start is not None and self.adversarial is None:
            raise InputError("start needs an adversarial part that goes on from there")
        if VICTIMS[self.victim].spec.point_counts == "equal" and self.points != self.pose_points:
            raise InputError(f"{self.victim} needs equally many pose_points and points")


DEFAULT_RECIPES = {
    "npt": Recipe("npt", steps=32_000),
    "npt-mp": Recipe("npt-mp", steps=24_000, pose_points=768),
    "gct": Recipe("gct", steps=22_000),
    "gct-mp": Recipe("gct-mp", steps=28_000, pose_points=768),
    "posemae": Recipe("posemae", steps=28_000, pose_points=768),
}
"""What ``posebench train`` runs unless told otherwise; the shipped weights name their own."""


@dataclass(frozen=True)
class Progress:
    """What a training run reports now and then; means since the last report.

    Attributes:
        step: optimiser steps done.
        loss: training loss, square metres.
        attacked_loss: mean squared error on the attacked rows, after SOR; 0 without any.
        removed: share of attacked points that SOR removed.
        fgm, pgd: mean squared error under both on 16 fixed training pairs, None when not taken.
        samples_per_second: since the run, or its resumption, began.
        data_share: of the wall time spent on drawing pairs. On an accelerator work overlaps, so
            this is the share of the launching thread.
        peak_memory: bytes; of the device if it counts them, else of the process.
    """

    step: int
    loss: float
    attacked_loss: float
    removed: float
    samples_per_second: float
    data_share: float
    peak_memory: int
    fgm: float | None = None
    pgd: float | None = None


@dataclass(frozen=True)
class Trained:
    """What a training run ends with.

    Attributes:
        network: in eval mode.
        step: steps done; fewer than the recipe's if a deadline came first.
        curve: (step, mean training loss since the last entry), about 100 entries.
    """

    network: PoseTransferNetwork
    step: int
    curve: tuple[tuple[int, float], ...]


def train(
    recipe: Recipe,
    folder: Path,
    *,
    start: PoseTransferNetwork | None = None,
    device: str = "cpu",
    compile_network: bool = False,
    report: Callable[[Progress], None] | None = None,
    checkpoint_seconds: float = 60.0,
    deadline: float = math.inf,
) -> Trained:
    """Train, or go on from the checkpoint in ``folder``.

    The folder's checkpoint is replaced atomically every ``checkpoint_seconds``, at the end, and
    when ``deadline`` (of ``time.monotonic``) has passed, which ends the run. ``start`` is the
    network of ``recipe.start`` and takes the place of the clean part.

    Raises:
        InputError: if the folder holds a checkpoint of another recipe or of other data, or the
            loss stops being finite (the last good checkpoint stays).
    """
    rank, world = rank_and_world()
    if recipe.batch % world:
        raise InputError(f"batch {recipe.batch} cannot be dealt to {world} processes evenly")
    network = (start or initial_network(recipe)).to(device).train()
    network.compiled = torch.compile(network.transfer) if compile_network else None
    optimisers = make_optimisers(network, recipe)
    generator = part_generator(recipe, "training", device)
    identity_card = {"recipe": asdict(recipe), "data": body_fingerprint()}
    state = load_checkpoint(folder, identity_card, network, optimisers, generator)
    step = recipe.clean_steps if start is not None else 0
    curve: list[tuple[int, float]] = []
    if state is not None:
        step, curve = state.step, list(state.curve)
    body = load_body(SIZES[recipe.size].vertices, device=device)
    meshes = training_meshes(body)  # 16 x 400 meshes of 1,700 vertices are 130 MB
    pairs = training_pairs(recipe, meshes, body.faces, generator)
    watched_pairs = pairs_to_watch(recipe, meshes, body.faces)
    every = max(1, recipe.steps // 100)
    sums = torch.zeros(3, device=device)
    first = last = step
    started = saved = time.monotonic()
    drawing = 0.0
    over = False
    while step < recipe.steps and not over:
        if step == recipe.clean_steps:
            # A part of its own: neither momentum nor random numbers of the clean part go on, so
            # that a run that starts from clean weights is the second part of a whole run.
            for old, new in zip(optimisers, make_optimisers(network, recipe), strict=True):
                old.load_state_dict(new.state_dict())
            generator.set_state(part_generator(recipe, "adversarial", device).get_state())
        set_rates(optimisers, recipe, step)
        before = time.monotonic()
        pose, identity, target, faces = next(pairs)
        rows = slice(rank, None, world)
        pose, identity, target = pose[rows], identity[rows], target[rows]
        faces = None if faces is None else faces[rows]
        drawing += time.monotonic() - before
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.bf16):
            clean, removed = len(pose), sums.new_zeros(())
            if recipe.adversarial is not None and step >= recipe.clean_steps:
                done = (step - recipe.clean_steps) / (recipe.steps - recipe.clean_steps)
                clean, pose, removed = attack_rows(
                    network,
                    recipe.adversarial,
                    pose,
                    identity,
                    target,
                    ids=step * recipe.batch + torch.arange(recipe.batch)[rank::world],
                    attack=recipe.adversarial.made(done, step),
                    seed=recipe.seed,
                    generator=generator,
                )
            transfer = network.compiled or network.transfer
            output = transfer(pose, identity, generator=generator).float()
        errors = (output - target).square().mean(dim=(1, 2))
        loss = errors.mean()
        if faces is not None:
            loss = loss + EDGE_WEIGHT * edge_loss(output, identity, faces)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        average_gradients(network)
        for optimiser in optimisers:
            optimiser.step()
        attacked = errors.detach()[clean:]
        sums += torch.stack(
            [loss.detach(), attacked.mean() if len(attacked) else attacked.sum(), removed]
        )
        step += 1
        if step % every and step not in (recipe.clean_steps, recipe.steps):
            continue
        late = sums.new_tensor(float(time.monotonic() > deadline))
        average_over_ranks([sums, late])
        means, over = (sums / (step - last)).tolist(), bool(late > 0)
        if not math.isfinite(means[0]):
            raise InputError(
                f"training loss became {means[0]} before step {step}; the last good checkpoint "
                f"is in {folder}: try a smaller rate or eps, or bf16 off"
            )
        curve.append((step, means[0]))
        sums, last = torch.zeros_like(sums), step
        now = time.monotonic()
        if report is not None and rank == 0:
            turn = step // every % WATCH_EVERY == 0 or step in (recipe.clean_steps, recipe.steps)
            watched: tuple[float | None, float | None] = (None, None)
            if recipe.adversarial is not None and step >= recipe.clean_steps and turn:
                watched = fgm_and_pgd(network, Budget(recipe.adversarial.eps), watched_pairs)
            report(
                Progress(
                    step=step,
                    loss=means[0],
                    attacked_loss=means[1],
                    removed=means[2],
                    samples_per_second=(step - first) * recipe.batch / max(now - started, 1e-9),
                    data_share=drawing / max(now - started, 1e-9),
                    peak_memory=peak_memory(device),
                    fgm=watched[0],
                    pgd=watched[1],
                )
            )
        # Only between curve entries, so that a resumed run sums the same losses.
        if now - saved > checkpoint_seconds or step == recipe.steps or over:
            if rank == 0:
                header = Checkpoint(identity_card, step, tuple(curve))
                save_checkpoint(folder, header, network, optimisers, generator)
            saved = now
    wait_for_all()
    network.compiled = None
    return Trained(network.eval(), step, tuple(curve))


def seconds_per_step(recipe: Recipe, device: str, *, compiled: bool) -> float:
    """Measured wall time of one step, averaged over the parts of the run.

    On throw-away weights; each part is warmed up first.
    """
    lengths = {"clean": recipe.clean_steps if recipe.start is None else 0}
    lengths["adversarial"] = recipe.steps - recipe.clean_steps
    seconds = 0.0
    for part, length in lengths.items():
        if not length:
            continue
        trial = replace(recipe, steps=4 * TRIAL_STEPS, start=None)
        if part == "clean":
            trial = replace(trial, adversarial=None)
        elif recipe.adversarial is not None:
            trial = replace(trial, adversarial=replace(recipe.adversarial, after=0.0))
        with tempfile.TemporaryDirectory() as folder:
            stamps: list[float] = []
            train(
                trial,
                Path(folder),
                device=device,
                compile_network=compiled,
                report=lambda progress, stamps=stamps: stamps.append(time.monotonic()),  # type: ignore[misc]
                checkpoint_seconds=math.inf,
            )
        half = stamps[len(stamps) // 2 :]
        seconds += length * (half[-1] - half[0]) / (len(half) - 1)
    return seconds / sum(lengths.values())


def part_generator(recipe: Recipe, part: str, device: str) -> Generator:
    """The random numbers of one part of the run."""
    return generator_for(recipe.seed, part, recipe.victim, device=device)


def peak_memory(device: str) -> int:
    """Most bytes in use so far: the device's where it counts them, else the process's."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def initial_network(recipe: Recipe) -> PoseTransferNetwork:
    """Freshly initialised weights that depend on the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        # The one place that touches the global generator: nn.Module constructors know no other.
        torch.manual_seed(recipe.seed)  # noqa: TID251
        return VICTIMS[recipe.victim](SIZES[recipe.size].width)


def make_optimisers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for matrices, Adam for the rest: biases, scalars, xyz layers and attention.

    Attention is left to Adam because Muon's steps have a fixed size: queries and keys grew until
    the unscaled softmax saturated, and the loss fell back to the mean mesh's.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        large = parameter.ndim == 2 and min(parameter.shape) > 3
        (matrices if large and "attention" not in name else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.0),
        torch.optim.Adam(others, lr=recipe.rate, fused=True),
    ]


def set_rates(optimisers: list[torch.optim.Optimizer], recipe: Recipe, step: int) -> None:
    """Linear warm-up times half a cosine down to zero, in each part anew."""
    peak, first, last = 1.0, 0, recipe.clean_steps
    if recipe.adversarial is not None and step >= recipe.clean_steps:
        peak, first, last = recipe.adversarial.rate_share, recipe.clean_steps, recipe.steps
    factor = min(1.0, (step - first + 1) / recipe.warmup) if recipe.warmup else 1.0
    factor *= peak * 0.5 * (1 + math.cos(math.pi * (step - first) / (last - first)))
    for optimiser, rate in zip(optimisers, (recipe.matrix_rate, recipe.rate), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * factor


def training_pairs(
    recipe: Recipe,
    meshes: Float[Tensor, "identities poses v 3"],
    faces: Int[Tensor, "f 3"],
    generator: Generator,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """Endless (pose, identity, target, faces) batches drawn on the meshes' device.

    Vertex subsets are drawn with replacement (our choice: no sort, no host sync) and have no
    faces.
    """
    identities, poses, vertices = meshes.shape[:3]
    device = meshes.device

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator, device=device)

    while True:
        b = recipe.batch
        who, giver, rest, pose = (
            draw(identities, b, 1),
            draw(identities, b, 1),
            draw(poses, b, 1),
            draw(poses, b, 1),
        )
        ordered = None
        if recipe.points is None or recipe.pose_points is None:
            keys = torch.rand((2, b, vertices), generator=generator, device=device)
            of_pose, of_identity = keys.argsort(dim=2)
            ordered = of_identity.argsort(dim=1)[:, faces]
        else:
            of_pose = draw(vertices, b, recipe.pose_points)
            of_identity = draw(vertices, b, recipe.points)
        yield (
            meshes[giver, pose, of_pose],
            meshes[who, rest, of_identity],
            meshes[who, pose, of_identity],
            ordered,
        )


def pairs_to_watch(recipe: Recipe, meshes: Tensor, faces: Tensor) -> Batch:
    """16 training pairs that the run is watched on, the same all along."""
    generator = part_generator(recipe, "watch", str(meshes.device))
    pairs = training_pairs(replace(recipe, batch=16), meshes, faces, generator)
    pose, identity, target, _ = next(pairs)
    return Batch(
        Clouds.dense(pose),
        Clouds.dense(identity),
        Clouds.dense(target),
        torch.zeros((16, 1, 3), dtype=torch.int64, device=meshes.device),
        torch.arange(16),
    )
