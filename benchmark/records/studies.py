"""Files of studies: what a table needs and no record of a cell holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import read_json
from posebench.benchmark.records.types import Environment, Json
from posebench.fields import STRICT, Count, Name, Positive, Sha256
from posebench.files import write_atomically


@dataclass(frozen=True)
class Tried:
    """A training run of the study of quality."""

    __pydantic_config__ = STRICT

    name: Name
    recipe: Json
    """What it trained, as on its card."""
    pairs: Count
    """Seen in training."""
    cpu_seconds: Positive
    """Processor time of its steps."""
    loss: Positive
    """Training loss at its end, square metres."""
    seen: tuple[Positive, ...]
    """Clean PMD on anny/seen, each pair, square metres."""
    environment: Environment
    """Where it was made."""


@dataclass(frozen=True)
class QualityStudy:
    """What buys clean quality (``reports.quality``)."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench/quality/1"]
    """The file's form."""
    runs: tuple[Tried, ...]


@dataclass(frozen=True)
class Floor:
    """The pose floor in one threat model."""

    __pydantic_config__ = STRICT

    threat: Name
    fingerprint: Sha256
    """Of the task's pairs."""
    errors: tuple[Positive, ...]
    """Of each pair after the best translation, square metres."""


@dataclass(frozen=True)
class FloorStudy:
    """The pose floor of the headline threat models (``reports.floor_table``)."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench/floor/1"]
    """The file's form."""
    floors: tuple[Floor, ...]
    environment: Environment
    """Where it was searched."""


Study = TypeVar("Study", QualityStudy, FloorStudy)


def write_study(path: Path, study: QualityStudy | FloorStudy) -> None:
    """A study as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(plain(study), indent=1) + "\n")


def read_study(kind: type[Study], path: Path) -> Study | None:
    """A file of :func:`write_study`; None if it is not there.

    Raises:
        InputError: naming the field that is not as it writes it.
    """
    return decode(kind, read_json(path), str(path)) if path.is_file() else None
