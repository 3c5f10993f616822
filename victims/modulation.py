"""SPAdaIN's affine part (Wang et al., CVPR 2020) with its gradient in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posebench.shapes import Float
from posebench.victims.linear import linear


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
