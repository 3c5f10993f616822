"""What training steps of the accelerator recipe should reach on an H100, computed and not measured.

``python -m tests.benchmarks.arithmetic`` prints the table of docs/performance.md. A step runs on
tensors without values, so that only its operations are counted: floating point operations of
products, bytes that every operation reads and writes, and launches. The slowest of the three, at
the shares of a data sheet's figures below, gives the time. What no count shows: how far kernels
stay below these shares, and what the caches save.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from posebench.benchmark.training.averaging import WeightAverage
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.optimisers import make_optimisers
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.recipe_file import read_recipes
from posebench.benchmark.training.step import training_step

PRODUCTS = 0.4 * 989e12
"""FLOP a second: four tenths of an H100 SXM's dense bf16 products."""

MEMORY = 0.7 * 3.35e12
"""Bytes a second: seven tenths of its memory's."""

LAUNCH = 8e-6
"""Seconds that Python and PyTorch take for an operation, uncompiled."""


@dataclass
class Counts:
    """Of one step.

    Attributes:
        flops: of products and attention.
        bytes: read and written.
        launches: operations that compute.
    """

    flops: int = 0
    bytes: int = 0
    launches: int = 0

    @property
    def limits(self) -> dict[str, float]:
        """What the step waits for -> seconds."""
        return {
            "launches": self.launches * LAUNCH,
            "memory": self.bytes / MEMORY,
            "products": self.flops / PRODUCTS,
        }


class Counting(TorchDispatchMode):
    """Counts bytes and launches of everything that is not a view."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        returned = [each.alias_info for each in func._schema.returns]
        view = all(alias is not None and not alias.is_write for alias in returned)
        # What lists of tensors do in place returns nothing.
        listed = func._schema.name.startswith("aten::_foreach") or "_fused" in func._schema.name
        made = [each for each in tree.tree_leaves(result) if isinstance(each, Tensor)]
        empty = "empty" in func._schema.name or "detach" in func._schema.name
        if listed or (made and not view and not empty):
            self.counts.launches += 1
            parts = tree.tree_leaves((args, kwargs, result))
            self.counts.bytes += sum(
                each.numel() * each.element_size() for each in parts if isinstance(each, Tensor)
            )
        return result


def counts_of(recipe: Recipe) -> Counts:
    """A step of the recipe's last part."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = initial_network(recipe).train().requires_grad_(True)
        optimisers = make_optimisers(network, recipe)
        average = WeightAverage(network)
        points, pose_points = recipe.points or 0, recipe.pose_points or 0
        identity = torch.empty(recipe.batch, points, 3)
        pairs = torch.empty(recipe.batch, pose_points, 3), identity, torch.empty_like(identity)
        drawn: Any = (*pairs, None)
        last = recipe.steps - 1
        own = {torch.ops.aten.addmm_.default: flop_registry[torch.ops.aten.addmm]}
        flops = FlopCounterMode(display=False, custom_mapping=own)
        with Counting() as counting, flops:
            training_step(network, optimisers, recipe, last, drawn, torch.Generator())
            average.update()
    return replace(counting.counts, flops=flops.get_total_flops())


def main() -> None:
    """Write the table."""
    heading = (
        "run | batch | points | GFLOP a visit | MB a visit | launches a step | bound | visits/s"
    )
    lines = [f"| {heading} |", "|---" * 8 + "|"]
    for run in read_recipes("accelerator"):
        recipe = run.recipe
        if recipe.adversarial is not None:
            recipe = replace(recipe, start="0" * 64)
        counts, batch = counts_of(recipe), recipe.batch
        bound, seconds = max(counts.limits.items(), key=lambda each: each[1])
        lines.append(
            f"| {run.name} | {batch} | {recipe.points} / {recipe.pose_points} "
            f"| {counts.flops / batch / 1e9:.2f} | {counts.bytes / batch / 1e6:.0f} "
            f"| {counts.launches} | {bound} | {batch / seconds:,.0f} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
