"""What steps the weights: the optimisers of a recipe and their rates over its steps."""

from __future__ import annotations

import math

import torch
from torch import nn

from posebench.benchmark.training.muon import StackedMuon
from posebench.benchmark.training.recipe import Recipe


def make_optimisers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for matrices, Adam for the rest: biases, scalars, xyz layers and attention; without
    Muon, Adam for all.

    Attention is left to Adam because Muon's steps have a fixed size: queries and keys grew until
    the unscaled softmax saturated, and the loss fell back to the mean mesh's.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        large = recipe.muon and parameter.ndim == 2 and min(parameter.shape) > 3
        (matrices if large and "attention" not in name else others).append(parameter)
    adam = torch.optim.Adam([{"params": others}], lr=recipe.rate, fused=True)
    return [StackedMuon(matrices, lr=recipe.matrix_rate), adam] if matrices else [adam]


def set_rates(optimisers: list[torch.optim.Optimizer], recipe: Recipe, step: int) -> None:
    """Linear warm-up, then half a cosine down to zero over the last ``decay`` of each part."""
    peak, first, last = 1.0, 0, recipe.clean_steps
    if recipe.adversarial is not None and step >= recipe.clean_steps:
        peak, first, last = recipe.adversarial.rate_share, recipe.clean_steps, recipe.steps
    factor = min(1.0, (step - first + 1) / recipe.warmup) if recipe.warmup else 1.0
    falling = max(0.0, step - first - (1 - recipe.decay) * (last - first))
    factor *= peak * 0.5 * (1 + math.cos(math.pi * falling / (recipe.decay * (last - first))))
    for optimiser in optimisers:
        rate = recipe.matrix_rate if isinstance(optimiser, StackedMuon) else recipe.rate
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
