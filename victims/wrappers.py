"""Victims made of other victims: equal point counts, a defence in front, lower precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.interfaces import Defense, Victim, VictimSpec
from posebench.rng import generator_for


def resampled(pose: Clouds, count: int) -> Clouds:
    """Each cloud brought to ``count`` points: its real points evenly repeated or thinned.

    Slot j takes real point floor(j n / count) of n. Deterministic, differentiable to the points,
    and the identity where nothing was removed. Point order carries no meaning in the protocol,
    so neighbouring slots are random points (our choice; the paper says nothing).
    """
    if pose.full and pose.points.shape[1] == count:
        return pose
    real_first = (~pose.mask).to(torch.uint8).argsort(dim=1, stable=True)
    slots = torch.arange(count, device=pose.points.device)[None] * pose.counts[:, None] // count
    index = real_first.gather(1, slots)
    return Clouds.dense(pose.points.gather(1, index[..., None].expand(-1, -1, 3)))


@dataclass(frozen=True)
class EqualPoints:
    """Lets a victim that pairs by vertex index take pose sources of any size or mask."""

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return replace(self.victim.spec, point_counts="free", masks=True)

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        pose = resampled(pose, identity.points.shape[1])
        return self.victim(pose, identity, generator=generator)


def any_count(victim: Victim) -> Victim:
    """The victim itself if it takes pose sources of any size and mask, else behind EqualPoints."""
    free = victim.spec.masks and victim.spec.point_counts == "free"
    return victim if free else EqualPoints(victim)


@dataclass(frozen=True)
class InBf16:
    """A victim whose matrix products take bfloat16, forward and backward.

    Its weights stay as they are; norms keep float32 statistics, and the built-in networks compute
    coordinates in float32.
    """

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        with torch.autocast(pose.points.device.type, torch.bfloat16):
            output = self.victim(pose, identity, generator=generator)
        return output.replace(output.points.to(pose.points.dtype))


@dataclass(frozen=True)
class Defended:
    """A victim behind a defence, itself a victim.

    Gradients flow through the kept points, which is exact almost everywhere but gives removed
    points none. With ``straight_through`` they are the bare victim's, as if the defence were the
    identity (BPDA, Athalye et al., arXiv 1802.00420), at one more forward; the output is the same.
    They are taken at the defence's points where it only moves points, as published, else (points
    dropped, several views) at the pose source's own, so that dropped points have gradients, too.

    Optional attributes of a defence count here: ``stochastic`` (its draws come from the
    generator), ``votes`` (that many outputs, from fresh draws, are combined by their median), or in
    its place the methods ``views(pose, generator=...)``, which yields the clouds whose outputs are
    combined, and ``combined(outputs)``, which makes one (B, N, 3) of the (M, B, N, 3).
    """

    victim: Victim
    defense: Defense
    straight_through: bool = False

    @property
    def spec(self) -> VictimSpec:
        spec = self.victim.spec
        name = type(self.defense).__name__.lower()
        stochastic = spec.stochastic or bool(getattr(self.defense, "stochastic", False))
        name = f"{spec.name}+{name}"
        return replace(spec, name=name, point_counts="free", masks=True, stochastic=stochastic)

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        views = self._views(pose, generator)
        outputs = [self._answer(view, identity, generator) for view in views]
        output = outputs[0]
        if len(outputs) > 1:
            combined = getattr(self.defense, "combined", median)
            output = output.replace(combined(torch.stack([each.points for each in outputs])))
        if not (self.straight_through and pose.points.requires_grad):
            return output
        bare = self.victim(_passed(pose, views), identity, generator=generator).points
        return output.replace(bare + (output.points - bare).detach())

    def outputs(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> list[Clouds]:
        """The victim's answers that are combined: one for each view of the pose."""
        views = self._views(pose, generator)
        return [self._answer(view, identity, generator) for view in views]

    def _views(self, pose: Clouds, generator: Generator | None) -> list[Clouds]:
        if generator is None and getattr(self.defense, "stochastic", False):
            generator = generator_for(0, "defense")  # one for all views, or they would be the same
        several = getattr(self.defense, "views", None)
        if several is not None:
            return list(several(pose, generator=generator))
        votes = int(getattr(self.defense, "votes", 1))
        return [self.defense(pose, generator=generator) for _ in range(votes)]

    def _answer(self, cleaned: Clouds, identity: Clouds, generator: Generator | None) -> Clouds:
        spec = self.victim.spec
        fits = spec.masks and (
            spec.point_counts == "free" or cleaned.points.shape[1] == identity.points.shape[1]
        )
        victim = self.victim if fits else EqualPoints(self.victim)
        return victim(cleaned, identity, generator=generator)


def _passed(pose: Clouds, views: list[Clouds]) -> Clouds:
    """The points at which a straight-through gradient is taken; it reaches the pose source."""
    there = views[0]
    if len(views) > 1 or not torch.equal(there.mask, pose.mask):
        return pose
    return pose.replace(pose.points + (there.points - pose.points).detach())


def median(outputs: Tensor) -> Tensor:
    """Coordinate by coordinate over the first axis; of an even number the lower one."""
    values: Tensor = outputs.median(dim=0).values
    return values
