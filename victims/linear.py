"""Linear layers on shapes (B, N, C): one matrix product for the whole batch.

The released networks' kernel-1 convolutions, written so that they reach bf16 units on GPUs and
recent CPUs. In memory features lie as (C, B, N): a layer then reads and writes one matrix (C, B N),
instance norm runs along rows, and the halves of a modulation are blocks. Nothing depends on it but
speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from posebench.shapes import Float

ALIGNMENT = 8
"""Channels of bf16 that fill 16 bytes, the alignment of matrix units."""


def linear(
    x: Float[Tensor, "b n c"], weight: Float[Tensor, "d k"], bias: Float[Tensor, "d"] | None
) -> Float[Tensor, "b n e"]:
    """A linear layer whose result lies in memory as (D, B, N); see the module's text.

    Features may carry more channels than the weight reads, zeros behind the others
    (:func:`filled`); the result is then filled as well. Norm and modulation leave them zero.
    """
    return linear_sum((x,), (weight,), bias)


def linear_sum(
    features: Sequence[Float[Tensor, "b n _"]],
    weights: Sequence[Float[Tensor, "d _"]],
    bias: Float[Tensor, "d"] | None,
) -> Float[Tensor, "b n e"]:
    """The sum of a :func:`linear` layer of each of the features, without a pass for the sum."""
    columns, weight, bias = _aligned(features[0], weights[0], bias)
    total = weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)
    for x, matrix in zip(features[1:], weights[1:], strict=True):
        columns, weight, _ = _aligned(x, matrix, None)
        # Autocast does not reach in-place products.
        total.addmm_(weight.to(total.dtype), columns.to(total.dtype))
    return total.view(-1, *features[0].shape[:2]).permute(1, 2, 0)


def _aligned(
    x: Float[Tensor, "b n c"], weight: Float[Tensor, "d k"], bias: Float[Tensor, "d"] | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features as columns (C, B N), and a layer that reads all their channels."""
    columns = x.permute(2, 0, 1).flatten(1)
    surplus = len(columns) - weight.shape[1]
    if surplus:
        weight = nn.functional.pad(weight, (0, surplus))
        weight, bias = filled(x, weight, bias)
    return columns, weight, bias


def filled(
    x: Float[Tensor, "b n c"], weight: Float[Tensor, "d k"], bias: Float[Tensor, "d"] | None
) -> tuple[Float[Tensor, "e k"], Float[Tensor, "e"] | None]:
    """A layer with outputs of zero added, up to a multiple of eight, if x is multiplied in bf16.

    Products of misaligned bf16 matrices were a third slower on a CPU (259 and 264 channels), and
    GPUs need the alignment too.
    """
    half = x.dtype == torch.bfloat16
    if autocast(x):
        half = torch.get_autocast_dtype(x.device.type) == torch.bfloat16
    filler = -len(weight) % ALIGNMENT if half else 0
    if not filler:
        return weight, bias
    pad = nn.functional.pad
    return pad(weight, (0, 0, 0, filler)), None if bias is None else pad(bias, (0, filler))


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Autocast switched off where it is on, for arithmetic on the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False) if autocast(x) else nullcontext()


def autocast(x: Tensor) -> bool:
    """Whether autocast is on for the device of ``x``; tensors without data have none."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def points_together(x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    """The same values, in memory as (C, B, N)."""
    return x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
