"""Medians over subsets of the pose's points: a few points that lie anywhere touch few subsets.

PointGuard (arXiv 2103.03046) votes over random subsets for classes; of coordinates the vote is a
median. Networks that are trained on subsets lose little by seeing few points.

* ``subset-median``: random subsets, fresh for every call.
* ``partition-median``: every point lies in exactly one of the groups, so j moved points touch at
  most j of them (deep partition aggregation, arXiv 2006.14768). Nothing is drawn, and what j points
  can do is bounded exactly: see ``posebench.defenses.certificates``.

Neither helps where all points move a little: then every subset is touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.shapes import Bool, Float, Int
from posebench.victims.wrappers import median as coordinate_median

Centre = Literal["coordinate", "geometric"]

WEISZFELD_STEPS = 20
"""Of the geometric median, from the coordinate-wise one; fixed, so that nothing waits."""

NEAREST = 1e-6
"""Metres that a distance counts as at least in Weiszfeld's weights."""


@dataclass(frozen=True)
class SubsetMedian:
    """The median of a victim's outputs over random subsets of the pose source.

    Attributes:
        points: k, of a subset; at most half of a cloud's, so that subsets differ (our choice).
        draws: m, forwards for each call.
        centre: "coordinate", or "geometric" for the point nearest to all outputs of a vertex.
    """

    points: int = 64
    draws: int = 21
    centre: str = "coordinate"
    stochastic = True

    def __post_init__(self) -> None:
        check(self, "points", "draws")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """One random subset of each cloud; the mask bits of all other points are cleared."""
        return kept_alone(pose, *self.drawn(pose, generator))

    def views(self, pose: Clouds, *, generator: Generator | None = None) -> Iterator[Clouds]:
        """What the victim sees: ``draws`` fresh subsets, as clouds of k points."""
        for _ in range(self.draws):
            index, chosen = self.drawn(pose, generator)
            view = taken(pose, index)
            yield view if pose.full else view.keep(chosen)

    def drawn(
        self, pose: Clouds, generator: Generator | None
    ) -> tuple[Int[Tensor, "b k"], Bool[Tensor, "b k"]]:
        """Slots of a random subset of each cloud, and which of them a small cloud has, too."""
        if generator is None:
            generator = generator_for(0, "defense")
        keys = torch.rand(pose.mask.shape, generator=generator, device=generator.device)
        order = keys.to(pose.points.device).masked_fill(~pose.mask, 2.0).argsort(dim=1)
        index = order[:, : self.size(pose.points.shape[1])]
        most = (pose.counts // 2).clamp_min(1)
        return index, torch.arange(index.shape[1], device=index.device) < most[:, None]

    def size(self, count: int) -> int:
        """Of a subset of so many points."""
        return min(self.points, max(1, count // 2))

    def combined(self, outputs: Float[Tensor, "m b n 3"]) -> Float[Tensor, "b n 3"]:
        """The median of the outputs, (B, N, 3)."""
        return median(outputs, self.centre)


@dataclass(frozen=True)
class PartitionMedian:
    """The median of a victim's outputs over the groups of one fixed partition of the pose source.

    A point's group follows from its place in the cloud and is no secret. Each run of ``groups``
    points in a row has one in every group, so that groups are equally large and reach everywhere.

    Attributes:
        groups: m, forwards for each call; of clouds with fewer points, as many as they have.
        centre: as of ``SubsetMedian``; only the coordinate-wise median has a certificate.
    """

    groups: int = 25
    centre: str = "coordinate"

    def __post_init__(self) -> None:
        check(self, "groups")

    def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
        """The first group; the mask bits of all other points are cleared."""
        return kept_alone(pose, *next(self.members(pose)))

    def views(self, pose: Clouds, *, generator: Generator | None = None) -> Iterator[Clouds]:
        """What the victim sees: each group in turn.

        As many groups as the smallest cloud has points, where those are fewer: none is empty.
        """
        for index, chosen in self.members(pose):
            view = taken(pose, index)
            yield view if pose.full else view.keep(chosen)

    def members(self, pose: Clouds) -> Iterator[tuple[Int[Tensor, "b k"], Bool[Tensor, "b k"]]]:
        """Slots of each group's points, and which of them a cloud has."""
        width = pose.points.shape[1]
        groups = min(self.groups, width if pose.full else int(pose.counts.min()))
        real_first = (~pose.mask).to(torch.uint8).argsort(dim=1, stable=True)
        for ranks in partition(width, groups):
            inside = ranks[ranks < width].to(pose.points.device)
            yield real_first[:, inside], inside < pose.counts[:, None]

    def combined(self, outputs: Float[Tensor, "m b n 3"]) -> Float[Tensor, "b n 3"]:
        """The median of the outputs, (B, N, 3)."""
        return median(outputs, self.centre)


def check(defense: SubsetMedian | PartitionMedian, *counts: str) -> None:
    """Raise InputError for a setting that cannot be."""
    for name in counts:
        if getattr(defense, name) < 1:
            raise InputError(f"{name} must be at least 1, got {getattr(defense, name)}")
    if defense.centre not in get_args(Centre):
        raise unknown("centre", defense.centre, get_args(Centre))


@lru_cache(maxsize=16)
def partition(width: int, groups: int) -> Int[Tensor, "groups k"]:
    """Ranks of each group's points among a cloud's real ones; those past its end are none.

    A rank's group does not depend on how many points there are.
    """
    blocks = -(-width // groups)
    keys = [
        torch.rand(groups, generator=generator_for(0, "partition", groups, block))
        for block in range(blocks)
    ]
    places = torch.stack(keys).argsort(dim=1)
    return (places + groups * torch.arange(blocks)[:, None]).T.contiguous()


def kept_alone(pose: Clouds, index: Int[Tensor, "b k"], chosen: Bool[Tensor, "b k"]) -> Clouds:
    """The clouds with these slots' points alone, where chosen; tensors keep their shape."""
    return pose.keep(torch.zeros_like(pose.mask).scatter(1, index, chosen))


def taken(pose: Clouds, index: Int[Tensor, "b k"]) -> Clouds:
    """The clouds' points at these slots, as clouds of their own; gradients pass."""
    points = pose.points.gather(1, index[..., None].expand(-1, -1, 3))
    return Clouds(points, pose.mask.gather(1, index), pose.full)


def median(outputs: Float[Tensor, "m b n 3"], centre: str) -> Float[Tensor, "b n 3"]:
    """Over the first axis; of an even number the lower one.

    Points may lie so far off that a network returns NaN. That is one output gone astray like any
    other, and must not become the median.
    """
    middle = coordinate_median(outputs.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf))
    if centre == "coordinate":
        return middle
    finite = outputs.isfinite().all(dim=3, keepdim=True)  # what lies at infinity weighs nothing
    there = torch.where(finite, outputs, 0.0)
    for _ in range(WEISZFELD_STEPS):
        weights = finite / (there - middle).norm(dim=3, keepdim=True).clamp_min(NEAREST)
        middle = (weights * there).sum(dim=0) / weights.sum(dim=0)
    return middle
