"""CONTRIBUTING's recipes for data: each runs as it stands there, and as a plug-in would."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posebench.benchmark.data.corruptions import CORRUPTIONS
from posebench.benchmark.data.datasets import DATASETS, load_task, task_names
from posebench.benchmark.data.task import Dataset, PairTask
from posebench.benchmark.evaluation.harness import evaluate
from posebench.registry import Registry
from tests.toys import Toy

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def recipe(title: str) -> list[str]:
    """The Python blocks of a section, in their order."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a recipe registers is gone afterwards."""
    for each in (CORRUPTIONS, DATASETS):
        monkeypatch.setattr(each, "_entries", dict(each._entries))


def run_blocks(blocks: list[str]) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "recipe", "DATASETS": DATASETS}
    for block in blocks:
        exec(compile(block, "CONTRIBUTING.md", "exec", dont_inherit=True), space)
    return space


def test_add_a_dataset() -> None:
    blocks = recipe("Add a dataset")
    assert len(blocks) == 3
    run_blocks(blocks)
    assert isinstance(DATASETS["boxes"], Dataset)
    assert "boxes/leaning" in task_names(on_disk=False)
    task = load_task("boxes/leaning", samples=5)
    assert isinstance(task, PairTask)
    copying = Toy(lambda pose, identity: identity)
    record = evaluate(copying, task="boxes/leaning", samples=5, vertices=task.vertices)
    metrics = record.metrics
    assert set(metrics.trivial) == {"copy-pose", "copy-identity"}
    assert metrics.trivial["copy-identity"] == pytest.approx(metrics.clean_pmd.mean)


def test_add_a_corruption() -> None:
    blocks = recipe("Add a corruption")
    assert len(blocks) == 2
    run_blocks(blocks)
    prints = {load_task(f"anny/shift@{n}", samples=1).fingerprint for n in range(1, 6)}
    assert len(prints) == 5


@pytest.mark.parametrize(
    ("title", "kind", "name", "task"),
    [
        ("Add a dataset", DATASETS, "boxes", "boxes/leaning"),
        ("Add a corruption", CORRUPTIONS, "shift", "anny/shift@2"),
    ],
)
def test_a_plug_in_joins(
    title: str, kind: Registry[Any], name: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_blocks(recipe(title)[:-1])  # all but its test
    made = kind._entries.pop(name)

    monkeypatch.setitem(sys.modules, "their_package", SimpleNamespace(made=made))
    point = EntryPoint(name, "their_package:made", kind.group)
    monkeypatch.setitem(vars(kind), "_plugged", {name: point})
    batch = load_task(task, samples=2).batch(torch.arange(2))
    assert len(batch.pose.points) == 2
    assert kind[name] is made
