"""Files to typed values: one strict decoder for everything that posebench reads, JSON or TOML.

The types are frozen dataclasses that need no library; decoding needs pydantic, which is imported
when the first file is read, so that machines that only train and measure do without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from posebench.benchmark.records.json_files import Problem, shortly
from posebench.errors import InputError

T = TypeVar("T")

Place: TypeAlias = tuple[int | str, ...]
"""Where a value stands in a type: ("metrics", "clean", "pmd", "per_sample", 3)."""


def dotted(place: Place) -> str:
    """A place as text: metrics.pmd.per_sample[3]."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def decode(kind: type[T], content: object, where: str) -> T:
    """A file's content as a frozen dataclass, nothing converted, nothing ignored.

    Raises:
        InputError: naming the first field that is wrong.
    """
    made, problems = decoded(kind, content)
    if problems:
        raise InputError(f"{where}: {problems[0]}")
    assert made is not None
    return made


def decoded(
    kind: type[T], content: object, shown: Callable[[Place], str] = dotted
) -> tuple[T | None, list[Problem]]:
    """The value, or every field that is wrong, each once; ``shown`` writes its place."""
    from pydantic_core import ValidationError

    try:
        value: T = _validator(kind).validate_python(content)  # type: ignore[arg-type]  # types hash
    except ValidationError as error:
        found: dict[str, Problem] = {}
        for each in error.errors(include_url=False):
            place = shown(each["loc"])
            found.setdefault(place, Problem(place or "file", _message(dict(each))))
        return None, list(found.values())
    return value, []


@lru_cache
def _validator(kind: Any) -> Any:
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    return SchemaValidator(_open(TypeAdapter(kind).core_schema))


def _open(schema: Any) -> Any:
    """A strict core schema that takes tables for dataclasses and lists for tuples."""
    if isinstance(schema, list):
        return [_open(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = ("schema", "fields", "items_schema", "keys_schema", "values_schema", "choices",
             "definitions", "default")  # fmt: skip
    opened = {key: _open(part) if key in inner else part for key, part in schema.items()}
    if opened.get("type") in ("dataclass", "tuple"):
        opened["strict"] = False
    return opened


NAMES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "dataclass_exact_type": "an object",
    "none_required": "null",
}
"""pydantic's kind of error -> what the field must be."""


def _message(error: Mapping[str, Any]) -> str:
    kind, context, shown = error["type"], error.get("ctx", {}), shortly(error["input"])
    match kind:
        case "missing" | "missing_argument":
            return "is missing"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return "is not a field of this schema"
        case "literal_error":
            return f"must be {str(context['expected']).replace(chr(39), chr(34))}, not {shown}"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}, not {shown}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}, not {shown}"
        case "string_pattern_mismatch" if "{64}" in context["pattern"]:
            return f"must be 64 hexadecimal digits, not {shown}"
        case "string_pattern_mismatch" if context["pattern"] == "(?s)^.+$":
            return "must not be empty"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}, not {shown}"
        case _:
            return f"must be {NAMES.get(kind, error['msg'])}, not {shown}"
