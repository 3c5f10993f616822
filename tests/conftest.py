"""Fixtures that several test modules use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from posebench.benchmark import training
from posebench.benchmark.anny import training_meshes
from posebench.benchmark.body import Body


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
    made: dict[int, Tensor] = {}

    def cached(body: Body) -> Tensor:
        if body.rest.shape[1] not in made:
            made[body.rest.shape[1]] = training_meshes(body)
        return made[body.rest.shape[1]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "training_meshes", cached)
        yield
