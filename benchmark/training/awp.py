"""Adversarial weight perturbation: gradients taken where the weights themselves are attacked.

Source: Wu, Xia and Wang, arXiv 2004.05884. With w_l a layer's weights, g_l the gradient of the
training loss to them, and gamma the relative size, the layer is moved up the loss to

    w_l + gamma |w_l| g_l / |g_l|

(Frobenius norms; one ascent step, as in the paper's runs), the loss's gradient is taken there, and
the weights come back before the optimiser steps. As in the released code only matrices move, not
biases and gains. The loss is the one that is trained on, clean rows included (our choice: it is
what shall be flat), and its gradient at the plain weights serves for the ascent, so that a step
costs one forward and one backward more. A network that draws, draws anew there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

TINY = 1e-30
"""Least norm of a gradient that is divided by."""


@contextmanager
def raised_weights(network: nn.Module, gamma: float) -> Iterator[None]:
    """The network's matrices moved up their present gradients; at the end back to the bit."""
    matrices: list[Tensor] = [
        each for each in network.parameters() if each.ndim > 1 and each.grad is not None
    ]
    before = [each.detach().clone() for each in matrices]
    with torch.no_grad():
        for each in matrices:
            assert each.grad is not None
            each.add_(each.grad * (gamma * each.norm() / each.grad.norm().clamp_min(TINY)))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(matrices, before)
