"""3D-CoreNet (Song et al., NeurIPS 2021, arXiv 2109.15025): correspondence, then refinement.

Written from the published description and checked against the released network (24,461,447
parameters at width 1024): same outputs, gradients and training steps. Features of both clouds,
from shared layers, are matched by optimal transport (``victims.transport``); the transport carries
the pose's points to the identity's vertices, and a decoder refines this warped cloud, modulated by
the identity's features (``victims.elain``). Three things a reader should know:

* **The identity's order matters.** The decoder's first layer is a convolution of kernel 3 along the
  vertex index, as released: its neighbours are whichever vertices stand before and after. The
  protocol shuffles vertices, so they are random ones. The pose's order does not matter.
* The identity is seen through features behind an instance norm alone: its position and size never
  reach the output, which come from the pose.
* As released, inference runs without gradients and cannot be attacked. This is the same function,
  differentiable throughout.

Padding is left out of all statistics; behind the last real identity vertex the kernel-3 layer
reads zeros, as at the end of the list.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from posebench.interfaces import VictimSpec
from posebench.shapes import Bool, Float
from posebench.victims.blocks import (
    Head,
    apply_linear,
    before_norm,
    instance_norm,
    point_weights,
)
from posebench.victims.elain import ElaINBlock, SpectralLinear, leaky
from posebench.victims.linear import linear, points_together
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.released_names import counted
from posebench.victims.transport import carried

GAIN = 0.02
"""Of the initial weights (Xavier's normal distribution, released code); biases are zero."""

RELEASED_NAMES = (
    (r"netG\.fc\.", "neighbours."),
    (r"netG\.conv4\.", "head."),
    (r"netG\.conv(\d)\.", counted("projections.")),
    (r"netG\.elain_block(\d)\.", counted("stages.")),
    (r"\.weight_orig$", ".weight"),
    (r"\.weight_([uv])$", r".\1"),
    (r"\.mlp_weight\.", ".mix."),
    (r"\.mlp_(same|gamma|beta)\.", r".\1."),
    (r"\.(norm|conv)_0\.", r".\1_main1."),
    (r"\.(norm|conv)_1\.", r".\1_main2."),
    (r"\.(norm|conv)_s\.", r".\1_side."),
    (r"\.conv_(main\d|side)\.", r".\1."),
    (r"netCorr\.adaptive_feature\.layer(\d)\.", counted("matching.layers.")),
    (r"netCorr\.layer\.(\d)\.conv1\.", r"matching.blocks.\1.first."),
    (r"netCorr\.layer\.(\d)\.conv2\.", r"matching.blocks.\1.second."),
    (r"netCorr\.layer\.(\d)\.prelu\.weight", r"matching.blocks.\1.slope"),
    (r"netCorr\.theta\.", "matching.of_identity."),
    (r"netCorr\.phi\.", "matching.of_pose."),
)
"""Of the two released files, whose names are to begin with ``netG.`` (refinement) and ``netCorr.``
(correspondence)."""


class Matching(nn.Module):
    """Features of a cloud, shared by pose and identity, and their two projections."""

    def __init__(self, base: int) -> None:
        super().__init__()
        sizes = (3, base, 2 * base, 4 * base)
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * base) for _ in range(4))
        self.of_identity = nn.Linear(4 * base, 4 * base)
        self.of_pose = nn.Linear(4 * base, 4 * base)

    def forward(
        self, points: Float[Tensor, "b n 3"], weights: Float[Tensor, "b n 1"] | None
    ) -> Float[Tensor, "b n c"]:
        x = points
        for number, layer in enumerate(self.layers):
            x = instance_norm(before_norm(layer, leaky(x) if number else x), weights)
        x = unit(x)
        for block in self.blocks:
            x = block(x, weights)
        return x


