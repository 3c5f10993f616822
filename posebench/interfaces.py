"""The contracts between layers: what a victim, an attack, a defence and a metric are.

Protocols are structural: a class need not inherit from anything here to take part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.norms import RELEASE_POINTS, Norm, Unit
from posebench.registry import unknown
from posebench.shapes import Bool, Float, Int


@dataclass(frozen=True)
class Batch:
    """Test or training pairs.

    Attributes:
        pose: (B, Np, 3) pose sources, in an order of their own.
        identity: (B, Ni, 3) identity meshes in some other pose.
        target: (B, Ni, 3) the identity in the pose source's pose, in the identity's order.
        faces: (B, F, 3) int64 triangles over the identity's order.
        sample_ids: (B,) int64, the sample's number within its task; always on the CPU, where
            random numbers are seeded by them.
    """

    pose: Clouds
    identity: Clouds
    target: Clouds
    faces: Int[Tensor, "b f 3"]
    sample_ids: Int[Tensor, "b"]

    def __len__(self) -> int:
        return self.pose.points.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """Move every tensor but the sample ids."""
        return Batch(
            self.pose.to(device),
            self.identity.to(device),
            self.target.to(device),
            self.faces.to(device),
            self.sample_ids,
        )

    def select(self, index: slice | Tensor) -> Batch:
        """Pick pairs along the batch axis."""
        numbers = index.to(self.sample_ids.device) if isinstance(index, Tensor) else index
        return Batch(
            self.pose.select(index),
            self.identity.select(index),
            self.target.select(index),
            self.faces[index],
            self.sample_ids[numbers],
        )

    def with_pose(self, pose: Clouds) -> Batch:
        """The same batch with another pose source."""
        return Batch(pose, self.identity, self.target, self.faces, self.sample_ids)

    def renumbered(self, identity: Int[Tensor, "n"], pose: Int[Tensor, "m"]) -> Batch:
        """The same pairs in other orders: new point k is old point ``identity[k]``, ``pose[k]``."""
        guide = self.identity.guide
        if guide is not None:
            guide = guide.renumbered(identity, pose)
        return Batch(
            self.pose.permuted(pose),
            self.identity.permuted(identity).guided(guide),
            self.target.permuted(identity),
            identity.argsort()[self.faces],
            self.sample_ids,
        )


@dataclass(frozen=True)
class VictimSpec:
    """What the library must know about a victim before it calls it.

    Attributes:
        name: registry key.
        title: the name printed in tables.
        paper: where the network was published.
        stochastic: two calls on the same input may differ.
        point_counts: "equal" if pose and identity need equally many points.
        masks: whether padding in pose and identity is left out of all arithmetic.
        order: "identity" if the answer depends on how the identity's points are numbered, "free"
            if it does not; pairing by index, as ``point_counts`` says it, is not meant.
        guided: whether identities must come with their correspondence (``posebench.cloud.Guide``).
        way: how the pose reaches the output, in a few words for docs/victims.md.
        code: what the authors released, and its licence, likewise.
    """

    name: str
    title: str
    paper: str
    stochastic: bool
    point_counts: Literal["equal", "free"]
    masks: bool
    order: Literal["free", "identity"] = "free"
    guided: bool = False
    way: str = "-"
    code: str = "-"


@runtime_checkable
class Victim(Protocol):
    """Anything that turns (pose, identity) clouds into clouds in the identity's order."""

    @property
    def spec(self) -> VictimSpec: ...

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds: ...


