"""The table of displacements by body part, and what the paper claims of them."""

from __future__ import annotations

from posebench.benchmark.evaluation.parts import CLAIMED, PARTS
from posebench.benchmark.evaluation.parts_record import PartsRecord
from posebench.benchmark.reports.markdown import table
from posebench.benchmark.reports.paper import TABLE_1


def share_of(record: PartsRecord, parts: tuple[str, ...]) -> float:
    """Share of all displacement, summed over vertices, that lies on these parts; mean of pairs."""
    counts = {name: part.vertices for name, part in record.parts.items()}
    each = (counts[name] * record.parts[name].relative.mean for name in parts)
    return float(sum(each) / sum(counts.values()))


def parts_table(records: list[PartsRecord]) -> list[str]:
    """Markdown: mean displacement of each part over the body's, and what the paper claims of it."""
    head = ["victim", "training", "attack", "pairs", *PARTS, f"share on {', '.join(CLAIMED)}"]

    def place(record: PartsRecord) -> tuple[str, int, bool]:
        cell = record.cell
        order = [*TABLE_1].index(cell.victim) if cell.victim in TABLE_1 else len(TABLE_1)
        return cell.attack, order, cell.training != "clean"

    rows = []
    for record in sorted(records, key=place):
        cell = record.cell
        row = [cell.victim, cell.training, f"{cell.attack} {cell.eps:g}", str(cell.samples)]
        for part in PARTS:
            own = record.parts[part].relative
            row.append("{:.2f} [{:.2f}, {:.2f}]".format(own.mean, *own.ci95))
        rows.append([*row, f"{100 * share_of(record, CLAIMED):.0f} %"])
    return table(head, rows)
