"""Sweeps through Ray, on a cluster of two machines that are both here; one is killed mid-way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.runs.ray_cluster import run_ray
from posebench.benchmark.runs.sweep import plan_sweep, run_here, write_outcomes
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.errors import InputError
from posebench.victims import write_weights

pytest.importorskip("ray", exc_type=ModuleNotFoundError)

GRID = """
weights = "npt-mp.safetensors"
size = "tiny"
attacks = "pgd"
eps = [0.01, 0.02, 0.03, 0.04]
samples = 2
"""


@pytest.fixture
def one_omp_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, as Ray gives its tasks."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


def test_a_machine_lost_mid_way_costs_no_cell(
    one_omp_thread: None, one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)
    network = initial_network(Recipe("npt-mp", size="tiny"))
    write_weights(Path("npt-mp.safetensors"), network, {"training": "clean"})
    Path("grid.toml").write_text(GRID, encoding="utf-8")
    jobs = plan_sweep(read_grids("grid.toml"), batch_size=2, device="cpu", out=tmp_path, where="x")
    machine = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        cluster.wait_for_nodes()

        def disturbed() -> Iterator[Any]:
            outcomes = run_ray(jobs, cluster.address)
            yield next(outcomes)
            assert [node["Alive"] for node in ray.nodes()] == [True, True]
            cluster.remove_node(second, allow_graceful=False)  # kill -9
            yield from outcomes

        assert write_outcomes(disturbed(), Path("there"), lambda cells: None) == {}
        assert not ray.is_initialized()
    finally:
        cluster.shutdown()
    assert write_outcomes(run_here(jobs), Path("here"), lambda cells: None) == {}
    there, here = (
        {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.json")}
        for out in (Path("there"), Path("here"))
    )
    assert len(here) == 4
    assert there == here


@pytest.mark.parametrize("address", ["no-such-place", "", "127.0.0.1:1", "127.0.0.1:99999"])
def test_no_cluster_is_one_clear_error(address: str) -> None:
    with pytest.raises(InputError, match=f"no Ray cluster at {address!r}"):
        next(run_ray([], address))
