"""Recipes: everything that decides the weights a training run ends with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

import torch

from posebench.benchmark.records.types import Json
from posebench.benchmark.training.adversarial import TRAINABLE, Adversarial
from posebench.errors import InputError
from posebench.registry import unknown
from posebench.threats import find_threat
from posebench.victims import SIZES, VICTIMS
from posebench.victims.weights import REGIMES

ADVERSARIAL_PART: dict[str, Json] = {
    "npt": {"rate_share": 0.5},
    "npt-mp": {"after": 2 / 3},
    "gct": {"after": 2 / 3},
    "gct-mp": {"after": 2 / 3},
    "posemae": {"after": 2 / 3},
}
"""How a victim's default adversarial part differs from ``Adversarial``'s defaults. The paper has
equal parts; half as long was enough for the networks that max-pool the pose (our choice). For
GC-Transformer equal parts were worse: at the clean part's rate it diverged, at half of it it ended
less robust (docs/reproduction.md)."""

THREAT_PART: Json = {
    "attack": "n-fgm",
    "clean_share": 0.0,
    "rate_share": 0.5,
    "after": 0.8,
}
"""The same against a threat model (our choice): of the study in docs/defences.md, what brings most
at equal time. A step costs some two clean ones, so the part is shorter."""

FRESH_POSES = 0.5
"""Share of pairs in new poses against a threat model: without them part of what is gained is the
400 poses learned by heart (docs/defences.md)."""

ITERATED: Json = {"iterations": 3, "random_start": 1.0}
"""What an attack of several steps has besides, against a threat model."""

LOW_SHARE = 0.2
"""Smallest cap against a threat model, as a share of its own: one network for all sizes."""


def adversarial_part(victim: str, **given: Any) -> Adversarial:
    """The default adversarial part of a victim with the given changes.

    A given ``threat`` decides eps, and most else is another default.
    """
    if given.get("threat") is None:
        return Adversarial(**{**ADVERSARIAL_PART.get(victim, {}), **given})
    eps = find_threat(given["threat"]).budget.eps
    usual = {**THREAT_PART, "eps": eps, "eps_low": LOW_SHARE * eps}
    part = {**usual, **given}
    return Adversarial(**part if part["attack"] == "n-fgm" else {**ITERATED, **part})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights a training run ends with.

    Attributes:
        victim, size: registry names.
        steps: optimiser steps of all parts.
        decay: share of a part's last steps over which its rates fall to zero (half a cosine).
        batch: pairs per step.
        points: vertices of identity and target a step sees; None for whole meshes.
        pose_points: vertices of the pose source, for victims with free point counts.
        surface: share of pose sources, and of identities, whose points are drawn evenly from the
            mesh's area instead of from its vertices; subsets of points of the protocol only.
        matrix_rate, rate: learning rates of Muon (matrices) and Adam (the rest).
        warmup: steps over which the rates rise from zero.
        muon: train matrices with Muon; otherwise everything with Adam at ``rate``.
        bf16: run the forward under bfloat16 autocast.
        seed: of initial weights and all sampling.
        adversarial: what the last part of the steps trains on; None for clean training.
        network: constructor arguments of the victim besides the width, for ablations.
        start: sha256 of the weights that an adversarial part goes on from, in place of the clean
            part, or that a clean run goes on from; None for fresh ones.
        regime: where pairs come from: "protocol", 16 identities in 400 poses as in the paper, or
            "open", people, poses and points drawn anew at every step.
        average: limit of the decay of the weights' moving average, which a run ends with; None for
            ``averaging.DECAY``, 0 for the last weights themselves.
        fresh_poses: None, or of the protocol a share of pairs in poses drawn anew at every step
            from the ranges of the 400, which training against a threat model makes some networks
            learn by heart (docs/defences.md).
    """

    victim: str
    size: str = "compact"
    steps: int = 40_000
    decay: float = 1.0
    batch: int = 8
    points: int | None = 256
    pose_points: int | None = 256
    surface: float = 0.0
    matrix_rate: float = 0.01
    rate: float = 0.001
    warmup: int = 200
    muon: bool = True
    bf16: bool = True
    seed: int = 0
    adversarial: Adversarial | None = None
    start: str | None = None
    network: Json = field(default_factory=dict)
    regime: str = "protocol"
    average: float | None = None
    fresh_poses: float | None = None

    @property
    def clean_steps(self) -> int:
        """Steps before the adversarial part."""
        if self.adversarial is None:
            return self.steps
        return round(self.steps * self.adversarial.after)

    @property
    def first(self) -> int:
        """The step that a run begins with: weights to start from stand for a clean part."""
        return self.clean_steps if self.start is not None and self.adversarial is not None else 0

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise unknown("size", self.size, SIZES)
        limit = SIZES[self.size].vertices
        for name in ("points", "pose_points"):
            value = getattr(self, name)
            if value is not None and not 2 <= value <= limit:
                raise InputError(f"{name} must be 2..{limit}, got {value}")
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("matrix_rate", "rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be a positive number, got {getattr(self, name)}")
        if not 0 < self.decay <= 1:
            raise InputError(f"decay must be above 0 and at most 1, got {self.decay}")
        if self.average is not None and not 0 <= self.average < 1:
            raise InputError(f"average must be at least 0 and below 1, got {self.average}")
        if not 0 <= self.surface <= 1:
            raise InputError(f"surface must be 0..1, got {self.surface}")
        if self.regime not in REGIMES:
            raise unknown("regime", self.regime, REGIMES)
        if self.surface and self.regime == "open":
            raise InputError("surface is the protocol's: the open regime draws its own points")
        if self.fresh_poses is not None and not 0 <= self.fresh_poses <= 1:
            raise InputError(f"fresh_poses must be 0..1, got {self.fresh_poses}")
        if self.fresh_poses and self.regime == "open":
            raise InputError("fresh_poses is the protocol's: the open regime draws all poses anew")
        if self.surface and self.points is None:
            raise InputError(
                "surface needs points and pose_points: whole meshes are their vertices"
            )
        if self.warmup < 0:
            raise InputError(f"warmup must be 0 or more, got {self.warmup}")
        if (self.points is None) != (self.pose_points is None):
            raise InputError("points and pose_points must both be numbers or both be left out")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be 0..2^63 - 1, got {self.seed}")
        try:
            with torch.device("meta"):  # no weights, no draws from the global generator
                VICTIMS[self.victim](4, **self.network)
        except TypeError as error:
            raise InputError(f"network of {self.victim}: {error}") from error
        if VICTIMS[self.victim].spec.point_counts == "equal" and self.points != self.pose_points:
            raise InputError(f"{self.victim} needs equally many pose_points and points")


