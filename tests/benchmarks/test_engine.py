"""Cost of training steps and input gradients as ratios to plain formulations; not asserted.

Run by ``pytest tests/benchmarks/test_engine.py --benchmark-only --benchmark-json=FILE``. Both
sides take turns, in processor time on one thread, so that other load meets both. ``extra_info``
holds visits a second or seconds, and the median of the ratios of neighbouring turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import jaxtyping
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from posebench.benchmark.data.anny import training_meshes
from posebench.benchmark.data.body import load_body
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.optimisers import make_optimisers
from posebench.benchmark.training.pairs import training_pairs
from posebench.benchmark.training.recipe import DEFAULT_RECIPES
from posebench.benchmark.training.step import training_step
from posebench.rng import generator_for
from posebench.victims import VICTIMS, PoseTransferNetwork
from tests.benchmarks import reference
from tests.benchmarks.former import Former, former_optimisers

VISITS = 32
"""Sample visits a turn: a multiple of all batches compared."""


@pytest.fixture(autouse=True)
def _as_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.set_num_threads(1)


def compare(
    benchmark: BenchmarkFixture,
    ours: Callable[[], object],
    base: Callable[[], object],
    rounds: int,
) -> tuple[float, float]:
    """Median processor seconds of both; writes down the ratio base over ours."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        pair = []
        for call in (ours, base):
            start = time.process_time()
            call()
            pair.append(time.process_time() - start)
        times.append((pair[0], pair[1]))
    first, second = zip(*times[1:], strict=True)
    benchmark.extra_info |= {
        "median_of_ratios": round(statistics.median(b / a for a, b in times[1:]), 3),
        "ratio_of_fastest": round(min(second) / min(first), 3),
    }
    benchmark.pedantic(ours, rounds=1)  # type: ignore[no-untyped-call]
    return statistics.median(first), statistics.median(second)


def steps_of(
    victim: str, width: int, *, batch: int, adversarial: bool, former: bool
) -> Callable[[], None]:
    """VISITS visits of training at negligible rates."""
    recipe = replace(
        DEFAULT_RECIPES[victim],
        batch=batch,
        adversarial=Adversarial(after=0.0) if adversarial else None,
        matrix_rate=1e-6,
        rate=1e-6,
        warmup=0,
    )
    with torch.random.fork_rng():
        network = VICTIMS[victim](width).train()
    network.requires_grad_(True)
    optimisers = (former_optimisers if former else make_optimisers)(network, recipe)
    trained = Former(network).train() if former else network
    generator = generator_for(0)
    body = load_body(1700)
    pairs = training_pairs(recipe, training_meshes(body), body, generator)

    def run() -> None:
        for step in range(VISITS // recipe.batch):
            training_step(trained, optimisers, recipe, step, next(pairs), generator)  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("adversarial", [False, True], ids=["clean", "fgm"])
@pytest.mark.parametrize("width", [128, 256])
@pytest.mark.parametrize("victim", ["npt", "npt-mp", "gct", "posemae"])
@pytest.mark.parametrize("batch", [8, 16])
def test_training_visits_against_former_step(
    benchmark: BenchmarkFixture, victim: str, width: int, adversarial: bool, batch: int
) -> None:
    """Against the former step at the former batch of 8."""
    ours, base = compare(
        benchmark,
        steps_of(victim, width, batch=batch, adversarial=adversarial, former=False),
        steps_of(victim, width, batch=8, adversarial=adversarial, former=True),
        rounds=3,
    )
    benchmark.extra_info |= {
        "visits_a_second": round(VISITS / ours),
        "former_visits_a_second": round(VISITS / base),
    }


@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "and input gradient"])
@pytest.mark.parametrize(
    ("victim", "points"), [("npt", 6890), ("npt-mp", 6890), ("gct", 3445), ("posemae", 6890)]
)
@pytest.mark.parametrize("width", [128, 256, 1024])
def test_input_gradient_against_reference(
    benchmark: BenchmarkFixture, victim: str, points: int, width: int, gradient: bool
) -> None:
    """One pair in float32, parameters frozen, as an attack does."""
    with torch.random.fork_rng():
        network = VICTIMS[victim](width).eval().requires_grad_(False)
    generator = generator_for(0)
    pose, identity = (0.5 * torch.randn(1, points, 3, generator=generator) for _ in range(2))

    def plain(network: PoseTransferNetwork, pose: torch.Tensor) -> torch.Tensor:
        return reference.transfer(network, pose, identity)

    def ours(network: PoseTransferNetwork, pose: torch.Tensor) -> torch.Tensor:
        return network.transfer(pose, identity)

    difference = (plain(network, pose) - ours(network, pose)).abs().max()
    assert difference < 1e-4, "the formulations must agree before they are timed"

    def timed(call: Callable[[PoseTransferNetwork, torch.Tensor], torch.Tensor]) -> object:
        points = pose.clone().requires_grad_(gradient)
        output = call(network, points)
        return torch.autograd.grad(output.square().sum(), points) if gradient else output

    seconds, base = compare(
        benchmark, lambda: timed(ours), lambda: timed(plain), rounds=3 if width == 1024 else 7
    )
    flops = products(lambda: timed(ours))
    benchmark.extra_info |= {
        "seconds": round(seconds, 3),
        "reference_seconds": round(base, 3),
        "gflop": round(flops / 1e9, 1),
        "gflop_of_reference": round(products(lambda: timed(plain)) / 1e9, 1),
        "share_of_peak": round(flops / seconds / peak(width, points), 3),
    }


def products(call: Callable[[], object]) -> int:
    """Floating point operations of matrix products and attention in a call."""
    own = {torch.ops.aten.addmm_.default: flop_registry[torch.ops.aten.addmm]}
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        call()
    return counter.get_total_flops()


def peak(width: int, points: int) -> float:
    """Floating point operations a second of one core in the network's largest product alone."""
    weight, columns = torch.randn(width, width), torch.randn(width, points)
    seconds = []
    for _ in range(6):
        start = time.process_time()
        weight @ columns
        seconds.append(time.process_time() - start)
    return 2 * width * width * points / min(seconds)
