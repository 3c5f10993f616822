"""The training step as it was before its present formulation: what it is measured against.

Features channels last in memory, each operation written out for autograd, a step of its own for
each matrix of Muon. The same parameters, so a present network lends its own: ``former(network)``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from posebench.benchmark.training.recipe import Recipe
from posebench.victims import NPT, GCTransformer, NPTMaxPool, PoseMAE, PoseTransferNetwork
from posebench.victims.blocks import NORM_EPS, PointEncoder, ResidualStage
from posebench.victims.gct import SpatialAttention
from posebench.victims.posemae import ChannelAttention


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        scale = torch.rsqrt((centred * centred).mean(dim=1, keepdim=True) + NORM_EPS)
        normed = centred.mul_(scale)
        ctx.save_for_backward(normed, scale)
        return normed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        normed, scale = ctx.saved_tensors
        inner = grad - grad.mean(dim=1, keepdim=True)
        return inner.addcmul_(normed, (grad * normed).mean(dim=1, keepdim=True), value=-1).mul_(
            scale
        )


def norm(x: Tensor) -> Tensor:
    """Instance norm over the points with float32 statistics."""
    wide = x if x.dtype == torch.float64 else x.float()
    normed: Tensor = _InstanceNorm.apply(wide)  # type: ignore[no-untyped-call]
    return normed.to(x.dtype)


def encode(encoder: PointEncoder, x: Tensor) -> Tensor:
    for layer in encoder.layers:
        x = torch.relu(norm(layer(x)))
    return x


def modulated(affine: nn.Module, x: Tensor, identity: Tensor) -> Tensor:
    scale, shift = affine(identity).chunk(2, dim=-1)
    return torch.relu(torch.addcmul(shift, scale, x))


def run_stage(stage: nn.Module, x: Tensor, identity: Tensor) -> Tensor:
    assert isinstance(stage, ResidualStage)
    head = norm(x) if stage.normalise else x
    main = stage.main1(modulated(stage.modulate_main1.affine, head, identity))
    if stage.normalise:
        main = norm(main)
    main = stage.main2(modulated(stage.modulate_main2.affine, main, identity))
    side = stage.side(modulated(stage.modulate_side.affine, head, identity))
    joined: Tensor = main + side
    return joined


def coordinates(head: nn.Module, x: Tensor) -> Tensor:
    """The head without its own float32 arithmetic."""
    assert isinstance(head, nn.Linear)
    return 2 * torch.tanh(linear(x, head.weight, head.bias))


def npt(network: NPT, pose: Tensor, identity: Tensor) -> Tensor:
    if isinstance(network, NPTMaxPool):
        code = encode(network.encoder, pose).max(dim=1, keepdim=True).values
        first = network.projections[0]
        assert isinstance(first, nn.Linear)
        of_code, of_xyz = first.weight.split([network.width, 3], dim=1)
        x = linear(code, of_code, first.bias) + linear(identity, of_xyz)
    else:
        features = encode(network.encoder, pose)
        x = network.projections[0](torch.cat([features, identity.to(features.dtype)], dim=-1))
    x = run_stage(network.stages[0], x, identity)
    for project, stage in zip(network.projections[1:], network.stages[1:], strict=True):
        x = run_stage(stage, project(x), identity)
    return coordinates(network.head, x)


def gct(network: GCTransformer, pose: Tensor, identity: Tensor) -> Tensor:
    p, i = encode(network.encoder, pose), encode(network.encoder, identity)
    for project, attention, stage in zip(
        network.projections, network.attentions, network.stages, strict=True
    ):
        assert isinstance(attention, SpatialAttention)
        p, i = project(p), project(i)
        attended = scaled_dot_product_attention(
            attention.query(p)[:, None],
            attention.key(i)[:, None],
            attention.value(p)[:, None],
            scale=1.0,
        )[:, 0]
        p = run_stage(stage, p + attention.gamma * attended, identity)
    return coordinates(network.head, p)


def posemae(
    network: PoseMAE, pose: Tensor, identity: Tensor, generator: Generator | None
) -> Tensor:
    count = pose.shape[1]
    if network.training:
        picks = network.draw_scales(count, pose.device, generator)
    else:  # every 2^s-th point; the present network reads all points once
        picks = [torch.arange(0, count, 2**s) for s in range(network.scales)]
    codes = [
        encode(network.encoder, pose[:, index]).max(dim=1, keepdim=True).values for index in picks
    ]
    p, i = torch.stack(codes).mean(dim=0), encode(network.encoder, identity)
    for project, attention, stage in zip(
        network.projections, network.attentions, network.stages, strict=True
    ):
        assert isinstance(attention, ChannelAttention)
        p, i = project(p), project(i)
        keys = attention.key(i) * i.new_full((1, 1, 1), 1 / i.shape[1])
        if p.shape[1] == 1:
            keys = keys.sum(dim=1, keepdim=True)
        mixed = torch.softmax(attention.query(p).transpose(1, 2) @ keys, dim=-1)
        p = p + attention.gamma * (attention.value(p) @ mixed.transpose(1, 2))
        p = run_stage(stage, p, identity)
    return coordinates(network.head, p)


class Former(nn.Module):
    """A network that computes what the one inside computes, as it used to."""

    def __init__(self, network: PoseTransferNetwork) -> None:
        super().__init__()
        self.inner = network
        self.compiled = None
        self.spec = network.spec

    def transfer(
        self,
        pose: Tensor,
        identity: Tensor,
        pose_mask: None = None,
        identity_mask: None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        if isinstance(self.inner, PoseMAE):
            return posemae(self.inner, pose, identity, generator)
        if isinstance(self.inner, GCTransformer):
            return gct(self.inner, pose, identity)
        assert isinstance(self.inner, NPT)
        return npt(self.inner, pose, identity)

    def transferred(self, pose: Tensor, identity: Tensor, **others: Any) -> Tensor:
        return self.transfer(pose, identity, **others)

    forward = PoseTransferNetwork.forward


def former_optimisers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """torch's Muon, matrix after matrix, and Adam."""
    named = dict(network.named_parameters())
    matrices = {
        name for name, p in named.items() if p.ndim == 2 and min(p.shape) > 3 and "att" not in name
    }
    return [
        torch.optim.Muon([named[k] for k in matrices], lr=recipe.matrix_rate, weight_decay=0.0),
        torch.optim.Adam([p for k, p in named.items() if k not in matrices], fused=True),
    ]
