"""Defences: explicit registry, name -> what makes a defence without arguments.

``snap``, which needs the embedded body, joins when ``posebench.benchmark`` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from posebench.registry import Registry

if TYPE_CHECKING:
    from posebench.defenses.mls import MLSProjection
    from posebench.defenses.radius import RadiusOutlierRemoval
    from posebench.defenses.random import GaussianSmoothing, KNNMean, RandomDrop
    from posebench.defenses.sor import SOR
    from posebench.defenses.subsets import PartitionMedian, SubsetMedian
    from posebench.interfaces import Defense
else:
    from posebench.lazy import lazily

    __getattr__, __dir__ = lazily(
        __name__,
        {
            "SOR": "posebench.defenses.sor",
            "GaussianSmoothing": "posebench.defenses.random",
            "KNNMean": "posebench.defenses.random",
            "MLSProjection": "posebench.defenses.mls",
            "PartitionMedian": "posebench.defenses.subsets",
            "RadiusOutlierRemoval": "posebench.defenses.radius",
            "RandomDrop": "posebench.defenses.random",
            "SubsetMedian": "posebench.defenses.subsets",
        },
    )

DEFENSES: Registry[Callable[[], Defense]] = Registry("defence", "defenses")
DEFENSES.register("sor", "posebench.defenses.sor:SOR", "statistical outlier removal")
DEFENSES.register(
    "drop", "posebench.defenses.random:RandomDrop", "keeps a random half of the points"
)
DEFENSES.register(
    "smooth",
    "posebench.defenses.random:GaussianSmoothing",
    "Gaussian noise on the pose, median of several outputs",
)
DEFENSES.register(
    "knn",
    "posebench.defenses.random:KNNMean",
    "each point becomes the mean of its nearest neighbours",
)
DEFENSES.register(
    "radius",
    "posebench.defenses.radius:RadiusOutlierRemoval",
    "drops points with few neighbours within a radius",
)
DEFENSES.register(
    "mls",
    "posebench.defenses.mls:MLSProjection",
    "each point is put on a quadric through its neighbours; extra mls",
)
DEFENSES.register(
    "subset-median",
    "posebench.defenses.subsets:SubsetMedian",
    "median of the outputs over random subsets of the points",
)
DEFENSES.register(
    "partition-median",
    "posebench.defenses.subsets:PartitionMedian",
    "median of the outputs over the groups of a fixed partition; certifiable",
)


def defense_name(defense: Defense) -> str:
    """The registry's name of a defence; that of its class for one that is not registered."""
    return DEFENSES.name_of(type(defense)) or type(defense).__name__.lower()


__all__ = [
    "DEFENSES",
    "SOR",
    "GaussianSmoothing",
    "KNNMean",
    "MLSProjection",
    "PartitionMedian",
    "RadiusOutlierRemoval",
    "RandomDrop",
    "SubsetMedian",
    "defense_name",
]
