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
from posebench.benchmark.records.json_files import read_json
from posebench.benchmark.records.store import (
    parse_record,
    read_record,
    record_path,
    record_problems,
    record_text,
)
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
        record = read_record(path)
        assert record_path(RECORDS, record) == path
        assert record.environment.dirty is False


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


OPTIONAL = {
    before + name
    for name in ("edge_error", "pmd_uncentred", "pmd_aligned", "normal_error", "msvd")
    for before in ("", "clean_")
}
"""Metrics that a record may lack, as it may have others."""


@pytest.mark.parametrize("value", ["NaN", "0.1", True, [1.0], {}, float("inf"), 10**400])
@pytest.mark.parametrize(
    "path", [("metrics", "pmd", "mean"), ("metrics", "pmd", "per_sample", 3), ("cell", "eps")]
)
def test_what_is_no_number_is_named(value: Any, path: tuple[Any, ...]) -> None:
    problems = record_problems(changed(read_json(ATTACKED), path, value))[1]
    assert [problem.field for problem in problems] == [named(path)]
    assert problems[0].message.startswith("must be a number, not ")
    assert len(problems[0].message) < 120


def name_of(content: Any) -> str:
    """The file name that fits a record, if it is one."""
    record = record_problems(content)[0]
    return "other.json" if record is None else record_path(Path(), record).name


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    """Not hexadecimal; one digit off; those of other weights; under the name that fits it too."""
    record = read_json(ATTACKED)
    right = record["cell"]["weights_sha256"]
    digit = "0" if right[0] != "0" else "1"
    other = read_json(CLEAN)["cell"]["weights_sha256"]
    for wrong in ("abc", right[:-1], right.upper(), digit + right[1:], "0" * 64):
        edited = changed(record, ("cell", "weights_sha256"), wrong)
        for name in (ATTACKED.name, name_of(edited), "copy.json"):
            assert fields_of(tmp_path, edited, name)[0] == "cell.weights_sha256", wrong
    edited = changed(record, ("cell", "weights_sha256"), other)
    assert "cell.victim" in fields_of(tmp_path, edited, name_of(edited))


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


OTHERS = ("checks/npt-compact-clean.json", "costs/cpu.json", "samples/anny-seen-0.json",
          "parts/anny-seen-gct-compact-clean-fgm-0.08.json", "baselines.json")  # fmt: skip
"""A committed file of every other kind."""


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_file_is_asked_for_each_of_its_fields(name: str, tmp_path: Path) -> None:
    content = read_json(ROOT / "leaderboards" / name)
    path = tmp_path / "bad.json"
    for key in content:
        if key == "schema":
            continue
        for bad in (None, 3, "text", []):
            path.write_text(json.dumps({**content, key: bad}), encoding="utf-8")
            fields = {problem.field.split(".")[0].split("[")[0] for problem in file_problems(path)}
            natural = key in ("sample", "seed", "vertices") and bad == 3
            free = natural or (key in ("task", "pose_faces", "faces") and bad == "text")
            free = free or (key == "fingerprint" and bad is None)
            assert (key in fields) or free, (key, bad)
        path.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        assert f"{key}: is missing" in [str(problem) for problem in file_problems(path)]
    path.write_text(json.dumps({**content, "more": 1}))
    assert [str(p) for p in file_problems(path)] == ["more: is not a field of this schema"]


@pytest.mark.parametrize(
    ("name", "path", "value", "field"),
    [
        (OTHERS[0], ("findings", 3, "flag"), "stochastic", "findings[3].flag"),
        (OTHERS[0], ("findings",), [], "findings"),
        (OTHERS[1], ("costs",), [], "costs"),
        (OTHERS[1], ("costs", 0, "forward_ms"), -1.0, "costs[0].forward_ms"),
        (OTHERS[2], ("victims", 0, "clean", "output", "points"), "AAAA",
         "victims[0].clean.output.points"),
        (OTHERS[2], ("faces",), "////////", "faces"),
        (OTHERS[3], ("parts", "knee", "relative", "mean"), 1.0, "parts.knee.relative.mean"),
        (OTHERS[4], ("cells", "gct (clean): fgm 0.08", "pmd"), [[1.0]],
         "cells.gct (clean): fgm 0.08.pmd"),
        (OTHERS[4], ("cells", "gct (clean): fgm 0.08", "settings", "pairs"), "x",
         "cells.gct (clean): fgm 0.08.settings.pairs"),
    ],
)  # fmt: skip
def test_what_a_type_cannot_say_of_other_files_is_checked_too(
    name: str, path: tuple[Any, ...], value: Any, field: str, tmp_path: Path
) -> None:
    edited = changed(read_json(ROOT / "leaderboards" / name), path, value)
    (tmp_path / "bad.json").write_text(json.dumps(edited), encoding="utf-8")
    assert field in [problem.field for problem in file_problems(tmp_path / "bad.json")]


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


def test_what_is_evaluated_is_valid() -> None:
    """A victim from outside, without weights, clean and attacked."""
    network = initial_network(Recipe("npt-mp", size="tiny")).eval()
    budgets = Budget(0.0), Budget(0.05, "linf"), Budget(2.0, unit="total"), Budget(0.1, "drop")
    for attack in (None, *map(FGM, budgets[:3]), Drop(budgets[3], iterations=1)):
        record = evaluate(network, attack=attack, samples=2, vertices=800)
        text = record_text(record)  # NaN, which equals nothing, is null there
        assert record_text(parse_record(json.loads(text), "record")) == text
    assert parse_record(json.loads(record_text(made())), "made") == made()


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
