"""What a victim costs: time of a forward, parameters, size on disk, peak memory (Table 4).

Each victim is measured in a process of its own, so that the peak memory is its alone.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from posebench.benchmark.data.anny import load_task
from posebench.benchmark.evaluation.memory import peak_memory
from posebench.benchmark.records.store import environment
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.interfaces import Batch
from posebench.victims import SIZES, VICTIMS, PoseTransferNetwork

SCHEMA = "posebench/costs/1"


@dataclass(frozen=True)
class Cost:
    """Of one victim at one size; random weights, one pair of whole meshes.

    Attributes:
        parameters: trainable numbers.
        megabytes: of the weights in float32, 1e6 bytes.
        forward_ms: median time of one forward.
        gradient_ms: median time of a forward and the gradient to the pose, as an attack needs.
        forward_mb, gradient_mb: most memory in use above the idle state with the weights loaded,
            1e6 bytes. Of the device where it counts, else of the process; the latter grows in
            steps and never shrinks, so small figures are rough.
    """

    victim: str
    size: str
    width: int
    vertices: int
    parameters: int
    megabytes: float
    forward_ms: float
    gradient_ms: float
    forward_mb: float
    gradient_mb: float


def measure_cost(victim: str, size: str, device: str, repeats: int) -> Cost:
    """Measure in this process; see :func:`measure_apart`."""
    width, vertices = SIZES[size].width, SIZES[size].vertices
    batch = load_task("anny/seen", samples=1, vertices=vertices).batch(torch.tensor([0])).to(device)
    network = VICTIMS[victim](width).to(device).eval().requires_grad_(False)
    count = sum(parameter.numel() for parameter in network.parameters())
    idle = peak_memory(device)

    def forward() -> None:
        with torch.no_grad():
            network(batch.pose, batch.identity)

    forward_ms = _median_ms(forward, device, repeats)
    forward_mb = (peak_memory(device) - idle) / 1e6
    gradient_ms = _median_ms(lambda: _input_gradient(network, batch), device, repeats)
    gradient_mb = (peak_memory(device) - idle) / 1e6
    return Cost(
        victim, size, width, vertices, count, 4 * count / 1e6,
        forward_ms, gradient_ms, forward_mb, gradient_mb,
    )  # fmt: skip


def _input_gradient(network: PoseTransferNetwork, batch: Batch) -> None:
    points = batch.pose.points.clone().requires_grad_(True)
    output = network(batch.pose.replace(points), batch.identity)
    torch.autograd.grad((output.points - batch.target.points).square().mean(), points)


def _median_ms(call: Callable[[], None], device: str, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        _finish(device)
        start = time.perf_counter()
        call()
        _finish(device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def measure_apart(victim: str, size: str, device: str, repeats: int) -> Cost:
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
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed, probably for want of memory"])[-1]
        raise InputError(f"cost of {victim} ({size}) cannot be measured: {reason}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def write_costs(path: Path, costs: list[Cost], device: str) -> None:
    """All costs with where they were measured; JSON."""
    content = {
        "schema": SCHEMA,
        "costs": [asdict(cost) for cost in costs],
        "environment": environment(device),
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_costs(path: Path) -> tuple[list[Cost], dict[str, Any]]:
    """The costs of a file and where they were measured.

    Raises:
        InputError: if the file is not one of :func:`write_costs`.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        where = content["environment"]
        place = {key: where[key] for key in ("device_name", "device", "threads", "torch", "commit")}
        return [Cost(**each) for each in content["costs"]], place
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a file of costs ({error})") from error


def costs_markdown(path: Path) -> list[str]:
    """The table of a file of costs; errors as :func:`read_costs`."""
    costs, where = read_costs(path)
    threads = "1 thread" if where["threads"] == 1 else f"{where['threads']} threads"
    place = f"{where['device_name']} ({where['device']}, {threads})"
    lines = [
        "",
        "## Cost of one pair (Table 4)",
        "",
        f"{place}, torch {where['torch']}, commit {str(where['commit'])[:7]}; median times. Memory",
        "above the idle state; `gradient` is a forward and the gradient to the pose.",
        "",
        "| victim | size | vertices | parameters | MB | forward ms | gradient ms | forward MB | "
        "gradient MB |",
        "|---" * 9 + "|",
    ]
    for cost in costs:
        lines.append(
            f"| {cost.victim} | {cost.size} | {cost.vertices} | {cost.parameters:,} | "
            f"{cost.megabytes:.1f} | {cost.forward_ms:.0f} | {cost.gradient_ms:.0f} | "
            f"{cost.forward_mb:.0f} | {cost.gradient_mb:.0f} |"
        )
    return lines


if __name__ == "__main__":
    name, wanted_size, where_to, times = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(measure_cost(name, wanted_size, where_to, int(times)))))
