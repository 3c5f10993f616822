"""What a victim costs: time of a forward, parameters, size on disk, peak memory (Table 4).

With a defence in front of it, too; what a step of training costs is measured by
``training.step_cost``. Each victim is measured in a process of its own, so that the peak memory is
its alone.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch

from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.memory import peak_memory
from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import read_json
from posebench.benchmark.records.types import Environment
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.fields import STRICT, Count, Least, Name, Positive
from posebench.files import write_atomically
from posebench.interfaces import Batch, Victim
from posebench.victims import SIZES, VICTIMS
from posebench.victims.wrappers import Defended


@dataclass(frozen=True)
class VictimCost:
    """Of one victim at one size; random weights, one pair of whole meshes."""

    __pydantic_config__ = STRICT

    victim: Name
    """Registry name."""
    size: Name
    """Registry name."""
    width: Count
    """Of the network."""
    vertices: Count
    """Of pose source and identity."""
    parameters: Annotated[int, Least(0)]
    """Trainable numbers."""
    megabytes: Annotated[float, Least(0)]
    """Of the weights in float32, 1e6 bytes."""
    forward_ms: Positive
    """Median time of one forward."""
    gradient_ms: Positive
    """Median time of a forward and the gradient to the pose, as an attack needs."""
    forward_mb: Positive
    """Most memory in use above the idle state with the weights loaded, 1e6 bytes. Of the device
    where it counts, else of the process; the latter grows in steps and never shrinks, so small
    figures are rough."""
    gradient_mb: Positive
    """Likewise with the gradient."""
    defense: Name | None = None
    """Registry name of the defence in front of it; None without one."""


@dataclass(frozen=True)
class StepCost:
    """Of a step of training, measured in turns with the other runs of its file."""

    __pydantic_config__ = STRICT

    run: Name
    """Of a recipe file."""
    step_ms: Positive
    """Median time of a step."""
    times_first: Positive
    """Median ratio of a step to that of the file's first run in the same turn."""


def measure_cost(
    victim: str, size: str, device: str, repeats: int, defense: str | None = None
) -> VictimCost:
    """Measure in this process; see :func:`measure_apart`."""
    width, vertices = SIZES[size].width, SIZES[size].vertices
    batch = load_task("anny/seen", samples=1, vertices=vertices).batch(torch.tensor([0])).to(device)
    network = VICTIMS[victim](width).to(device).eval().requires_grad_(False)
    count = sum(parameter.numel() for parameter in network.parameters())
    system: Victim = network if defense is None else Defended(network, DEFENSES[defense]())
    idle = peak_memory(device)

    def forward() -> None:
        with torch.no_grad():
            system(batch.pose, batch.identity)

    forward_ms = _median_ms(forward, device, repeats)
    forward_mb = (peak_memory(device) - idle) / 1e6
    gradient_ms = _median_ms(lambda: _input_gradient(system, batch), device, repeats)
    gradient_mb = (peak_memory(device) - idle) / 1e6
    return VictimCost(
        victim, size, width, vertices, count, 4 * count / 1e6,
        forward_ms, gradient_ms, forward_mb, gradient_mb, defense,
    )  # fmt: skip


def _input_gradient(system: Victim, batch: Batch) -> None:
    points = batch.pose.points.clone().requires_grad_(True)
    output = system(batch.pose.replace(points), batch.identity)
    torch.autograd.grad((output.points - batch.target.points).square().mean(), points)


def _median_ms(call: Callable[[], None], device: str, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        finish(device)
        start = time.perf_counter()
        call()
        finish(device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def finish(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def measure_apart(
    victim: str, size: str, device: str, repeats: int, defense: str | None = None
) -> VictimCost:
    """:func:`measure_cost` in a fresh process.

    Raises:
        InputError: if the process fails, as for want of memory.
    """
    words = [
        sys.executable,
        "-m",
        "posebench.benchmark.evaluation.cost",
        victim,
        size,
        device,
        str(repeats),
        *([] if defense is None else [defense]),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed, probably for want of memory"])[-1]
        behind = "" if defense is None else f" behind {defense}"
        raise InputError(f"cost of {victim} ({size}){behind} cannot be measured: {reason}")
    return VictimCost(**json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Costs:
    """A file of costs."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench/costs/1"]
    """The file's form."""
    costs: tuple[VictimCost, ...]
    """A victim each, or a victim behind a defence."""
    environment: Environment
    """Where they were measured."""
    steps: tuple[StepCost, ...] = ()
    """A training run each."""


def write_costs(
    path: Path, costs: Sequence[VictimCost], device: str, steps: Sequence[StepCost] = ()
) -> None:
    """All costs with where they were measured; JSON."""
    content = Costs("posebench/costs/1", tuple(costs), environment(device), tuple(steps))
    write_atomically(path, json.dumps(plain(content), indent=1) + "\n")


def read_costs(path: Path) -> Costs:
    """A file of :func:`write_costs`.

    Raises:
        InputError: naming the field that is not as it writes it.
    """
    return decode(Costs, read_json(path), str(path))


def costs_below(folder: Path) -> list[VictimCost]:
    """What the files in a folder hold, by name; errors as :func:`read_costs`."""
    return [cost for path in sorted(folder.glob("*.json")) for cost in read_costs(path).costs]


if __name__ == "__main__":
    name, wanted_size, where_to, times, *behind = sys.argv[1:]
    measured = measure_cost(name, wanted_size, where_to, int(times), *behind)
    sys.stdout.write(json.dumps(asdict(measured)))
