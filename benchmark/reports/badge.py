"""A result as a small picture for a repository's front page: SVG, self-contained, no request."""

from __future__ import annotations

from html import escape

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import UNIT
from posebench.errors import InputError

LETTER = 6.7
"""Mean width of a letter of the font, pixels; ``textLength`` makes it hold in every font."""

LABEL, PLAIN, FLAGGED = "#444", "#2a6f97", "#8d5524"
"""Colours: of the label, of a result, of one that a flag is raised for. Not a grade: what is good
depends on what it is for."""


def badge_words(record: Record, threat: str, version: int | None) -> tuple[str, str]:
    """Label and value: the threat model, and the error clean and in the worst case.

    Raises:
        InputError: a record of an attack that could not be scored.
    """
    cell = record.cell
    metric = "pmd" if cell.attack is None else cell.attack.metric
    clean, under = record.metrics.clean[metric], record.metrics.attacked[metric]
    if not under.mean < float("inf"):
        raise InputError(f"the record of {cell.victim!r} in {threat!r} has no finite mean to show")
    edition = "" if version is None else f" v{version}"
    low, high = (value * UNIT for value in under.ci95)
    value = f"{clean.mean * UNIT:.1f} \u2192 {under.mean * UNIT:.1f} [{low:.1f}, {high:.1f}]"
    value += f", {cell.samples} pairs" + (" (flagged)" if record.flags else "")
    return f"posebench{edition} {threat}", value


def badge_svg(label: str, value: str, *, flagged: bool = False) -> str:
    """The badge; its title is what a screen reader says."""
    widths = [round(len(text) * LETTER) + 12 for text in (label, value)]
    whole = sum(widths)
    title = escape(f"{label}: {value}; mean squared error x1e-4, clean and in the worst case")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" '
        f'aria-label="{title}">',
        f"<title>{title}</title>",
        f'<rect width="{whole}" height="20" rx="3" fill="{FLAGGED if flagged else PLAIN}"/>',
        f'<path d="M{widths[0]} 0H3a3 3 0 0 0-3 3v14a3 3 0 0 0 3 3H{widths[0]}z" fill="{LABEL}"/>',
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">',
    ]
    for text, width, left in ((label, widths[0], 0), (value, widths[1], widths[0])):
        parts.append(f'<text x="{left + 6}" y="14" textLength="{width - 12}">{escape(text)}</text>')
    return "\n".join([*parts, "</g></svg>"]) + "\n"
