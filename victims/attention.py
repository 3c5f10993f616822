"""Spatial attention over the points of a pair, its memory linear in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from posebench.shapes import Bool, Float
from posebench.victims.linear import points_together

EXPLICIT_POINTS = 1024
"""Clouds of more points attend in blocks: at 1,024 a sample's float32 map takes 4 MiB."""

BLOCK = 2**21
"""Entries of the map that exist at a time on a CPU; they and their gradient fit its caches."""

KEPT = 2**24
"""A map of at most so many entries (64 MiB) is kept for the gradient instead of made again."""


def attend(
    queries: Float[Tensor, "b n c"],
    keys: Float[Tensor, "b n c"],
    values: Float[Tensor, "b n d"],
    keep: Bool[Tensor, "b n"] | None = None,
) -> Float[Tensor, "b n d"]:
    """softmax_j(Q_i . K_j) V_j, over the keys to ``keep``; logits are not scaled.

    Few points have their (B, N, N) map written out; of many it would not fit. There is no second
    derivative through the attention of many.
    """
    if keys.shape[1] <= EXPLICIT_POINTS:
        weights = _weights(queries, keys, keep)
        # (V^T A^T)^T lies in memory as (B, C, N); nearer to the other features than (B, N, C).
        return torch.bmm(values.transpose(1, 2), weights.transpose(1, 2)).transpose(1, 2)
    if queries.device.type == "cpu":
        attended: Tensor = _InBlocks.apply(queries, keys, values, keep)  # type: ignore[no-untyped-call]
        return attended
    attended = nn.functional.scaled_dot_product_attention(
        queries[:, None].contiguous(),
        keys[:, None].contiguous(),
        values[:, None].contiguous(),
        attn_mask=None if keep is None else keep[:, None, None, :],
        scale=1.0,
    )
    return points_together(attended[:, 0])


def _weights(queries: Tensor, keys: Tensor, keep: Tensor | None) -> Tensor:
    """The map's rows of these queries, (B, R, N)."""
    logits = torch.bmm(queries, keys.transpose(1, 2))
    if keep is not None:
        logits = logits.masked_fill(~keep[:, None, :], -torch.inf)
    return logits.softmax(dim=-1)


def _blocks(keys: Tensor) -> Iterator[slice]:
    """Rows of the map that are made at a time."""
    samples, points = keys.shape[:2]
    size = max(1, BLOCK // (samples * points))
    for start in range(0, points, size):
        yield slice(start, min(start + size, points))


class _InBlocks(torch.autograd.Function):
    """Attention whose map exists in blocks of rows, again in the gradient where it is large.

    torch's own for CPUs spends twice the time at 1,024 channels, and always computes the keys'
    gradient, which an attack on the pose does not need.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, keep: Tensor | None
    ) -> Tensor:
        samples, points = keys.shape[:2]
        out = values.new_empty(values.shape[2], samples, points)
        whole = None
        if any(ctx.needs_input_grad) and samples * points * points <= KEPT:
            whole = queries.new_empty(samples, points, points)
        with torch.autocast("cpu", enabled=False):
            for rows in _blocks(keys):
                weights = _weights(queries[:, rows], keys, keep)
                part = torch.bmm(values.transpose(1, 2), weights.transpose(1, 2))
                out[:, :, rows] = part.transpose(0, 1)
                if whole is not None:
                    whole[:, rows] = weights
        ctx.save_for_backward(queries, keys, values, keep, whole)
        return out.permute(1, 2, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, keep, whole = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        samples, points = keys.shape[:2]
        of_queries = queries.new_empty(queries.shape[2], samples, points) if wanted[0] else None
        of_keys = torch.zeros_like(keys.transpose(1, 2)) if wanted[1] else None
        of_values = torch.zeros_like(values.transpose(1, 2)) if wanted[2] else None
        for rows in _blocks(keys):
            some = queries[:, rows]
            weights = _weights(some, keys, keep) if whole is None else whole[:, rows]
            if of_values is not None:
                of_values.baddbmm_(grad[:, rows].transpose(1, 2), weights)
            if of_queries is None and of_keys is None:
                continue
            of_weights = torch.bmm(grad[:, rows], values.transpose(1, 2))
            of_logits = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            if of_queries is not None:
                part = torch.bmm(keys.transpose(1, 2), of_logits.transpose(1, 2))
                of_queries[:, :, rows] = part.transpose(0, 1)
            if of_keys is not None:
                of_keys.baddbmm_(some.transpose(1, 2), of_logits)
        return (
            None if of_queries is None else of_queries.permute(1, 2, 0),
            None if of_keys is None else of_keys.transpose(1, 2),
            None if of_values is None else of_values.transpose(1, 2),
            None,
        )
