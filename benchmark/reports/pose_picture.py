"""The picture of poses: ``python -m posebench.benchmark.reports.pose_picture docs/poses.png``.

The first pose sources of the splits that stand outside of the protocol.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from posebench.benchmark.data.anny import PoseTransferTask
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.held_out import HELD_OUT
from posebench.benchmark.reports.pictures import Panel, draw_rows

COLUMNS = 10
ROWS = {"natural": 5, "tpose": 1, "acrobatic": 1, "makers": 1}
assert {HELD_OUT[split].poses for split in ROWS} == {each.poses for each in HELD_OUT.values()}


def pose_panels(vertices: int = 6890) -> list[tuple[str, list[Panel]]]:
    """Rows of ten pose sources each, the natural ones in five."""
    rows: list[tuple[str, list[Panel]]] = []
    for split, count in ROWS.items():
        pairs = load_task(f"anny/{split}", samples=count * COLUMNS, vertices=vertices)
        assert isinstance(pairs, PoseTransferTask)
        givers, poses = pairs.triples[:, 2:].unbind(dim=1)
        for part in torch.arange(count * COLUMNS).split(COLUMNS):
            meshes = pairs.meshes(givers[part], poses[part]).points.numpy()
            rows.append((split, [Panel(m, pairs.body.faces.numpy(), None, "") for m in meshes]))
    return rows


if __name__ == "__main__":
    draw_rows(pose_panels(), Path(sys.argv[1]), dpi=41)
