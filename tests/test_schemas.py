"""The published JSON schemas: generated from the types, and true of every committed file."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from posebench.benchmark.audit.schemas import FOLDER, published, schema_text
from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.records.json_files import read_json

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = published()
FILES = {
    "record.schema.json": "records/**/*.json",
    "check.schema.json": "checks/*.json",
    "costs.schema.json": "costs/*.json",
    "floor.schema.json": "studies/floor.json",
    "parts.schema.json": "parts/*.json",
}
"""Schema -> the files of this repository that it is about."""


def test_the_published_schemas_are_those_of_the_types() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert texts == {name: schema_text(schema) for name, schema in SCHEMAS.items()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_committed_files_fit_their_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    validator = Draft202012Validator(SCHEMAS[name])
    paths = sorted((ROOT / "leaderboards").glob(FILES[name]))
    assert paths
    for path in paths:
        assert [error.message for error in validator.iter_errors(read_json(path))] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_a_schema_refuses_is_refused_by_validate_too(name: str, tmp_path: Path) -> None:
    """Fields gone, of another type, or more than there are, at every level but inside lists."""
    validator = Draft202012Validator(SCHEMAS[name])
    content = read_json(sorted((ROOT / "leaderboards").glob(FILES[name]))[0])
    refused = 0
    for place in objects(content):
        for change in ("gone", None, "x", -1, [], {}, "more"):
            for key in list(inner(content, place)) if change != "more" else ["more"]:
                edited = copy.deepcopy(content)
                if change == "gone":
                    del inner(edited, place)[key]
                else:
                    inner(edited, place)[key] = change
                if validator.is_valid(edited):
                    continue
                path = tmp_path / "edited.json"
                path.write_text(json.dumps(edited), encoding="utf-8")
                assert file_problems(path), (place, key, change)
                refused += 1
    assert refused > 20


def objects(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Places of JSON objects, of lists the first entry's alone; recipes are anybody's."""
    if isinstance(value, list):
        return objects(value[0], (*place, 0)) if value else []
    if not isinstance(value, dict) or place[-1:] in (("recipe",), ("network",)):
        return []
    below = [each for key, part in value.items() for each in objects(part, (*place, key))]
    return [place, *below]


def inner(content: dict[str, object], place: tuple[str | int, ...]) -> dict[str, object]:
    found: object = content
    for key in place:
        found = found[key]  # type: ignore[index]
    assert isinstance(found, dict)
    return found
