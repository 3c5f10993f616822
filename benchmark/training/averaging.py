"""The moving average of the weights, which is what a training run ends with.

Source: Polyak averaging as an exponential mean. The decay rises as (1 + t) / (10 + t), so that an
early mean forgets the initial weights, up to a limit (the rule of TensorFlow's
ExponentialMovingAverage).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAY = 0.999
"""Limit of the decay a step: a mean over about the last thousand steps."""


class WeightAverage:
    """An exponential moving average of a network's parameters, on their device.

    Attributes:
        limit: of the decay; 0 keeps the present weights alone.
        steps: updates since the start or the last :meth:`restart`.
    """

    def __init__(self, network: nn.Module, limit: float = DECAY) -> None:
        self.limit = limit
        self._parameters = dict(network.named_parameters())
        self._means = {k: v.detach().clone() for k, v in self._parameters.items()}
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the network's present weights; nothing waits for the device."""
        self.steps += 1
        decay = min(self.limit, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self._means.values()), list(self._parameters.values()), 1 - decay)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew from the network's present weights."""
        torch._foreach_copy_(list(self._means.values()), list(self._parameters.values()))
        self.steps = 0

    @torch.no_grad()
    def copy_to_network(self) -> None:
        """Give the network the averaged weights."""
        torch._foreach_copy_(list(self._parameters.values()), list(self._means.values()))

    def state_dict(self) -> dict[str, Tensor]:
        """The means by parameter, and ``steps``."""
        return {**self._means, "steps": torch.tensor(self.steps)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            KeyError: if it lacks a parameter.
            RuntimeError: if a shape differs.
        """
        for name, mean in self._means.items():
            mean.copy_(state[name])
        self.steps = int(state["steps"])
