"""posebench: how robust are 3D pose-transfer networks, and how to make them robust."""

from __future__ import annotations

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import (
    Attack,
    AttackResult,
    Batch,
    Budget,
    Defense,
    Metric,
    Victim,
    VictimSpec,
)
from posebench.module_victim import from_module
from posebench.registry import Registry
from posebench.rng import generator_for

__version__ = "0.1.0"

__all__ = [
    "Attack",
    "AttackResult",
    "Batch",
    "Budget",
    "Clouds",
    "Defense",
    "InputError",
    "Metric",
    "Registry",
    "Victim",
    "VictimSpec",
    "__version__",
    "from_module",
    "generator_for",
]
