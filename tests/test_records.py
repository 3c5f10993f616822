"""Records: what is refused, canonical text, paths."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from posebench.benchmark.record import (
    CELL_KEYS,
    KEYS,
    SUMMARY_KEYS,
    check_record,
    read_records,
    record_path,
    record_text,
    write_record,
)
from posebench.errors import InputError
from tests.made_records import made


@pytest.mark.parametrize("key", KEYS)
def test_missing_field_is_named(key: str) -> None:
    record = made()
    del record[key]
    with pytest.raises(InputError, match=f"here: field '{key}' is missing"):
        check_record(record, "here")


@pytest.mark.parametrize("key", CELL_KEYS)
def test_missing_cell_field_is_named(key: str) -> None:
    record = made()
    del record["cell"][key]
    with pytest.raises(InputError, match=f"here: field 'cell.{key}' is missing"):
        check_record(record, "here")


@pytest.mark.parametrize("name", ["pmd", "clean_pmd"])
@pytest.mark.parametrize("key", [None, *SUMMARY_KEYS])
def test_missing_metric_is_named(name: str, key: str | None) -> None:
    record = made()
    if key is None:
        del record["metrics"][name]
    else:
        del record["metrics"][name][key]
    with pytest.raises(InputError, match=f"here: field 'metrics.{name}' is missing or incomplete"):
        check_record(record, "here")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"schema": "posebench/record/0"}, "schema"),
        ({"source": "guessed"}, "source"),
        ({"cell": None}, "cell"),
        ({"cell": "text"}, "cell"),
        ({"metrics": [1]}, "metrics"),
        ({"flags": "under-trained"}, "flags"),
        ({"environment": None}, "environment"),
    ],
)
def test_wrong_type_is_named(change: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=f"here: .*{part}"):
        check_record(made() | change, "here")


@pytest.mark.parametrize("value", [True, "0.1", [1], {}])
def test_value_that_is_no_number_is_refused(value: object) -> None:
    record = made()
    record["metrics"]["pmd"]["per_sample"][1] = value
    with pytest.raises(InputError, match=r"'metrics\.pmd' holds"):
        check_record(record, "here")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cell", "eps"), "0.08"),
        (("cell", "task"), 3),
        (("cell", "victim"), ["npt"]),
        (("cell", "network"), "x"),
        (("cell", "recipe"), "x"),
        (("cell", "samples"), True),
        (("flags",), [1]),
        (("metrics", "trivial"), {"copy-pose": "0.1"}),
        (("metrics", "pmd", "ci95"), [1.0]),
        (("metrics", "pmd", "ci95"), None),
        (("metrics", "pmd", "per_sample"), 3),
        (("metrics", "pmd", "mean"), 1e-9),
    ],
)
def test_fields_that_tables_rely_on_are_checked(path: tuple[str, ...], value: object) -> None:
    record = made()
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError, match=r"here: .*" + path[-2 if len(path) > 2 else -1]):
        check_record(record, "here")


def test_other_number_of_samples_is_refused() -> None:
    record = made()
    record["metrics"]["clean_pmd"]["per_sample"].append(0.1)
    with pytest.raises(InputError, match="has 3 values for 2 samples"):
        check_record(record, "here")


@pytest.mark.parametrize("record", [None, [], "text", 3])
def test_anything_but_an_object_is_refused(record: object) -> None:
    with pytest.raises(InputError, match="not a JSON object"):
        check_record(record, "here")


def test_nan_becomes_null_and_text_is_canonical() -> None:
    record = made(pmd=(math.nan, math.inf))
    assert record["metrics"]["pmd"]["per_sample"] == [None, None]
    assert record["metrics"]["pmd"]["mean"] is None
    text = record_text(record)
    assert json.loads(text) == record
    shuffled = dict(reversed(list(record.items())))
    assert record_text(shuffled) == text


def test_path_comes_from_the_cell_alone(tmp_path: Path) -> None:
    record = made()
    other = made(pmd=(1.0, 2.0), flags=("under-trained",))
    assert record_path(tmp_path, record) == record_path(tmp_path, other)
    changes: dict[str, Any] = {"seed": 1, "weights_sha256": "f", "eps": 0.081, "draws": 2}
    changed = {key: record_path(tmp_path, made(**{key: value})) for key, value in changes.items()}
    assert len({record_path(tmp_path, record), *changed.values()}) == 5
    assert write_record(tmp_path, record) == write_record(tmp_path, other)
    assert read_records(tmp_path) == [other]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"schema": 1}'])
def test_folder_with_a_bad_file_names_it(text: str, folder: Path) -> None:
    (folder / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json"):
        read_records(folder)
