"""ElaIN, the elastic instance norm of 3D-CoreNet (Song et al., NeurIPS 2021), and its block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posebench.shapes import Float
from posebench.victims.blocks import NORM_EPS, apply_linear, average
from posebench.victims.linear import full_precision, linear

SLOPE = 0.2
"""Of the leaky ReLUs."""

SETTLING = 30
"""Iterations of the power method that settle a network: from random vectors, and again where its
weights were replaced by an average. A training step makes one."""


class SpectralLinear(nn.Module):
    """A square linear layer with its weight divided by its largest singular value.

    In PyTorch's old form, as released: one iteration of the power method in each forward in train
    mode, v before u; none in eval mode, where the stored u and v count. The gradient flows through
    sigma = u^T W v with u and v constant. (``torch.nn.utils.parametrizations.spectral_norm``
    updates u first and trains to other values.) Fresh vectors are settled at once: random ones
    give a sigma near zero of either sign, and outputs that saturate (our choice).
    """

    u: Tensor
    v: Tensor

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        for name in ("u", "v"):
            self.register_buffer(name, nn.functional.normalize(torch.randn(width), dim=0))

    @torch.no_grad()
    def settle(self, iterations: int = SETTLING) -> None:
        """Bring u and v nearer to the weight's first singular vectors."""
        with full_precision(self.weight):
            u, v = self.u, self.v
            for _ in range(iterations):
                v = nn.functional.normalize(torch.mv(self.weight.t(), u), dim=0, eps=1e-12)
                u = nn.functional.normalize(torch.mv(self.weight, v), dim=0, eps=1e-12)
            self.u.copy_(u)
            self.v.copy_(v)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        if self.training:
            self.settle(1)
        with full_precision(self.weight):
            # Clones: a second forward before the backward pass changes the buffers in place.
            u, v = self.u.clone(), self.v.clone()
            weight = self.weight / torch.dot(u, torch.mv(self.weight, v))
        return linear(x, weight, self.bias)


class ElaIN(nn.Module):
    """Instance norm whose removed statistics are partly put back, partly come from the identity.

    With q = same(side), gamma_s = gamma(q) and beta_s = beta(q) per vertex, m and s the mean and
    the (unbiased) deviation of x over the points and r = mix([mean of q, m]):

        out = (x - m) / s * (1 + r gamma_s + (1 - r) s) + r beta_s + (1 - r) m

    ``gamma`` and ``beta`` are linear in q and q is linear in the side features, so their matrices
    are multiplied first, which is the same function at a fifth of the arithmetic.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.same = nn.Linear(side, width)
        self.gamma = nn.Linear(width, width)
        self.beta = nn.Linear(width, width)
        self.mix = nn.Linear(2 * width, width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        side: Float[Tensor, "b n s"],
        weights: Float[Tensor, "b n 1"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        mean, deviation = statistics(x, weights)
        common = apply_linear(self.same, average(side, weights))
        share = apply_linear(self.mix, torch.cat([common.to(mean.dtype), mean], dim=2))
        share = share.to(mean.dtype)
        scale, shift = (each.to(mean.dtype) for each in self.modulation(side))
        # What is alike at all vertices first, so that large tensors are touched three times.
        own = 1 + (1 - share) * deviation
        scale = torch.addcmul(own / deviation, share / deviation, scale)
        shift = torch.addcmul((1 - share) * mean, share, shift)
        return torch.addcmul(shift, x.to(mean.dtype) - mean, scale).to(x.dtype)

    def modulation(
        self, side: Float[Tensor, "b n s"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]]:
        """gamma_s and beta_s."""
        with full_precision(side):
            second = torch.cat([self.gamma.weight, self.beta.weight])
            weight = second @ self.same.weight
            bias = second @ self.same.bias + torch.cat([self.gamma.bias, self.beta.bias])
        scale, shift = linear(side, weight, bias).chunk(2, dim=2)
        return scale, shift


def statistics(
    x: Float[Tensor, "b n c"], weights: Float[Tensor, "b n 1"] | None
) -> tuple[Float[Tensor, "b 1 c"], Float[Tensor, "b 1 c"]]:
    """Mean and unbiased deviation over the points, padding left out; in float32 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if weights is None:
        variance, mean = torch.var_mean(wide, dim=1, keepdim=True)
    else:
        mean = average(wide, weights)
        count = (weights > 0).sum(dim=1, keepdim=True)
        variance = average((wide - mean).square(), weights) * (count / (count - 1))
    return mean, (variance + NORM_EPS).sqrt()


class ElaINBlock(nn.Module):
    """Main branch of two layers plus side branch of one, each behind an ElaIN and a leaky ReLU."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.norm_main1, self.main1 = ElaIN(width, side), SpectralLinear(width, bias=True)
        self.norm_main2, self.main2 = ElaIN(width, side), SpectralLinear(width, bias=True)
        self.norm_side, self.side = ElaIN(width, side), SpectralLinear(width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        side: Float[Tensor, "b n s"],
        weights: Float[Tensor, "b n 1"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        main: Tensor = self.main1(leaky(self.norm_main1(x, side, weights)))
        main = self.main2(leaky(self.norm_main2(main, side, weights)))
        beside: Tensor = self.side(leaky(self.norm_side(x, side, weights)))
        return main + beside


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU."""
    return nn.functional.leaky_relu(x, SLOPE)