@dataclass(frozen=True)
class Budget:
    """How far an attack may move the pose source, or how many of its points it may drop or add.

    Units of ``eps`` for the global L2 ball, n = real points of the sample:

    * ``rms``: root mean square displacement per coordinate; radius = eps * sqrt(3 n).
    * ``total``: the radius itself.
    * ``release``: the released code's eps * sqrt(3 * 1024), whatever n is.

    For ``linf`` (largest coordinate) and ``l2_vertex`` (largest vertex displacement; the
    released code calls it "Linf") eps is the radius in metres in every unit but ``release``,
    which is defined for L2 alone. For ``smooth`` eps is the largest vertex displacement of a field
    of a few Gaussian kernels (``posebench.attacks.projection``). For ``drop``, ``add`` and
    ``sparse`` eps is the share of points that may be removed, put anywhere into the cloud's
    bounding box, or moved anywhere in it; all other points stay where they are.
    """

    eps: float
    norm: Norm = "l2"
    unit: Unit = "rms"

    def __post_init__(self) -> None:
        if not math.isfinite(self.eps) or self.eps < 0:
            raise InputError(f"eps must be a finite number >= 0, got {self.eps}")
        if self.norm not in get_args(Norm):
            raise unknown("norm", self.norm, get_args(Norm))
        if self.unit not in get_args(Unit):
            raise unknown("eps unit", self.unit, get_args(Unit))
        if self.unit == "release" and self.norm != "l2":
            raise InputError("eps unit 'release' is defined for norm 'l2' alone")
        if self.is_share and (self.unit != "rms" or self.eps >= 1):
            raise InputError(
                f"norm {self.norm!r} takes a share of points below 1, without a unit, got "
                f"{self.eps:g} {self.unit}"
            )

    @property
    def counts_points(self) -> bool:
        """Whether the attack changes how many points there are."""
        return self.norm in ("drop", "add")

    @property
    def is_share(self) -> bool:
        """Whether eps is a share of points and not a distance."""
        return self.norm in ("drop", "add", "sparse")

    def radius(self, mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b"]:
        """Radius of each sample's ball, or its number of points to change, (B,) float64."""
        counts = mask.sum(dim=1).double()
        if self.is_share:
            return (self.eps * counts + 1e-6).floor()
        if self.norm != "l2" or self.unit == "total":
            return torch.full_like(counts, self.eps)
        if self.unit == "release":
            return torch.full_like(counts, self.eps * math.sqrt(3 * RELEASE_POINTS))
        return self.eps * (3 * counts).sqrt()


@dataclass(frozen=True)
class AttackResult:
    """An attacked pose source: all that an attack returns, ``AttackResult(pose)``.

    The other fields are the library's. ``run_attack`` projects the pose, measures them itself and
    puts them in the place of whatever the attack has put there.

    Attributes:
        pose: the adversarial clouds; from ``run_attack``, inside the budget.
        loss: (B,) the attack's objective at ``pose``; None in what an attack returns.
        forwards: victim forwards per sample, counted; the mean over the batch, rounded up.
        backwards: gradients to the pose per sample, likewise.
        effort: of an attack that decides itself when to stop, as it says; None for others.
    """

    pose: Clouds
    loss: Float[Tensor, "b"] | None = None
    forwards: int = 0
    backwards: int = 0
    effort: Effort | None = None


@dataclass(frozen=True)
class Effort:
    """How long an attack went on for each sample, and what the end of it still brought.

    Attributes:
        gradients: (B,) int64, spent on each sample.
        late_gain: (B,) relative growth of the objective over the last third of them.
    """

    gradients: Int[Tensor, "b"]
    late_gain: Float[Tensor, "b"]


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass whose repr rebuilds it; ``budget`` is what the library enforces.

    A class attribute ``version`` (an integer, 1 where there is none) goes up whenever the same
    settings would give other results: records of another version are of another attack.
    """

    @property
    def budget(self) -> Budget: ...

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult: ...


@runtime_checkable
class Defense(Protocol):
    """Cleans a pose source before the victim sees it; removed points lose their mask bit."""

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds: ...


@runtime_checkable
class Metric(Protocol):
    """Per-sample value of an output, (B,); NaN means undefined."""

    def __call__(self, output: Clouds, batch: Batch) -> Float[Tensor, "b"]: ...
