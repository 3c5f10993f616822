"""One training step: attack where the recipe says so, loss, gradients, optimisers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from posebench.benchmark.evaluation.metrics import edge_loss
from posebench.benchmark.training.adversarial import attack_rows
from posebench.benchmark.training.awp import raised_weights
from posebench.benchmark.training.distributed import average_gradients, rank_and_world
from posebench.benchmark.training.pairs import Pairs
from posebench.benchmark.training.recipe import Recipe
from posebench.shapes import Float
from posebench.victims import PoseTransferNetwork

EDGE_WEIGHT = 0.0005
"""Weight of the edge term on whole meshes (released code)."""


@dataclass(frozen=True)
class Rows:
    """What a step's loss is of.

    Attributes:
        shown: pose sources, attacked ones last.
        identity, target: of every row.
        faces: of whole meshes, for the edge term; None for subsets.
        calm: the clean poses of the attacked rows, where the loss compares with their outputs.
    """

    shown: Float[Tensor, "b m 3"]
    identity: Float[Tensor, "b n 3"]
    target: Float[Tensor, "b n 3"]
    faces: Tensor | None
    calm: Float[Tensor, "k m 3"] | None = None


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
    mine = slice(rank, None, world)
    pose, identity, target = (each[mine] for each in drawn[:3])
    rows = Rows(pose, identity, target, None if drawn[3] is None else drawn[3][mine])
    clean, removed = len(pose), pose.new_zeros(())
    part = recipe.adversarial if step >= recipe.clean_steps else None
    if part is not None:
        done = (step - recipe.clean_steps) / (recipe.steps - recipe.clean_steps)
        with torch.autocast(pose.device.type, torch.bfloat16, enabled=recipe.bf16):
            clean, shown, removed = attack_rows(
                network,
                part,
                (pose, identity, target),
                ids=step * recipe.batch + torch.arange(recipe.batch)[mine],
                attack=part.made(done, step),
                seed=recipe.seed,
                generator=generator,
            )
        compared = part.consistency is not None and clean < len(pose)
        rows = replace(rows, shown=shown, calm=pose[clean:] if compared else None)

    def descend() -> tuple[Tensor, Tensor]:
        """Loss and errors at the present weights; their gradients, over all processes."""
        loss, errors = batch_loss(network, recipe, rows, generator)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        average_gradients(network)
        return loss.detach(), errors.detach()

    loss, errors = descend()
    if part is not None and part.awp is not None:
        with raised_weights(network, part.awp):
            descend()
    for optimiser in optimisers:
        optimiser.step()
    attacked = errors[clean:]
    error = attacked.mean() if len(attacked) else attacked.sum()
    return torch.stack([loss, error, removed])


def batch_loss(
    network: PoseTransferNetwork, recipe: Recipe, rows: Rows, generator: Generator
) -> tuple[Float[Tensor, ""], Float[Tensor, "b"]]:
    """The loss that is trained on, and the mean squared error of each row as it is shown."""
    calm = None
    with torch.autocast(rows.shown.device.type, torch.bfloat16, enabled=recipe.bf16):
        if rows.calm is not None:
            last = rows.identity[-len(rows.calm) :]
            calm = network.transferred(rows.calm, last, generator=generator)
        output = network.transferred(rows.shown, rows.identity, generator=generator).float()
    errors = (output - rows.target).square().mean(dim=(1, 2))
    loss = errors.mean()
    if calm is not None:
        assert recipe.adversarial is not None
        weight = recipe.adversarial.consistency or 0.0
        loss = consistent(output, calm.float(), rows.target, weight)
    if rows.faces is not None:
        loss = loss + EDGE_WEIGHT * edge_loss(output, rows.identity, rows.faces)
    return loss, errors


def consistent(
    output: Float[Tensor, "b n 3"],
    calm: Float[Tensor, "k n 3"],
    target: Float[Tensor, "b n 3"],
    weight: float,
) -> Float[Tensor, ""]:
    """TRADES for regression: mean error of clean poses, plus how far attacked outputs leave them.

    ``calm`` are the outputs of the last k rows' clean poses; ``output`` holds those rows attacked.
    """
    first = len(output) - len(calm)
    clean = torch.cat([output[:first], calm])
    gap = (output[first:] - calm).square().mean(dim=(1, 2)).sum() / len(output)
    return (clean - target).square().mean() + weight * gap
