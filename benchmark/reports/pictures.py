"""Pictures of samples: what went in, what came out, where the attack moved the pose.

Drawn with matplotlib in software, so no display or GPU is needed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.surface import Surface, sample_surface
from posebench.errors import InputError
from posebench.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIGHT = np.array([0.35, 0.55, 0.76])
GREY = (0.72, 0.75, 0.80)
FULL_SCALE = 0.15
"""Metres of displacement or error at the end of the colour scale."""

WINDOW = (0.8, 1.0)
"""Half width and half height of a panel, metres; the embedded bodies fit."""

BODY_AREA = 1.8
"""Square metres of skin."""

ENDINGS = (".png", ".pdf")

MOST_FACES = 60_000
"""Larger meshes are drawn as points of their surface, in seconds instead of minutes."""


def check_ending(path: Path) -> None:
    """Raise InputError unless the path ends in .png or .pdf."""
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: must end in {' or '.join(ENDINGS)}")


@dataclass(frozen=True)
class Panel:
    """One drawn body.

    Attributes:
        points: (V, 3) vertices, metres, y up.
        faces: (F, 3) triangles, None for a cloud.
        values: (V,) metres that set the colours (in drawing, shares of the scale); None draws grey.
        title: the words above it.
        normals: (V, 3) of a cloud, for its shading, of either sign; None to estimate them.
    """

    points: NDArray[np.float32]
    faces: NDArray[np.int64] | None
    values: NDArray[np.float32] | None
    title: str
    normals: NDArray[np.float32] | None = None


def mesh_panel(
    points: NDArray[np.float64],
    faces: NDArray[np.int64] | None,
    title: str,
    values: NDArray[np.floating] | None = None,
) -> Panel:
    """A panel of any mesh or cloud, brought to the middle; large ones as points of the surface."""
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    rng, normals = np.random.default_rng(0), None
    if faces is None and len(points) > MOST_FACES:
        pick = rng.permutation(len(points))[:MOST_FACES]
        points, values = points[pick], None if values is None else values[pick]
    elif faces is not None and len(faces) > MOST_FACES:
        drawn, triangle = sample_surface(Surface(points, faces), MOST_FACES, rng)
        corners, faces = faces[triangle], None
        normals = unit_normals(points[corners]).astype(np.float32)
        points, values = drawn, None if values is None else values[corners[:, 0]]
    as_drawn = None if values is None else values.astype(np.float32)
    return Panel(points.astype(np.float32), faces, as_drawn, title, normals)


def unit_normals(corners: NDArray[np.floating]) -> NDArray[np.floating]:
    """Unit normals (F, 3) of triangles (F, 3, 3)."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    result: NDArray[np.floating] = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(
        1e-12
    )
    return result


