"""Training runs of a second or two, shared by the tests."""

from __future__ import annotations

from typing import Any

import torch

from posebench.benchmark.training.recipe import Recipe
from posebench.victims import PoseTransferNetwork


def tiny(victim: str, /, **changes: Any) -> Recipe:
    """A recipe of a second or two."""
    settings = {"size": "tiny", "steps": 6, "batch": 2, "points": 64, "pose_points": 64}
    return Recipe(**{"victim": victim, "warmup": 2, "matrix_rate": 0.02, **settings, **changes})


def same_weights(a: PoseTransferNetwork, b: PoseTransferNetwork) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
