"""What ``posebench check`` found: its files, and a Markdown table of them for docs/flags.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import read_json
from posebench.benchmark.records.types import Environment
from posebench.fields import STRICT, Count, Matches, Name, Positive, Sha256
from posebench.files import write_atomically

SCHEMA = "posebench-check/1"

SHOWN = {4: "stronger attacks, per pair", 5: "more effort, mean PMD", 6: "without its gradient"}
"""Checks whose figures are worth a column even where nothing is raised."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    __pydantic_config__ = STRICT

    number: Count
    """Of the check."""
    flag: Annotated[str, Matches("^[a-z0-9-]+$")]
    """That it raises, a heading of docs/flags.md."""
    raised: bool | None
    """None where the check does not apply."""
    detail: Name
    """Figures, one line."""


@dataclass(frozen=True)
class CheckCell:
    """What was checked and how."""

    __pydantic_config__ = STRICT

    victim: Name
    """Registry name of the network."""
    training: Name
    """clean, adversarial, noise, imported or given."""
    weights_sha256: Sha256 | None
    """Of the weights file; None for a victim that has none."""
    defense: Name | None
    """Registry name; None without one."""
    defense_settings: Name | None
    """repr of the defence."""
    surrogate: Name
    """Victim name of the network that transfer attacks were made on."""
    task: Name
    """Data set and split."""
    fingerprint: Sha256 | None
    """sha256 of what the pairs are."""
    samples: Count
    """Test pairs."""
    eps: Positive
    """Budget, metres RMS per coordinate or of ``norm``."""
    norm: Literal["l2", "linf", "l2_vertex"]
    """Of the budget."""
    iterations: Count
    """Gradient steps of APGD and PGD."""
    seed: int
    """Of attacks, noise and defences."""
    objective: Literal["pmd", "aligned"] = "pmd"
    """What attacks maximise and errors are: PMD, or PMD after the best translation."""


@dataclass(frozen=True)
class CheckRecord:
    """Findings of ``posebench check`` on one victim's weights."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench-check/1"]
    """The file's form."""
    cell: CheckCell
    """What was checked and how."""
    findings: tuple[Finding, ...]
    """One a check, in their order."""
    environment: Environment
    """Where it was checked."""


def write_check(
    path: Path, cell: CheckCell, findings: Sequence[Finding], environment: Environment
) -> None:
    """Write one victim's findings as JSON, atomically."""
    content = plain(CheckRecord("posebench-check/1", cell, tuple(findings), environment))
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text)


def read_check(path: Path) -> CheckRecord:
    """One file of :func:`write_check`.

    Raises:
        InputError: naming the field that is not as it writes it.
    """
    return decode(CheckRecord, read_json(path), str(path))


@dataclass(frozen=True)
class Checked:
    """What a check looked at, as far as it decides which records its flags belong to.

    Attributes:
        sha256: of the weights.
        defense: registry name; None without one.
        norm, metric: of the attacks.
    """

    sha256: str | None
    defense: str | None
    norm: str
    metric: str


def read_checks(folder: Path) -> dict[Checked, list[str]]:
    """What was checked -> raised flags, from the check files of a folder.

    Raises:
        InputError: naming a file that is not a check.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        check = read_check(path)
        cell = check.cell
        metric = "pmd_aligned" if cell.objective == "aligned" else "pmd"
        key = Checked(cell.weights_sha256, cell.defense, cell.norm, metric)
        found[key] = [each.flag for each in check.findings if each.raised]
    return found


def checks_table(folder: Path) -> list[str]:
    """One row per check file, in the order of their names; the files as ``read_checks`` allows."""
    head = ["victim", "training", "defence", "eps", "pairs", "raised", *SHOWN.values()]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for path in sorted(folder.glob("*.json")):
        check = read_check(path)
        cell, findings = check.cell, {each.number: each for each in check.findings}
        raised = ", ".join(each.flag for each in check.findings if each.raised)
        details = [findings[number].detail if number in findings else "-" for number in SHOWN]
        row = [cell.victim, cell.training, cell.defense or "none", f"{cell.eps:g} {cell.norm}"]
        lines.append(f"| {' | '.join([*row, str(cell.samples), raised or 'none', *details])} |")
    return lines
