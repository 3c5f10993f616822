"""One training step: attack where the recipe says so, loss, gradients, optimisers."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from posebench.benchmark.evaluation.metrics import edge_loss
from posebench.benchmark.training.adversarial import attack_rows
from posebench.benchmark.training.distributed import average_gradients, rank_and_world
from posebench.benchmark.training.pairs import Pairs
from posebench.benchmark.training.recipe import Recipe
from posebench.shapes import Float
from posebench.victims import PoseTransferNetwork

EDGE_WEIGHT = 0.0005
"""Weight of the edge term on whole meshes (released code)."""


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
    clean, removed, shown, calm = len(pose), pose.new_zeros(()), pose, None
    with torch.autocast(pose.device.type, torch.bfloat16, enabled=recipe.bf16):
        if recipe.adversarial is not None and step >= recipe.clean_steps:
            done = (step - recipe.clean_steps) / (recipe.steps - recipe.clean_steps)
            clean, shown, removed = attack_rows(
                network,
                recipe.adversarial,
                (pose, identity, target),
                ids=step * recipe.batch + torch.arange(recipe.batch)[rows],
                attack=recipe.adversarial.made(done, step),
                seed=recipe.seed,
                generator=generator,
            )
            if recipe.adversarial.consistency is not None and clean < len(pose):
                calm = network.transferred(pose[clean:], identity[clean:], generator=generator)
        moved = network.transferred(shown, identity, generator=generator)
        output = moved.float()
    errors = (output - target).square().mean(dim=(1, 2))
    loss = errors.mean()
    if calm is not None:
        assert recipe.adversarial is not None
        loss = consistent(output, calm.float(), target, recipe.adversarial.consistency or 0.0)
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
