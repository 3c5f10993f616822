"""The command line inside this process, and what its tests ask of an outcome."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from posebench.benchmark.cli.app import main


class Outcome(NamedTuple):
    """What a process would have left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The entry point with the given words on its command line."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["posebench", *map(str, words)])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return Outcome(int(code or 0), captured.out, captured.err)

    return call


def words(weights: Path, out: Path, *more: object, victim: str = "npt") -> list[str]:
    """A small run; options in ``more`` win over the ones before."""
    base = ["run", "--victim", victim, "--weights", weights, "--size", "tiny", "--samples", 2]
    return [str(word) for word in [*base, "--out", out, *more]]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def only_record(folder: Path) -> dict[str, Any]:
    (path,) = files_below(folder)
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def assert_refused(outcome: Outcome, out: Path, *parts: str) -> None:
    """Exit code 2, one line on stderr that says what is wrong, nothing written."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("posebench: error: ")
    for part in parts:
        assert part in line
    assert not out.exists() or not files_below(out)


class Evil:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)
