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


def pmd(output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
    """The metric itself: mean squared error after each is centred by its bounding box."""
    return mse(centred(output), centred(target))


OBJECTIVES: dict[str, Objective] = {"mse": mse, "pt": pt, "log_mse": log_mse, "pmd": pmd}