def cloud_normals(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Normals (N, 3), of either sign: the directions in which neighbourhoods are thinnest."""
    from scipy.spatial import cKDTree

    _, near = cKDTree(points).query(points, k=min(16, len(points)))
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    _, directions = np.linalg.eigh(around.transpose(0, 2, 1) @ around)
    normals: NDArray[np.float32] = directions[:, :, 0].astype(np.float32)
    return normals


def window_of(panels: Sequence[Panel]) -> tuple[float, float]:
    """Half width and half height that all bodies fit into, in the shape of ``WINDOW``."""
    ends = [np.quantile(panel.points, [0.002, 0.998], axis=0) for panel in panels]
    sides = np.max([high - low for low, high in ends], axis=0)
    width = max(sides[0], sides[2])  # seen from a little to the side
    half = 0.55 * float(max(sides[1], width * WINDOW[1] / WINDOW[0]))
    return half * WINDOW[0] / WINDOW[1], half


def viridis(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours (N, 3) of values from 0 to 1."""
    import matplotlib.pyplot as plt

    colours: NDArray[np.uint8] = plt.get_cmap("viridis")(values, bytes=True)[:, :3]
    return colours


def draw_rows(
    rows: Sequence[tuple[str, list[Panel]]],
    path: Path,
    *,
    window: tuple[float, float] = WINDOW,
    scale: float = 1.0,
    dpi: int = 110,
    full_scale: float = FULL_SCALE,
    values: str = "moved by, or error, cm",
) -> None:
    """Draw labelled rows of panels into one PNG or PDF; ``scale`` enlarges them.

    Colours end at ``full_scale`` metres; ``values`` says what they are.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = max(len(panels) for _, panels in rows)
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(2.1 * columns * scale, 2.7 * len(rows) * scale),
        squeeze=False,
    )
    for row, (label, panels) in enumerate(rows):
        for column, panel in enumerate(panels):
            draw_panel(axes[row][column], panel, window, full_scale)
        for empty in axes[row][len(panels) :]:
            empty.set_axis_off()
        axes[row][0].text(
            -0.04, 0.5, label, rotation=90, ha="right", va="center", fontsize=10,
            transform=axes[row][0].transAxes,
        )  # fmt: skip
    coloured = any(panel.values is not None for _, panels in rows for panel in panels)
    foot = (0.62 if coloured else 0.1) / (2.7 * len(rows) * scale)
    top = min(0.94, 1 - 0.25 / (2.7 * len(rows) * scale))
    figure.subplots_adjust(left=0.035, right=0.995, top=top, bottom=foot, wspace=0, hspace=0.12)
    if coloured:
        colours = ScalarMappable(Normalize(0, 100 * full_scale), plt.get_cmap("viridis"))
        bar = figure.add_axes((0.3, 0.75 * foot, 0.4, 0.1 * foot))
        figure.colorbar(colours, cax=bar, orientation="horizontal", label=values)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format=path.suffix[1:] or "png")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def draw_panel(
    axes: Axes,
    panel: Panel,
    window: tuple[float, float] = WINDOW,
    full_scale: float = FULL_SCALE,
) -> None:
    """One body from the front right, painted back to front with a soft light."""
    turn = np.deg2rad(25)
    view = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    points = panel.points @ view.T
    if panel.values is not None:
        panel = replace(panel, values=panel.values / full_scale)
    if panel.faces is None:
        paint_points(axes, panel, points, view, window)
    else:
        paint_faces(axes, panel, points)
    # All but a few points: a scan has outliers, and an attack may throw a point far away.
    middle = np.quantile(points[:, :2], [0.002, 0.998], axis=0).mean(axis=0)
    axes.set_xlim(middle[0] - window[0], middle[0] + window[0])
    axes.set_ylim(middle[1] - window[1], middle[1] + window[1])
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(panel.title, fontsize=8)


def paint_faces(axes: Axes, panel: Panel, points: NDArray[np.floating]) -> None:
    """Triangles of a body seen from the z axis."""
    from matplotlib.collections import PolyCollection

    assert panel.faces is not None
    corners = points[panel.faces]
    of_face = None if panel.values is None else panel.values[panel.faces].mean(axis=1)
    painted = colours_of(of_face, len(corners)) * shades(unit_normals(corners))
    order = corners[:, :, 2].mean(axis=1).argsort()
    axes.add_collection(
        PolyCollection(
            cast(Any, corners[order, :, :2]),
            facecolors=painted[order],
            edgecolors=painted[order],
            linewidths=0.2,
        )
    )


def paint_points(
    axes: Axes,
    panel: Panel,
    points: NDArray[np.floating],
    view: NDArray[np.floating],
    window: tuple[float, float],
) -> None:
    """Points of a cloud seen from the z axis, as large as they lie apart on a body."""
    estimated = cloud_normals(panel.points) if panel.normals is None else panel.normals
    normals = estimated @ view.T
    facing = normals * np.where(normals[:, 2:] < 0, -1, 1)
    painted = colours_of(panel.values, len(points)) * shades(facing)
    order = points[:, 2].argsort()
    figure = axes.get_figure(root=True)
    assert figure is not None
    metre = 72 * figure.get_figheight() * axes.get_position().height / (2 * window[1])
    spacing = metre * (BODY_AREA / len(points)) ** 0.5
    across, up = points[order, :2].T
    axes.scatter(across, up, s=(2 * spacing) ** 2, c=painted[order], linewidths=0)


def colours_of(values: NDArray[np.floating] | None, count: int) -> NDArray[np.floating]:
    """Colours (count, 3) in 0..1: by value from 0 to 1, or all grey."""
    if values is None:
        return np.tile(GREY, (count, 1))
    return viridis(values) / 255


def shades(normals: NDArray[np.floating]) -> NDArray[np.floating]:
    """Brightness (F, 1) under the soft light."""
    brightness: NDArray[np.floating] = 0.45 + 0.55 * (normals @ LIGHT).clip(0, 1)
    return brightness[:, None]
