"""The leaderboard page: everything that the records say, in one HTML file that needs no network.

The page is a fixed template (``page_parts``) with the numbers as one JSON block. Scripts put text
into it by ``textContent`` alone and the block cannot end early, so a hostile name in a record
stays text; a content security policy forbids every request. See docs/page.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from posebench.benchmark.records.types import Json, Record
from posebench.benchmark.reports.defences import Point
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.reports.page_cells import cells
from posebench.benchmark.reports.page_curves import TAUS, curves
from posebench.benchmark.reports.page_json import script_json
from posebench.benchmark.reports.page_matrices import (
    distorted_matrix,
    poses_matrix,
    transfer_matrices,
)
from posebench.benchmark.reports.page_ranking import answer, baselines, ranking
from posebench.benchmark.reports.repeat import sweeps
from posebench.benchmark.reports.selection import shipped_bare, shipped_plain
from posebench.victims import VICTIMS

PARTS = ("library.js", "charts.js", "viewer.js", "main.js")
"""Scripts in their order; library.js is bundled from three.js and d3."""


def page_text(
    records: Sequence[Record],
    samples: Sequence[Json],
    flags: str,
    version: str = "",
    defences: Sequence[Point] = (),
) -> str:
    """The whole page; ``flags`` is the text of docs/flags.md, which explains flags where shown,
    ``version`` the table's, empty where it has none."""
    folder = files("posebench.benchmark.reports").joinpath("page_parts")
    page = folder.joinpath("index.html").read_text(encoding="utf-8")
    scripts = [folder.joinpath(name).read_text(encoding="utf-8") for name in PARTS]
    parts = {
        "style": folder.joinpath("style.css").read_text(encoding="utf-8"),
        "data": script_json(
            page_data(records, samples, flags) | {"version": version, "defences": defences}
        ),
        "scripts": "\n".join(f"<script>\n{script}</script>" for script in scripts),
    }
    return re.sub(r"<!--(style|data|scripts)-->", lambda found: parts[found[1]], page)


def page_data(records: Sequence[Record], samples: Sequence[Json], flags: str) -> Json:
    """What the page shows; PMD x1e-4 throughout."""
    plain = [record for record in records if shipped_plain(record)]
    rows = ranking(plain)
    swept = sweeps(records)
    return {
        "victims": titles(records),
        "ranking": rows,
        "baselines": baselines(plain),
        "answer": answer(rows, records),
        "curves": curves([chain for chain in swept if shipped_plain(chain[0])]),
        "transfer": transfer_matrices([record for record in records if shipped_bare(record)]),
        "poses": poses_matrix(
            plain, [record for record in records if shipped_plain(record, regime="open")]
        ),
        "distorted": distorted_matrix(plain),
        "taus": [float(tau) for tau in TAUS * UNIT],
        "cells": cells(records, swept),
        "samples": samples,
        "flags": explained(flags),
        "commits": sorted({str(record.environment.commit) for record in records}),
    }


def titles(records: Sequence[Record]) -> dict[str, str]:
    """Victim of a record -> what it is called in print."""
    there = {record.cell.victim for record in records}
    return {name: VICTIMS[name].spec.title for name in VICTIMS if name in there}


def explained(flags: str) -> dict[str, dict[str, str]]:
    """Flag -> what raises it and what it means, from docs/flags.md."""
    found = {}
    for section in re.split(r"^## ", flags, flags=re.MULTILINE)[1:]:
        name = section.splitlines()[0].split()[-1]
        bullets = re.findall(r"^- \*\*(.+?)\*\* (.+?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL)
        parts = {
            head.split()[0].lower(): f"{head} {' '.join(text.split())}" for head, text in bullets
        }
        if parts:
            found[name] = parts
    return found
