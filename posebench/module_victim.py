"""Anybody's network as a victim: ``posebench.from_module``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Generator, Tensor

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Victim, VictimSpec
from posebench.registry import unknown


@dataclass(frozen=True)
class ModuleVictim:
    """Anybody's network as a victim; made by :func:`from_module`.

    The network stands in ``victim``, where attacks look for parameters to freeze.
    """

    victim: Callable[[Tensor, Tensor], Tensor]
    spec: VictimSpec
    channels_first: bool = False

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        clouds = [pose.points, identity.points]
        if self.channels_first:
            clouds = [points.transpose(1, 2).contiguous() for points in clouds]
        output = self.victim(*clouds)
        if not isinstance(output, Tensor):
            raise InputError(f"{self.spec.name} must return a tensor, not {type(output).__name__}")
        if self.channels_first and output.ndim == 3:
            output = output.transpose(1, 2)
        return Clouds.dense(output)


def from_module(
    network: Callable[[Tensor, Tensor], Tensor],
    *,
    name: str = "own",
    layout: Literal["bn3", "b3n"] = "bn3",
    point_counts: Literal["equal", "free"] = "equal",
    stochastic: bool = False,
) -> Victim:
    """A victim from a network or any function of two tensors, (pose, identity) -> output.

    ``layout`` is that of all three: "bn3" for (B, N, 3), "b3n" for (B, 3, N). Metres, centred by
    the bounding box. Say ``point_counts="free"`` if pose and identity may differ in length, and
    ``stochastic`` if two calls on the same input differ.

    Raises:
        InputError: unknown layout or point_counts.
    """
    for value, known in ((layout, ("bn3", "b3n")), (point_counts, ("equal", "free"))):
        if value not in known:
            raise unknown("choice", value, known)
    title = name.replace("_", " ")
    spec = VictimSpec(name, title, "none", stochastic, point_counts, masks=False)
    return ModuleVictim(network, spec, channels_first=layout == "b3n")
