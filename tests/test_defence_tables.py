"""Tables of defences and of choices in robust training: what fills them, what does not."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from posebench.attacks import VertexAdam
from posebench.attacks.sparse import Sparse
from posebench.benchmark.cli.app import app
from posebench.benchmark.evaluation.cost import StepCost, VictimCost, write_costs
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports import defences, robust_study, selection
from posebench.benchmark.reports.ascents import PAIRS, ascent_table
from posebench.benchmark.reports.defences import defence_points, defence_rows, defence_table
from posebench.benchmark.reports.page import page_text
from posebench.benchmark.reports.paper import table_options
from posebench.benchmark.reports.robust_seeds import robust_seeds_table
from posebench.benchmark.reports.robust_study import study_steps, study_table
from posebench.benchmark.runs.grid import Grid
from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.training.card import training_name
from posebench.benchmark.training.recipe_file import read_recipes
from posebench.defenses import DEFENSES
from posebench.interfaces import Attack
from posebench.threats import THREATS
from posebench.victims.weights import shipped_path, weights_fingerprint
from tests.made_records import made

GRID = read_grids("defences")[0]
(STUDY,) = read_grids("robust-study")
START = "5e" * 32


def attacked(threat: str, iterations: int | None = None, grid: Grid = GRID) -> dict[str, Any]:
    """The flat cell of the sweep's attack in a threat model."""
    budget, steps = THREATS[threat].budget, iterations or grid.iterations or 0
    kind = Sparse if budget.norm == "sparse" else VertexAdam
    attack: Attack = kind(budget, iterations=steps, objective="aligned")
    return {
        "attack": "sparse" if budget.norm == "sparse" else "vertex-adam",
        "attack_settings": repr(attack),
        "eps": budget.eps,
        "norm": budget.norm,
        "metric": "pmd_aligned",
    }


