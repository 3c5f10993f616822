"""Records to leaderboards: one CSV row per cell, Markdown grouped like the paper's tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from posebench.benchmark.checks.findings import checks_table, read_checks
from posebench.benchmark.checks.suite import VICTIM_FLAGS
from posebench.benchmark.evaluation.cost import Cost, costs_markdown, read_costs
from posebench.benchmark.evaluation.parts import parts_table, read_parts
from posebench.benchmark.records.store import Record, read_records, record_path
from posebench.benchmark.reports.corruptions import corruption_tables
from posebench.benchmark.reports.page import page_text
from posebench.benchmark.reports.page_samples import read_samples
from posebench.benchmark.reports.paper import (
    ENSEMBLE_08,
    FGM_08,
    find,
    interval,
    paper_tables,
    shipped_plain,
    victim_label,
)
from posebench.errors import InputError
from posebench.files import write_atomically

COLUMNS = (
    "task", "victim", "size", "training", "recipe", "network",
    "attack", "eps", "eps_unit", "norm", "defense", "access", "samples", "vertices", "seed",
    "clean_pmd", "clean_pmd_low", "clean_pmd_high", "pmd", "pmd_low", "pmd_high",
    "pmd_median", "pmd_p95", "pmd_worst", "noise_pmd", "asr@tau", "asr_rel@2",
    "asr_rel@10", "robust_rate", "clean_fail", "gain_over_noise", "copy-pose", "copy-identity",
    "mean-mesh", "flags", "weights_sha256", "commit", "device",
)  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Marks of flags; there are fewer flags than letters."""


def csv_row(record: Record) -> dict[str, Any]:
    """One flat row; PMD in square metres, undefined values empty."""
    cell, metrics = record["cell"], record["metrics"]
    row: dict[str, Any] = {key: cell[key] for key in COLUMNS if key in cell}
    for key in ("recipe", "network"):
        row[key] = json.dumps(cell[key]) if cell[key] else None
    for name in ("clean_pmd", "pmd"):
        row[name] = metrics[name]["mean"]
        row[f"{name}_low"], row[f"{name}_high"] = metrics[name]["ci95"]
    for key in ("median", "p95", "worst"):
        row[f"pmd_{key}"] = metrics["pmd"][key]
    if "noise_pmd" in metrics:
        row["noise_pmd"] = metrics["noise_pmd"]["mean"]
    row |= {key: metrics[key] for key in COLUMNS if not isinstance(metrics.get(key, {}), dict)}
    row |= metrics["trivial"]
    row["flags"] = " ".join(record["flags"])
    row["commit"] = record["environment"]["commit"]
    row["device"] = record["environment"]["device"]
    return row


def csv_text(records: list[Record]) -> str:
    """All cells as CSV, in the order of the records."""
    import pandas as pd

    rows = [csv_row(record) for record in records]
    text: str = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).to_csv(
        index=False, lineterminator="\n"
    )
    return text


def markdown_text(records: list[Record]) -> str:
    """Tables by task and attack; victims in rows, trainings in columns; PMD x 1e-4."""
    lines = [
        "# Leaderboards",
        "",
        "Generated from `leaderboards/records` by `posebench report`; do not edit. PMD x1e-4, mean",
        "with its 95 % bootstrap interval over pairs; lower is better.",
    ]
    groups: dict[tuple[Any, ...], list[Record]] = {}
    distorted = []
    for record in records:
        cell = record["cell"]
        if "@" in cell["task"] and cell["attack"] is None and cell["defense"] is None:
            distorted.append(record)
            continue
        keys = ("task", "attack", "eps", "eps_unit", "norm", "defense", "access", "samples", "size")
        groups.setdefault(tuple(cell[key] for key in keys), []).append(record)
    for key, group in groups.items():
        lines += _markdown_group(key, group)
    lines += _markdown_distorted(distorted)
    return "\n".join(lines) + "\n"


def _markdown_distorted(records: list[Record]) -> list[str]:
    """One table of all distorted pose sources: they are many, and without attack or defence."""
    if not records:
        return []
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    notes: list[str] = []
    for each in records:
        cell = each["cell"]
        where = (cell["task"], str(cell["samples"]), str(cell["size"]))
        label = f"{victim_label(cell)}, {cell['training']}"
        if label in rows.get(where, {}):  # another seed, other weights, ...
            label += f" (record {record_path(Path(), each).stem[-10:]})"
        rows.setdefault(where, {})[label] = _markdown_cell(each, notes)
    labels = sorted({label for row in rows.values() for label in row})
    head = ["pose source", "pairs", "size", *labels]
    lines = ["", "## Scans, noise and corruptions", ""]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (task, samples, size), row in rows.items():
        shown = [row.get(label, "-") for label in labels]
        lines.append(f"| {' | '.join([task, samples, size, *shown])} |")
    return [*lines, *_footnotes(notes)]


def _markdown_group(key: tuple[Any, ...], group: list[Record]) -> list[str]:
    task, attack, eps, unit, norm, defense, access, samples, size = key
    title = f"{task}, clean" if attack is None else f"{task}, {attack} {eps:g} {unit} ({norm})"
    if defense:
        title += f", {defense} ({access})"
    found = {r["cell"]["training"] for r in group}
    trainings = sorted(found, key=lambda t: (t != "clean", t))
    head = ["victim", *(f"{t} training" for t in trainings)]
    lines = ["", f"## {title}", "", f"{samples} pairs, size {size}.", ""]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    notes: list[str] = []
    by_victim: dict[str, dict[str, Record]] = {}
    for each in group:
        label, training = victim_label(each["cell"]), each["cell"]["training"]
        if training in by_victim.get(label, {}):  # another seed, other weights, ...
            label += f" (record {record_path(Path(), each).stem[-10:]})"
        by_victim.setdefault(label, {})[training] = each
    ranked = sorted(by_victim, key=lambda victim: _best(by_victim[victim].values()))
    for victim in ranked:
        row = [victim]
        for training in trainings:
            record = by_victim[victim].get(training)
            row.append("-" if record is None else _markdown_cell(record, notes))
        lines.append(f"| {' | '.join(row)} |")
    trivial = group[0]["metrics"]["trivial"]
    text = ", ".join(f"{name} {value * 1e4:.1f}" for name, value in trivial.items())
    lines += ["", f"Without any skill: {text}."]
    return lines + _footnotes(notes)


