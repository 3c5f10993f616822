"""Studies in lower precision: another cell, float32 numbers, and in no table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from posebench.attacks import FGM
from posebench.benchmark.audit.validate import placed_problems
from posebench.benchmark.cli.app import app
from posebench.benchmark.evaluation.harness import evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation, plan_evaluation
from posebench.benchmark.evaluation.settings import EvaluationSettings, checked
from posebench.benchmark.gate.config import checked_table, read_cell
from posebench.benchmark.records.form import record_from_json, record_to_json
from posebench.benchmark.records.store import read_record, record_path, write_record
from posebench.benchmark.reports.build import tables
from posebench.benchmark.runs.grid import grid_settings
from posebench.benchmark.runs.grid_file import read_grids
from posebench.cloud import Clouds
from posebench.defenses import SOR
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.rng import generator_for
from posebench.victims import VICTIMS, EqualPoints
from posebench.victims.wrappers import Defended, InBf16
from tests.made_records import made


def test_it_is_part_of_the_cell_and_older_cells_keep_their_paths() -> None:
    plain, low = made(), made(precision="bf16")
    assert "precision" not in record_to_json(plain)["cell"]
    assert record_to_json(low)["cell"]["precision"] == "bf16"
    assert record_path(Path(), low) != record_path(Path(), plain)
    assert record_from_json(record_to_json(low)) == (low, [])
    bad = record_to_json(low)
    bad["cell"]["precision"] = "fp8"
    assert [problem.field for problem in record_from_json(bad)[1]] == ["cell.precision"]


@pytest.mark.parametrize("name", ["npt", "npt-mp", "gct", "posemae"])
def test_the_attack_sees_bf16_and_numbers_are_float32s(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251
        network = VICTIMS[name](16).eval()
    for number, weight in enumerate(network.parameters()):
        draws = torch.randn(weight.shape, generator=generator_for(number, "low"))
        weight.data = 0.3 * draws
    given = Evaluation(network, (None, FGM(Budget(0.05))), samples=2, vertices=1700)
    (clean, exact), (rough_clean, rough) = (
        evaluate_all(replace(given, precision=precision)) for precision in ("float32", "bf16")
    )
    assert rough_clean.metrics.clean_pmd == clean.metrics.clean_pmd
    assert rough.cell.precision == "bf16"
    assert rough.metrics.pmd.per_sample != exact.metrics.pmd.per_sample, "another gradient"
    for record in (rough_clean, rough):
        low, high = record.metrics.attacked["bf16_pmd"].mean, record.metrics.pmd.mean
        assert low != high
        assert low == pytest.approx(high, rel=0.2)
    assert "bf16_pmd" not in exact.metrics.attacked
    (counted,) = evaluate_all(replace(given, attacks=(None,), task="anny/drop-local@3"))
    assert "bf16_pmd" not in counted.metrics.clean, "another count is no lower precision"


def test_a_defence_stays_in_float32() -> None:
    """Distances in bf16 would remove other points."""
    seen: list[bool] = []

    class Watched(SOR):
        def __call__(self, pose: Clouds, **others: object) -> Clouds:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().__call__(pose, **others)  # type: ignore[arg-type]

    network = VICTIMS["npt"](8)
    given = Evaluation(network, (None,), Watched(), "adaptive", samples=2, precision="bf16")
    plan = plan_evaluation(given)
    assert plan.seen == Defended(InBf16(network), given.defense)  # type: ignore[arg-type]
    assert plan.system == Defended(network, given.defense)  # type: ignore[arg-type]
    assert plan.cells[0].wrappers == ("Defended", "EqualPoints")
    batch = plan.pairs.batch(torch.arange(1))
    plan.seen(batch.pose, batch.identity)
    assert seen == [False]
    scan = plan_evaluation(
        replace(given, defense=None, access="oblivious", task="anny/drop-local@3")
    )
    assert scan.seen == EqualPoints(InBf16(network))


def test_no_table_shows_it_and_no_leaderboard_takes_it(tmp_path: Path) -> None:
    plain, low = made(), made(precision="bf16", pmd=(7e-3, 9e-3))
    write_record(tmp_path / "records", plain)
    path = write_record(tmp_path / "records", low)
    assert read_record(path) == low
    both = tables(tmp_path / "records", tmp_path)
    path.unlink()
    assert tables(tmp_path / "records", tmp_path) == both
    found = [str(problem) for problem in placed_problems(low, path)]
    assert "cell.precision: is 'bf16': only attacks on float32 stand in tables" in found
    table = {"victim": "npt", "attack": "fgm", "eps": 0.08, "precision": "bf16"}
    with pytest.raises(InputError, match="unknown precision 'bf16'"):
        read_cell(table, "gate")
    with pytest.raises(InputError, match="unknown key 'precision'"):
        checked_table(table, "gate")


def test_commands_take_it(tmp_path: Path) -> None:
    words = ["run", "--victim", "npt-mp", "--attack", "fgm", "--samples", "2", "--json"]
    words += ["--precision", "bf16", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    assert {each["cell"]["precision"] for each in records} == {"bf16"}
    with pytest.raises(InputError, match="unknown precision 'half'"):
        checked(EvaluationSettings("npt", precision="half"))
    file = tmp_path / "sweep.toml"
    file.write_text('precision = "bf16"\n[[grid]]\nvictims = ["npt"]\n')
    (grid,) = read_grids(str(file))
    assert {each.precision for each in grid_settings(grid)} == {"bf16"}
