"""The weights that come with the library, told by their sha256, and what victims are called."""

from __future__ import annotations

import json
from functools import lru_cache

import torch

from posebench.benchmark.records.types import Cell, Json, Weights
from posebench.benchmark.training.recipe import recipe_changes
from posebench.victims import VICTIMS
from posebench.victims.weights import shipped_files, weights_fingerprint


@lru_cache
def weights_names() -> dict[str, str]:
    """sha256 -> file name of every shipped weights file."""
    return {weights_fingerprint(path): path.name for path in shipped_files()}


def shipped_fingerprints() -> frozenset[str]:
    """sha256 of every shipped weights file."""
    return frozenset(weights_names())


def is_shipped(weights: Weights) -> bool:
    """Whether these weights come with the library."""
    return weights.sha256 in shipped_fingerprints()


def victim_label(cell: Cell) -> str:
    """Victim, and what sets its weights apart: a training seed, a regime, a size, settings off the
    default."""
    weights = cell.weights
    given = json.dumps([weights.network, weights.recipe])
    return _label(cell.victim, given, is_shipped(weights))


@lru_cache(maxsize=4096)
def _label(name: str, given: str, shipped: bool) -> str:
    """``given`` is the JSON of network and recipe, which many records share."""
    network, recipe = json.loads(given)
    label = name
    if network and isinstance(network.get("width"), int) and name in VICTIMS:
        usual = usual_settings(name, network["width"])
        odd = [f"{key} {value}" for key, value in network.items() if usual.get(key) != value]
        label += f" ({', '.join(odd)})" if odd else ""
    if recipe and shipped:
        label += f", training seed {recipe['seed']}" if recipe.get("seed") else ""
        label += ", open regime" if recipe.get("regime") == "open" else ""
        label += ", small" if recipe.get("size") == "small" else ""
    elif recipe and (changes := recipe_changes(recipe)):
        label += f", {changes}"
    return label


@lru_cache
def usual_settings(victim: str, width: int) -> Json:
    """The settings that a victim has by default at some width."""
    with torch.device("meta"):  # no weights, no draws from the global generator
        return VICTIMS[victim](width).settings()
