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
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from posebench.benchmark.data.anny import training_meshes
from posebench.benchmark.data.body import body_fingerprint, load_body
from posebench.benchmark.evaluation.metrics import edge_loss
from posebench.benchmark.training.adversarial import attack_rows, fgm_and_pgd
from posebench.benchmark.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from posebench.benchmark.training.distributed import (
    average_gradients,
    average_over_ranks,
    rank_and_world,
    wait_for_all,
)
from posebench.benchmark.training.pairs import Pairs, pairs_to_watch, part_generator, training_pairs
from posebench.benchmark.training.recipe import Recipe
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.shapes import Float
from posebench.victims import SIZES, VICTIMS, GCTransformer, PoseTransferNetwork

WATCH_EVERY = 5
"""Reports between two looks at FGM against PGD; a look costs about seven training steps."""

EDGE_WEIGHT = 0.0005
"""Weight of the edge term on whole meshes (released code)."""


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
    recompute: bool = False,
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
    if recompute:
        if not isinstance(network, GCTransformer):
            raise InputError(f"{recipe.victim} has no gradient checkpointing; gct has")
        network.recompute = True
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
    watched = pairs_to_watch(recipe, meshes, body.faces)
    every = max(1, recipe.steps // 100)
    sums = torch.zeros(3, device=device)
    first = last = step
    started = saved = time.monotonic()
    drawing, over, saved_once = 0.0, False, state is not None
    while step < recipe.steps and not over:
        if step == recipe.clean_steps:
            # A part of its own: neither momentum nor random numbers of the clean part go on, so
            # that a run that starts from clean weights is the second part of a whole run.
            for old, new in zip(optimisers, make_optimisers(network, recipe), strict=True):
                old.load_state_dict(new.state_dict())
            generator.set_state(part_generator(recipe, "adversarial", device).get_state())
        set_rates(optimisers, recipe, step)
        before = time.monotonic()
        drawn = next(pairs)
        drawing += time.monotonic() - before
        sums += training_step(network, optimisers, recipe, step, drawn, generator)
        step += 1
        if step % every and step not in (recipe.clean_steps, recipe.steps):
            continue
        late = sums.new_tensor(float(time.monotonic() > deadline))
        average_over_ranks([sums, late])
        means, over = (sums / (step - last)).tolist(), bool(late > 0)
        whole = all(bool(parameter.isfinite().all()) for parameter in network.parameters())
        if not (math.isfinite(means[0]) and whole):
            kept = f"the last good checkpoint is in {folder}" if saved_once else "none was saved"
            raise InputError(
                f"training loss became {means[0]} before step {step}; {kept}: try a smaller rate "
                "or eps, or bf16 off"
            )
        curve.append((step, means[0]))
        sums, last = torch.zeros_like(sums), step
        now = time.monotonic()
        if report is not None and rank == 0:
            turn = step // every % WATCH_EVERY == 0 or step in (recipe.clean_steps, recipe.steps)
            fgm, pgd = None, None
            if recipe.adversarial is not None and step >= recipe.clean_steps and turn:
                fgm, pgd = fgm_and_pgd(network, Budget(recipe.adversarial.eps), watched)
                if not math.isfinite(fgm + pgd):
                    raise InputError(
                        f"loss under FGM {fgm}, under PGD {pgd} at step {step}: try an eps below "
                        f"{recipe.adversarial.eps:g}"
                    )
            report(
                Progress(
                    step=step,
                    loss=means[0],
                    attacked_loss=means[1],
                    removed=means[2],
                    samples_per_second=(step - first) * recipe.batch / max(now - started, 1e-9),
                    data_share=drawing / max(now - started, 1e-9),
                    peak_memory=peak_memory(device),
                    fgm=fgm,
                    pgd=pgd,
                )
            )
        # Only between curve entries, so that a resumed run sums the same losses.
        if now - saved > checkpoint_seconds or step == recipe.steps or over:
            if rank == 0:
                header = Checkpoint(identity_card, step, tuple(curve))
                save_checkpoint(folder, header, network, optimisers, generator)
            saved, saved_once = now, True
    wait_for_all()
    network.compiled = None
    return Trained(network.eval(), step, tuple(curve))


def training_step(
    network: PoseTransferNetwork,
    optimisers: list[torch.optim.Optimizer],
    recipe: Recipe,
    step: int,
    drawn: Pairs,
    generator: Generator,
) -> Float[Tensor, "3"]:
    """One optimiser step on this process's rows; (loss, error on attacked rows, share removed).

    Nothing here waits for the device.
    """
    rank, world = rank_and_world()
    rows = slice(rank, None, world)
    pose, identity, target = (each[rows] for each in drawn[:3])
    faces = None if drawn[3] is None else drawn[3][rows]
    clean, removed = len(pose), pose.new_zeros(())
    with torch.autocast(pose.device.type, torch.bfloat16, enabled=recipe.bf16):
        if recipe.adversarial is not None and step >= recipe.clean_steps:
            done = (step - recipe.clean_steps) / (recipe.steps - recipe.clean_steps)
            clean, pose, removed = attack_rows(
                network,
                recipe.adversarial,
                pose,
                identity,
                target,
                ids=step * recipe.batch + torch.arange(recipe.batch)[rows],
                attack=recipe.adversarial.made(done, step),
                seed=recipe.seed,
                generator=generator,
            )
        output = network.transferred(pose, identity, generator=generator).float()
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
    error = attacked.mean() if len(attacked) else attacked.sum()
    return torch.stack([loss.detach(), error, removed])


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
        return VICTIMS[recipe.victim](SIZES[recipe.size].width, **recipe.network)


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
