"""When a sample has been attacked enough: its last third of gradients brought next to nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from posebench.shapes import Float

ENOUGH = 0.01
"""Relative gain of the last third of a sample's gradients below which it stops."""

LEAST = 600
"""Gradients before a sample may stop: the last third of them is then the fine ascent."""


class Found:
    """The best value of each sample after each of its rounds.

    Attributes:
        values: (B,) the best so far.
        spent: (B,) int64, gradients so far, on the CPU.
        history: after each round: gradients by then and values, of all samples.
    """

    def __init__(self, values: Float[Tensor, "b"]) -> None:
        self.values = values
        self.spent = torch.zeros(len(values), dtype=torch.int64)
        self.history = [(self.spent, values)]

    def add(self, rows: Tensor, values: Float[Tensor, "r"], gradients: int) -> None:
        """Enter a round of some samples."""
        self.values = self.values.index_copy(0, rows.to(self.values.device), values)
        self.spent = self.spent.index_add(0, rows, torch.full_like(rows, gradients))
        self.history.append((self.spent, self.values))

    def late_gain(self) -> Float[Tensor, "b"]:
        """Relative growth over the last third of each sample's gradients, (B,) on the CPU.

        Where two thirds fall into a round, the value before that round counts.
        """
        earlier = self.history[0][1]
        for spent, values in self.history:
            reached = (3 * spent <= 2 * self.spent).to(values.device)
            earlier = torch.where(reached, values, earlier)
        tiny = torch.finfo(earlier.dtype).tiny
        gain = (self.values / earlier.clamp_min(tiny) - 1).nan_to_num(nan=math.inf, posinf=1e9)
        return gain.cpu()

    def going_on(self, most: int) -> Tensor:
        """Which samples (B,) have not converged, on the CPU."""
        going = (self.spent < LEAST) | (self.late_gain() >= ENOUGH)
        return going & (self.spent < most)