class ResidualBlock(nn.Module):
    """Two layers with instance norm around an identity skip; one PReLU slope in both places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.slope = nn.Parameter(torch.full((1,), 0.25))

    def forward(
        self, x: Float[Tensor, "b n c"], weights: Float[Tensor, "b n 1"] | None
    ) -> Float[Tensor, "b n c"]:
        y = self.activation(instance_norm(before_norm(self.first, x), weights))
        y = instance_norm(before_norm(self.second, y), weights)
        return self.activation(y + x)

    def activation(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """PReLU, which does not promote types by itself."""
        return nn.functional.prelu(x, self.slope.to(x.dtype))


class NeighbourLinear(nn.Module):
    """The convolution of kernel 3 along the vertex index, zeros beyond both ends."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 3, 3))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n c"]:
        ends = nn.functional.pad(points, (0, 0, 1, 1))
        three = torch.cat([ends[:, :-2], points, ends[:, 2:]], dim=2)
        return linear(three, self.weight.permute(0, 2, 1).flatten(1), self.bias)


class CoreNet(PoseTransferNetwork):
    """See the module's text."""

    spec = VictimSpec(
        name="corenet",
        title="3D-CoreNet",
        paper="arXiv 2109.15025",
        stochastic=False,
        point_counts="free",
        masks=True,
        order="identity",
        way="by learnt correspondence",
        code="ChaoyueSong/3d-corenet, MIT",
    )
    released_names = RELEASED_NAMES
    released_width = "neighbours.weight"
    side_share: ClassVar[int] = 1
    """One part in so many of the identity's features modulates the decoder."""

    def __init__(self, width: int = 1024) -> None:
        super().__init__(width)
        base = max(1, width // 16)
        widths = (width, width // 2, width // 4)
        sizes = (width, *widths)
        self.side = max(1, 4 * base // self.side_share)
        self.matching = Matching(base)
        self.neighbours = NeighbourLinear(width)
        self.projections = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.stages = nn.ModuleList(ElaINBlock(w, self.side) for w in widths)
        self.head = Head(widths[-1])
        for part in self.modules():
            if isinstance(part, (nn.Linear, SpectralLinear, NeighbourLinear)):
                nn.init.xavier_normal_(part.weight, GAIN)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        self.settle()

    def settle(self) -> None:
        for part in self.modules():
            if isinstance(part, SpectralLinear):
                part.settle()

    def transfer(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b m"] | None = None,
        identity_mask: Bool[Tensor, "b n"] | None = None,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b n 3"]:
        of_pose = self.features(pose, pose_mask)
        of_identity = self.features(identity, identity_mask)
        warped = self.warp(of_identity, of_pose, pose, identity_mask, pose_mask)
        return self.refine(warped, of_identity, identity_mask)

    def features(
        self, points: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n c"]:
        """Features of either cloud."""
        found: Tensor = self.matching(points_together(points), point_weights(mask, points.dtype))
        return found

    def matchable(
        self, of_identity: Float[Tensor, "b n c"], of_pose: Float[Tensor, "b m c"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b m c"]]:
        """Unit vectors of identity and pose that the transport compares."""
        return (
            unit(apply_linear(self.matching.of_identity, of_identity)),
            unit(apply_linear(self.matching.of_pose, of_pose)),
        )

    def warp(
        self,
        of_identity: Float[Tensor, "b n c"],
        of_pose: Float[Tensor, "b m c"],
        pose: Float[Tensor, "b m 3"],
        identity_mask: Bool[Tensor, "b n"] | None = None,
        pose_mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n 3"]:
        """The pose's points, carried to the identity's vertices."""
        return carried(
            *self.matchable(of_identity, of_pose),
            pose,
            point_weights(identity_mask, pose.dtype),
            point_weights(pose_mask, pose.dtype),
        )

    def refine(
        self,
        warped: Float[Tensor, "b n 3"],
        of_identity: Float[Tensor, "b n c"],
        mask: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n 3"]:
        """The warped cloud as the decoder answers it."""
        if mask is not None:
            warped = warped * mask[..., None]
        weights, side = point_weights(mask, warped.dtype), of_identity[..., : self.side]
        x = self.neighbours(warped)
        for project, stage in zip(self.projections, self.stages, strict=True):
            x = stage(apply_linear(project, x), side, weights)
        coordinates: Tensor = self.head(x)
        return coordinates


def unit(x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """Each point's features over their length, in float32 at least; float64's epsilon is added to
    the length as released."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    length: Tensor = wide.norm(dim=2, keepdim=True)
    return wide / (length + torch.finfo(torch.float64).eps)
