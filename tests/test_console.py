"""What colours in tables mean: differences that are sure, and nothing without colours. And that the
first help page can be read at a glance."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from posebench.benchmark.cli.app import app
from posebench.benchmark.cli.console import COLOURS, run_table
from posebench.benchmark.records.types import Record
from tests.bad_meshes import call
from tests.made_records import made

HARD = tuple(float(x) for x in np.exp(np.random.default_rng(0).normal(-5, 0.5, 16)))
RED, GREEN = "\x1b[31m", "\x1b[32m"


def printed(*records: Record) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=120)
    console.print(run_table(list(records)))
    found = console.file
    assert isinstance(found, io.StringIO)
    return found.getvalue()


def scaled(factor: float) -> tuple[float, ...]:
    """The same errors times about a factor."""
    noise = np.exp(np.random.default_rng(1).normal(0, 0.1, len(HARD)))
    return tuple(float(x) for x in np.array(HARD) * noise * factor)


@pytest.mark.parametrize(("factor", "colour"), [(0.5, GREEN), (2.0, RED), (1.0, None)])
def test_colours_say_what_is_sure(factor: float, colour: str | None) -> None:
    first, other = made(pmd=HARD), made(training="adversarial", pmd=scaled(factor))
    text = printed(first, other)
    assert COLOURS in text
    assert {each for each in (RED, GREEN) if each in text} == ({colour} if colour else set())


def test_one_row_and_undefined_errors_have_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = printed(made(pmd=HARD))
    assert COLOURS not in alone
    broken = made(training="adversarial", pmd=(float("nan"), *scaled(0.1)[1:]))
    assert GREEN not in alone + printed(made(pmd=HARD), broken)
    monkeypatch.setenv("NO_COLOR", "1")
    better = made(training="adversarial", pmd=scaled(0.5))
    assert GREEN not in printed(made(pmd=HARD), better)


def test_the_first_help_page_has_one_line_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    text = call(["--help"])["out"]
    commands = text.split("Measure networks")[1]
    rows = [line for line in commands.splitlines() if line.startswith("│")]
    names = [line[2:].split()[0] for line in rows]
    registered = [each.name for each in app.registered_commands + app.registered_groups]
    assert sorted(names) == sorted(str(name) for name in registered)
    assert all(line[2] != " " for line in rows), "no line goes on"