POOLED = 768
"""Points of the pose source for victims that take any number."""

FAST: dict[str, Any] = {"batch": 16, "matrix_rate": 0.02, "rate": 0.002, "decay": 0.25}
CALM: dict[str, Any] = {**FAST, "matrix_rate": 0.015, "rate": 0.0015}
FALLING: dict[str, Any] = {"batch": 16, "matrix_rate": 0.008, "rate": 0.0008}
"""Rates that stand for three quarters of the steps, and rates that fall from the first step on:
GC-Transformer diverges under standing ones (docs/design/012-hours.md)."""

SMALL: dict[str, Any] = {"batch": 8, "matrix_rate": 0.01, "rate": 0.001, "decay": 1.0}
"""What differs for networks of size ``small``, as the first ones and the studies of options and
parts were trained."""

DEFAULT_RECIPES = {
    "npt": Recipe("npt", steps=24_000, **FAST),
    "npt-mp": Recipe("npt-mp", steps=21_000, pose_points=POOLED, **FAST),
    "gct": Recipe("gct", steps=9_000, **FALLING),
    "gct-mp": Recipe("gct-mp", steps=12_000, pose_points=POOLED, **FALLING),
    "posemae": Recipe("posemae", steps=26_000, pose_points=POOLED, **CALM),
    "corenet": Recipe("corenet", steps=5_000, batch=16),
    "mapconnet": Recipe("mapconnet", steps=5_000, batch=16),
    "ffptnet": Recipe("ffptnet", steps=20_000, pose_points=POOLED, **CALM),
    "dt": Recipe("dt", steps=1),
}
"""What ``posebench train`` runs unless told otherwise; the shipped weights name their own."""

