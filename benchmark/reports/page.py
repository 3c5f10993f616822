"""The leaderboard page: everything that the records say, in one HTML file that needs no network.

The page is a fixed template (``page_parts``) with the numbers as one JSON block. Scripts put text
into it by ``textContent`` alone and the block cannot end early, so a hostile name in a record
stays text; a content security policy forbids every request. See docs/page.md.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from posebench.benchmark.audit.repeat import repeat_command, sweeps, weights_names
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.corruptions import ratio_interval
from posebench.benchmark.reports.page_curves import (
    TAUS,
    curves,
    distorted_matrix,
    transfer_matrices,
)
from posebench.benchmark.reports.paper import (
    CLEAN,
    ENSEMBLE_08,
    FGM_02,
    FGM_08,
    PGD_08,
    find,
    shipped_bare,
    shipped_plain,
    victim_label,
)

PARTS = ("library.js", "charts.js", "viewer.js", "main.js")
"""Scripts in their order; library.js is bundled from three.js and d3."""

HEADLINE = {"fgm02": FGM_02, "fgm": FGM_08, "pgd": PGD_08, "worst": ENSEMBLE_08}
"""Attacks of the ranking, on anny/seen."""

Numbers = list[float | None]


def page_text(records: list[Record], samples: list[dict[str, Any]], flags: str) -> str:
    """The whole page; ``flags`` is the text of docs/flags.md, which explains flags where shown."""
    folder = files("posebench.benchmark.reports").joinpath("page_parts")
    page = folder.joinpath("index.html").read_text(encoding="utf-8")
    scripts = [folder.joinpath(name).read_text(encoding="utf-8") for name in PARTS]
    parts = {
        "style": folder.joinpath("style.css").read_text(encoding="utf-8"),
        "data": script_json(page_data(records, samples, flags)),
        "scripts": "\n".join(f"<script>\n{script}</script>" for script in scripts),
    }
    return re.sub(r"<!--(style|data|scripts)-->", lambda found: parts[found[1]], page)


def script_json(value: Any) -> str:
    """JSON that no HTML parser can end early: every < and & is escaped."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def page_data(records: list[Record], samples: list[dict[str, Any]], flags: str) -> dict[str, Any]:
    """What the page shows; PMD x1e-4 throughout, undefined numbers null."""
    plain = [record for record in records if shipped_plain(record)]
    rows = ranking(plain)
    swept = sweeps(records)
    return {
        "ranking": rows,
        "baselines": baselines(plain),
        "answer": answer(rows, records),
        "curves": curves([chain for chain in swept if shipped_plain(chain[0])]),
        "transfer": transfer_matrices([record for record in records if shipped_bare(record)]),
        "distorted": distorted_matrix(plain),
        "taus": [float(tau) for tau in TAUS * 1e4],
        "cells": cells(records, swept),
        "samples": samples,
        "flags": explained(flags),
        "commits": sorted({str(record["environment"]["commit"]) for record in records}),
    }


def numbers(summary: dict[str, Any]) -> Numbers:
    """Mean and both ends of its interval, x1e-4."""
    values = (summary["mean"], *summary["ci95"])
    return [None if value is None else value * 1e4 for value in values]


def ranking(plain: list[Record]) -> list[dict[str, Any]]:
    """Shipped weights on anny/seen, most robust first: by the worst case, else by FGM 0.08.

    ``fingerprint`` and ``values`` of the worst case say on which pairs ranks can be compared.
    """
    rows = []
    for victim, training in sorted({(r["cell"]["victim"], r["cell"]["training"]) for r in plain}):
        who = {"victim": victim, "training": training, "task": "anny/seen"}
        clean = find(plain, **who, **CLEAN)
        row: dict[str, Any] = {"victim": victim, "training": training, "flags": []}
        row["clean"] = None if clean is None else shown(clean)
        for name, attack in HEADLINE.items():
            found = find(plain, **who, **attack)
            row[name] = None if found is None else shown(found)
            if found is not None and name in ("fgm", "worst"):
                row["flags"] += [flag for flag in found["flags"] if flag not in row["flags"]]
        if row["fgm"] or row["worst"]:
            rows.append(row)
    return sorted(rows, key=_rank)


