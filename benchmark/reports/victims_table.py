"""The victims side by side, for docs/victims.md: what their specs say, and what counting says.

Counted, not measured: parameters and the arithmetic of one forward at the published width, on
tensors without data.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from posebench.benchmark.reports.markdown import NOTHING, table
from posebench.victims import SIZES, VICTIMS

HEAD = ("victim", "paper", "code, licence", "pose reaches the output", "points", "order",
        "parameters", "GFLOP")  # fmt: skip


def victims_table() -> list[str]:
    """One row a built-in victim."""
    rows = []
    for name in VICTIMS.about:
        spec = VICTIMS[name].spec
        parameters, operations = counted(name)
        rows.append(
            [
                f"{spec.title} (`{name}`)",
                spec.paper,
                spec.code,
                spec.way,
                {"equal": "equal", "free": "any"}[spec.point_counts],
                {"identity": "identity's matters", "free": "none"}[spec.order],
                f"{parameters:,}" if parameters else NOTHING,
                f"{operations / 1e9:.0f}" if operations else NOTHING,
            ]
        )
    return table(HEAD, rows)


@lru_cache
def counted(name: str) -> tuple[int, int]:
    """Parameters of a victim at the published width, and operations of a forward of one pair at the
    published vertex count; none for a victim without weights."""
    from torch.utils.flop_counter import FlopCounterMode

    size = SIZES["paper"]
    with torch.device("meta"):
        network = VICTIMS[name](size.width).eval().requires_grad_(False)
        points = torch.empty(1, size.vertices, 3)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if not parameters:
        return 0, 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.transfer(points, points)
    return parameters, counter.get_total_flops()
