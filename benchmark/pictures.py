"""Pictures of samples: what went in, what came out, where the attack moved the pose.

Drawn with matplotlib in software, so no display or GPU is needed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.attacks import run_attack
from posebench.benchmark.anny import PoseTransferTask, load_task, renumber
from posebench.benchmark.datasets import DATASET_TASKS
from posebench.benchmark.metrics import pmd
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.geometry import centred
from posebench.interfaces import Attack, Victim
from posebench.rng import generator_for
from posebench.victims.wrappers import any_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIGHT = np.array([0.35, 0.55, 0.76])
FULL_SCALE = 0.15
"""Metres of displacement or error at the end of the colour scale."""


@dataclass(frozen=True)
class Panel:
    """One drawn body: vertices (V, 3), faces or None for a point cloud, a value per vertex in
    metres or None, and a title."""

    points: NDArray[np.float32]
    faces: NDArray[np.int64] | None
    values: NDArray[np.float32] | None
    title: str


def sample_panels(
    victim: Victim, attack: Attack, *, task: str, sample: int, vertices: int, seed: int = 0
) -> list[Panel]:
    """Six panels of one test pair: pose, attacked pose, identity, truth, clean and attacked."""
    if task in DATASET_TASKS:
        raise InputError(f"pictures are drawn of anny's tasks alone, not of {task}")
    pairs = load_task(task, samples=sample + 1, vertices=vertices)
    assert isinstance(pairs, PoseTransferTask)
    ids = torch.tensor([sample])
    batch = pairs.batch(ids)
    pose_faces = None
    if not pairs.distorted:
        pose_faces = renumber(pairs.body.faces, pairs.orders(ids)[0])[0].numpy()
    faces = batch.faces[0].numpy()
    victim = victim if pairs.keeps_count else any_count(victim)
    result = run_attack(attack, victim, batch, generator=generator_for(seed, "attack"))
    with torch.no_grad():
        clean = victim(batch.pose, batch.identity)
        attacked = victim(result.pose, batch.identity)
    truth = centred(batch.target).points[0]
    moved = (result.pose.points - batch.pose.points)[0].norm(dim=1)
    panels = [
        Panel(batch.pose.points[0].numpy(), pose_faces, None, "pose source"),
        Panel(result.pose.points[0].numpy(), pose_faces, moved.numpy(), "attacked pose"),
        Panel(batch.identity.points[0].numpy(), faces, None, "identity"),
        Panel(truth.numpy(), faces, None, "truth"),
    ]
    for name, output in (("clean", clean), ("attacked", attacked)):
        points = centred(output).points[0]
        error = (points - truth).norm(dim=1)
        value = float(pmd(output, batch)) * 1e4
        panels.append(
            Panel(points.numpy(), faces, error.numpy(), f"result, {name}: PMD {value:.1f}e-4")
        )
    return panels


def draw_rows(rows: Sequence[tuple[str, list[Panel]]], path: Path, *, dpi: int = 110) -> None:
    """Draw labelled rows of panels into one PNG or PDF."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = max(len(panels) for _, panels in rows)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(2.1 * columns, 2.7 * len(rows)), squeeze=False
    )
    for row, (label, panels) in enumerate(rows):
        for column, panel in enumerate(panels):
            draw_panel(axes[row][column], panel)
        axes[row][0].text(
            -0.04, 0.5, label, rotation=90, ha="right", va="center", fontsize=10,
            transform=axes[row][0].transAxes,
        )  # fmt: skip
    foot = 0.62 / (2.7 * len(rows))
    figure.subplots_adjust(left=0.035, right=0.995, top=0.94, bottom=foot, wspace=0, hspace=0.12)
    scale = ScalarMappable(Normalize(0, 100 * FULL_SCALE), plt.get_cmap("viridis"))
    bar = figure.add_axes((0.3, 0.75 * foot, 0.4, 0.1 * foot))
    figure.colorbar(scale, cax=bar, orientation="horizontal", label="moved by, or error, cm")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format=path.suffix[1:] or "png")
    plt.close(figure)
    write_atomically(path, drawn.getvalue())


def draw_panel(axes: Axes, panel: Panel) -> None:
    """One body from the front right."""
    turn = np.deg2rad(25)
    view = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    seen = panel.points @ view.T
    if panel.faces is None:
        draw_points(axes, seen, panel.values)
    else:
        draw_faces(axes, seen, panel.faces, panel.values)
    ends = (0, 1) if panel.faces is not None else (0.005, 0.995)  # a scan has outliers
    middle = np.quantile(seen, ends, axis=0).mean(axis=0)
    axes.set_xlim(middle[0] - 0.8, middle[0] + 0.8)
    axes.set_ylim(middle[1] - 1.0, middle[1] + 1.0)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(panel.title, fontsize=8)


def draw_points(axes: Axes, seen: NDArray[np.float64], values: NDArray[np.float32] | None) -> None:
    """A point cloud, back to front."""
    import matplotlib.pyplot as plt

    colours = np.tile([0.35, 0.40, 0.50], (len(seen), 1))
    if values is not None:
        colours = plt.get_cmap("viridis")(values / FULL_SCALE)[:, :3]
    order = seen[:, 2].argsort()
    axes.scatter(seen[order, 0], seen[order, 1], s=1.2, c=colours[order], linewidths=0)


def draw_faces(
    axes: Axes,
    seen: NDArray[np.float64],
    faces: NDArray[np.int64],
    values: NDArray[np.float32] | None,
) -> None:
    """A mesh: faces painted back to front with a soft light."""
    import matplotlib.pyplot as plt
    from matplotlib.collections import PolyCollection

    corners = seen[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    shade = 0.45 + 0.55 * (normals @ LIGHT).clip(0, 1)
    if values is None:
        colours = np.tile([0.72, 0.75, 0.80], (len(corners), 1))
    else:
        of_face = values[faces].mean(axis=1)
        colours = plt.get_cmap("viridis")(of_face / FULL_SCALE)[:, :3]
    order = corners[:, :, 2].mean(axis=1).argsort()
    painted = (colours * shade[:, None])[order]
    axes.add_collection(
        PolyCollection(
            list(corners[order, :, :2]), facecolors=painted, edgecolors=painted, linewidths=0.2
        )
    )
