"""Cost of SOR, scans, FGM, training steps and their pairs as ratios to a base; not asserted.

Run by ``pytest tests/benchmarks --benchmark-only --benchmark-json=FILE``; the ratios are in
``extra_info`` of the file. Both sides are timed in turns, so that other load meets both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import repeat

import jaxtyping
import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from posebench.attacks import FGM, PGD
from posebench.attacks.enforce import checked
from posebench.benchmark.data.anny import training_meshes
from posebench.benchmark.data.body import load_body
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.depth_camera import CAMERAS, HEIGHT, WIDTH, camera, rays, visible
from posebench.benchmark.data.scan import SEVERITIES, scan_mesh
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.open_pairs import open_pairs
from posebench.benchmark.training.optimisers import make_optimisers
from posebench.benchmark.training.pairs import Pairs, training_pairs
from posebench.benchmark.training.recipe import DEFAULT_RECIPES, Recipe
from posebench.benchmark.training.step import training_step
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.interfaces import Batch, Budget
from posebench.objective import mse
from posebench.rng import generator_for
from posebench.victims import VICTIMS, PoseTransferNetwork

ROUNDS = 9


@pytest.fixture(autouse=True)
def _without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users run without the test run's shape checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def first_points(batch: Batch, count: int) -> Batch:
    """The first points of each shuffled cloud; faces stay and are not used here."""
    pose, identity, target = (
        Clouds.dense(cloud.points[:, :count].contiguous())
        for cloud in (batch.pose, batch.identity, batch.target)
    )
    return Batch(pose, identity, target, batch.faces, batch.sample_ids)


def timed(
    ours: Callable[[], object], base: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Seconds of both, timed in turns after one warm-up each."""
    times: dict[str, list[float]] = {"ours": [], "base": []}
    for _ in range(ROUNDS + 1):
        for name, call in (("ours", ours), ("base", base)):
            time.sleep(0.05)  # the other side's worker threads come to rest
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times["ours"][1:], times["base"][1:]


def record(
    benchmark: BenchmarkFixture, ours: Callable[[], object], base: Callable[[], object], name: str
) -> None:
    first, second = timed(ours, base)
    benchmark.extra_info |= {
        "ratio_to": name,
        "ratio_of_medians": round(statistics.median(first) / statistics.median(second), 3),
        "ratio_of_fastest": round(min(first) / min(second), 3),
        "ours_ms": round(1e3 * statistics.median(first), 2),
        "base_ms": round(1e3 * statistics.median(second), 2),
    }
    benchmark.pedantic(ours, rounds=3)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("neighbours", "ratio"), [(20, 2.0), (2, 1.1)], ids=["20 neighbours", "2 neighbours"]
)
def test_sor_against_open3d(benchmark: BenchmarkFixture, neighbours: int, ratio: float) -> None:
    """One body of 6,890 points with 1 cm noise, conversions included on both sides."""
    open3d = pytest.importorskip("open3d", reason="the base is open3d (the open3d extra)")
    pose = load_task("anny/seen", samples=1, vertices=6890).batch(torch.arange(1)).pose
    noise = torch.randn(pose.points.shape, generator=generator_for(0))
    pose = pose.replace(pose.points + 0.01 * noise)
    defence = SOR(neighbours, ratio, "open3d")

    def base() -> object:
        vectors = open3d.utility.Vector3dVector(pose.points[0].double().numpy())
        cloud = open3d.geometry.PointCloud(vectors)
        return cloud.remove_statistical_outlier(nb_neighbors=neighbours, std_ratio=ratio)

    record(benchmark, lambda: defence(pose), base, "open3d.remove_statistical_outlier")


@pytest.mark.parametrize("vertices", [1700, 6890])
def test_depth_images_against_open3d(benchmark: BenchmarkFixture, vertices: int) -> None:
    """Twelve images of one body, about 120,000 points; open3d with the scene's set-up."""
    open3d = pytest.importorskip("open3d", reason="the base is open3d (the open3d extra)")
    torch.set_num_threads(1)
    task = load_task("anny/seen", samples=1, vertices=vertices)
    mesh, faces = task.meshes(*task.triples[:, 2:].unbind(1)).points[0].double(), task.body.faces
    foot = torch.stack([torch.zeros(()).double(), mesh[:, 1].min(), torch.zeros(()).double()])
    views = [camera(number, 0.1, foot) for number in range(CAMERAS)]
    grid = rays(torch.arange(WIDTH * HEIGHT))

    def ours() -> object:
        return [visible(((mesh - origin) @ axes.T)[faces]) for origin, axes in views]

    def base() -> object:
        scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        scene.add_triangles(
            open3d.core.Tensor(mesh.float().numpy()),
            open3d.core.Tensor(faces.numpy().astype(np.uint32)),
        )
        lines = [torch.cat([o.expand_as(grid), grid @ axes], dim=1).float() for o, axes in views]
        return [scene.cast_rays(open3d.core.Tensor(each.numpy())) for each in lines]

    record(benchmark, ours, base, "open3d's ray casting on one thread")


