"""Records to leaderboards: every file that ``posebench report`` writes."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from posebench.benchmark.checks.findings import Checked, checks_table, read_checks
from posebench.benchmark.checks.suite import VICTIM_FLAGS
from posebench.benchmark.evaluation.cost import VictimCost, costs_below
from posebench.benchmark.evaluation.parts_record import read_parts
from posebench.benchmark.records.studies import FloorStudy, QualityStudy, read_study
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.ascents import ascent_table
from posebench.benchmark.reports.claims import claim_table
from posebench.benchmark.reports.corruptions import corruption_tables
from posebench.benchmark.reports.costs import costs_markdown
from posebench.benchmark.reports.csv_table import csv_text
from posebench.benchmark.reports.defences import Row, defence_points, defence_rows, defence_table
from posebench.benchmark.reports.floor_table import floor_table
from posebench.benchmark.reports.leaderboard import headline, markdown_text
from posebench.benchmark.reports.page import page_text
from posebench.benchmark.reports.page_samples import read_samples
from posebench.benchmark.reports.paper import paper_tables
from posebench.benchmark.reports.parts import parts_table
from posebench.benchmark.reports.peers import peers_table, read_peers
from posebench.benchmark.reports.quality import quality_table
from posebench.benchmark.reports.robust_seeds import robust_seeds_table
from posebench.benchmark.reports.robust_study import study_steps, study_table
from posebench.benchmark.reports.robust_training import new_poses_table, robust_table
from posebench.benchmark.reports.selection import shown_records
from posebench.benchmark.reports.splits import splits_table
from posebench.benchmark.reports.versions import version_words
from posebench.benchmark.reports.victims_table import victims_table
from posebench.errors import InputError
from posebench.files import write_atomically

FLAGS_PAGE = "docs/flags.md"
PAGES = (
    "README.md",
    "docs/attacks.md",
    "docs/claim.md",
    "docs/data.md",
    "docs/defences.md",
    "docs/reproduction.md",
    "docs/threats.md",
    "docs/victims.md",
    "docs/weights.md",
    FLAGS_PAGE,
)
"""Pages that may mark tables, by name within a repository."""


def with_check_flags(records: Iterable[Record], flags: Mapping[Checked, list[str]]) -> list[Record]:
    """The records, those of checked weights and defence with the flags their check raised; flags
    that speak of attacks only beside attacks of the same norm, judged by the same metric."""
    result = []
    for record in records:
        cell = record.cell
        defense = None if cell.defense is None else cell.defense.name
        raised = list(record.flags)
        for checked, found in flags.items():
            if (checked.sha256, checked.defense) != (cell.weights.sha256, defense):
                continue
            attack = cell.attack
            same = attack and (attack.norm, attack.metric) == (checked.norm, checked.metric)
            raised += [flag for flag in found if same or flag in VICTIM_FLAGS]
        result.append(replace(record, flags=tuple(dict.fromkeys(raised))))
    return result


def with_tables(page: str, made: Mapping[str, list[str]], where: str) -> str:
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


def marked_pages(folder: Path, made: Mapping[str, list[str]]) -> dict[Path, str]:
    """Path -> content of the pages in a folder that mark one of the tables."""
    pages = {}
    for name in PAGES:
        path = folder / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if any(f"<!-- {table} -->" in text for table in made):
            pages[path] = with_tables(text, made, path.name)
    return pages


def marked_tables(
    records: list[Record], costs: list[VictimCost], defended: list[Row], out: Path
) -> dict[str, list[str]]:
    """Name -> lines of every table that a page may mark."""
    floor = read_study(FloorStudy, out / "studies" / "floor.json")
    quality = read_study(QualityStudy, out / "studies" / "quality.json")
    floors = () if floor is None else floor.floors
    return {
        "headline": headline(records),
        "ascents": ascent_table(records),
        "claims": claim_table(records),
        "robust-training": robust_table(records, floors),
        "new-poses": new_poses_table(records),
        "floor": floor_table(floors),
        "quality": quality_table(() if quality is None else quality.runs),
        "robust-seeds": robust_seeds_table(records),
        "robust-study": study_table(records, study_steps(out / "costs")),
        "defences": defence_table(defended),
        "splits": splits_table(records),
        **paper_tables(records, costs),
        **corruption_tables(records),
        "parts": parts_table(read_parts(out / "parts")),
        "peers": peers_table(read_peers(out / "peers")),
        "checks": checks_table(out / "checks"),
        "victims": victims_table(),
    }


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's search for circular garbage waits: thousands of records make it read millions of
    numbers again and again, and hold no circles."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@uncollected()
def tables(records_folder: Path, out: Path, pages: Path | None = None) -> dict[Path, str]:
    """Path -> content of every generated file.

    ``pages``: a folder whose README.md and docs get the tables that they mark; other pages, and
    those of other folders, are not touched.

    Raises:
        InputError: no records, or one that is not valid.
    """
    shown, without_truth = shown_records(records_folder)
    records = with_check_flags(shown, read_checks(out / "checks"))
    text = markdown_text(records)
    if without_truth:
        text += (
            f"\nNot shown: {without_truth} records of pairs without a truth, which have no PMD.\n"
        )
    for path in sorted((out / "costs").glob("*.json")):
        text += "".join(f"{line}\n" for line in costs_markdown(path))
    costs = costs_below(out / "costs")
    defended = defence_rows(records, costs)
    files = {out / "results.csv": csv_text(records), out / "results.md": text}
    marked = (
        {} if pages is None else marked_pages(pages, marked_tables(records, costs, defended, out))
    )
    explained = "" if pages is None else marked.get(pages / FLAGS_PAGE, "")
    version = version_words(records, out)
    samples = read_samples(out / "samples")
    page = page_text(records, samples, explained, version, defence_points(defended))
    return {**files, **marked, out / "index.html": page}


def write_tables(records_folder: Path, out: Path, pages: Path | None = None) -> list[Path]:
    """Write all tables, see :func:`tables`; returns their paths."""
    files = tables(records_folder, out, pages)
    for path, text in files.items():
        write_atomically(path, text)
    return list(files)


def check_tables(records_folder: Path, out: Path, pages: Path | None = None) -> list[str]:
    """Names of the tables that differ from what the records give."""
    return [
        path.name
        for path, text in tables(records_folder, out, pages).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
