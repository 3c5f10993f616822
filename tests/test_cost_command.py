"""`posebench cost`: victims, defences in front of them and training steps, timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.evaluation.cost import measure_cost, read_costs
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import PoseTransferNetwork
from tests.command_line import Cli, assert_refused

pytestmark = pytest.mark.usefixtures("one_thread")


def test_cost_prints_and_writes_every_victim(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "costs.json"
    outcome = cli(
        "cost", "--size", "tiny", "--repeats", 1, "--device", "cpu", "--out", out,
        "--victim", "npt", "--victim", "gct",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    costs = json.loads(out.read_text(encoding="utf-8"))["costs"]
    assert [cost["victim"] for cost in costs] == ["npt", "gct"]
    for cost in costs:
        network = initial_network(Recipe(cost["victim"], size="tiny"))
        assert cost["parameters"] == sum(p.numel() for p in network.parameters())
        assert f"{cost['parameters']:,}" in outcome.out
        assert 0 < cost["forward_ms"] < 60_000
    for bad in (
        ["--victim", "nptt"], ["--size", "tinny"], ["--repeats", 0], ["--defense", "sorr"],
        ["--recipe", "robust-study", "--victim", "npt"], ["--recipe", "robust-stud"],
    ):  # fmt: skip
        assert_refused(cli("cost", *bad, "--out", tmp_path / "no.json"), tmp_path / "no.json")


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each call of a network in this process."""
    calls: list[None] = []
    call = PoseTransferNetwork.__call__

    def counted(network: PoseTransferNetwork, *arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return call(network, *arguments, **named)

    monkeypatch.setattr(PoseTransferNetwork, "__call__", counted)
    return calls


def test_cost_of_defences_and_of_training_steps(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "costs.json"
    outcome = cli(
        "cost", "--size", "tiny", "--repeats", 1, "--device", "cpu", "--out", out,
        "--victim", "npt-mp", "--defense", "partition-median",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    (median,) = read_costs(out).costs
    assert median.defense == "partition-median"
    assert "npt-mp+partition-median" in outcome.out
    calls = count_calls(monkeypatch)
    measure_cost("npt-mp", "tiny", "cpu", 1)
    bare = len(calls)
    calls.clear()
    measure_cost("npt-mp", "tiny", "cpu", 1, "partition-median")
    assert len(calls) == 25 * bare > 0, "what was timed holds 25 forwards"
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        """
        victim = "npt-mp"
        size = "tiny"
        points = 64
        pose_points = 64
        adversarial = { threat = "point-5cm", attack = "pgd" }
        [[run]]
        name = "clean"
        adversarial = { clean_share = 1.0 }
        [[run]]
        name = "attacked"
        adversarial = { iterations = 9 }
        """,
        encoding="utf-8",
    )
    words = ["cost", "--recipe", recipe, "--repeats", 3, "--device", "cpu", "--out", out]
    calls.clear()
    outcome = cli(*words)
    assert outcome.code == 0, outcome
    assert "attacked: " in outcome.out
    found = read_costs(out)
    assert found.costs == ()
    clean, attacked = found.steps
    assert (clean.run, clean.times_first, attacked.run) == ("clean", 1.0, "attacked")
    assert len(calls) == (3 + 1) * 9, "nine attack gradients a turn, all in the attacked run"
    assert not file_problems(out)