OTHERS_STEPS = 24_000
"""Steps of a victim that another package has added, unless told otherwise."""


def recipe_for(
    victim: str,
    *,
    size: str = "compact",
    steps: int | None = None,
    whole_meshes: bool = False,
    adversarial: Adversarial | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe of a victim with the wanted changes.

    An adversarial part comes on top of the clean recipe's steps, and is as long as makes its
    ``after`` true. ``steps`` counts both parts. Against a threat model half of the protocol's pairs
    stand in fresh poses, unless something else is said. With another batch and nothing said about
    them, the run sees as many pairs as the default's, and both rates grow with the batch's square
    root (Malladi et al., arXiv 2205.10287, for Adam; for Muon, whose steps have a fixed size, too,
    our choice).
    """
    if victim not in VICTIMS:
        raise unknown("victim", victim, VICTIMS)
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    recipe = DEFAULT_RECIPES.get(victim) or Recipe(victim, steps=OTHERS_STEPS)
    if size == "small":
        recipe = replace(recipe, **SMALL)
    limit = SIZES[size].vertices
    points: dict[str, int | None] = {"points": None, "pose_points": None}
    if not whole_meshes and recipe.points and recipe.pose_points:
        points = {
            "points": min(recipe.points, limit),
            "pose_points": min(recipe.pose_points, limit),
        }
    grown = (changes.get("batch") or recipe.batch) / recipe.batch
    if grown > 0:
        for name in ("matrix_rate", "rate"):
            changes.setdefault(name, getattr(recipe, name) * math.sqrt(grown))
    if steps is None:
        steps = max(1, round(recipe.steps / grown)) if grown > 0 else recipe.steps
        if adversarial is not None and adversarial.after:
            steps = round(steps / adversarial.after)
    against = adversarial is not None and adversarial.threat is not None
    if against and changes.get("regime") != "open":
        changes.setdefault("fresh_poses", FRESH_POSES)
    if changes.get("fresh_poses") == 0:
        changes["fresh_poses"] = None  # one way to say none: older recipes have no such setting
    return replace(recipe, size=size, steps=steps, adversarial=adversarial, **{**points, **changes})


def flat_recipe(recipe: Json) -> Json:
    """A recipe on a weights file's card in one level, unset settings left out."""
    inner = recipe.get("adversarial") or {}
    flat = {**{k: v for k, v in recipe.items() if k != "adversarial"}, **inner}
    return {key: value for key, value in flat.items() if value is not None}


def recipe_changes(recipe: Json) -> str:
    """What sets a recipe on a card apart from its victim's default, besides the network."""
    victim = recipe.get("victim")
    if victim not in DEFAULT_RECIPES:
        return ""
    part = recipe.get("adversarial") or {}
    threat = part.get("threat")  # a card is a stranger's text
    threat = threat if threat in TRAINABLE else None
    size = recipe.get("size")
    size = size if size in SIZES else "compact"
    usual = usual_recipe(victim, size, adversarial=bool(part), threat=threat)
    odd = {k: v for k, v in flat_recipe(recipe).items() if k in SHOWN and v != usual.get(k)}
    return ", ".join(f"{key.replace('_', ' ')} {shown_value(value)}" for key, value in odd.items())


SHOWN = frozenset(each.name for kind in (Recipe, Adversarial) for each in fields(kind)) - {
    "adversarial",
    "network",
    "start",
}
"""Settings that a recipe's changes are told by."""


@lru_cache
def usual_recipe(victim: str, size: str, *, adversarial: bool, threat: str | None = None) -> Json:
    """A victim's default recipe of a size, in one level."""
    part = adversarial_part(victim, threat=threat) if adversarial else None
    return flat_recipe(asdict(recipe_for(victim, size=size, adversarial=part)))


def shown_value(value: Any) -> str:
    """A setting as tables print it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
