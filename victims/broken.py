"""Victims that look robust and are not: what the reliability checks must find (docs/flags.md).

Each wraps a working victim. They serve ``posebench check``, which tests itself on them, and the
tests; nobody should attack them in earnest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from posebench.cloud import Clouds
from posebench.interfaces import Victim, VictimSpec


@dataclass(frozen=True)
class Detached:
    """Cuts the gradient: the output is the victim's, autograd finds no way to the pose."""

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return self.victim(pose, identity, generator=generator).detach()


@dataclass(frozen=True)
class Quantised:
    """Rounds the pose to a grid of ``step`` metres: the gradient exists and is zero."""

    victim: Victim
    step: float = 0.01

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        rounded = (pose.points / self.step).round() * self.step
        return self.victim(pose.replace(rounded), identity, generator=generator)


@dataclass(frozen=True)
class Noisy:
    """Adds noise of ``sigma`` metres to the output and does not say that it is random."""

    victim: Victim
    sigma: float = 0.02

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        output = self.victim(pose, identity, generator=generator)
        # torch's global generator, on purpose: a careless victim would use it.
        return output.replace(output.points + self.sigma * torch.randn_like(output.points))


@dataclass(frozen=True)
class Constant:
    """Returns the identity as it came, whatever the pose."""

    victim: Victim

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return identity
