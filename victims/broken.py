"""Victims that look robust and are not: what the reliability checks must find (docs/flags.md).

Each wraps a working victim. They serve ``posebench check``, which tests itself on them, and the
tests; nobody should attack them in earnest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.interfaces import Victim, VictimSpec


@dataclass(frozen=True)
class Broken:
    """A victim inside another that passes for it."""

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec


@dataclass(frozen=True)
class Detached(Broken):
    """Cuts the gradient: the output is the victim's, autograd finds no way to the pose."""

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return self.victim(pose, identity, generator=generator).detach()


@dataclass(frozen=True)
class Quantised(Broken):
    """Rounds the pose to a grid of ``step`` metres: the gradient exists and is zero."""

    step: float = 0.01

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        rounded = (pose.points / self.step).round() * self.step
        return self.victim(pose.replace(rounded), identity, generator=generator)


@dataclass(frozen=True)
class Noisy(Broken):
    """Adds noise of ``sigma`` metres to the output and does not say that it is random."""

    sigma: float = 0.02

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        output = self.victim(pose, identity, generator=generator)
        # torch's global generator, on purpose: a careless victim would use it.
        return output.replace(output.points + self.sigma * torch.randn_like(output.points))


@dataclass(frozen=True)
class Mixing(Broken):
    """Moves each output by ``share`` of how far the next sample's pose lies from its own.

    What a network with batch statistics does; with one sample in the batch nothing shows.
    """

    share: float = 0.1

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        output = self.victim(pose, identity, generator=generator)
        centre = pose.points.sum(dim=1, keepdim=True) / pose.counts[:, None, None]
        moved = output.points + self.share * (centre.roll(1, dims=0) - centre)
        return output.replace(moved * output.mask[..., None])


@dataclass(frozen=True)
class Ordered(Broken):
    """Moves each output by ``share`` of its first pose point: the order of the points matters."""

    share: float = 0.1

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        output = self.victim(pose, identity, generator=generator)
        moved = output.points + self.share * pose.points[:, :1]
        return output.replace(moved * output.mask[..., None])


@dataclass(frozen=True)
class Constant(Broken):
    """Returns the identity as it came, whatever the pose."""

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return identity


@dataclass(frozen=True)
class FirstStepMasked(Broken):
    """Its gradient points the other way at the clean poses and nowhere else, so that FGM fails.

    What training against FGM alone may end in (catastrophic overfitting, Wong et al., arXiv
    2001.03994), here without the training.

    Attributes:
        clean: the poses that it knows, (S, N, 3).
    """

    clean: Tensor

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        output = self.victim(pose, identity, generator=generator)
        known = (pose.points.detach()[:, None] == self.clean).flatten(2).all(dim=2).any(dim=1)
        turned = 2 * output.points.detach() - output.points
        return output.replace(torch.where(known[:, None, None], turned, output.points))