def measured(
    threat: str, values: tuple[float, float], *, training: str = "clean", **cell: Any
) -> Record:
    """A record of the sweep: two values, taken by turns, on its pairs."""
    path = shipped_path("npt", GRID.size, training=training)
    settings = {
        "victim": "npt",
        "training": training,
        "size": GRID.size,
        "weights_sha256": weights_fingerprint(path),
        "pmd": values * (GRID.samples // 2),
        **attacked(threat),
        **cell,
    }
    if settings.get("defense"):
        settings["defense_settings"] = repr(DEFENSES[settings["defense"]]())
    return made(**settings)


def cells_of(lines: list[str], *begin: str) -> list[str]:
    """The cells of the one row that begins so."""
    (found,) = (line for line in lines if line.startswith(f"| {' | '.join(begin)} |"))
    return [cell.strip() for cell in found.split("|")[1:-1]][len(begin) :]


COSTS = [
    VictimCost("npt", GRID.size, 256, 1700, 1, 2.0, 20.0, 4.0, 5.0, 6.0),
    VictimCost("npt", GRID.size, 256, 1700, 1, 2.0, 90.0, 4.0, 5.0, 6.0, "sor"),
    VictimCost("npt", "paper", 1024, 6890, 1, 2.0, 7777.0, 4.0, 5.0, 6.0),
]


def test_the_worst_access_counts_pair_by_pair() -> None:
    sor: dict[str, Any] = {"defense": "sor"}
    records = [
        measured("point-2cm", (2e-3, 4e-3)),
        measured("point-2cm", (1e-3, 9e-3), **sor),
        measured("point-2cm", (5e-3, 3e-3), access="adaptive", **sor),
        *(
            measured("sparse", (value, value), access=access, **sor)
            for access, value in (
                ("oblivious", 7e-3),
                ("adaptive", 8e-3),
                ("straight-through", 6e-3),
            )
        ),
        measured("point-2cm", (0.5, 0.5), access="straight-through", seed=1, **sor),
        measured("point-2cm", (0.5, 0.5), **attacked("point-2cm", 999)),
        measured("point-2cm", (0.5, 0.5), pmd=(0.5,) * (GRID.samples + 1)),
        measured("point-2cm", (0.5, 0.5), weights_sha256="f" * 64, **sor),
        replace_settings(measured("point-2cm", (0.5, 0.5), access="adaptive", **sor)),
    ]
    rows = defence_rows(records, COSTS)
    lines = defence_table(rows)
    none = cells_of(lines, "npt", "clean", "none")
    assert none[:3] == ["20", "10.0 [10.0, 10.0]", "1.00"]
    assert (none[3].partition(" ")[0], none[4]) == ("30.0", "3.00")
    assert none[5:] == ["-"] * 4
    found = cells_of(lines, "npt", "clean", "sor")
    assert found[0] == "90"
    assert found[3].startswith("70.0 [")
    assert found[3].endswith("] oblivious (not tried: straight-through)")
    assert found[4] == "7.00"
    assert (found[7], found[8]) == ("80.0 [80.0, 80.0] adaptive", "8.00")
    empty = cells_of(lines, "npt-mp", "robust", "partition-median")
    assert set(empty) == {"-"}
    assert "5000" not in "\n".join(lines)
    by_threat = {(p.defense, p.threat): p for p in defence_points(rows)}
    assert set(by_threat) == {("none", "point-2cm"), ("sor", "point-2cm"), ("sor", "sparse")}
    assert by_threat["sor", "sparse"].times == 4.5
    assert by_threat["sor", "sparse"].worst == pytest.approx((80, 80, 80))


def replace_settings(record: Record) -> Record:
    """Behind the same defence with settings of its own."""
    assert record.cell.defense is not None
    other = replace(record.cell.defense, settings="SOR(neighbours=99)")
    return replace(record, cell=replace(record.cell, defense=other))


def test_rows_follow_the_sweep_whatever_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defence that the sweep lists has a row; so have weights that are not there."""
    path = tmp_path / "own.toml"
    path.write_text(
        f"""
        victims = "npt"
        size = "{GRID.size}"
        samples = {GRID.samples}
        iterations = {GRID.iterations}
        attacks = "vertex-adam"
        threats = "point-2cm"
        [[grid]]
        trainings = ["clean", "adversarial"]
        defenses = ["none", "knn"]
        access = ["oblivious", "adaptive"]
        """,
        encoding="utf-8",
    )
    there = shipped_path("npt", GRID.size)
    monkeypatch.setattr(
        defences, "shipped_path", lambda *_, training: there if training == "clean" else tmp_path
    )
    monkeypatch.setattr(defences, "SWEEP", str(path))
    records = [measured("point-2cm", (4e-3, 4e-3), defense="knn")]
    lines = defence_table(defence_rows(records, []))
    assert cells_of(lines, "npt", "clean", "knn")[3].startswith("40.0 ")
    for training in ("clean", "adversarial"):
        assert set(cells_of(lines, "npt", training, "none")) == {"-"}
    assert set(cells_of(lines, "npt", "adversarial", "knn")) == {"-"}


def test_pictures_of_defences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        measured("point-2cm", (2e-3, 4e-3)),
        measured("point-5cm", (2e-3, 4e-3), training="robust", defense="partition-median"),
    ]
    monkeypatch.setattr(selection, "records_below", lambda _: records)
    words = ["plot", "defences", "--costs", str(tmp_path), "--out", str(tmp_path / "d.png")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "d.png").read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "d.png").unlink()
    records[:] = [made()]
    done = CliRunner().invoke(app, words)
    assert "no records of defences to draw" in str(done.exception or done.output)
    assert not (tmp_path / "d.png").exists()


def test_the_page_has_them(tmp_path: Path) -> None:
    points = defence_points(defence_rows([measured("point-2cm", (2e-3, 4e-3))], COSTS))
    block = page_text([made()], [], "", "", points).split('id="data">')[1].split("</script>")[0]
    (found,) = json.loads(block)["defences"]
    assert (found["victim"], found["defense"], found["threat"]) == ("npt", "none", "point-2cm")
    assert (found["worst"][0], found["times"], found["pairs"]) == (30.0, 1.0, GRID.samples)


# ---- the study


RUNS = read_recipes("robust-study")


def studied(number: int, threat: str, values: tuple[float, float], **changes: Any) -> Record:
    """A record of a run of the study."""
    recipe = json.loads(json.dumps(asdict(replace(RUNS[number].recipe, start=START))))
    return made(
        **{
            "pmd": values * (STUDY.samples // 2),
            "victim": "npt-mp",
            "size": "compact",
            "training": "robust",
            "recipe": {**recipe, **changes.pop("recipe", {})},
            "weights_sha256": f"{number:064x}",
            "fingerprint": "07" * 32,
            **attacked(threat, grid=STUDY),
            **changes,
        },
    )


def test_a_study_is_told_by_its_recipes_and_compared_pair_by_pair(tmp_path: Path) -> None:
    records = [
        studied(0, "point-2cm", (6e-3, 2e-3)),
        studied(1, "point-2cm", (4e-3, 4e-3)),
        studied(1, "point-5cm", (9e-3, 9e-3)),
        studied(3, "point-2cm", (2e-3, 2e-3)),
        studied(4, "point-2cm", (0.5, 0.5), recipe={"start": "60" * 32}),
        studied(5, "point-2cm", (0.5, 0.5), recipe={"steps": 1501}),
        studied(6, "point-2cm", (0.5, 0.5), **attacked("point-2cm", 40)),
        studied(7, "point-2cm", (0.5, 0.5), defense="sor"),
        studied(8, "point-2cm", (0.5, 0.5), pmd=(0.5, 0.5)),
    ]
    steps = [StepCost(RUNS[0].name, 50.0, 1.0), StepCost(RUNS[3].name, 200.0, 4.0)]
    (tmp_path / "costs").mkdir()
    write_costs(tmp_path / "costs" / "robust-study.json", [], "cpu", steps)
    found = study_steps(tmp_path / "costs")
    assert found == tuple(steps)
    assert study_steps(tmp_path) == ()
    lines = study_table(records, found)
    assert len(lines) == 2 + len(RUNS) + 2
    clean = cells_of(lines, "clean")
    assert clean[:3] == ["clean share 1", "1.00", "10.0 [10.0, 10.0]"]
    assert clean[3].startswith("40.0 [")
    assert clean[4].startswith("1.00 [0."), "as large on average, but not on each pair"
    base = cells_of(lines, "robust")
    assert base[:3] == ["-", "-", "10.0 [10.0, 10.0]"]
    assert base[3:] == ["40.0 [40.0, 40.0]", "1", "90.0 [90.0, 90.0]", "1"]
    seven = cells_of(lines, "7-steps")
    assert seven == ["iterations 7", "4.00", "10.0 [10.0, 10.0]", "20.0 [20.0, 20.0]",
                     "0.50 [0.50, 0.50]", "-", "-"]  # fmt: skip
    for run in RUNS[4:9]:
        assert set(cells_of(lines, run.name.removeprefix("npt-mp-"))[1:]) == {"-"}
    assert len(table_options(records)) == 2, "of the paper's ball alone"


def test_the_studys_sweep_reads_what_the_recipe_leaves() -> None:
    """``posebench train --recipe robust-study --out runs/study``."""
    assert STUDY.weights == ("runs/study/*/weights.safetensors",)
    assert STUDY.size == RUNS[0].recipe.size
    assert robust_study.STUDY == "robust-study"


# ---- the recipe from several seeds


def seeded(
    seed: int, task: str, threat: str, value: float, *, start: str = "", run: int | None = None
) -> Record:
    """A record of a run that began at ``start``, the seed's robust one unless told otherwise, or
    of clean weights ``seed``."""
    grid = read_grids("robust-seeds")[0]
    which = read_recipes("robust-seeds")[seed if run is None else run]
    recipe = asdict(replace(which.recipe, start=start)) if start else {"victim": "npt-mp"}
    return made(
        **{
            "pmd": (value, value) * (grid.samples // 2),
            "victim": "npt-mp",
            "size": "small",
            "task": task,
            "training": training_name(which.recipe) if start else "clean",
            "recipe": json.loads(json.dumps(recipe)),
            "weights_sha256": f"{16 * bool(start) + (run or seed) + 1:02x}" * 32,
            "fingerprint": "07" * 32,
            **attacked(threat, grid=grid),
        },
    )


def test_each_seed_is_compared_with_the_weights_it_started_from() -> None:
    clean, other = "02" * 32, "01" * 32
    records = [
        seeded(1, "anny/unseen", "point-2cm", 6e-3),
        seeded(1, "anny/unseen", "point-2cm", 4e-3, start=clean),
        seeded(1, "anny/unseen", "point-2cm", 5e-3, start=clean, run=4),
        seeded(2, "anny/seen", "point-5cm", 8e-3, start=other),  # whose sisters nobody measured
    ]
    lines = robust_seeds_table(records)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:11]]
    assert [row[:2] for row in rows] == [
        [str(seed), training]
        for seed in range(3)
        for training in ("clean", "as robust, none attacked", "robust")
    ]
    unseen = slice(7, 12)
    assert rows[3][unseen] == ["10.0 [10.0, 10.0]", "60.0 [60.0, 60.0]", "-", "-", "-"]
    assert rows[4][unseen] == [
        "10.0 [10.0, 10.0]", "50.0 [50.0, 50.0]", "1.20 [1.20, 1.20]", "-", "-",
    ]  # fmt: skip
    assert rows[5][unseen] == [
        "10.0 [10.0, 10.0]", "40.0 [40.0, 40.0]", "1.50 [1.50, 1.50]", "-", "-",
    ]  # fmt: skip
    assert rows[8][2:7] == ["-", "-", "-", "80.0 [80.0, 80.0]", "-"]
    assert {cell for row in rows[:3] + rows[6:8] for cell in row[2:]} == {"-"}


def test_ascents_are_compared_on_equal_pairs_alone() -> None:
    """Cells of fewer pairs are of other sweeps and would stand beside means of more."""
    shipped: dict[str, Any] = {"recipe": {"seed": 0}, "vertices": 1700}
    records = [
        measured("point-5cm", (0.0, 0.0), pmd=pmd, **attacked("point-5cm", steps), **shipped)
        for steps, pmd in (
            (50, (9e-3,) * (PAIRS - 1)),
            (100, (2e-3, 4e-3) * (PAIRS // 2)),
            (200, (1e-3,) * PAIRS + (7e-3,) * PAIRS),
        )
    ]
    shown = [each.partition(" ")[0] for each in cells_of(ascent_table(records), "npt", "clean")]
    assert shown == ["vertex-adam", "-", "30.0", "10.0", "-"]
