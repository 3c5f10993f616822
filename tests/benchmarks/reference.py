"""The four networks in the plain formulation of the released ones, or of the paper.

Kernel-1 convolutions on (B, C, N), torch's instance norm, codes tiled over the points, the map of
attention written out; 3D-PoseMAE, never released, in the paper's words on GC-Transformer's decoder.
The parameters are those of a present network. What forward and input gradient are measured
against, in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, instance_norm

from posebench.victims import NPT, GCTransformer, NPTMaxPool, PoseMAE, PoseTransferNetwork
from posebench.victims.blocks import ResidualStage
from posebench.victims.gct import SpatialAttention


def conv(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return conv1d(x, layer.weight[..., None], layer.bias)


def encode(encoder: nn.Module, x: Tensor) -> Tensor:
    for layer in encoder.layers:  # type: ignore[union-attr]
        x = torch.relu(instance_norm(conv(layer, x)))
    return x


def modulated(layer: nn.Module, x: Tensor, identity: Tensor, *, normalise: bool) -> Tensor:
    scale, shift = conv(layer, identity).chunk(2, dim=1)
    return torch.relu((instance_norm(x) if normalise else x) * scale + shift)


def run_stage(stage: nn.Module, x: Tensor, identity: Tensor) -> Tensor:
    assert isinstance(stage, ResidualStage)
    normalise = stage.normalise
    main = modulated(stage.modulate_main1.affine, x, identity, normalise=normalise)
    main = modulated(
        stage.modulate_main2.affine, conv(stage.main1, main), identity, normalise=normalise
    )
    side = modulated(stage.modulate_side.affine, x, identity, normalise=normalise)
    return conv(stage.main2, main) + conv(stage.side, side)


def attend(attention: nn.Module, p: Tensor, i: Tensor) -> Tensor:
    assert isinstance(attention, SpatialAttention)
    weights = (conv(attention.query, p).transpose(1, 2) @ conv(attention.key, i)).softmax(dim=-1)
    return p + attention.gamma * (conv(attention.value, p) @ weights.transpose(1, 2))


def attend_channels(attention: nn.Module, p: Tensor, i: Tensor) -> Tensor:
    """Eq. 1 and 2 of 3D-PoseMAE, logits averaged over the points."""
    logits = conv(attention.query, p) @ conv(attention.key, i).transpose(1, 2) / i.shape[2]
    return p + attention.gamma * (logits.softmax(dim=-1) @ conv(attention.value, p))


def transfer(network: PoseTransferNetwork, pose: Tensor, identity: Tensor) -> Tensor:
    """What ``network.transfer(pose, identity)`` computes, (B, N, 3)."""
    xyz = identity.transpose(1, 2)
    if isinstance(network, (GCTransformer, PoseMAE)):
        p, i = (encode(network.encoder, x) for x in (pose.transpose(1, 2), xyz))
        pooled = isinstance(network, PoseMAE)
        if pooled:
            p = p.amax(dim=2, keepdim=True).expand(-1, -1, xyz.shape[2])
        for project, attention, stage in zip(
            network.projections, network.attentions, network.stages, strict=True
        ):
            p, i = conv(project, p), conv(project, i)
            p = run_stage(stage, (attend_channels if pooled else attend)(attention, p, i), xyz)
    else:
        assert isinstance(network, NPT)
        p = encode(network.encoder, pose.transpose(1, 2))
        if isinstance(network, NPTMaxPool):
            p = p.amax(dim=2, keepdim=True).expand(-1, -1, xyz.shape[2])
        p = torch.cat([p, xyz], dim=1)
        for project, stage in zip(network.projections, network.stages, strict=True):
            p = run_stage(stage, conv(project, p), xyz)
    return (2 * torch.tanh(conv(network.head, p))).transpose(1, 2)
