"""Who takes which device under torchrun, asked without a GPU and without a second process."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from posebench.benchmark.training import distributed
from posebench.benchmark.training.distributed import agreed, own_device, process_group
from posebench.errors import InputError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(("name", "local"), [("auto", 0), ("cuda", 1), ("auto", 1)])
def test_each_process_has_a_gpu_of_its_own(name: str, local: int, two_gpus: None) -> None:
    assert own_device(name, local) == f"cuda:{local}"


@pytest.mark.parametrize(
    ("name", "local", "part"),
    [
        ("cuda", 2, "process 2 has no GPU of its own: 2 found"),
        ("cuda", -1, "has no GPU of its own"),
        ("cuda:1", 0, "cannot be shared by processes"),
        ("mps", 0, "cannot be shared by processes"),
    ],
)
def test_what_cannot_be_shared_is_refused(name: str, local: int, part: str, two_gpus: None) -> None:
    with pytest.raises(InputError, match=part):
        own_device(name, local)


def test_the_device_is_taken_before_anything_is_put_on_one(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor on "cuda" before set_device would be on the first GPU, whatever the process."""
    done: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(("take", device)))
    monkeypatch.setattr(distributed, "resolve_device", lambda name: done.append("probe") or name)
    monkeypatch.setattr(
        distributed.dist,
        "init_process_group",
        lambda backend, device_id: done.append((backend, str(device_id))),
    )
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: done.append("leave"))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with process_group("auto") as device:
        assert device == "cuda:1"
    assert done == [("take", "cuda:1"), ("nccl", "cuda:1"), "leave"]


@pytest.mark.parametrize(
    "wrong", [{"RANK": "2"}, {"RANK": ""}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}]
)
def test_an_environment_that_does_not_say_who_this_is(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", **wrong}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=next(iter(wrong))), process_group("cpu"):
        pass


def test_what_is_exchanged_lives_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL takes nothing else; "meta" stands in for a GPU, whose values nobody can read here."""
    seen: list[torch.device] = []

    def all_reduce(tensor: torch.Tensor) -> None:
        seen.append(tensor.device)

    monkeypatch.setattr(distributed, "rank_and_world", lambda: (0, 2))
    monkeypatch.setattr(distributed.dist, "all_reduce", all_reduce)
    with pytest.raises((NotImplementedError, RuntimeError)):  # tolist() of a meta tensor
        agreed([1.0, 2.0], "meta")
    network = nn.Linear(2, 2, device="meta")
    network.weight.grad = torch.zeros(2, 2, device="meta")
    distributed.average_gradients(network)
    assert seen == [torch.device("meta")] * 2
    assert agreed([1.0, 2.0], "cpu") == [0.5, 1.0]  # the fake sum is of one process alone
