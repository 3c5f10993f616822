"""Table 4: what the victims cost, from a file of ``posebench cost``."""

from __future__ import annotations

from pathlib import Path

from posebench.benchmark.evaluation.cost import read_costs
from posebench.benchmark.reports.markdown import table

HEAD = ("victim", "size", "vertices", "parameters", "MB", "forward ms", "gradient ms",
        "forward MB", "gradient MB")  # fmt: skip


def costs_markdown(path: Path) -> list[str]:
    """The table of a file of costs, none of one without victims; errors as :func:`read_costs`."""
    found = read_costs(path)
    if not found.costs:
        return []
    where, defended = found.environment, any(cost.defense for cost in found.costs)
    threads = "1 thread" if where.threads == 1 else f"{where.threads} threads"
    place = f"{where.device_name} ({where.device}, {threads})"
    lines = [
        "",
        f"## Cost of one pair {'behind defences' if defended else '(Table 4)'}",
        "",
        f"{place}, torch {where.torch}, commit {str(where.commit)[:7]}; median times. Memory",
        "above the idle state; `gradient` is a forward and the gradient to the pose.",
        "",
    ]
    rows = []
    for cost in found.costs:
        victim = cost.victim if cost.defense is None else f"{cost.victim} behind {cost.defense}"
        row = [victim, cost.size, f"{cost.vertices}", f"{cost.parameters:,}"]
        others = cost.forward_ms, cost.gradient_ms, cost.forward_mb, cost.gradient_mb
        rows.append([*row, f"{cost.megabytes:.1f}", *(f"{value:.0f}" for value in others)])
    return lines + table(HEAD, rows)
