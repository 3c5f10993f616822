"""The base of the built-in networks: clouds in, clouds out, tensors inside."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import VictimSpec
from posebench.shapes import Float
from posebench.victims.released_names import Names

MAX_WIDTH = 8192
"""Eight times the published width; a damaged header must not ask for all memory."""


class PoseTransferNetwork(nn.Module):
    """A victim whose arithmetic is :meth:`transfer` on plain tensors.

    The split keeps training fast (``transfer`` compiles as one graph) and the victim's
    contract, ``victim(pose, identity) -> Clouds``, in one place.
    """

    spec: ClassVar[VictimSpec]
    released_names: ClassVar[Names] = ()
    """From the names of a released checkpoint's tensors to ours; empty if none is released."""
    released_width: ClassVar[str] = ""
    """Our name of the tensor whose rows are the width."""
    can_recompute: ClassVar[bool] = False
    """Whether ``recompute`` may be set: gradient checkpointing in training."""
    recompute: bool = False

    def __init__(self, width: int) -> None:
        super().__init__()
        if not 4 <= width <= MAX_WIDTH:
            raise InputError(f"width must be 4..{MAX_WIDTH}, got {width}")
        self.width = width
        self.compiled: Callable[..., Tensor] | None = None  # transfer() through torch.compile
        self._takes = frozenset(inspect.signature(self.transfer).parameters)
        if self.spec.masks and not {"pose_mask", "identity_mask"} <= self._takes:
            raise InputError(
                f"victim {self.spec.name!r} says that it takes masks, but its transfer() has no "
                "pose_mask and identity_mask: give it both, or its spec masks=False"
            )

    def settings(self) -> dict[str, object]:
        """Constructor arguments that rebuild this network, JSON-ready."""
        return {"width": self.width}

    def settle(self) -> None:
        """Make anew what follows from the weights, after they were replaced by an average."""

    def transfer(self, *args: Any, **others: Any) -> Float[Tensor, "b n 3"]:
        """The identity in the pose, in the identity's order:

        ``transfer(pose, identity, pose_mask=None, identity_mask=None, generator=None)`` with pose
        (B, M, 3), identity (B, N, 3) and masks (B, M) and (B, N), where None means no padding. A
        network that knows no padding leaves the masks out, one that draws nothing the generator; a
        method with given correspondence adds ``guide=None``, a ``posebench.cloud.Guide``.
        """
        raise TypeError(f"{type(self).__name__} does not define transfer()")

    def transferred(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        **others: Any,
    ) -> Float[Tensor, "b n 3"]:
        """:meth:`transfer`, compiled where it is, with those of the others that it takes."""
        given = {name: value for name, value in others.items() if name in self._takes}
        return (self.compiled or self.transfer)(pose, identity, **given)

    def forward(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        """Transfer clouds; the victim's contract.

        Raises:
            InputError: if the network needs equal point counts, or no padding, and gets other.
        """
        spec = self.spec
        if spec.point_counts == "equal" and pose.points.shape != identity.points.shape:
            raise InputError(
                f"{spec.name} pairs pose and identity by vertex index and needs equal point "
                f"counts, got {pose.points.shape[1]} and {identity.points.shape[1]}; wrap it "
                "in posebench.victims.EqualPoints"
            )
        if not spec.masks and not (pose.full and identity.full):
            raise InputError(
                f"{spec.name} cannot leave points out; wrap it in posebench.victims.EqualPoints"
            )
        points = self.transferred(
            pose.points,
            identity.points,
            pose_mask=None if pose.full else pose.mask,
            identity_mask=None if identity.full else identity.mask,
            generator=generator,
            guide=identity.guide,
        )
        if identity.full:
            return identity.replace(points)
        return Clouds.padded(points, identity.mask)