def _best(records: Iterable[Record]) -> float:
    means = (record["metrics"]["pmd"]["mean"] for record in records)
    return min((mean for mean in means if mean is not None), default=math.inf)


def _markdown_cell(record: Record, notes: list[str]) -> str:
    notes += [flag for flag in record["flags"] if flag not in notes]
    marks = ",".join(sorted(LETTERS[notes.index(flag)] for flag in record["flags"]))
    return interval(record["metrics"]["pmd"]) + (f" <sup>{marks}</sup>" if marks else "")


def _footnotes(notes: list[str]) -> list[str]:
    said = ", ".join(f"{letter} {note}" for letter, note in zip(LETTERS, notes, strict=False))
    return ["", f"Flags ([what they mean](../docs/flags.md)): {said}."] if notes else []


def headline(records: list[Record]) -> list[str]:
    """The README's table: every victim on the paper's Table 2 setting, ranked by ``pt-ensemble``;
    victims without that record come last."""
    lines = [
        "| victim | training | clean PMD | under FGM 0.08 | worst case 0.08 | pairs "
        "| random noise of that size |",
        "|---" * 7 + "|",
    ]
    records = [record for record in records if shipped_plain(record)]
    rows = []
    for victim, training in sorted({(r["cell"]["victim"], r["cell"]["training"]) for r in records}):
        single, worst = (
            find(records, victim=victim, training=training, task="anny/seen", **attack)
            for attack in (FGM_08, ENSEMBLE_08)
        )
        if single is not None:
            metrics = single["metrics"]
            shown = [interval(metrics[name]) for name in ("clean_pmd", "pmd")]
            noise = interval(metrics["noise_pmd"]).partition(" ")[0]
            case = ["-", "-"]
            if worst is not None:
                case = [interval(worst["metrics"]["pmd"]), str(worst["cell"]["samples"])]
            row = " | ".join([victim, training, *shown, *case, noise])
            rows.append((_best([worst] if worst else []), f"| {row} |"))
    return lines + [row for _, row in sorted(rows)]


def with_check_flags(
    records: list[Record], flags: dict[tuple[str | None, str | None], list[str]]
) -> list[Record]:
    """The records, those of checked weights and defence with the flags their check raised; flags
    that speak of attacks only beside attacked numbers."""
    result = []
    for record in records:
        cell = record["cell"]
        raised = flags.get((cell["weights_sha256"], cell["defense"]), [])
        if cell["attack"] is None:
            raised = [flag for flag in raised if flag in VICTIM_FLAGS]
        result.append({**record, "flags": [*record["flags"], *raised]})
    return result


def with_tables(page: str, made: dict[str, list[str]], where: str) -> str:
    """A page with the text between ``<!-- name -->`` and ``<!-- /name -->`` renewed."""
    for name, lines in made.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in page:
            continue
        before, rest = page.split(start, 1)
        if end not in rest:
            raise InputError(f"{where}: {start} without {end} after it")
        page = f"{before}{start}\n" + "\n".join(lines) + f"\n{end}{rest.split(end, 1)[1]}"
    return page


def tables(records_folder: Path, out: Path) -> dict[Path, str]:
    """Path -> content of every generated file; pages beside ``out`` get the tables they mark.

    Raises:
        InputError: no records, or one that is not valid.
    """
    if not records_folder.is_dir():
        raise InputError(f"{records_folder}: no such folder of records")
    records = read_records(records_folder)
    if not records:
        raise InputError(f"{records_folder}: holds no records; make some with 'posebench run'")
    records = with_check_flags(records, read_checks(out / "checks"))
    text = markdown_text(records)
    costs: list[Cost] = []
    for path in sorted((out / "costs").glob("*.json")):
        costs += read_costs(path)[0]
        text += "\n".join(costs_markdown(path)) + "\n"
    files = {out / "results.csv": csv_text(records), out / "results.md": text}
    made = {"headline": headline(records), **paper_tables(records, costs)}
    made |= corruption_tables(records)
    made["parts"] = parts_table(read_parts(out / "parts"))
    made["checks"] = checks_table(out / "checks")
    docs = out.parent / "docs"
    for page in (out.parent / "README.md", docs / "reproduction.md", docs / "flags.md"):
        if page.is_file():
            files[page] = with_tables(page.read_text(encoding="utf-8"), made, page.name)
    explained = files.get(docs / "flags.md", "")
    files[out / "index.html"] = page_text(records, read_samples(out / "samples"), explained)
    return files


def write_tables(records_folder: Path, out: Path) -> list[Path]:
    """Write all tables; returns their paths."""
    files = tables(records_folder, out)
    for path, text in files.items():
        write_atomically(path, text)
    return list(files)


def check_tables(records_folder: Path, out: Path) -> list[str]:
    """Names of the tables that differ from what the records give."""
    return [
        path.name
        for path, text in tables(records_folder, out).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
