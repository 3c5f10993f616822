"""The study of what buys quality: from runs to its table."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.records.studies import QualityStudy, read_study, write_study
from posebench.benchmark.reports.quality import changes, collect, quality_table
from posebench.benchmark.training.progress import Progress
from posebench.benchmark.training.recipe_file import read_recipes
from posebench.errors import InputError
from posebench.victims import read_weights
from posebench.victims.weights import shipped_path


def test_every_run_of_the_study_changes_one_thing() -> None:
    runs = {run.name: run.recipe for run in read_recipes("quality")}
    for name, recipe in runs.items():
        base = runs[f"{recipe.victim}-base"]
        odd = {k for k, v in vars(recipe).items() if k != "steps" and getattr(base, k) != v}
        # Points of pose and identity, and both rates, go together.
        topics = {k.removeprefix("pose_").removeprefix("matrix_") for k in odd}
        assert len(topics) == (0 if name.endswith("-base") else 1) or topics == {"muon", "rate"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run: shipped weights with a log."""
    folder = tmp_path / "runs" / "npt-base"
    folder.mkdir(parents=True)
    shutil.copy(shipped_path("npt", "compact"), folder / "weights.safetensors")
    # Interrupted after 30 of 40 s.
    rows = [
        Progress(step, 9, 7e-4, 0.0, 0.0, 50.0, 300.0, 0.0, 0, cpu_seconds=cpu)
        for step, cpu in ((3, 15.0), (6, 30.0), (9, 10.0))
    ]
    lines = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
    (folder / "log.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_what_cards_and_logs_say_reaches_the_table(run: Path, tmp_path: Path) -> None:
    found = collect(run.parent)
    path = tmp_path / "studies" / "quality.json"
    study = QualityStudy("posebench/quality/1", tuple(found))
    write_study(path, study)
    assert read_study(QualityStudy, path) == study
    assert not file_problems(path)
    card = (read_weights(run / "weights.safetensors") or {})["card"]
    mean = 1e4 * card["splits"]["anny/seen"]["clean_pmd"]["mean"]
    row = f"| npt | nothing | 40 | {card['samples_seen']:,} | 7.0 | {mean:.1f} |"
    assert quality_table(found)[-1] == row
    assert quality_table([]) == ["-"]


def test_a_change_is_named() -> None:
    runs = {run.name: asdict(run.recipe) for run in read_recipes("quality")}
    base = runs["npt-base"]
    assert changes(runs["npt-rates-half"], base) == "matrix rate 0.01, rate 0.001"
    assert changes(runs["npt-width-512"], base) == "width 512"


def test_runs_that_are_not_finished_are_an_error(run: Path) -> None:
    (run / "log.jsonl").unlink()
    with pytest.raises(InputError, match="without the log"):
        collect(run.parent)
    (run / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="no finished training run"):
        collect(run.parent)
