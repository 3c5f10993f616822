"""What a field of a file may hold besides its type: markers for ``typing.Annotated``.

The dataclasses that describe records, recipes, gates and sweeps are plain ones, made by code that
has no decoder installed. pydantic reads these markers when a file is decoded
(``posebench.benchmark.records.codec``) and when a JSON schema is written from the types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

Handler = Callable[[Any], Any]

STRICT = {"strict": True, "extra": "forbid", "use_attribute_docstrings": True}
"""As ``__pydantic_config__``: no conversions, no unknown fields, a docstring under each field."""


@dataclass(frozen=True)
class Least:
    """A number that must be at least ``value``."""

    value: float | int

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Any:
        return _narrowed(handler(source), ge=self.value)


@dataclass(frozen=True)
class Most:
    """A number that must be at most ``value``."""

    value: float | int

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Any:
        return _narrowed(handler(source), le=self.value)


@dataclass(frozen=True)
class Matches:
    """A text that must match a regular expression from its beginning to its end."""

    pattern: str

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Any:
        return _narrowed(handler(source), pattern=self.pattern)


@dataclass(frozen=True)
class MayBeUndefined:
    """A number, or a tuple of numbers, in which JSON's null stands for NaN."""

    def __get_pydantic_core_schema__(self, source: object, handler: Handler) -> Any:
        from pydantic_core import core_schema

        schema = _nullable(handler(source))
        return core_schema.no_info_after_validator_function(_nan_for_none, schema)


Number = Annotated[float, MayBeUndefined()]
Series = Annotated[tuple[float, ...], MayBeUndefined()]
Interval = Annotated[tuple[float, float], MayBeUndefined()]
Sha256 = Annotated[str, Matches("^[0-9a-f]{64}$")]
Name = Annotated[str, Matches("(?s)^.+$")]
Count = Annotated[int, Least(1)]
Positive = Annotated[float, Least(0)]


def _narrowed(schema: Any, **rules: object) -> Any:
    """A core schema with further rules; of "or null", for what is not null."""
    if schema["type"] == "nullable":
        return {**schema, "schema": {**schema["schema"], **rules}}
    return {**schema, **rules}


def _nullable(schema: Any) -> Any:
    from pydantic_core import core_schema

    number = core_schema.nullable_schema(core_schema.float_schema(strict=True, allow_inf_nan=False))
    if schema["type"] == "tuple":
        items = [number for _ in schema["items_schema"]]
        return {**schema, "items_schema": items}
    return number


def _nan_for_none(value: Any) -> Any:
    nan = float("nan")
    if value is None:
        return nan
    if isinstance(value, tuple) and None in value:
        return tuple(nan if each is None else each for each in value)
    return value
