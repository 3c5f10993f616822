"""Records: what is refused, canonical text, paths."""

from __future__ import annotations

import json
import math
import platform
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from posebench.benchmark.records.environment import processor
from posebench.benchmark.records.form import record_from_json, record_to_json
from posebench.benchmark.records.schema import record_schema
from posebench.benchmark.records.store import (
    parse_record,
    read_records,
    record_path,
    record_text,
    write_record,
)
from posebench.errors import InputError
from tests.made_records import made


@pytest.mark.parametrize("record", [None, [], "text", 3])
def test_anything_but_an_object_is_refused(record: object) -> None:
    with pytest.raises(InputError, match="here: file: not a JSON object"):
        parse_record(record, "here")


def test_nan_becomes_null_and_comes_back_and_text_is_canonical() -> None:
    record = made(pmd=(math.nan, 2e-3))
    form = record_to_json(record)
    assert form["metrics"]["pmd"]["per_sample"] == [None, 2e-3]
    assert form["metrics"]["pmd"]["mean"] is None
    assert json.loads(record_text(record)) == form
    again, problems = record_from_json(dict(reversed(list(form.items()))))
    assert problems == []
    assert again is not None
    assert record_text(again) == record_text(record)
    assert math.isnan(again.metrics.pmd.per_sample[0])


def test_path_comes_from_the_cell_alone(tmp_path: Path) -> None:
    record = made()
    other = made(pmd=(1.0, 2.0), flags=("under-trained",))
    assert other.flags == ("under-trained",)
    assert record_path(tmp_path, record) == record_path(tmp_path, other)
    changes: dict[str, Any] = {"seed": 1, "weights_sha256": "f" * 64, "eps": 0.081, "draws": 2}
    changed = {key: record_path(tmp_path, made(**{key: value})) for key, value in changes.items()}
    assert len({record_path(tmp_path, record), *changed.values()}) == 5
    assert write_record(tmp_path, record) == write_record(tmp_path, other)
    assert read_records(tmp_path) == [other]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"schema": 1}'])
def test_folder_with_a_bad_file_names_it(text: str, folder: Path) -> None:
    (folder / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json"):
        read_records(folder)


def test_the_processor_is_named_where_linux_tells_it(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz \nmodel name\t: other\n")
    machine = platform.machine()
    assert processor(info) == f"{machine}, Fast CPU @ 3 GHz"
    assert processor(tmp_path / "none") == machine


def test_a_record_prints_what_a_reader_asks_first() -> None:
    record = made(defense="sor", access="adaptive")
    lines = str(record).splitlines()
    assert lines[0] == "victim                     npt (tiny, clean)"
    assert "attacked PMD x1e-4         30.0 [20.0, 40.0]" in lines
    assert "defence                    SOR(), access adaptive" in lines
    assert "<td>30.0 [20.0, 40.0]</td>" in record._repr_html_()
    assert "undefined" in str(made(pmd=(math.nan, 2e-3)))
    assert "attack" not in str(made(attack=None)).replace("attacked", "")


def test_a_surrogates_weights_are_part_of_the_cell() -> None:
    """Two surrogates of one name make two records; a cell without the hash keeps its old path."""
    paths = {
        record_path(Path(), made(access="transfer from gct", **extra))
        for extra in ({}, {"surrogate_sha256": "a" * 64}, {"surrogate_sha256": "b" * 64})
    }
    assert len(paths) == 3
    assert "surrogate_sha256" not in record_to_json(made())["cell"]


def test_an_attacks_second_version_is_another_cell() -> None:
    assert "attack_version" not in record_to_json(made())["cell"]
    second = made(attack_version=2)
    assert record_to_json(second)["cell"]["attack_version"] == 2
    assert record_path(Path(), second) != record_path(Path(), made())


def test_the_committed_schema_is_the_types_and_agrees_with_the_decoder() -> None:
    text = files("posebench.benchmark.records").joinpath("schemas", "record.schema.json")
    schema = json.loads(text.read_text("utf-8"))
    assert schema == record_schema()
    validator = Draft202012Validator(schema)
    for record in (made(), made(attack=None), made(defense="sor"), made(attack_version=2)):
        form = json.loads(record_text(record))
        assert not list(validator.iter_errors(form))
        for key in ("eps", "access", "task"):
            broken = {**form, "cell": {**form["cell"], key: -1.5}}
            assert list(validator.iter_errors(broken)), key
            assert record_from_json(broken)[1], key
