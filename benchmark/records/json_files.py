"""JSON files as strictly as JSON is meant, and how a wrong field is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from posebench.errors import InputError

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


def shortly(value: object) -> str:
    """A JSON value in a message: long ones cut, lists and objects named."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
