"""Where the training pairs of a recipe come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Generator

from posebench.benchmark.data.anny import training_meshes
from posebench.benchmark.data.body import load_body
from posebench.benchmark.training.open_pairs import open_pairs
from posebench.benchmark.training.pairs import Pairs, part_generator, training_pairs
from posebench.benchmark.training.recipe import Recipe
from posebench.cloud import Clouds
from posebench.interfaces import Batch
from posebench.victims import SIZES

PairSource = Callable[[Recipe, Generator], Iterator[Pairs]]


def pair_source(recipe: Recipe, device: str) -> PairSource:
    """What draws endless training pairs of the recipe's regime and size on the device."""
    if recipe.regime == "open":
        return lambda recipe, generator: open_pairs(recipe, generator, device)
    body = load_body(SIZES[recipe.size].vertices, device=device)
    meshes = training_meshes(body)  # 16 x 400 meshes of 1,700 vertices are 130 MB
    return lambda recipe, generator: training_pairs(recipe, meshes, body, generator)


def pairs_to_watch(recipe: Recipe, source: PairSource, device: str) -> Batch:
    """16 training pairs that the run is watched on, the same all along."""
    generator = part_generator(recipe, "watch", device)
    pose, identity, target, _ = next(source(replace(recipe, batch=16), generator))
    return Batch(
        Clouds.dense(pose),
        Clouds.dense(identity),
        Clouds.dense(target),
        torch.zeros((16, 1, 3), dtype=torch.int64, device=pose.device),
        torch.arange(16),
    )
