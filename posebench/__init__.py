"""posebench: how robust are 3D pose-transfer networks, and how to make them robust."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebench.benchmark.data.datasets import load_task
    from posebench.benchmark.data.own_files import read_pairs
    from posebench.benchmark.data.own_pairs import OwnPairs
    from posebench.benchmark.evaluation.harness import evaluate
    from posebench.benchmark.reports.published import published
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
    from posebench.victims.weights import load_victim
else:
    from posebench.lazy import lazily

    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Attack": "posebench.interfaces",
            "AttackResult": "posebench.interfaces",
            "Batch": "posebench.interfaces",
            "Budget": "posebench.interfaces",
            "Clouds": "posebench.cloud",
            "Defense": "posebench.interfaces",
            "InputError": "posebench.errors",
            "Metric": "posebench.interfaces",
            "OwnPairs": "posebench.benchmark.data.own_pairs",
            "Registry": "posebench.registry",
            "Victim": "posebench.interfaces",
            "VictimSpec": "posebench.interfaces",
            "evaluate": "posebench.benchmark.evaluation.harness",
            "from_module": "posebench.module_victim",
            "generator_for": "posebench.rng",
            "load_task": "posebench.benchmark.data.datasets",
            "load_victim": "posebench.victims.weights",
            "published": "posebench.benchmark.reports.published",
            "read_pairs": "posebench.benchmark.data.own_files",
        },
    )

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
    "OwnPairs",
    "Registry",
    "Victim",
    "VictimSpec",
    "__version__",
    "evaluate",
    "from_module",
    "generator_for",
    "load_task",
    "load_victim",
    "published",
    "read_pairs",
]
