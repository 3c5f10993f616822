"""The layers that the four networks share, on shapes (B, N, C).

Source: released code of Neural Pose Transfer (CVPR 2020) and GC-Transformer (AAAI 2022), whose
kernel-1 convolutions are linear layers here, see ``victims.linear``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from posebench.shapes import Bool, Float
from posebench.victims.linear import full_precision, linear, linear_sum
from posebench.victims.modulation import Modulation

NORM_EPS = 1e-5


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


class PointEncoder(nn.Module):
    """Shared per-point MLP 3-64-128-width, each layer followed by instance norm and ReLU."""

    def __init__(self, width: int, hidden: tuple[int, int] = (64, 128)) -> None:
        super().__init__()
        sizes = (3, *hidden, width)
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


def before_norm(layer: nn.Module, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
    """``layer(x)`` without the bias, which an instance norm that follows would take out again."""
    assert isinstance(layer, nn.Linear)
    return linear(x, layer.weight, None)


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
        *,
        then: nn.Module,
        normed: bool = False,
    ) -> Float[Tensor, "b n d"]:
        """The linear layer ``then`` on the stage's output; its bias does not matter, and is left
        out, where the result is ``normed`` next."""
        head = instance_norm(x, weights) if self.normalise else x
        main = self.modulate_main1(head, identity)
        if self.normalise:
            main = instance_norm(before_norm(self.main1, main), weights)
        else:
            main = apply_linear(self.main1, main)
        main = self.modulate_main2(main, identity)
        side = self.modulate_side(head, identity)
        assert isinstance(then, nn.Linear)
        return after_sum(then, (self.main2, self.side), (main, side), normed=normed)


def after_sum(
    then: nn.Linear,
    layers: Sequence[nn.Linear],
    features: Sequence[Float[Tensor, "b n c"]],
    *,
    normed: bool,
) -> Float[Tensor, "b n d"]:
    """``then`` applied to the sum of a layer of each of the features.

    Nothing lies between, so the matrices are multiplied first where there are enough points: two
    products of (C/2, C) instead of two of (C, C) and one of (C/2, C), six parts in ten of the
    arithmetic of a stage's end. The product of the matrices stays in float32 under autocast.
    """
    matrices = [layer.weight for layer in layers]
    bias = torch.stack([layer.bias for layer in layers]).sum(dim=0)
    if not composing_pays(then, features[0]):
        total = linear_sum(features, matrices, bias)
        if isinstance(then, Head):
            return then.coordinates((total,), (then.weight,), then.bias)
        return before_norm(then, total) if normed else apply_linear(then, total)
    with full_precision(then.weight):
        both = then.weight @ torch.cat(matrices, dim=1)
        bias = torch.addmv(then.bias, then.weight, bias)
    parts = both.split([matrix.shape[1] for matrix in matrices], dim=1)
    if isinstance(then, Head):
        return then.coordinates(features, parts, bias)
    return linear_sum(features, parts, None if normed else bias)


def composing_pays(then: nn.Linear, x: Float[Tensor, "b n c"]) -> bool:
    """Whether the points save more than the product of the matrices costs, by multiplications.

    Outside of training by the points of one sample, so that the rounding of its result does not
    depend on the rest of the batch.
    """
    points = x.shape[1]
    if torch.is_grad_enabled() and then.weight.requires_grad:
        points *= x.shape[0]
    outputs, inputs = then.weight.shape
    return points * (2 * inputs - outputs) > 2 * inputs * outputs


class Head(nn.Linear):
    """Features to coordinates: 2 tanh(W x + b), in float32 at least.

    A coordinate of 1 m rounded to bf16 would be off by up to 2 mm.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, 3)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n 3"]:
        return self.coordinates((x,), (self.weight,), self.bias)

    def coordinates(
        self,
        features: Sequence[Float[Tensor, "b n _"]],
        weights: Sequence[Float[Tensor, "3 _"]],
        bias: Float[Tensor, "3"],
    ) -> Float[Tensor, "b n 3"]:
        """The head with its weights multiplied by those of layers before it."""
        with full_precision(bias):
            wide = [x.to(torch.promote_types(x.dtype, bias.dtype)) for x in features]
            return 2 * torch.tanh(linear_sum(wide, weights, bias))


def initialise(module: nn.Module) -> None:
    """Linear weights from N(0, 0.02), biases at the PyTorch default (released scripts)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
