"""3D-PoseMAE (Chen et al., CVPR 2024, arXiv 2404.02242); its code was never released.

From the paper: a multi-scale masked encoder on the pose (each scale a random subsample, masked
at some ratio, read by a mini-PointNet; codes of all scales aggregated and tiled over the
identity's vertices), a decoder "consistent with GC-Transformer" whose attention map is C x C
(Eq. 1), refined as gamma * A V + Z_pose (Eq. 2), instance norm, model size 40.7 MB.

Our inference, chosen to fit what is printed:

* three decoder stages (1024, 512, 256) and one encoder shared by all scales and by the
  identity: 10,158,470 parameters, whose file is the paper's 40.7 MB;
* three scales with factors 1, 2, 4, mask ratio 0.5, codes max-pooled over points and averaged
  over scales;
* the first stage has no instance norm, which would erase a code that is tiled over the points
  (as in NPT-MP);
* logits are averaged over the points instead of summed (``logits="mean"``): the published sum
  grows with the vertex count and saturates the softmax, so a network trained at one count
  fails at another. ``logits="sum"`` is the published form;
* in train mode subsamples and masks are drawn at random from ``generator``; in eval mode,
  which is also what attacks see, nothing is masked and nothing left out: every scale reads all
  points. As the encoder is shared, the scales' codes are then one and the same.

Why not choose subsamples in eval mode too? Every n-th point hangs on the points' order, which has
no meaning. A choice by coordinates changes as the pose is attacked, without a gradient: picked by a
hash of the coordinates or by narrow bands, points come and go with every step, which makes gradient
ascent fail and the victim look robust; picked by wide bands or by the distance from the centroid,
whole parts of the body are never read, and the error on clean poses doubles. All points need no
choice that an attacker could use, and cost less.

``attention="spatial"`` is GC-Transformer's map with values indexed by identity point (the tiled
code has no points of its own), ``"none"`` leaves attention out; with ``scales=1, mask_ratio=0,
attention="spatial"`` this is the paper's "vanilla" ablation, at equal parameters.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Generator, Tensor, nn

from posebench.errors import InputError
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
from posebench.victims.gct import SpatialAttention
from posebench.victims.linear import points_together
from posebench.victims.network import PoseTransferNetwork

Attention = Literal["channel", "spatial", "none"]
Logits = Literal["mean", "sum"]


class ChannelAttention(SpatialAttention):
    """P + gamma * V A^T with A = softmax over channels of Q^T K, (B, C, C): Eq. 1 and 2."""

    def __init__(self, width: int, logits: Logits) -> None:
        super().__init__(width)
        self.logits = logits

    def forward(
        self,
        pose: Float[Tensor, "b m c"],
        identity: Float[Tensor, "b n c"],
        weights: Float[Tensor, "b n 1"] | None = None,
    ) -> Float[Tensor, "b m c"]:
        queries = apply_linear(self.query, pose)
        if pose.shape[1] == 1:  # a tiled code: the mean of q k_n is q times the mean of k_n
            keys = apply_linear(self.key, average(identity, weights).to(identity.dtype))
            logits = queries.transpose(1, 2) @ keys
        else:
            keys = apply_linear(self.key, identity)
            if weights is not None:
                keys = keys * weights.to(keys.dtype)
            logits = queries.transpose(1, 2) @ keys
            if weights is None:
                logits = logits / identity.shape[1]
        if self.logits == "sum":
            real = identity.shape[1] if weights is None else (weights > 0).sum(dim=1, keepdim=True)
            logits = logits * real
        values = apply_linear(self.value, pose).transpose(1, 2)
        refined = (logits.softmax(dim=-1) @ values).transpose(1, 2)
        return torch.addcmul(pose, self.gamma.to(refined.dtype), refined)


class PoseMAE(PoseTransferNetwork):
    """Multi-scale masked encoder and channel-attention decoder; see the module's text."""

    spec = VictimSpec(
        name="posemae",
        title="3D-PoseMAE",
        paper="arXiv 2404.02242",
        stochastic=False,
        point_counts="free",
        masks=True,
        way="pooled, and channel attention",
        code="never released",
    )

    def __init__(
        self,
        width: int = 1024,
        *,
        scales: int = 3,
        mask_ratio: float = 0.5,
        attention: Attention = "channel",
        logits: Logits = "mean",
    ) -> None:
        super().__init__(width)
        if not (isinstance(scales, int) and 1 <= scales <= 8):
            raise InputError(f"scales must be 1..8, got {scales}")
        if not 0 <= mask_ratio < 1:
            raise InputError(f"mask_ratio must be in [0, 1), got {mask_ratio}")
        if attention not in get_args(Attention):
            raise InputError(f"attention must be one of {get_args(Attention)}, got {attention!r}")
        if logits not in get_args(Logits):
            raise InputError(f"logits must be one of {get_args(Logits)}, got {logits!r}")
        self.scales, self.mask_ratio = scales, mask_ratio
        self.attention, self.logits = attention, logits
        widths = (width, width // 2, width // 4)
        sizes = (width, *widths)
        self.encoder = PointEncoder(width)
        self.projections = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.attentions = nn.ModuleList(
            ChannelAttention(w, logits) if attention == "channel" else SpatialAttention(w)
            for w in (widths if attention != "none" else ())
        )
        self.stages = nn.ModuleList(ResidualStage(w, normalise=i > 0) for i, w in enumerate(widths))
        self.head = Head(widths[-1])
        initialise(self)

    def settings(self) -> dict[str, object]:
        return {
            "width": self.width,
            "scales": self.scales,
            "mask_ratio": self.mask_ratio,
            "attention": self.attention,
            "logits": self.logits,
        }

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
        if self.training:
            picks = self.draw_scales(pose.shape[1], pose.device, generator)
            p = self.encode_pose(pose, pose_mask, picks)
        else:
            p = pooled_code(self.encoder, pose, pose_mask)
        i = self.encoder(identity, weights)
        p = apply_linear(self.projections[0], p)
        following = [*self.projections[1:], self.head]
        for number, (project, stage) in enumerate(zip(self.projections, self.stages, strict=True)):
            i = apply_linear(project, i)
            if self.attention == "channel":
                p = self.attentions[number](p, i, weights)
            elif self.attention == "spatial":
                p = self.attend_spatially(number, p, i, identity_mask)
            p = stage(p, identity, weights, then=following[number])
        return p

    def draw_scales(
        self, count: int, device: torch.device, generator: Generator | None
    ) -> list[Tensor]:
        """Which points each scale sees in training, a list of index tensors (n_s,)."""
        picks = []
        for scale in range(self.scales):
            visible = max(1, round(count / 2**scale * (1 - self.mask_ratio)))
            order = torch.randperm(count, generator=generator, device=device)
            picks.append(order[:visible])
        return picks

    def encode_pose(
        self,
        pose: Float[Tensor, "b m 3"],
        mask: Bool[Tensor, "b m"] | None,
        picks: list[Tensor],
    ) -> Float[Tensor, "b 1 c"]:
        """The pose code: mean over scales of the max over points."""
        codes = [
            pooled_code(self.encoder, pose[:, index], None if mask is None else mask[:, index])
            for index in picks
        ]
        return torch.stack(codes).mean(dim=0)

    def attend_spatially(
        self,
        number: int,
        pose: Float[Tensor, "b m c"],
        identity: Float[Tensor, "b n c"],
        identity_mask: Bool[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b m c"]:
        """GC-Transformer's map; a tiled code attends to itself, so only its value is left."""
        attention = self.attentions[number]
        assert isinstance(attention, SpatialAttention)
        if pose.shape[1] == 1:
            lone: Tensor = pose + attention.gamma * apply_linear(attention.value, pose)
            return lone
        attended = attend(
            apply_linear(attention.query, pose),
            apply_linear(attention.key, identity),
            apply_linear(attention.value, pose),
            identity_mask,
        )
        return torch.addcmul(pose, attention.gamma.to(attended.dtype), attended)
