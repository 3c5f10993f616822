"""Time and peak memory of an attack's gradient against the number of points; not asserted but for
GC-Transformer's limit.

Run by ``pytest tests/benchmarks/test_scale.py --benchmark-only --benchmark-json=FILE``: compact
width, one pair, float32, one thread, processor time. Memory is what the process used at most beyond
what it held before.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

import jaxtyping
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from posebench.attacks.gradient import pose_gradient
from posebench.benchmark.evaluation.memory import peak_memory, start_peak
from posebench.cloud import Clouds
from posebench.interfaces import Batch
from posebench.rng import generator_for
from posebench.victims import VICTIMS

LIMIT = 8e9
"""Bytes that a gradient through GC-Transformer at 27,000 points must not exceed."""


def resident() -> int:
    """Bytes that the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def pair(points: int) -> Batch:
    """A pair of random clouds."""
    clouds = [
        Clouds.dense(0.3 * torch.randn(1, points, 3, generator=generator_for(0, name)))
        for name in ("pose", "identity", "target")
    ]
    faces = torch.zeros((1, 1, 3), dtype=torch.int64)
    return Batch(clouds[0], clouds[1], clouds[2], faces, torch.arange(1))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts anew")
@pytest.mark.parametrize("points", [1_000, 3_000, 7_000, 14_000, 27_000])
@pytest.mark.parametrize("victim", ["npt", "npt-mp", "gct", "posemae"])
def test_attack_gradient_against_points(
    benchmark: BenchmarkFixture, victim: str, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        network = VICTIMS[victim](128).eval()
    batch = pair(points)
    pose_gradient(network, pair(64), pair(64).pose)  # loads kernels
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before must not hide what is taken
    before = resident()
    start_peak("cpu")
    start = time.process_time()
    benchmark.pedantic(lambda: pose_gradient(network, batch, batch.pose), rounds=1)  # type: ignore[no-untyped-call]
    seconds = time.process_time() - start
    used = peak_memory("cpu") - before
    benchmark.extra_info |= {"seconds": round(seconds, 3), "megabytes": round(used / 1e6)}
    assert victim != "gct" or used < LIMIT
