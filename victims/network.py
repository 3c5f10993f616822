"""The base of the built-in networks: clouds in, clouds out, tensors inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Generator, Tensor, nn

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import VictimSpec
from posebench.shapes import Bool, Float

MAX_WIDTH = 8192
"""Eight times the published width; a damaged header must not ask for all memory."""


class PoseTransferNetwork(nn.Module):
    """A victim whose arithmetic is :meth:`transfer` on plain tensors.

    The split keeps training fast (``transfer`` compiles as one graph) and the victim's
    contract, ``victim(pose, identity) -> Clouds``, in one place.
    """

    spec: ClassVar[VictimSpec]

    def __init__(self, width: int) -> None:
        super().__init__()
        if not 4 <= width <= MAX_WIDTH:
            raise InputError(f"width must be 4..{MAX_WIDTH}, got {width}")
        self.width = width
        self.compiled: Callable[..., Tensor] | None = None  # transfer() through torch.compile

    def settings(self) -> dict[str, object]:
        """Constructor arguments that rebuild this network, JSON-ready."""
        return {"width": self.width}

    def transfer(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b m"] | None = None,
        identity_mask: Bool[Tensor, "b n"] | None = None,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b n 3"]:
        """The identity in the pose, in the identity's order; None masks mean no padding."""
        raise TypeError(f"{type(self).__name__} does not define transfer()")

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
        points = (self.compiled or self.transfer)(
            pose.points,
            identity.points,
            None if pose.full else pose.mask,
            None if identity.full else identity.mask,
            generator,
        )
        if identity.full:
            return identity.replace(points)
        return Clouds.padded(points, identity.mask)