@pytest.mark.parametrize("severity", range(len(SEVERITIES)))
def test_scan(benchmark: BenchmarkFixture, severity: int) -> None:
    """One scan of a body of 6,890 vertices on one thread; seconds, not a ratio."""
    torch.set_num_threads(1)
    task = load_task("anny/seen", samples=1, vertices=6890)
    mesh = task.meshes(*task.triples[:, 2:].unbind(1)).points[0]

    def scan() -> int:
        return len(scan_mesh(mesh, task.body.faces, SEVERITIES[severity], generator_for(0)))

    benchmark.extra_info["points"] = scan()
    benchmark.pedantic(scan, rounds=ROUNDS)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", ["npt", "posemae"])
def test_fgm_step_against_forward_and_input_gradient(
    benchmark: BenchmarkFixture, name: str
) -> None:
    """Two pairs of 1,024 points, width 128: all that the library adds to the bare arithmetic."""
    batch = first_points(
        load_task("anny/seen", samples=2, vertices=1700).batch(torch.arange(2)), 1024
    )
    with torch.random.fork_rng():
        network = VICTIMS[name](128).eval()
    attack = FGM(Budget(0.03))
    network.requires_grad_(
        False
    )  # in the base too: the cost of freezing is then the attack's alone

    def base() -> object:
        points = batch.pose.points.detach().requires_grad_(True)
        output = network(batch.pose.replace(points), batch.identity)
        return torch.autograd.grad(mse(output, batch.target).sum(), points)

    record(benchmark, lambda: checked(attack, network, batch), base, "forward and input gradient")


@pytest.mark.parametrize("points", [1024, 6890])
@pytest.mark.parametrize("name", ["npt-mp", "npt", "posemae"])
def test_pgd_step_against_forward_and_input_gradient(
    benchmark: BenchmarkFixture, name: str, points: int
) -> None:
    """PGD of 5 steps, projection and best point kept, against 5 bare gradients and its one forward
    more; width 128, one thread. 2 pairs of 1,024 points or 1 of 6,890."""
    torch.set_num_threads(1)
    pairs = 2 if points == 1024 else 1
    task = load_task("anny/seen", samples=pairs, vertices=1700 if points == 1024 else points)
    batch = first_points(task.batch(torch.arange(pairs)), points)
    with torch.random.fork_rng():
        network = VICTIMS[name](128).eval()
    attack = PGD(Budget(0.03), iterations=5)
    network.requires_grad_(False)

    def base() -> object:
        for _ in range(5):
            pose = batch.pose.points.detach().requires_grad_(True)
            output = network(batch.pose.replace(pose), batch.identity)
            torch.autograd.grad(mse(output, batch.target).sum(), pose)
        with torch.no_grad():
            return network(batch.pose, batch.identity)

    record(benchmark, lambda: checked(attack, network, batch), base, "bare forward and gradient")


@pytest.mark.parametrize("clean_share", [0.0, 0.5], ids=["all attacked", "half attacked"])
@pytest.mark.parametrize("victim", ["npt-mp", "npt", "gct", "posemae"])
def test_adversarial_step_against_clean_step(
    benchmark: BenchmarkFixture, victim: str, clean_share: float
) -> None:
    """Default recipes at compact size, FGM 0.08 and SOR, in steps of eight: all that training does.

    The arithmetic says 5/3 for all attacked: a forward and a gradient to the input on top of a
    forward and both gradients.
    """
    torch.set_num_threads(1)
    attacked = Adversarial("fgm", 0.08, clean_share=clean_share, sor=True, after=0.0)
    meshes = training_meshes(load_body(1700))
    steps = []
    for adversarial in (attacked, None):
        recipe = replace(DEFAULT_RECIPES[victim], adversarial=adversarial, matrix_rate=1e-6)
        network = initial_network(recipe).train()
        generator = generator_for(0)
        steps.append(
            partial(
                eight_steps,
                network,
                make_optimisers(network, recipe),
                recipe,
                training_pairs(recipe, meshes, load_body(1700), generator),
                generator,
            )
        )
    record(benchmark, steps[0], steps[1], "clean training steps")


def eight_steps(
    network: PoseTransferNetwork,
    optimisers: list[torch.optim.Optimizer],
    recipe: Recipe,
    pairs: Iterator[Pairs],
    generator: torch.Generator,
) -> None:
    """What the training loop does between two reports."""
    for step in range(8):
        training_step(network, optimisers, recipe, step, next(pairs), generator)


@pytest.mark.parametrize("victim", ["npt", "npt-mp"])
def test_open_pairs_against_clean_step(benchmark: BenchmarkFixture, victim: str) -> None:
    """Eight batches of the open regime against eight clean steps on pairs already drawn."""
    torch.set_num_threads(1)
    recipe = replace(DEFAULT_RECIPES[victim], regime="open", matrix_rate=1e-6)
    network = initial_network(recipe).train()
    generator = generator_for(0)
    pairs = open_pairs(recipe, generator, "cpu")
    drawn = repeat(next(pairs))
    optimisers = make_optimisers(network, recipe)
    record(
        benchmark,
        lambda: [next(pairs) for _ in range(8)],
        lambda: eight_steps(network, optimisers, recipe, drawn, generator),
        "clean training steps without drawing",
    )
