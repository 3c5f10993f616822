"""What a training step costs on one process and on several, by the processor time of each.

``python -m tests.benchmarks.processes``, then ``torchrun --nproc-per-node 2 -m
tests.benchmarks.processes``: NPT of compact width, batch 16, shared by the processes. On cores that
do other work as well the wall time says nothing, so the mean processor time of the processes
stands beside it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import torch

from posebench.benchmark.training.distributed import agreed, process_group, rank_and_world
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.optimisers import make_optimisers
from posebench.benchmark.training.recipe import DEFAULT_RECIPES
from posebench.benchmark.training.step import training_step
from posebench.rng import generator_for

STEPS = 40


def main() -> None:
    """Write a line from the first process."""
    torch.set_num_threads(1)
    recipe = replace(DEFAULT_RECIPES["npt"], batch=16)
    network = initial_network(recipe).train().requires_grad_(True)
    optimisers = make_optimisers(network, recipe)
    generator = generator_for(0)
    clouds = [0.3 * torch.randn(16, 256, 3, generator=generator) for _ in range(3)]
    drawn = (clouds[0], clouds[1], clouds[2], None)
    with process_group("cpu") as device:
        for step in range(3):
            training_step(network, optimisers, recipe, step, drawn, generator)
        wall, own = time.monotonic(), time.process_time()
        for step in range(STEPS):
            training_step(network, optimisers, recipe, step, drawn, generator)
        wall, own = time.monotonic() - wall, time.process_time() - own
        mean = agreed([own], device)[0]
        rank, world = rank_and_world()
        if not rank:
            sys.stdout.write(
                f"{world} processes: {1e3 * mean / STEPS:.0f} ms of processor time a step each, "
                f"{1e3 * wall / STEPS:.0f} ms of wall time\n"
            )


if __name__ == "__main__":
    main()
