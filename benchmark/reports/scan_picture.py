"""The picture of scans: ``python -m posebench.benchmark.reports.scan_picture docs/scans.png``.

One pose source of anny/seen at severities 0 to 5, coloured by how far each point is from where its
pixel looked; floor and outliers, which are no part of the body, have the end of the scale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.distortion import Distortion
from posebench.benchmark.data.scan import FLOOR, SEVERITIES, scan_mesh
from posebench.benchmark.data.task import PROTOCOL_SEED
from posebench.benchmark.reports.pictures import FULL_SCALE, Panel, draw_rows

SAMPLE = 1
SHOWN = 20_000
"""Points drawn in the upper row."""


def severity_panels(vertices: int = 1700) -> list[tuple[str, list[Panel]]]:
    """A row of scans, and one of as many of their points as a network gets."""
    pairs = load_task("anny/seen", samples=SAMPLE + 1, vertices=vertices)
    ids = torch.tensor([SAMPLE])
    mesh = pairs.batch(ids).pose.points[0]
    over_pose = pairs.pose_faces(ids)
    assert over_pose is not None
    faces = over_pose[0]
    above: list[Panel] = []
    below: list[Panel] = []
    for severity, scanner in enumerate(SEVERITIES):
        (generator,) = Distortion("scan", float(severity)).generators(PROTOCOL_SEED, ids)
        scan = scan_mesh(mesh, faces, scanner, generator)
        seen = (scan.barycentric[..., None] * mesh.double()[faces[scan.triangle]]).sum(dim=1)
        away = (scan.points - seen).norm(dim=1).masked_fill(scan.label >= FLOOR, FULL_SCALE)
        points, values = scan.points.numpy(), away.float().numpy()
        above.append(Panel(points[:SHOWN], None, values[:SHOWN], f"scan@{severity}: {len(scan):,}"))
        below.append(Panel(points[:vertices], None, values[:vertices], ""))
    return [("scan", above), (f"{vertices:,} points of it", below)]


if __name__ == "__main__":
    draw_rows(severity_panels(), Path(sys.argv[1]), dpi=80)
