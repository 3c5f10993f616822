"""How often an attack asks the victim, counted where the victim is called.

Nothing is believed from the attack: a wrapper around the victim sees every call, and a hook on the
pose that it passes on sees every gradient that comes back to it. An attack that looks for the
network inside the victim and calls that instead is counted by a hook on the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from posebench.attacks.gradient import EOT, network_of
from posebench.cloud import Clouds
from posebench.interfaces import Effort, Victim, VictimSpec


@dataclass
class Calls:
    """Rows, one for each pose in a call.

    A call of the victim that the attack sees is one forward, whatever happens inside it: the votes
    of a smoothing defence are not counted apart. Each draw of an average over draws is a call.

    Attributes:
        forwards: rows that the victim was called with.
        backwards: rows of poses that a gradient came back to.
        inside: calls of the wrapper that are going on.
        effort: what the attack itself says of each sample, where it says anything.
    """

    forwards: int = 0
    backwards: int = 0
    inside: int = 0
    effort: Effort | None = None

    def per_sample(self, samples: int) -> tuple[int, int]:
        """Forwards and backwards for each of a batch's samples: the mean, rounded up."""
        return -(-self.forwards // samples), -(-self.backwards // samples)

    def shown(self, points: Tensor) -> Tensor:
        """Count a call with these (R, ...) points; the same points, whose gradients are counted.

        A view of its own: hooks on one tensor that is shown again would all fire each time.
        """
        rows = len(points)
        self.forwards += rows
        if not (points.requires_grad and torch.is_grad_enabled()):
            return points
        view = points.view_as(points)
        view.register_hook(lambda _: self._came_back(rows))
        return view

    def _came_back(self, rows: int) -> None:
        self.backwards += rows


@dataclass(frozen=True)
class Counted:
    """A victim whose calls are counted."""

    victim: Victim
    calls: Calls

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        shown = pose.replace(self.calls.shown(pose.points))
        self.calls.inside += 1
        try:
            return self.victim(shown, identity, generator=generator)
        finally:
            self.calls.inside -= 1


@contextmanager
def counting(victim: Victim) -> Iterator[tuple[Victim, Calls]]:
    """The victim as an attack should get it, and the calls that are made of it inside."""
    calls = Calls()

    def called(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if calls.inside or not inputs:
            return None
        pose, *others = inputs
        if isinstance(pose, Clouds):
            return pose.replace(calls.shown(pose.points)), *others
        return (calls.shown(pose), *others) if isinstance(pose, Tensor) else None

    network = network_of(victim)
    hook = None if network is None else network.register_forward_pre_hook(called)
    try:
        if isinstance(victim, EOT):
            yield EOT(Counted(victim.victim, calls), victim.draws), calls
        else:
            yield Counted(victim, calls), calls
    finally:
        if hook is not None:
            hook.remove()
