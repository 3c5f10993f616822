"""One transfer to look at: a picture, and a page with its bodies to turn in 3D.

The page is one file that needs no network, with the leaderboard page's viewer and its rules: text
goes in by ``textContent`` alone, the JSON block cannot end early, every request is forbidden.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.types import Points
from posebench.benchmark.records.types import Json
from posebench.benchmark.reports.page_json import script_json
from posebench.benchmark.reports.page_samples import packed
from posebench.benchmark.reports.pictures import (
    Panel,
    cloud_normals,
    draw_rows,
    mesh_panel,
    window_of,
)
from posebench.benchmark.retarget.facts import Facts, Fit, gaps_to_scan
from posebench.benchmark.retarget.pair import Pair
from posebench.files import write_atomically

SCRIPTS = ("library.js", "viewer.js", "result.js")

MOST_SPLATS = 20_000
"""Points of a cloud on the page: enough for a closed body, 0.6 MB."""


def write_views(
    pair: Pair, moved: Points, facts: Facts, *, picture: Path | None, html: Path | None
) -> None:
    """Write the views that are wanted of a result (N, 3), in the identity's order."""
    if picture is None and html is None:
        return
    panels = panels_of(pair, moved)
    if picture is not None:
        words = "result's distance from the pose source, cm"
        window = window_of(panels)
        draw_rows([(facts.victim, panels)], picture, window=window, scale=2.0, values=words)
    if html is not None:
        write_atomically(html, page_text(panels, facts))


def panels_of(pair: Pair, moved: Points) -> list[Panel]:
    """Pose source, identity, result, and where the result lies off the pose source."""
    pose, identity = pair.source.mesh, pair.identity.mesh
    return [
        mesh_panel(pose.points, pose.faces, f"pose source {pose.path.name}"),
        mesh_panel(identity.points, identity.faces, f"identity {identity.path.name}"),
        mesh_panel(moved, identity.faces, "result"),
        mesh_panel(moved, identity.faces, "result, coloured", gaps_to_scan(moved, pair.source)),
    ]


def page_text(panels: Sequence[Panel], facts: Facts) -> str:
    """The whole page."""
    folder = files("posebench.benchmark.reports").joinpath("page_parts")
    page = folder.joinpath("result.html").read_text(encoding="utf-8")
    scripts = [folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    parts = {
        "style": folder.joinpath("style.css").read_text(encoding="utf-8"),
        "data": script_json(page_data(panels, facts)),
        "scripts": "\n".join(f"<script>\n{script}</script>" for script in scripts),
    }
    return re.sub(r"<!--(style|data|scripts)-->", lambda found: parts[found[1]], page)


def page_data(panels: Sequence[Panel], facts: Facts) -> Json:
    """What the page shows. ``arrays`` holds every packed array once; bodies name their numbers."""
    arrays: list[str] = []

    def kept(text: str) -> int:
        if text not in arrays:
            arrays.append(text)
        return arrays.index(text)

    bodies = []
    for panel in panels:
        corners, shown = splats(panel) if panel.faces is None else (panel.points, panel.values)
        cloud = packed(corners)
        body = {"title": panel.title, "scale": cloud["scale"], "points": kept(cloud["points"])}
        if panel.faces is not None:
            body["faces"] = kept(base64.b64encode(panel.faces.astype("<u4").tobytes()).decode())
        if shown is not None:
            values = packed(shown[:, None])
            body |= {"values": kept(values["points"]), "value_scale": values["scale"]}
        bodies.append(body)
    trust = facts.trust
    return {
        "pose": Path(facts.pose.file).name,
        "identity": Path(facts.identity.file).name,
        "victim": facts.victim,
        "rows": [[name, *_numbers(fit)] for name, fit in facts.metrics.items()],
        "doubts": () if trust is None else trust.doubts,
        "accuracy": facts.accuracy or "",
        "notes": facts.notes,
        "arrays": arrays,
        "bodies": bodies,
    }


def splats(panel: Panel) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """A cloud as small squares on its surface: four corners a point, (4 K, 3), and their values.

    The bundled library draws triangles alone. Half a side is 0.7 of the distance to the fourth
    nearest point (our choice: squares then overlap a little).
    """
    from scipy.spatial import cKDTree

    pick = np.random.default_rng(0).permutation(len(panel.points))[:MOST_SPLATS]
    points = panel.points[pick]
    normals = cloud_normals(points) if panel.normals is None else panel.normals[pick]
    reach, _ = cKDTree(points).query(points, k=min(5, len(points)))
    half = 0.7 * float(np.median(np.asarray(reach)[:, -1]))
    across = np.cross(normals, np.eye(3)[np.abs(normals).argmin(axis=1)])
    across /= np.linalg.norm(across, axis=1, keepdims=True).clip(1e-12)
    up = np.cross(normals, across)
    around = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    corners = np.stack([points + half * (a * across + b * up) for a, b in around], axis=1)
    values = None if panel.values is None else np.repeat(panel.values[pick], 4)
    return corners.reshape(-1, 3).astype(np.float32), values


def _numbers(fit: Fit) -> list[float | None]:
    """Centimetres, and the stretch in per cent."""
    stretch = None if fit.edge_distortion is None else 100 * fit.edge_distortion.mean
    ways = (fit.scan_to_result.mean, fit.result_to_scan.mean, fit.chamfer)
    return [*(100 * way for way in ways), stretch]
