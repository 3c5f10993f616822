"""GC-Transformer: Geometry-Contrastive Transformer (Chen et al., AAAI 2022, arXiv 2112.07374).

Written from the published description and checked against the released network (12,009,351
parameters at width 1024). As released, the attention is odd, and we keep it odd: the map is
(pose point i, identity point j), yet the values are indexed by **pose** point j, so pose and
identity must have equally many points; logits are not scaled; gamma starts at 0, which leaves
queries, keys and values without gradient at the first step.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.utils.checkpoint import checkpoint

from posebench.interfaces import VictimSpec
from posebench.shapes import Bool, Float
from posebench.victims.attention import attend
from posebench.victims.blocks import (
    Head,
    PointEncoder,
    ResidualStage,
    apply_linear,
    average,
    initialise,
    point_weights,
    pooled_code,
)
from posebench.victims.linear import linear, points_together
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.released_names import spadain_names


class SpatialAttention(nn.Module):
    """P + gamma * softmax_j(Q_i . K_j) V_j with Q, V from the pose and K from the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(
        self, pose: Float[Tensor, "b n c"], identity: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b n c"]:
        values = apply_linear(self.value, pose)
        if self.composing_pays(identity):
            attended = attend(with_one(pose), self.composed_keys(identity), values)
        else:
            queries = apply_linear(self.query, pose)
            attended = attend(queries, apply_linear(self.key, identity), values)
        return torch.addcmul(pose, self.gamma.to(attended.dtype), attended)

    def composing_pays(self, identity: Float[Tensor, "b n c"]) -> bool:
        """Whether :meth:`composed_keys` save a frozen network time. Training learns from queries
        and keys apart, and in bf16 one channel more would misalign the products."""
        frozen = not (torch.is_grad_enabled() and self.query.weight.requires_grad)
        points, width = identity.shape[1:]
        return frozen and identity.dtype != torch.bfloat16 and points > width

    def composed_keys(self, identity: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
        """Keys that take the pose's features, with a one behind them, in the place of queries.

        Q_i . K_j = [p_i, 1]^T [W_q, b_q]^T (W_k i_j + b_k): the queries' matrix moves to the keys,
        which an attack computes no gradient of.
        """
        query = torch.cat([self.query.weight, self.query.bias[:, None]], dim=1).t()
        return linear(identity, query @ self.key.weight, query @ self.key.bias)


def with_one(x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
    """The features with a one behind each."""
    rows = x.permute(2, 0, 1)
    return torch.cat([rows, rows.new_ones(1, *rows.shape[1:])]).permute(1, 2, 0)


class GCTransformer(PoseTransferNetwork):
    """Four stages, each: project both streams, attend, modulate by the identity's xyz."""

    spec = VictimSpec(
        name="gct",
        title="GC-Transformer",
        paper="arXiv 2112.07374",
        stochastic=False,
        point_counts="equal",
        masks=False,
        way="per vertex, by index, and attention",
        code="mikecheninoulu/CGT, no licence file",
    )
    released_names = spadain_names(head=5)
    released_width = "encoder.layers.2.weight"
    pooled = False
    can_recompute = True
    """Of the stages the inputs alone are kept, which takes about a third more time."""

    def __init__(self, width: int = 1024) -> None:
        super().__init__(width)
        widths = (width, width // 2, width // 2, width // 4)
        sizes = (width, *widths)
        self.encoder = PointEncoder(width)
        self.projections = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.attentions = nn.ModuleList(SpatialAttention(w) for w in widths)
        self.stages = nn.ModuleList(
            ResidualStage(w, normalise=not (self.pooled and i == 0)) for i, w in enumerate(widths)
        )
        self.head = Head(widths[-1])
        initialise(self)

    def transfer(
        self,
        pose: Float[Tensor, "b n 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b n"] | None = None,
        identity_mask: Bool[Tensor, "b n"] | None = None,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b n 3"]:
        pose, identity = points_together(pose), points_together(identity)
        i = self.encoder(identity)
        p: Tensor = apply_linear(self.projections[0], self.encoder(pose))
        for number in range(len(self.stages)):
            if self.recompute and torch.is_grad_enabled():
                p, i = checkpoint(self.stage, number, p, i, identity, use_reentrant=False)
            else:
                p, i = self.stage(number, p, i, identity)
        return p

    def stage(
        self,
        number: int,
        p: Float[Tensor, "b n c"],
        i: Float[Tensor, "b n k"],
        identity: Float[Tensor, "b n 3"],
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n c"]]:
        """Both streams through one stage, the pose's with the layer that follows; what
        ``recompute`` does again in the backward pass."""
        i = apply_linear(self.projections[number], i)
        then = [*self.projections[1:], self.head][number]
        p = self.stages[number](self.attentions[number](p, i), identity, then=then)
        return p, i


class GCTransformerMaxPool(GCTransformer):
    """The released max-pool variant, the nearest released relative of 3D-PoseMAE.

    Both streams are pooled into one code and tiled, and the first stage has no instance norm. As
    all keys are then equal, the softmax is uniform: attention adds gamma times the mean value and
    the identity's code, queries and keys never reach the output. We compute just that.
    """

    spec = VictimSpec(
        name="gct-mp",
        title="GC-Transformer-MP",
        paper="arXiv 2112.07374",
        stochastic=False,
        point_counts="free",
        masks=True,
        way="pooled",
        code="mikecheninoulu/CGT, no licence file",
    )
    pooled = True

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
        p = pooled_code(self.encoder, pose, pose_mask)
        p = apply_linear(self.projections[0], p)
        following = [*self.projections[1:], self.head]
        for attention, stage, then in zip(self.attentions, self.stages, following, strict=True):
            assert isinstance(attention, SpatialAttention)
            value = apply_linear(attention.value, p)
            mean = average(value, None if value.shape[1] == 1 else weights)
            p = stage(p + attention.gamma * mean, identity, weights, then=then)
        return p
