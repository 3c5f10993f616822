"""The layers that the four networks share, on shapes (B, N, C).

Source: released code of Neural Pose Transfer (CVPR 2020) and GC-Transformer (AAAI 2022),
whose kernel-1 convolutions are written here as linear layers: one matrix product for the whole
batch, which reaches bf16 units on GPUs and recent CPUs.

In memory features lie as (C, B, N): a layer then reads and writes one matrix (C, B N), instance
norm runs along rows, and the halves of a modulation are blocks. Nothing depends on it but speed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posebench.shapes import Bool, Float

NORM_EPS = 1e-5

ALIGNMENT = 8
"""Channels of bf16 that fill 16 bytes, the alignment of matrix units."""


def point_weights(
    mask: Bool[Tensor, "b n"] | None, dtype: torch.dtype
) -> Float[Tensor, "b n 1"] | None:
    """Averaging weights: 1/n on the n real points, 0 on padding; None stays None."""
    if mask is None:
        return None
    weights = mask.to(dtype)[..., None]
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1)


def average(
    x: Float[Tensor, "b n c"], weights: Float[Tensor, "b n 1"] | None
) -> Float[Tensor, "b 1 c"]:
    """Mean over the points, padding left out."""
    if weights is None:
        return x.mean(dim=1, keepdim=True)
    return (x * weights).sum(dim=1, keepdim=True)


def instance_norm(
    x: Float[Tensor, "b n c"], weights: Float[Tensor, "b n 1"] | None = None, *, relu: bool = False
) -> Float[Tensor, "b n c"]:
    """Zero mean and unit (biased) variance over the points, per sample and channel; then ReLU.

    ``weights`` leaves padding out of the statistics. Statistics are taken in float32 at least,
    because under autocast a bf16 mean would lose the small differences that carry the pose.
    """
    if weights is None:
        # A row of points per channel and sample: torch's layer norm, whose kernels keep float32
        # statistics of bf16 rows.
        rows = x.permute(2, 0, 1)
        normed = nn.functional.layer_norm(rows, rows.shape[2:], eps=NORM_EPS)
        return (normed.relu_() if relu else normed).permute(1, 2, 0)
    wide = x if x.dtype == torch.float64 else x.float()
    centred = wide - average(wide, weights)
    # Every point is normalised, but only real ones (weight > 0) carry the statistics.
    variance = average(centred * centred, weights)
    normed = (centred * torch.rsqrt(variance + NORM_EPS)).to(x.dtype)
    return normed.relu_() if relu else normed


def linear(
    x: Float[Tensor, "b n c"], weight: Float[Tensor, "d k"], bias: Float[Tensor, "d"] | None
) -> Float[Tensor, "b n e"]:
    """A linear layer whose result lies in memory as (D, B, N); see the module's text.

    Features may carry more channels than the weight reads, zeros behind the others
    (:func:`filled`); the result is then filled as well. Norm and modulation leave them zero.
    """
    columns = x.permute(2, 0, 1).flatten(1)
    surplus = len(columns) - weight.shape[1]
    if surplus:
        weight = nn.functional.pad(weight, (0, surplus))
        weight, bias = filled(x, weight, bias)
    product = weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)
    return product.view(-1, *x.shape[:2]).permute(1, 2, 0)


def filled(
    x: Float[Tensor, "b n c"], weight: Float[Tensor, "d k"], bias: Float[Tensor, "d"] | None
) -> tuple[Float[Tensor, "e k"], Float[Tensor, "e"] | None]:
    """A layer with outputs of zero added, up to a multiple of eight, if x is multiplied in bf16.

    Products of misaligned bf16 matrices were a third slower on a CPU (259 and 264 channels), and
    GPUs need the alignment too.
    """
    kind = x.device.type
    half = x.dtype == torch.bfloat16
    if torch.is_autocast_enabled(kind):
        half = torch.get_autocast_dtype(kind) == torch.bfloat16
    filler = -len(weight) % ALIGNMENT if half else 0
    if not filler:
        return weight, bias
    pad = nn.functional.pad
    return pad(weight, (0, 0, 0, filler)), None if bias is None else pad(bias, (0, filler))


def points_together(x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """The same values, in memory as (C, B, N)."""
    return x.permute(2, 0, 1).contiguous().permute(1, 2, 0)


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
            x = instance_norm(before_norm(layer, x), weights, relu=True)
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
    return features.permute(2, 0, 1).max(dim=-1, keepdim=True).values.permute(1, 2, 0)


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
        return linear(code, weight, bias)
    product = torch.bmm(code, weight.t().expand(len(code), -1, -1))
    return product if bias is None else product + bias


def apply_linear(layer: nn.Module, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
    """``layer(x)``, by :func:`code_linear` where x is a pooled code, (B, 1, C)."""
    assert isinstance(layer, nn.Linear)
    product = code_linear if x.shape[1] == 1 else linear
    return product(x, layer.weight, layer.bias)


def modulate(x: Tensor, identity: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU of scale * x + shift, both linear in the identity's xyz: the plain formulation."""
    affine = nn.functional.linear(identity, weight, bias)
    filler = (0, x.shape[2] - affine.shape[2] // 2)
    scale, shift = (nn.functional.pad(half, filler) for half in affine.chunk(2, dim=-1))
    return torch.relu(torch.addcmul(shift, scale, x))


class _Modulate(torch.autograd.Function):
    """:func:`modulate` with its gradient in closed form.

    Autograd would join the gradients of scale and shift in another copy and keep one tensor
    more; its product for the weight's gradient, with three columns, is three times slower than
    the transposed one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, identity: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        both = torch.cat([weight, bias[:, None]], dim=1).to(x.dtype)
        both = both.view(2, -1, 4)
        both = nn.functional.pad(both, (0, 0, 0, x.shape[2] - both.shape[1])).flatten(0, 1)
        affine = (both @ _with_ones(identity, x.dtype)).view(-1, *identity.shape[:2])
        scale, shift = affine.permute(1, 2, 0).chunk(2, dim=-1)
        out = torch.addcmul(shift, scale, x).relu_()
        ctx.save_for_backward(x, scale, out, identity, weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, out, identity, weight, bias = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a graph of the gradient is asked for
            inputs = (x, identity, weight, bias)
            chosen = [each for each, want in zip(inputs, wanted, strict=True) if want]
            found = iter(torch.autograd.grad(modulate(*inputs), chosen, grad, create_graph=True))
            return tuple(next(found) if want else None for want in wanted)
        b, n, c = out.shape
        if not any(wanted[1:]):
            of_shift = torch.ops.aten.threshold_backward(grad, out, 0)
            return _sum_like(of_shift.mul_(scale), x), None, None, None
        affine = grad.new_empty(2 * c, b, n).permute(1, 2, 0)
        of_scale, of_shift = affine.chunk(2, dim=-1)
        torch.ops.aten.threshold_backward.grad_input(grad, out, 0, grad_input=of_shift)
        torch.mul(of_shift, x, out=of_scale)
        columns = affine.permute(2, 0, 1).reshape(2 * c, b * n)
        of_x = _sum_like(of_shift * scale, x) if wanted[0] else None
        of_identity, of_weight, of_bias = None, None, None
        if wanted[1]:
            of_identity = linear(affine, weight.t().to(x.dtype), None).to(identity.dtype)
        if wanted[2]:
            both = (_with_ones(identity, x.dtype) @ columns.t()).view(4, 2, c)
            both = both[:, :, : len(weight) // 2].flatten(1).t().to(weight.dtype)
            of_weight, of_bias = both[:, :3], both[:, 3]
        return of_x, of_identity, of_weight, of_bias


def _with_ones(identity: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows x, y, z and 1 of all points, (4, B N): the bias becomes a column of the weight."""
    rows = identity.permute(2, 0, 1).flatten(1).to(dtype)
    return torch.cat([rows, rows.new_ones(1, rows.shape[1])])


def _sum_like(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of a code (B, 1, C) that was broadcast over the points."""
    return grad.sum(dim=1, keepdim=True) if x.shape[1] == 1 else grad


def before_norm(layer: nn.Module, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
    """``layer(x)`` without the bias, which an instance norm that follows would take out again."""
    assert isinstance(layer, nn.Linear)
    return linear(x, layer.weight, None)


class Modulation(nn.Module):
    """SPAdaIN's affine part: scale and shift of every channel from the identity's xyz."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.affine = nn.Linear(3, 2 * width)

    def forward(
        self, x: Float[Tensor, "b m c"], identity: Float[Tensor, "b n 3"]
    ) -> Float[Tensor, "b n c"]:
        """ReLU of the modulated features."""
        modulated: Tensor = _Modulate.apply(  # type: ignore[no-untyped-call]
            x, identity, self.affine.weight, self.affine.bias
        )
        return modulated


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
        main = self.modulate_main1(head, identity)
        if self.normalise:
            main = instance_norm(before_norm(self.main1, main), weights)
        else:
            main = apply_linear(self.main1, main)
        main = apply_linear(self.main2, self.modulate_main2(main, identity))
        side = apply_linear(self.side, self.modulate_side(head, identity))
        return main + side


class Head(nn.Linear):
    """Features to coordinates: 2 tanh(W x + b), in float32 at least.

    A coordinate of 1 m rounded to bf16 would be off by up to 2 mm.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 3)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n 3"]:
        with torch.autocast(x.device.type, enabled=False):
            wide = x.to(torch.promote_types(x.dtype, self.weight.dtype))
            return 2 * torch.tanh(linear(wide, self.weight, self.bias))


def initialise(module: nn.Module) -> None:
    """Linear weights from N(0, 0.02), biases at the PyTorch default (released scripts)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
