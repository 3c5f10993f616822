"""Records that were changed: each field is named. The command, and the committed records."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from posebench.attacks import FGM, Drop
from posebench.benchmark.audit.validate import file_problems, json_files
from posebench.benchmark.cli.app import app
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.evaluation.metrics import attack_intervals, summarise
from posebench.benchmark.records.consistency import rate_intervals, summary_of
from posebench.benchmark.records.schema import read_json, schema_problems
from posebench.benchmark.records.store import check_record, record_path
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.errors import InputError
from posebench.interfaces import Budget
from tests.made_records import made

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "leaderboards" / "records"


def one(pattern: str) -> Path:
    """A committed record."""
    return sorted(RECORDS.glob(pattern))[0]


ATTACKED = one("anny-seen/npt-compact-clean/pgd-*.json")
DEFENDED = one("anny-seen/npt-mp-compact-clean/fgm-0.08-*-sor-adaptive-*.json")
CLEAN = one("anny-unseen/gct-compact-clean/clean-*.json")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every number and text of a JSON value; of long lists the first and the last."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, (*path, key))
    elif isinstance(value, list):
        for i in {0, len(value) - 1} if value else ():
            yield from leaves(value[i], (*path, i))
    else:
        yield path, value


def changed(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    record = copy.deepcopy(record)
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return record


def named(path: tuple[Any, ...]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)[1:]


def fields_of(tmp_path: Path, record: Any, name: str) -> list[str]:
    """What validate names in a record under this file name."""
    path = tmp_path / name
    path.write_text(json.dumps(record), encoding="utf-8")
    return [problem.field for problem in file_problems(path)]


def test_all_committed_records_are_valid_and_in_their_place() -> None:
    wrong = {path.name: file_problems(path) for path in json_files([ROOT / "leaderboards"])}
    assert {name: problems for name, problems in wrong.items() if problems} == {}
    for path in json_files([RECORDS]):
        record = read_json(path)
        assert record_path(RECORDS, record) == path
        assert record["environment"]["dirty"] is False


FREE = ("environment.", "cost.", "metrics.kept", "metrics.clean_kept")
"""What nothing else in a record tells; ``posebench verify`` does, of all but the environment."""


@pytest.mark.parametrize("source", [ATTACKED, DEFENDED, CLEAN], ids=lambda path: path.stem)
def test_every_number_that_is_edited_is_noticed_and_its_group_named(
    source: Path, tmp_path: Path
) -> None:
    record = read_json(source)
    tried = 0
    for path, value in leaves(record):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if named(path).startswith((*FREE, "cell.recipe", "cell.network")):
            continue
        edited = changed(record, path, value + 1 if isinstance(value, int) else value * 1.01 + 1e-4)
        fields = fields_of(tmp_path, edited, source.name)
        group = named(path[:3] if "norms" in path else path[:2])
        nothing_else_says_it = path[-1] in ("seed", "draws")  # but the hash in the file's name
        hit = fields == ["cell"] if nothing_else_says_it else fields[0].startswith(group)
        assert hit or any(field.startswith(group) for field in fields), (named(path), fields)
        tried += 1
    assert tried > 30


def test_every_missing_field_is_named(tmp_path: Path) -> None:
    record = read_json(ATTACKED)
    paths = {path[:depth] for path, _ in leaves(record) for depth in (1, 2, 3)}
    for path in sorted(paths, key=str):
        if isinstance(path[-1], int) or path[:2] in (("cell", "recipe"), ("cell", "network")):
            continue
        if named(path).removeprefix("metrics.") in OPTIONAL:
            continue
        edited = copy.deepcopy(record)
        inner = edited
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        assert fields_of(tmp_path, edited, ATTACKED.name)[0] == named(path)


OPTIONAL = {"edge_error", "clean_edge_error", "pmd_uncentred", "clean_pmd_uncentred", "msvd"} | {
    "clean_msvd"
}
"""Metrics that a record may lack, as it may have others."""


@pytest.mark.parametrize("value", ["NaN", "0.1", True, [1.0], {}, float("inf"), 10**400])
@pytest.mark.parametrize(
    "path", [("metrics", "pmd", "mean"), ("metrics", "pmd", "per_sample", 3), ("cell", "eps")]
)
def test_what_is_no_number_is_named(value: Any, path: tuple[Any, ...]) -> None:
    (problem,) = schema_problems(changed(read_json(ATTACKED), path, value))
    assert problem.field == named(path)
    assert problem.message.startswith("must be number or null, not ")
    assert len(problem.message) < 120


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    """Not hexadecimal; one digit off; those of other weights; under the name that fits it too."""
    record = read_json(ATTACKED)
    right = record["cell"]["weights_sha256"]
    digit = "0" if right[0] != "0" else "1"
    other = read_json(CLEAN)["cell"]["weights_sha256"]
    for wrong in ("abc", right[:-1], right.upper(), digit + right[1:], "0" * 64):
        edited = changed(record, ("cell", "weights_sha256"), wrong)
        for name in (ATTACKED.name, record_path(Path(), edited).name, "copy.json"):
            assert fields_of(tmp_path, edited, name)[0] == "cell.weights_sha256", wrong
    edited = changed(record, ("cell", "weights_sha256"), other)
    assert "cell.victim" in fields_of(tmp_path, edited, record_path(Path(), edited).name)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("source",), "reported", "source"),
        (("schema",), "posebench/record/0", "schema"),
        (("flags",), ["under-trained"], "flags"),
        (("cell", "attack"), "fgm", "cell.attack"),
        (("cell", "norm"), "linf", "cell.norm"),
        (("cell", "task"), "anny/nowhere", "cell.task"),
        (("cell", "task"), "anny/unseen", "cell.fingerprint"),
        (("cell", "training"), "adversarial", "cell.training"),
        (("cell", "wrappers"), ["Defended"], "cell"),
        (("cell", "seed"), 7, "cell"),
        (("cell", "extra"), 7, "cell.extra"),
        (("cell", "attack"), None, "cell.attack_settings"),
        (("metrics", "pmd", "extra"), 7, "metrics.pmd.extra"),
        (("environment", "commit"), "abc", "environment.commit"),
    ],
)
def test_text_that_is_edited_is_named(
    path: tuple[str, ...], value: Any, field: str, tmp_path: Path
) -> None:
    assert field in fields_of(tmp_path, changed(read_json(ATTACKED), path, value), ATTACKED.name)


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "not readable as JSON"),
        (b"\xff\xfe{", "can't decode"),
        (b"[1]", "not a JSON object but a list of 1"),
        (b'{"schema": "posebench/record/1", "x": NaN}', "NaN is not JSON"),
        (b'{"schema": "posebench/record/1", "x": -Infinity}', "-Infinity is not JSON"),
        (b'{"schema": 1, "schema": 1}', "key 'schema' comes twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"schema": ["posebench/record/1"]}', "a list of 1 is unknown"),
        (b"{}", "is missing; known are"),
        (b'{"schema": "posebench-samples/1"}', "not a sample that 'posebench samples' wrote"),
        (b'{"schema": "posebench/baseline/1"}', "field 'cells' is missing"),
    ],
)
def test_files_that_are_no_json_of_ours_give_one_line(
    raw: bytes, part: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    (problem,) = file_problems(path)
    assert part in str(problem)
    assert "\n" not in str(problem)


def test_mutilated_records_never_crash(tmp_path: Path) -> None:
    """Any value of any field replaced by anything: problems are listed, nothing is raised."""
    record, rng = read_json(DEFENDED), np.random.default_rng(0)
    paths = list({path[:depth] for path, _ in leaves(record) for depth in (1, 2, 3, 4)})
    values = (None, -1, 0, 1e299, "x", "", [], {}, [None], {"mean": 1}, True, 64)
    for number in rng.permutation(len(paths)):
        value = values[int(rng.integers(len(values)))]
        edited = changed(record, paths[number], value)
        path = tmp_path / DEFENDED.name
        path.write_text(json.dumps(edited), encoding="utf-8")
        file_problems(path)


def test_fast_aggregates_are_those_of_the_metrics() -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 33):
        clean, attacked, noise = rng.lognormal(-7, 1, (3, count))
        summary = summarise(attacked)
        fast = summary_of(attacked)
        assert fast.pop("ci95") == pytest.approx(summary.ci95)
        assert fast == {key: getattr(summary, key) for key in fast}
        expected = attack_intervals(clean, attacked, noise)
        found = rate_intervals(clean, attacked, noise)
        assert found.keys() == expected.keys()
        for name, ends in expected.items():
            assert found[name] == pytest.approx(ends, nan_ok=True), name


def test_what_is_evaluated_is_valid() -> None:
    """A victim from outside, without weights, clean and attacked."""
    network = initial_network(Recipe("npt-mp", size="tiny")).eval()
    budgets = Budget(0.0), Budget(0.05, "linf"), Budget(2.0, unit="total"), Budget(0.1, "drop")
    for attack in (None, *map(FGM, budgets[:3]), Drop(budgets[3], iterations=1)):
        record = evaluate(network, attack=attack, samples=2, vertices=800)
        check_record(record, "record")
    check_record(made(), "made")


def test_the_command_names_file_and_field(tmp_path: Path) -> None:
    good = tmp_path / ATTACKED.name
    shutil.copy(ATTACKED, good)
    done = CliRunner().invoke(app, ["validate", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (0, "1 file, all valid\n")
    edited = changed(read_json(ATTACKED), ("metrics", "pmd", "mean"), 1e-3)
    good.write_text(json.dumps(edited), encoding="utf-8")
    done = CliRunner().invoke(app, ["validate", str(good), str(CLEAN)])
    assert done.exit_code == 1
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{good}: metrics.pmd.mean: is 0.001, the per-sample values give ")
    assert last == "2 files, 1 not valid"
    for bad, part in ((tmp_path / "nowhere", "no such file"), (tmp_path / "empty", "no .json")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        result = CliRunner().invoke(app, ["validate", str(bad)])
        assert isinstance(result.exception, InputError)
        assert part in str(result.exception)
