"""Fixtures that several test modules use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from posebench.benchmark.data.anny import training_meshes
from posebench.benchmark.data.body import Body
from posebench.benchmark.records.store import write_record
from posebench.benchmark.training import streams
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import write_weights
from tests.command_line import Cli, command_line
from tests.made_records import made


def pytest_configure(config: pytest.Config) -> None:
    """A worker of pytest-xdist takes one core, and so does every process that its tests start."""
    if hasattr(config, "workerinput"):
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """These networks are too small for more, which only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def meshes_made_once() -> Iterator[None]:
    """Skinning the 6,400 training meshes is most of a short run: keep them."""
    kept: dict[int, Tensor] = {}

    def cached(body: Body) -> Tensor:
        if body.rest.shape[1] not in kept:
            kept[body.rest.shape[1]] = training_meshes(body)
        return kept[body.rest.shape[1]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "training_meshes", cached)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four cells on disk."""
    for record in (
        made(),
        made(victim="gct", pmd=(5e-4, 7e-4), flags=("under-trained",)),
        made(training="adversarial", pmd=(1e-3, 1e-3)),
        made(attack=None, eps=None, eps_unit=None, norm=None, pmd=(1e-3, 1e-3)),
    ):
        write_record(tmp_path / "records", record)
    return tmp_path / "records"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The entry point with the given words on its command line."""
    return command_line(monkeypatch, capsys)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of fresh tiny networks."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name in ("npt", "npt-mp", "posemae"):
        paths[name] = folder / f"{name}.safetensors"
        network = initial_network(Recipe(name, size="tiny"))
        write_weights(paths[name], network, {"training": "clean"})
    return paths
