"""NPT and NPT-MP: Neural Pose Transfer (Wang et al., CVPR 2020, arXiv 2003.07254).

Written from the published description and checked against the released networks: same
parameters (6,054,941 at width 1024), outputs and gradients. Two things a reader should know:

* NPT joins pose features and identity by **vertex index**, so both need equally many points,
  and the pairing is arbitrary once the orders are shuffled as the protocol demands.
* NPT-MP pools the pose over its points into one code. The first stage then works without
  instance norm, as released: the norm would erase a code that is constant over the points.
"""

from __future__ import annotations

from torch import Generator, Tensor, nn

from posebench.interfaces import VictimSpec
from posebench.shapes import Bool, Float
from posebench.victims.blocks import (
    Head,
    PointEncoder,
    ResidualStage,
    code_linear,
    initialise,
    point_weights,
    pooled_code,
)
from posebench.victims.linear import filled, linear, linear_sum, points_together
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.released_names import spadain_names


class NPT(PoseTransferNetwork):
    """Per-point pose features joined with the identity; see the module's text."""

    spec = VictimSpec(
        name="npt",
        title="NPT",
        paper="arXiv 2003.07254",
        stochastic=False,
        point_counts="equal",
        masks=False,
        way="per vertex, by index",
        code="jiashunwang/Neural-Pose-Transfer, no licence file",
    )
    released_names = spadain_names(head=4)
    released_width = "encoder.layers.2.weight"
    pooled = False

    def __init__(self, width: int = 1024) -> None:
        super().__init__(width)
        self.encoder = PointEncoder(width)
        joined = width + 3
        widths = (joined, joined // 2, joined // 4)
        sizes = (joined, *widths)
        self.projections = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            ResidualStage(w, normalise=not (self.pooled and i == 0)) for i, w in enumerate(widths)
        )
        self.head = Head(widths[-1])
        initialise(self)

    def transfer(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b m"] | None = None,
        identity_mask: Bool[Tensor, "b n"] | None = None,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b n 3"]:
        weights = point_weights(identity_mask, identity.dtype)
        pose, identity = points_together(pose), points_together(identity)
        x = self.join(pose, identity, pose_mask)
        following = [*self.projections[1:], self.head]
        for stage, then in zip(self.stages, following, strict=True):
            x = stage(x, identity, weights, then=then, normed=then is not self.head)
        return x

    def join(
        self,
        pose: Float[Tensor, "b n 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b n c"]:
        """First projection of [pose features, identity xyz]."""
        features = self.encoder(pose, point_weights(pose_mask, pose.dtype))
        first = self.projections[0]
        assert isinstance(first, nn.Linear)
        weight, _ = filled(features, first.weight, None)  # a norm follows: no bias
        parts = weight.split([self.width, 3], dim=1)
        return linear_sum((features, identity), parts, None)


class NPTMaxPool(NPT):
    """NPT with the pose max-pooled into one code; pose and identity sizes are free."""

    spec = VictimSpec(
        name="npt-mp",
        title="NPT-MP",
        paper="arXiv 2003.07254",
        stochastic=False,
        point_counts="free",
        masks=True,
        way="pooled",
        code="jiashunwang/Neural-Pose-Transfer, no licence file",
    )
    pooled = True

    def join(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b m"] | None,
    ) -> Float[Tensor, "b n c"]:
        """The first projection, split: the code's part once, the xyz part per point."""
        code = pooled_code(self.encoder, pose, pose_mask)
        first = self.projections[0]
        assert isinstance(first, nn.Linear)
        weight, bias = filled(code, first.weight, first.bias)
        of_code, of_xyz = weight.split([self.width, 3], dim=1)
        return code_linear(code, of_code, bias) + linear(identity, of_xyz, None)
