"""`posebench run` and `list`, run for real on tiny networks: what they print and leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import posebench
from posebench.benchmark.records.store import parse_record, read_record
from posebench.benchmark.reports.repeat import repeat_command
from tests.command_line import Cli, Outcome, assert_refused, files_below, only_record, words
from tests.parity_rule import reference, released_state

pytestmark = pytest.mark.usefixtures("one_thread")


def test_table_and_record(cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    outcome = cli(*words(weights["npt"], tmp_path))
    assert (outcome.code, outcome.err) == (0, "")
    for part in ("npt (tiny), anny/seen, 2 pairs", "fgm 0.08 rms", "copy-pose", "under-trained"):
        assert part in outcome.out
    record = only_record(tmp_path)
    assert record.keys() == {
        "schema", "cell", "metrics", "flags", "cost", "environment", "source"
    }  # fmt: skip
    assert str(files_below(tmp_path)[0]) in outcome.out
    parse_record(record, "record")
    for name in ("pmd", "clean_pmd"):
        summary = record["metrics"][name]
        assert len(summary["per_sample"]) == 2
        low, high = summary["ci95"]
        assert low <= summary["mean"] <= high
        assert summary["mean"] == pytest.approx(sum(summary["per_sample"]) / 2)
        assert f"{summary['mean'] * 1e4:.1f}" in outcome.out
        assert f"[{low * 1e4:.1f}, {high * 1e4:.1f}]" in outcome.out
    assert record["cell"]["eps"] == 0.08
    assert record["cost"] == {"forwards": 1, "backwards": 1}
    assert record["environment"]["torch"] == torch.__version__
    assert record["source"] == "measured"


def test_json_is_the_record_and_runs_repeat_to_the_byte(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    first = cli(*words(weights["posemae"], tmp_path / "a", "--json", victim="posemae"))
    again = cli(*words(weights["posemae"], tmp_path / "b", "--json", victim="posemae"))
    assert (first.code, first.err) == (0, "")
    assert first == again
    assert json.loads(first.out) == [only_record(tmp_path / "a")]
    (path,), (other) = files_below(tmp_path / "a"), files_below(tmp_path / "b")
    assert path.read_bytes() == other[0].read_bytes()
    assert path.relative_to(tmp_path / "a") == other[0].relative_to(tmp_path / "b")
    seeded = cli(
        *words(weights["posemae"], tmp_path / "c", "--json", "--seed", 1, victim="posemae")
    )
    noise, other_noise = (json.loads(o.out)[0]["metrics"]["noise_pmd"] for o in (first, seeded))
    assert noise != other_noise


@pytest.mark.parametrize("attack", ["fgm", "noise"])
def test_batch_size_does_not_change_results(
    attack: str, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    more = ("--attack", attack, "--samples", 3, "--batch-size")
    for size in (1, 8, 10**30):
        assert cli(*words(weights["npt"], tmp_path / str(size), *more, size)).code == 0
    one = only_record(tmp_path / "1")["metrics"]
    for size in (8, 10**30):
        metrics = only_record(tmp_path / str(size))["metrics"]
        for name in ("pmd", "clean_pmd", "noise_pmd"):
            expected = pytest.approx(one[name]["per_sample"], rel=1e-5)
            assert metrics[name]["per_sample"] == expected


@pytest.mark.parametrize("more", [[], ["--defense", "sor", "--access", "adaptive"]])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_zero_budget_gives_the_clean_numbers(
    norm: str, more: list[str], cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    assert cli(*words(weights["npt"], tmp_path, "--eps", 0, "--norm", norm, *more)).code == 0
    metrics = only_record(tmp_path)["metrics"]
    assert metrics["pmd"] == metrics["clean_pmd"]
    assert metrics["norms"]["linf"]["max"] == 0


@pytest.mark.parametrize("victim", ["npt", "posemae"])
def test_defence_oblivious_and_adaptive(
    victim: str, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    pmd = {}
    for access in ("oblivious", "adaptive"):
        more = ("--defense", "sor", "--access", access)
        assert cli(*words(weights[victim], tmp_path / access, *more, victim=victim)).code == 0
        record = only_record(tmp_path / access)
        assert record["cell"]["access"] == access
        assert (
            record["cell"]["wrappers"] == ["Defended", "EqualPoints"][: 2 if victim == "npt" else 1]
        )
        assert record["cell"]["defense_settings"].startswith("SOR(")
        assert 0.5 < record["metrics"]["clean_kept"] < 1
        assert 0.5 < record["metrics"]["kept"] < 1
        pmd[access] = record["metrics"]["pmd"]["per_sample"]
        clean = record["metrics"]["clean_pmd"]["per_sample"]
    assert pmd["oblivious"] != pmd["adaptive"]
    assert clean not in pmd.values()


VERTICES = 800
RADII = {
    ("l2", "rms"): 0.01 * (3 * VERTICES) ** 0.5,
    ("l2", "total"): 0.01,
    ("l2", "release"): 0.01 * (3 * 1024) ** 0.5,
    ("linf", "rms"): 0.01,
    ("linf", "total"): 0.01,
    ("l2_vertex", "rms"): 0.01,
    ("l2_vertex", "total"): 0.01,
}


@pytest.mark.parametrize(("norm", "unit"), RADII)
def test_every_unit_and_norm_reaches_its_radius(
    norm: str, unit: str, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    more = ("--eps", 0.01, "--norm", norm, "--eps-unit", unit, "--samples", 1)
    assert cli(*words(weights["npt-mp"], tmp_path, *more, victim="npt-mp")).code == 0
    metrics = only_record(tmp_path)["metrics"]
    assert metrics["radius"] == pytest.approx(RADII[norm, unit])
    assert metrics["norms"][norm]["max"] == pytest.approx(RADII[norm, unit], rel=1e-4)


def test_without_attack_only_clean_numbers(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    outcome = cli(*words(weights["npt"], tmp_path, "--attack", "none", "--task", "anny/wide"))
    assert outcome.code == 0
    record = only_record(tmp_path)
    assert record["metrics"]["pmd"] == record["metrics"]["clean_pmd"]
    assert record["cell"]["attack"] is record["cell"]["eps"] is None
    assert "noise_pmd" not in record["metrics"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_released_checkpoint(
    dtype: torch.dtype, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    state = {f"module.{k}": v.to(dtype) for k, v in released_state(reference("npt_w32")).items()}
    torch.save({"state_dict": state}, tmp_path / "released.pth")
    outcome = cli(*words(tmp_path / "released.pth", tmp_path / "out", "--json"))
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)[0]["cell"]["training"] == "imported"


def test_version(cli: Cli) -> None:
    assert cli("--version") == Outcome(0, f"posebench {posebench.__version__}\n", "")


def test_list_names_everything(cli: Cli) -> None:
    outcome = cli("list")
    assert outcome.code == 0
    for name in (
        "npt-mp",
        "gct",
        "posemae",
        "fgm",
        "noise",
        "sor",
        "anny/unseen-bent",
        "tiny",
        "anny/scan@0",
    ):
        assert name in outcome.out


def test_iterations_reach_the_attack(cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    more = ["--attack", "pgd", "--iterations", 2, "--json"]
    (record,) = json.loads(cli(*words(weights["npt"], tmp_path, *more)).out)
    assert record["cost"] == {"forwards": 3, "backwards": 2}
    assert "iterations=2" in record["cell"]["attack_settings"]
    outcome = cli(*words(weights["npt"], tmp_path / "out", "--iterations", 2))
    assert_refused(outcome, tmp_path / "out", "'fgm' takes no iterations")


def test_vertices_are_an_option_that_a_record_repeats(cli: Cli, tmp_path: Path) -> None:
    base = ["run", "--victim", "npt", "--attack", "none", "--samples", "2", "--out", str(tmp_path)]
    outcome = cli(*base, "--vertices", "800", "--json")
    assert json.loads(outcome.out)[0]["cell"]["vertices"] == 800
    path = next(tmp_path.rglob("clean-*.json"))
    assert "--vertices 800" in (repeat_command(read_record(path)) or "")
    outcome = cli(*base, "--vertices", "801")
    assert outcome.code == 2
    assert "not 801" in outcome.err
    outcome = cli(*base, "--vertices", "800", "--task", "smpl-npt/unseen")
    assert outcome.code == 2
    assert "brings its own vertices" in outcome.err
