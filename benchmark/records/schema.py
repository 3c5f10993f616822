"""JSON files as strictly as JSON is meant, and where they depart from their published schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from posebench.errors import InputError

SCHEMAS = {
    "posebench/record/1": "record.schema.json",
    "posebench-check/1": "check.schema.json",
    "posebench/costs/1": "costs.schema.json",
    "posebench/parts/1": "parts.schema.json",
}
"""What a JSON file calls its form -> the file in ``schemas`` that says it (draft 2020-12)."""

LONGEST = 80
"""Characters of a wrong value that a message repeats."""


class Problem(NamedTuple):
    """What is wrong with which field, such as ``metrics.pmd.per_sample[3]``."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def read_json(path: Path) -> Any:
    """A file's content.

    Raises:
        InputError: not there, not UTF-8, not JSON, NaN or Infinity, a key that comes twice.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not readable as JSON: nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} comes twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; undefined numbers are null")


def schema_problems(content: object) -> list[Problem]:
    """Where a file's content departs from the schema that it names, each field once."""
    if not isinstance(content, dict):
        return [Problem("file", f"not a JSON object but {shortly(content)}")]
    kind = content.get("schema")
    if not (isinstance(kind, str) and kind in SCHEMAS):
        what = f"{shortly(kind)} is unknown" if "schema" in content else "is missing"
        return [Problem("schema", f"{what}; known are {', '.join(SCHEMAS)}")]
    found: dict[str, Problem] = {}
    errors = _validator(kind).iter_errors(content)
    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        for problem in _problems_of(error):
            found.setdefault(problem.field, problem)
    return list(found.values())


@lru_cache
def _validator(kind: str) -> Any:
    from jsonschema import Draft202012Validator, validators

    usual = Draft202012Validator
    types = usual.TYPE_CHECKER.redefine("number", lambda _, value: _is_number(value))
    types = types.redefine("integer", lambda _, value: type(value) is int)

    def items(validator: Any, schema: Any, values: Any, whole: Any) -> Any:
        """As the standard's, but long lists of plain numbers, most of a record, pass at once."""
        if not isinstance(values, list):
            return ()
        numbers = schema.keys() == {"type"} and "number" in schema["type"]
        if numbers and all(type(value) is float and math.isfinite(value) for value in values):
            return ()
        return usual.VALIDATORS["items"](validator, schema, values, whole)

    text = (
        files("posebench.benchmark.records").joinpath("schemas", SCHEMAS[kind]).read_text("utf-8")
    )
    strict = validators.extend(usual, {"items": items}, type_checker=types)
    return strict(json.loads(text))


def _is_number(value: object) -> bool:
    """Whether a float64 can hold it: neither 1e999, which is read as infinite, nor a huge int."""
    return isinstance(value, (int, float)) and type(value) is not bool and abs(value) < 1e300


def _problems_of(error: Any) -> Iterator[Problem]:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    path = path.removeprefix(".")
    below = f"{path}." if path else ""
    value, rule = error.instance, error.validator_value
    match error.validator:
        case "required":
            for name in rule:
                if name not in value:
                    yield Problem(below + name, "is missing")
        case "additionalProperties":
            for name in sorted(value.keys() - error.schema.get("properties", {}).keys()):
                yield Problem(below + name, "is not a field of this schema")
        case "type":
            wanted = " or ".join([rule] if isinstance(rule, str) else rule)
            yield Problem(path, f"must be {wanted}, not {shortly(value)}")
        case "const" | "enum":
            wanted = ", ".join(
                json.dumps(each) for each in (rule if type(rule) is list else [rule])
            )
            yield Problem(path, f"must be {wanted}, not {shortly(value)}")
        case "pattern" if "{64}" in rule:
            yield Problem(path, f"must be 64 hexadecimal digits, not {shortly(value)}")
        case None:  # the schema `false`
            yield Problem(path, "does not belong to a cell without an attack or a defence")
        case _:
            yield Problem(path, f"must have {error.validator} {rule}, not {shortly(value)}")


def shortly(value: object) -> str:
    """A JSON value in a message: long ones cut, lists and objects named."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
