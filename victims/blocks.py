"""The layers that the four networks share, channels last: (B, N, C).

Source: released code of Neural Pose Transfer (CVPR 2020) and GC-Transformer (AAAI 2022),
whose kernel-1 convolutions are written here as linear layers on (B, N, C). The arithmetic is
the same and the matrix products reach bf16 units on GPUs and recent CPUs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posebench.shapes import Bool, Float

NORM_EPS = 1e-5


def point_weights(
    mask: Bool[Tensor, "b n"] | None, dtype: torch.dtype
) -> Float[Tensor, "b n 1"] | None:
    """Averaging weights: 1/n on the n real points, 0 on padding; None stays None."""
    if mask is None:
        return None
    weights = mask.to(dtype)[..., None]
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1)


class _InstanceNorm(torch.autograd.Function):
    """Instance norm with its gradient in closed form.

    Autograd through mean, subtraction and square would read and write the activations about
    twice as often; this was 2.4 times faster on a CPU and keeps one tensor instead of four. The
    scale is an output too, so that second derivatives see that it depends on x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        centred = x - average(x, weights)
        scale = torch.rsqrt(average(centred * centred, weights) + NORM_EPS)
        normed = centred.mul_(scale)
        ctx.save_for_backward(normed, scale, weights)
        ctx.set_materialize_grads(False)
        return normed, scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, of_scale: Tensor | None) -> tuple[Tensor, None]:
        normed, scale, weights = ctx.saved_tensors
        if grad is None:
            grad = torch.zeros_like(normed)
        if weights is None:
            inner = grad - grad.mean(dim=1, keepdim=True)
            along = (grad * normed).mean(dim=1, keepdim=True)
            if of_scale is not None:  # in second derivatives alone
                along = along + of_scale * scale / normed.shape[1]
            return inner.addcmul_(normed, along, value=-1).mul_(scale), None
        # Every point is normalised, but only real ones (weight > 0) carry the statistics.
        total = grad.sum(dim=1, keepdim=True)
        along = (grad * normed).sum(dim=1, keepdim=True)
        if of_scale is not None:
            along = along + of_scale * scale
        return (grad - weights * (total + normed * along)) * scale, None


def average(
    x: Float[Tensor, "b n c"], weights: Float[Tensor, "b n 1"] | None
) -> Float[Tensor, "b 1 c"]:
    """Mean over the points, padding left out."""
    if weights is None:
        return x.mean(dim=1, keepdim=True)
    return (x * weights).sum(dim=1, keepdim=True)


def instance_norm(
    x: Float[Tensor, "b n c"], weights: Float[Tensor, "b n 1"] | None = None
) -> Float[Tensor, "b n c"]:
    """Zero mean and unit (biased) variance over the points, per sample and channel.

    ``weights`` leaves padding out of the statistics. Statistics are taken in float32 at least,
    because under autocast a bf16 mean would lose the small differences that carry the pose.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    normed: Tensor = _InstanceNorm.apply(wide, weights)[0]  # type: ignore[no-untyped-call]
    return normed.to(x.dtype)


class PointEncoder(nn.Module):
    """Shared per-point MLP 3-64-128-width, each layer followed by instance norm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (3, 64, 128, width)
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def forward(
        self, points: Float[Tensor, "b n 3"], weights: Float[Tensor, "b n 1"] | None = None
    ) -> Float[Tensor, "b n c"]:
        x = points
        for layer in self.layers:
            x = torch.relu(instance_norm(layer(x), weights))
        return x


def pooled_code(
    encoder: PointEncoder, points: Float[Tensor, "b n 3"], mask: Bool[Tensor, "b n"] | None
) -> Float[Tensor, "b 1 c"]:
    """Maximum over real points of the encoder's features."""
    features: Tensor = encoder(points, point_weights(mask, points.dtype))
    if mask is not None:
        # Features are >= 0 after the ReLU, so zeroed padding never wins the maximum.
        features = features * mask[..., None]
    # max, not amax: amax's gradient compares values, which under a compiled bf16 graph may match
    # nowhere and divide zero by zero.
    return features.max(dim=1, keepdim=True).values


def code_linear(
    code: Float[Tensor, "b 1 c"],
    weight: Float[Tensor, "d c"],
    bias: Float[Tensor, "d"] | None = None,
) -> Float[Tensor, "b 1 d"]:
    """A linear layer on pooled codes, whose rounding does not depend on the rest of the batch.

    As one product of (B, C) with the weight, the last bits of a sample change with B, and an
    attack's gradient magnifies them a hundredfold. Training keeps that faster product.
    """
    if torch.is_grad_enabled() and weight.requires_grad:
        return nn.functional.linear(code, weight, bias)
    product = torch.bmm(code, weight.t().expand(len(code), -1, -1))
    return product if bias is None else product + bias


def apply_linear(layer: nn.Module, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
    """``layer(x)``, by :func:`code_linear` where x is a pooled code, (B, 1, C)."""
    assert isinstance(layer, nn.Linear)
    if x.shape[1] == 1:
        return code_linear(x, layer.weight, layer.bias)
    result: Tensor = layer(x)
    return result


class Modulation(nn.Module):
    """SPAdaIN's affine part: scale and shift of every channel from the identity's xyz."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.affine = nn.Linear(3, 2 * width)

    def forward(
        self, x: Float[Tensor, "b m c"], identity: Float[Tensor, "b n 3"]
    ) -> Float[Tensor, "b n c"]:
        scale, shift = self.affine(identity).chunk(2, dim=-1)
        return torch.addcmul(shift, scale, x)


class ResidualStage(nn.Module):
    """Main branch (two modulated layers) plus side branch (one); no identity skip.

    ``normalise=False`` leaves the instance norm out of the two modulations that read the
    input: needed where the input is a pooled code that is constant over the points, which the
    norm would erase. The input may then be (B, 1, C): one code, broadcast by the modulation.
    """

    def __init__(self, width: int, *, normalise: bool = True) -> None:
        super().__init__()
        self.normalise = normalise
        self.modulate_main1 = Modulation(width)
        self.main1 = nn.Linear(width, width)
        self.modulate_main2 = Modulation(width)
        self.main2 = nn.Linear(width, width)
        self.modulate_side = Modulation(width)
        self.side = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b m c"],
        identity: Float[Tensor, "b n 3"],
        weights: Float[Tensor, "b n 1"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        head = instance_norm(x, weights) if self.normalise else x
        main = self.main1(torch.relu(self.modulate_main1(head, identity)))
        if self.normalise:
            main = instance_norm(main, weights)
        main = self.main2(torch.relu(self.modulate_main2(main, identity)))
        side: Tensor = self.side(torch.relu(self.modulate_side(head, identity)))
        joined: Tensor = main + side
        return joined


def initialise(module: nn.Module) -> None:
    """Linear weights from N(0, 0.02), biases at the PyTorch default (released scripts)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
