"""Table 4: what the victims cost, from a file of ``posebench cost``."""

from __future__ import annotations

from pathlib import Path

from posebench.benchmark.evaluation.cost import read_costs


def costs_markdown(path: Path) -> list[str]:
    """The table of a file of costs; errors as :func:`read_costs`."""
    found = read_costs(path)
    costs, where = found.costs, found.environment
    threads = "1 thread" if where.threads == 1 else f"{where.threads} threads"
    place = f"{where.device_name} ({where.device}, {threads})"
    lines = [
        "",
        "## Cost of one pair (Table 4)",
        "",
        f"{place}, torch {where.torch}, commit {str(where.commit)[:7]}; median times. Memory",
        "above the idle state; `gradient` is a forward and the gradient to the pose.",
        "",
        "| victim | size | vertices | parameters | MB | forward ms | gradient ms | forward MB | "
        "gradient MB |",
        "|---" * 9 + "|",
    ]
    for cost in costs:
        lines.append(
            f"| {cost.victim} | {cost.size} | {cost.vertices} | {cost.parameters:,} | "
            f"{cost.megabytes:.1f} | {cost.forward_ms:.0f} | {cost.gradient_ms:.0f} | "
            f"{cost.forward_mb:.0f} | {cost.gradient_mb:.0f} |"
        )
    return lines


if __name__ == "__main__":
    name, wanted_size, where_to, times = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(measure_cost(name, wanted_size, where_to, int(times)))))
