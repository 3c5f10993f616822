"""The victims side by side, for docs/victims.md: what their specs say, what counting says, sources.

Counted, not measured: parameters and the arithmetic of one forward at the published width, on
tensors without data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from posebench.benchmark.reports.markdown import NOTHING, table
from posebench.victims import SIZES, VICTIMS

HEAD = ("victim", "paper", "code, licence", "pose reaches the output", "points", "order",
        "parameters", "GFLOP")  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """What the code of a victim cannot say about it.

    Attributes:
        code: the authors' repository and its licence.
        way: how the pose reaches the output.
    """

    code: str
    way: str


NPT = "jiashunwang/Neural-Pose-Transfer, no licence file"
CGT = "mikecheninoulu/CGT, no licence file"
ORIGINS = {
    "npt-mp": Origin(NPT, "pooled"),
    "npt": Origin(NPT, "per vertex, by index"),
    "gct": Origin(CGT, "per vertex, by index, and attention"),
    "gct-mp": Origin(CGT, "pooled"),
    "posemae": Origin("never released", "pooled, and channel attention"),
    "corenet": Origin("ChaoyueSong/3d-corenet, MIT", "by learnt correspondence"),
    "mapconnet": Origin(
        "justin941208/MAPConNet, MIT at 8879c4f, GPL-3.0 since", "by learnt correspondence"
    ),
    "ffptnet": Origin("YikiDragon/FF-PTNet, MIT", "pooled"),
    "dt": Origin("none", "by given correspondence"),
}
"""Victims of other packages have none."""


def victims_table() -> list[str]:
    """One row a built-in victim."""
    rows = []
    for name in VICTIMS.about:
        spec, origin = VICTIMS[name].spec, ORIGINS.get(name, Origin(NOTHING, NOTHING))
        parameters, operations = counted(name)
        rows.append(
            [
                f"{spec.title} (`{name}`)",
                spec.paper,
                origin.code,
                origin.way,
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
