"""The picture of width and robustness: ``python -m ...reports.width_picture FILE.png [RECORDS]``.

The clean error of networks of three widths, and the error under attack as a multiple of it
(``posebench train --recipe widths``, then ``posebench sweep widths``).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from posebench.attacks import VertexAdam
from posebench.benchmark.evaluation.plan import attack_cell
from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.selection import records_below
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.threats import HEADLINE, THREATS

RECORDS = Path("leaderboards/records")
WIDTHS = (128, 256, 512)
PAIRS = 16
"""Of the sweep; other studies attack more or fewer."""
TICKS = (1, 1.5, 2, 3, 5, 7, 10, 15)
"""Of the multiples; powers of ten alone would be two."""

ASCENT: dict[str, AttackCell | None] = {
    name: attack_cell(
        VertexAdam(THREATS[name].budget, iterations=200, objective=THREATS[name].objective), ()
    )
    for name in HEADLINE
}
"""Threat model -> the attack that is compared."""


@dataclass(frozen=True)
class Wide:
    """One network.

    Attributes:
        victim, width: which one.
        clean: mean error after the best translation, square metres.
        times: threat model -> the attacked error as a multiple of ``clean``, with its interval.
    """

    victim: str
    width: int
    clean: float
    times: dict[str, tuple[float, float, float]]


def networks_by_width(records: Iterable[Record]) -> list[Wide]:
    """The cleanly trained networks attacked alike in every headline threat model."""
    found: dict[tuple[str, int, str | None], dict[str, Record]] = {}
    for record in records:
        cell = record.cell
        width = (cell.weights.network or {}).get("width")
        name = next((name for name, attack in ASCENT.items() if cell.attack == attack), None)
        plain = cell.task == "anny/seen" and cell.defense is None and cell.samples == PAIRS
        if name and plain and cell.weights.training == "clean" and width in WIDTHS:
            found.setdefault((cell.victim, width, cell.weights.sha256), {})[name] = record
    result = []
    for (victim, width, _), group in sorted(found.items(), key=lambda item: str(item[0])):
        if set(group) == set(ASCENT):
            result.append(_wide(victim, width, group))
    return result


def _wide(victim: str, width: int, group: dict[str, Record]) -> Wide:
    clean = next(iter(group.values())).metrics.clean["pmd_aligned"].mean
    times = {}
    for name, record in group.items():
        worst = record.metrics.attacked["pmd_aligned"]
        low, high = worst.ci95
        times[name] = (worst.mean / clean, low / clean, high / clean)
    return Wide(victim, width, clean, times)


def draw(networks: list[Wide], path: Path) -> None:
    """Two panels, clean error and multiples, over width.

    Raises:
        InputError: no networks to draw.
    """
    if not networks:
        raise InputError("no records of 'posebench sweep widths' to draw")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for number, victim in enumerate(sorted({each.victim for each in networks})):
        own = sorted((n for n in networks if n.victim == victim), key=lambda n: n.width)
        widths = [each.width for each in own]
        left.plot(widths, [1e4 * each.clean for each in own], "o-", color=f"C{number}")
        end = (widths[-1], 1e4 * own[-1].clean)
        beside = {"xytext": (0, 7), "textcoords": "offset points", "ha": "right"}
        left.annotate(victim, end, color=f"C{number}", **beside)
        for name, style in zip(HEADLINE, ("o-", "s--"), strict=True):
            mean, low, high = zip(*(each.times[name] for each in own), strict=True)
            below = [m - x for m, x in zip(mean, low, strict=True)]
            above = [x - m for m, x in zip(mean, high, strict=True)]
            label = f"{victim}, {name.removeprefix('point-')}"
            bars = [below, above]
            right.errorbar(widths, mean, bars, fmt=style, color=f"C{number}", label=label)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(WIDTHS, map(str, WIDTHS))
        axes.set_xlabel("width")
    left.set_title("clean error after the best translation, x1e-4", fontsize=9)
    left.set_ylim(bottom=0)
    right.set_title("attacked / clean (200 gradients)", fontsize=9)
    right.set_yscale("log")
    right.set_yticks(TICKS, map(str, TICKS))
    right.set_yticks([], minor=True)
    figure.legend(loc="outside right center", fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    write_atomically(path, buffer.getvalue())


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else RECORDS
    draw(networks_by_width(records_below(folder)), Path(sys.argv[1]))
