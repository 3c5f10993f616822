"""The picture of metrics: ``python -m posebench.benchmark.reports.metric_picture FILE.png``.

One body with five kinds of error of equal mean squared coordinate error, and what each metric says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.metrics import METRICS
from posebench.benchmark.reports.markdown import table
from posebench.benchmark.reports.pictures import Panel, draw_rows
from posebench.cloud import Clouds
from posebench.interfaces import Batch
from posebench.rng import generator_for
from posebench.shapes import Float

SIZE = 0.03
"""Metres RMS a coordinate of every error: 9e-4 square metres."""

SHOWN = ("pmd_uncentred", "pmd", "pmd_aligned", "edge_error", "normal_error")


def errors(batch: Batch) -> dict[str, Float[torch.Tensor, "1 n 3"]]:
    """Name -> displacement of the target's vertices, each of ``SIZE`` RMS a coordinate."""
    points = batch.target.points
    draws = torch.randn(points.shape, generator=generator_for(0, "metrics"))
    spike = torch.zeros_like(points)
    spike[:, int(points[0, :, 1].argmax())] = torch.tensor([0.0, 1.0, 0.0])
    arm = (points[..., :1] - 0.25).clamp_min(0) * torch.tensor([0.0, -1.0, 0.0])
    wave = torch.sin(points[..., 1:2] * 5) * torch.tensor([1.0, 0.0, 0.0])
    found = {
        "put elsewhere": torch.ones_like(points),
        "one vertex spikes": spike,
        "bent arm": arm,
        "leaning body": wave,
        "crumpled": draws,
    }
    return {
        n: d * SIZE / d.square().mean(dim=(1, 2)).sqrt()[:, None, None] for n, d in found.items()
    }


def metric_panels() -> tuple[list[tuple[str, list[Panel]]], list[str]]:
    """The bodies in one row, and a table of what the metrics say of each."""
    batch = load_task("anny/tpose", samples=1, vertices=1700).batch(torch.tensor([0]))
    panels, rows = [], []
    for name, moved in errors(batch).items():
        output = Clouds.dense(batch.target.points + moved)
        values = {metric: float(METRICS[metric](output, batch)) for metric in SHOWN}
        scale = {"edge_error": 1.0, "normal_error": 1.0}
        rows.append([name, *(f"{scale.get(m, 1e4) * values[m]:.3g}" for m in SHOWN)])
        length = moved[0].norm(dim=1)
        panels.append(Panel(output.points[0].numpy(), batch.faces[0].numpy(), length.numpy(), name))
    return [("", panels)], table(["error", *SHOWN], rows)


if __name__ == "__main__":
    drawn, lines = metric_panels()
    draw_rows(drawn, Path(sys.argv[1]), dpi=70)
    sys.stdout.write("\n".join(lines) + "\n")
