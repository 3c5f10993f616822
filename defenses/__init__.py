"""Defences: explicit registry, name -> what makes a defence without arguments."""

from __future__ import annotations

from collections.abc import Callable

from posebench.defenses.random import GaussianSmoothing, KNNMean, RandomDrop
from posebench.defenses.sor import SOR
from posebench.interfaces import Defense
from posebench.registry import Registry

DEFENSES: Registry[Callable[[], Defense]] = Registry("defence", "defenses")
DEFENSES.register("sor", SOR)
DEFENSES.register("drop", RandomDrop)
DEFENSES.register("smooth", GaussianSmoothing)
DEFENSES.register("knn", KNNMean)


def defense_name(defense: Defense) -> str:
    """The registry's name of a defence; that of its class for one that is not registered."""
    return DEFENSES.name_of(type(defense)) or type(defense).__name__.lower()


__all__ = ["DEFENSES", "SOR", "GaussianSmoothing", "KNNMean", "RandomDrop", "defense_name"]