def _rank(row: dict[str, Any]) -> tuple[float, float, str, str]:
    means = [row[name]["pmd"][0] if row[name] else None for name in ("worst", "fgm")]
    worst, single = (float("inf") if mean is None else mean for mean in means)
    return worst, single, row["victim"], row["training"]


def shown(record: Record) -> dict[str, Any]:
    """A record's PMD, pairs, random noise of that size and per-pair values for comparisons."""
    metrics = record["metrics"]
    noise = metrics.get("noise_pmd")
    return {
        "pmd": numbers(metrics["pmd"]),
        "noise": None if noise is None else numbers(noise),
        "pairs": record["cell"]["samples"],
        "fingerprint": record["cell"]["fingerprint"],
        "values": metrics["pmd"]["per_sample"],
        "task": record["cell"]["task"],
        "attack": record["cell"]["attack_settings"],
    }


def baselines(plain: list[Record]) -> dict[str, float]:
    """PMD x1e-4 of answers without any skill, on the most pairs of anny/seen."""
    found = find(plain, task="anny/seen", **CLEAN)
    if found is None:
        found = find(plain, task="anny/seen")
    trivial = {} if found is None else found["metrics"]["trivial"]
    return {name: value * 1e4 for name, value in trivial.items()}


def answer(rows: list[dict[str, Any]], records: list[Record]) -> dict[str, Any] | None:
    """Who comes first, and how sure that is: the runner-up's PMD over the winner's, pair by pair.

    ``ratio`` is [ratio of means, low, high] with a 95 % bootstrap interval over the same pairs,
    None where the two were not measured on the same ones. ``seeds`` are the FGM 0.08 means of the
    winner's recipe from other training seeds.
    """
    if len(rows) < 2:
        return None
    by = "worst" if rows[0]["worst"] and rows[1]["worst"] else "fgm"
    if not (rows[0][by] and rows[1][by]):
        return None
    first, second = rows[0][by], rows[1][by]
    values = [second["values"], first["values"]]
    same = first["fingerprint"] == second["fingerprint"]
    comparable = same and None not in values[0] and None not in values[1]
    single = [row for row in rows if row["fgm"]]
    who = {"victim": rows[0]["victim"], "training": rows[0]["training"], "task": "anny/seen"}
    seeds = []
    for seed in range(1, 10):
        found = find([r for r in records if shipped_plain(r, seed)], **who, **FGM_08)
        seeds += [] if found is None else [numbers(found["metrics"]["pmd"])[0]]
    best = min(single, key=lambda row: row["fgm"]["pmd"][0] or float("inf"), default=None)
    return {
        "by": by,
        "ratio": list(ratio_interval(*values)) if comparable else None,
        "wins": sum(a < b for b, a in zip(*values, strict=True)) if comparable else None,
        "first_by_fgm": best is rows[0],
        "seeds": seeds,
    }


def cells(records: list[Record], swept: list[list[Record]]) -> list[dict[str, Any]]:
    """One flat row per record, in the order of results.csv."""
    chains = {id(record): chain for chain in swept for record in chain}
    rows = []
    for record in records:
        cell, metrics = record["cell"], record["metrics"]
        noise, where = metrics.get("noise_pmd"), record["environment"]
        rows.append(
            {
                **{key: cell[key] for key in ("task", "training", "attack", "eps", "eps_unit")},
                **{key: cell[key] for key in ("norm", "defense", "access", "samples", "seed")},
                "victim": victim_label(cell),
                "clean": numbers(metrics["clean_pmd"]),
                "pmd": numbers(metrics["pmd"]),
                "pmd_worst": numbers({"mean": metrics["pmd"]["worst"], "ci95": []})[0],
                "noise": None if noise is None else numbers(noise)[0],
                "success": metrics.get("asr@tau"),
                "doubled": metrics.get("asr_rel@2"),
                "flags": record["flags"],
                "command": repeat_command(record, chains.get(id(record))),
                "settings": cell["attack_settings"],
                "weights": cell["weights_sha256"],
                "weights_name": weights_names().get(str(cell["weights_sha256"])),
                "fingerprint": cell["fingerprint"],
                "commit": where["commit"],
                "dirty": where.get("dirty"),
                "device": where["device"],
                "source": record["source"],
            }
        )
    return rows


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
