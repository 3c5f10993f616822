"""What attacks maximise: the PT adversarial loss and its relatives, per sample, (B,).

The paper (Eq. 5) minimises 1 / M with M the mean squared coordinate error. Its gradient is
-grad M / M^2, so every attack that normalises the gradient per sample walks along grad M, and
the first three objectives below differ for un-normalised attacks alone. We maximise, so the paper's
loss is negated. ``mse`` is the default: it stays finite with a finite gradient at a perfect
fit, where 1 / M does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from posebench.cloud import Clouds
from posebench.geometry import centred
from posebench.registry import Registry
from posebench.shapes import Float

Objective = Callable[[Clouds, Clouds], Tensor]

FLOOR = 1e-12
"""Square metres added to M in 1 / M and log M: a millionth of a metre squared."""


def mse(output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
    """Mean squared coordinate error over real points, square metres; no re-centring."""
    squared = (output.points - target.points).square()
    if target.full:
        return squared.mean(dim=(1, 2))
    return (squared * target.mask[..., None]).sum(dim=(1, 2)) / (3 * target.counts)


def pt(output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
    """Minus the paper's adversarial loss: -1 / (M + FLOOR), finite at a perfect fit."""
    return -1 / (mse(output, target) + FLOOR)


def log_mse(output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
    """log(M + FLOOR): the scale-free relative of both."""
    return torch.log(mse(output, target) + FLOOR)


def aligned(output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
    """Mean squared coordinate error after the best translation, square metres.

    With d the differences of corresponding points, the mean of |d - t|^2 is that of |d - m|^2 plus
    |m - t|^2, m the mean of d: it is least at t = m, the shift that lays centroid on centroid. So
    no rule of centring can flatter or blame an output, and no lone point moves the rest much.
    """
    error = output.points - target.points
    if target.full:
        return (error - error.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
    real, counts = target.mask[..., None], target.counts[:, None, None]
    error = error.where(real, error.new_zeros(()))
    shift = error.sum(dim=1, keepdim=True) / counts
    return ((error - shift) * real).square().sum(dim=(1, 2)) / (3 * target.counts)


def pmd(output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
    """The metric itself: mean squared error after each is centred by its bounding box."""
    return mse(centred(output), centred(target))


OBJECTIVES: Registry[Objective] = Registry("objective", "objectives")
OBJECTIVES.register("mse", mse)
OBJECTIVES.register("pt", pt)
OBJECTIVES.register("log_mse", log_mse)
OBJECTIVES.register("pmd", pmd)
OBJECTIVES.register("aligned", aligned)
