"""What can be said of results on files: distances, sizes and notes, ready to be printed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.surface import Surface, apart, distances, edge_distortion
from posebench.benchmark.meshes.types import Points
from posebench.benchmark.records.types import Json
from posebench.benchmark.retarget.attack import Attacked, Change
from posebench.benchmark.retarget.pair import Identity, Pair, PoseSource, box_centre, seen_centre

if TYPE_CHECKING:
    from posebench.benchmark.retarget.trust import Trust


@dataclass(frozen=True)
class OneWay:
    """Distances from one surface to another, metres: their mean, and what 95 % are below."""

    mean: float
    p95: float


@dataclass(frozen=True)
class Stretch:
    """| length / identity's length - 1 | over the result's edges."""

    mean: float
    median: float
    p95: float


@dataclass(frozen=True)
class Fit:
    """What can be said of a result without knowing where its vertices should be.

    Attributes:
        scan_to_result, result_to_scan: between the surfaces, both centred by their bounding boxes.
        chamfer: mean of both means, metres.
        edge_distortion: against the identity; None where it has no faces.
    """

    scan_to_result: OneWay
    result_to_scan: OneWay
    chamfer: float
    edge_distortion: Stretch | None


def against_scan(points: Points, identity: Identity, source: PoseSource) -> Fit:
    """How a result (N, 3), or the identity itself, lies to the pose source as the victim saw it."""
    faces = identity.mesh.faces
    gaps = apart(_scan(source), Surface(points - box_centre(points), faces))
    stretch = None
    if faces is not None:
        stretch = Stretch(**edge_distortion(points, identity.mesh.points, faces))
    return Fit(
        OneWay(gaps.there, gaps.there_p95), OneWay(gaps.back, gaps.back_p95), gaps.chamfer, stretch
    )


def gaps_to_scan(points: Points, source: PoseSource) -> NDArray[np.float64]:
    """How far each vertex of a result (N, 3) lies from the pose source, (N,) metres; both centred
    as in :func:`against_scan`."""
    return distances(points - box_centre(points), _scan(source))


def _scan(source: PoseSource) -> Surface:
    """The pose source, centred by the box around what the victim saw."""
    return Surface(source.mesh.points - seen_centre(source), source.mesh.faces)


@dataclass(frozen=True)
class PoseFacts:
    """The pose source: its file, its points, and how many of them the network saw."""

    file: str
    points: int
    seen: int


@dataclass(frozen=True)
class IdentityFacts:
    """The identity: its file, its vertices and faces (0 for a cloud)."""

    file: str
    points: int
    faces: int


@dataclass(frozen=True)
class Cost:
    """Calls of the victim and gradients of it."""

    forwards: int
    backwards: int


@dataclass(frozen=True)
class AttackFacts:
    """An attack and what it did.

    Attributes:
        attack: its repr.
        perturbation: sizes by norm, metres.
        output_change: of the attack and of noise of its size, square metres.
        gain_over_noise: their ratio.
        cost: of the attack alone.
    """

    attack: str
    perturbation: dict[str, float]
    output_change: Change
    gain_over_noise: float
    cost: Cost


@dataclass(frozen=True)
class FitFacts:
    """How near the bodies came that were fitted: metres from points to surface on average."""

    pose: float
    identity: float


@dataclass(frozen=True)
class Facts:
    """What ``transfer`` and ``attack`` report.

    Attributes:
        victim: the network and its training.
        pose, identity: the files.
        metrics: by what is measured, such as "result".
        written: paths of results.
        notes: what the user should know.
        attacked: None of a transfer.
        trust: how far a transfer's result can be trusted; None of an attack.
        fitted: of a transfer without a network.
    """

    victim: str
    pose: PoseFacts
    identity: IdentityFacts
    metrics: dict[str, Fit]
    written: tuple[str, ...]
    notes: tuple[str, ...]
    attacked: AttackFacts | None = None
    trust: Trust | None = None
    fitted: FitFacts | None = None

    @property
    def accuracy(self) -> str | None:
        """What is known of the method's accuracy, a sentence; None of an attack."""
        if self.fitted is not None:
            return (
                f"the fitted bodies lie {100 * self.fitted.pose:.1f} cm from the pose source and "
                f"{100 * self.fitted.identity:.1f} cm from the identity on average"
            )
        if self.trust is None:
            return None
        own = self.trust.own_error or "unknown, its weights have no card of ours"
        return f"the network's own error: {own}"

    def as_json(self) -> Json:
        """One flat object; what there is not has no key."""
        flat = asdict(self)
        for part in ("attacked", "trust"):
            flat |= flat.pop(part) or {}
        if flat["fitted"] is None:
            del flat["fitted"]
        for fit in flat["metrics"].values():
            if fit["edge_distortion"] is None:
                del fit["edge_distortion"]
        return flat


def pose_facts(pair: Pair) -> PoseFacts:
    """Of a pair's pose source."""
    source = pair.source
    return PoseFacts(str(source.mesh.path), len(source.mesh.points), int(source.seen.mask.sum()))


def identity_facts(pair: Pair) -> IdentityFacts:
    """Of a pair's identity."""
    mesh = pair.identity.mesh
    faces = 0 if mesh.faces is None else len(mesh.faces)
    return IdentityFacts(str(mesh.path), len(mesh.points), faces)


def attack_facts(attack: object, found: Attacked, pair: Pair) -> AttackFacts:
    """Of an attack on a pair."""
    clean = pair.source.cloud.to(found.pose.points.device)
    return AttackFacts(
        repr(attack),
        found.norms(clean),
        found.change,
        found.change.attack / max(found.change.noise, 1e-12),
        Cost(found.result.forwards, found.result.backwards),
    )
