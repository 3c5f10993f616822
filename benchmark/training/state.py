"""What changes while a run trains, and how it is to be run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from posebench.benchmark.training.averaging import WeightAverage
from posebench.benchmark.training.optimisers import make_optimisers
from posebench.benchmark.training.pairs import part_generator
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.time_budget import PartClock
from posebench.victims import PoseTransferNetwork


@dataclass(frozen=True)
class HowToTrain:
    """How to run a recipe, as opposed to what it says.

    Attributes:
        device: a torch device.
        compiled: run the network through torch.compile.
        recompute: gradient checkpointing, for victims that can.
    """

    device: str = "cpu"
    compiled: bool = False
    recompute: bool = False


@dataclass
class State:
    """All that changes while a run trains; what a checkpoint holds.

    Attributes:
        recipe: with the lengths that a time budget has chosen so far.
        network, average, optimisers, generator: as they are after ``step`` steps; a run ends with
            the average of its weights.
        first: the step that the run began with.
        step: optimiser steps done, the clean part of a ``start`` counted in.
        curve: (step, mean training loss since the last entry).
        sums: (3,) loss, error on attacked rows and share removed, since the last entry.
        seconds: spent on training steps so far.
        clock: of the present part.
        chosen: parts whose length a time budget has chosen.
    """

    recipe: Recipe
    network: PoseTransferNetwork
    average: WeightAverage
    optimisers: list[torch.optim.Optimizer]
    generator: Generator
    first: int
    step: int
    sums: Tensor
    curve: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    clock: PartClock = field(default_factory=PartClock)
    chosen: int = 0

    @property
    def last(self) -> int:
        """The step of the last entry of the curve."""
        return self.curve[-1][0] if self.curve else self.first

    @property
    def adversarial(self) -> bool:
        """Whether the next step is one of the adversarial part."""
        return self.recipe.adversarial is not None and self.step >= self.recipe.clean_steps

    @property
    def part(self) -> tuple[int, int]:
        """First and last step of the present part."""
        if self.adversarial:
            return self.recipe.clean_steps, self.recipe.steps
        return 0, self.recipe.clean_steps

    def begin_adversarial_part(self, device: str) -> None:
        """A part of its own: it starts from the clean part's averaged weights, and neither momentum
        nor random numbers go on, so that a run that starts from clean weights is the second part
        of a whole run."""
        self.take_average()
        self.average.restart()
        for old, new in zip(
            self.optimisers, make_optimisers(self.network, self.recipe), strict=True
        ):
            old.load_state_dict(new.state_dict())
        self.generator.set_state(part_generator(self.recipe, "adversarial", device).get_state())
        self.clock = PartClock()

    def take_average(self) -> None:
        """Give the network its averaged weights, and what follows from them."""
        self.average.copy_to_network()
        self.network.settle()

    def whole(self) -> bool:
        """Whether all weights are finite; one wait for the device."""
        found = [parameter.isfinite().all() for parameter in self.network.parameters()]
        return bool(torch.stack(found).all())
