"""Muon on stacks of equally shaped matrices.

Source: Jordan et al., https://kellerjordan.github.io/posts/muon/. ``torch.optim.Muon`` takes one
matrix after the other, some fifteen small products each; here matrices of one shape take their
steps as one batch. The arithmetic is the same, products in bf16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from posebench.shapes import Float

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, chosen in the source for the steepest slope at zero."""

ITERATIONS = 5
"""As in the source; with three, NPT's loss after 16,000 sample visits was an eighth higher."""

MOMENTUM = 0.95


def orthogonalised(stack: Float[Tensor, "k rows columns"]) -> Float[Tensor, "k rows columns"]:
    """Matrices with the same singular vectors and singular values of about 1, in bf16."""
    rows, columns = stack.shape[1:]
    # Zeros add no singular vectors; products of misaligned bf16 matrices are a third slower.
    x = nn.functional.pad(stack.bfloat16(), (0, -columns % 8, 0, -rows % 8))
    if rows > columns:
        x = x.transpose(1, 2)
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = torch.bmm(x, x.transpose(1, 2))
        update = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, update, x, beta=a)
    return (x.transpose(1, 2) if rows > columns else x)[:, :rows, :columns]


class StackedMuon(torch.optim.Optimizer):
    """Momentum, orthogonalised: each matrix steps by lr * sqrt(max(1, rows / columns)).

    Nesterov momentum of 0.95, no weight decay; matrices without a gradient stay.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__([{"params": list(matrices)}], {"lr": lr})  # as a group: it may be empty

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step of all matrices; ``closure`` is not supported."""
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in by_shape.items():
                updates = orthogonalised(torch.stack(self._momenta(matrices)))
                rate = group["lr"] * math.sqrt(max(1, shape[0] / shape[1]))
                torch._foreach_add_(matrices, list(updates.to(matrices[0].dtype)), alpha=-rate)

    def _momenta(self, matrices: list[Tensor]) -> list[Tensor]:
        """Moves the running means of the gradients on; what Nesterov's momentum steps along."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - MOMENTUM)
        return list(torch._foreach_lerp(gradients, buffers, MOMENTUM))
