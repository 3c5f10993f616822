"""Metrics: parity with released numbers, plain loops, padding and symmetries."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from posebench.benchmark.evaluation.metrics import (
    METRICS,
    edge_error,
    edge_loss,
    msvd,
    normal_error,
    perturbation_norms,
    pmd,
    pmd_uncentred,
)
from posebench.cloud import Clouds
from posebench.interfaces import Batch
from posebench.objective import mse
from posebench.rng import generator_for
from tests.parity_rule import reference

Points = NDArray[np.float64]


def random_points(*shape: int, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(*shape, 3, generator=generator_for(seed, "points")).double()


def random_faces(batch: int, faces: int, points: int) -> Tensor:
    """Triangles of three different corners."""
    generator = generator_for(0, "faces")
    rows = [
        torch.randperm(points, generator=generator)[:3] for _ in range(batch) for _ in range(faces)
    ]
    return torch.stack(rows).reshape(batch, faces, 3)


def batch_of(target: Clouds, faces: Tensor | None = None) -> Batch:
    size = len(target.points)
    faces = torch.zeros(size, 1, 3, dtype=torch.int64) if faces is None else faces
    return Batch(target, target, target, faces, torch.arange(size))


def ragged(counts: list[int], width: int, seed: int = 0) -> Clouds:
    mask = torch.arange(width) < torch.tensor(counts)[:, None]
    return Clouds.padded(random_points(len(counts), width, seed=seed), mask)


def plain_pmd(output: Points, target: Points) -> float:
    """Box centres off, then the mean of squared coordinate differences, by plain loops."""
    total = 0.0
    for axis in range(3):
        a, b = output[:, axis], target[:, axis]
        shift = (max(a) + min(a)) / 2 - (max(b) + min(b)) / 2
        total += sum((x - y - shift) ** 2 for x, y in zip(a, b, strict=True))
    return float(total / (3 * len(output)))


def plain_edge_error(output: Points, target: Points, faces: NDArray[np.int64]) -> float:
    ratios = []
    for i, j, k in faces:
        for a, b in ((i, j), (j, k), (k, i)):
            true = math.dist(target[a], target[b])
            ratios.append(abs(math.dist(output[a], output[b]) / true - 1))
    return sum(ratios) / len(ratios)


def plain_normal_error(output: Points, target: Points, faces: NDArray[np.int64]) -> float:
    angles = []
    for i, j, k in faces:
        one, two = (np.cross(p[j] - p[i], p[k] - p[i]) for p in (output, target))
        cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
        angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
    return sum(angles) / len(angles)


def test_pmd_equals_released_number() -> None:
    data = reference("attack_and_loss")
    output, target = (
        Clouds.dense(torch.from_numpy(data[k])[None].double()) for k in ("pmd_pred", "pmd_gt")
    )
    assert pmd(output, batch_of(target)).item() == pytest.approx(float(data["pmd"]), rel=1e-6)


def test_edge_loss_equals_released_number_batched() -> None:
    data = reference("attack_and_loss")
    output, identity = (
        torch.from_numpy(data[k]).double().reshape(1, -1, 3)
        for k in ("edge_points", "edge_identity")
    )
    faces = torch.from_numpy(data["edge_faces"])[None]
    loss = edge_loss(output, identity, faces)
    assert loss.item() == pytest.approx(float(data["edge_loss_f32"]), rel=1e-6)
    perfect = torch.cat([output, identity])
    both = edge_loss(perfect, identity.expand(2, -1, -1), faces.expand(2, -1, -1))
    torch.testing.assert_close(both, loss / 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), first=st.integers(3, 12), second=st.integers(3, 12))
def test_metrics_against_plain_loops(seed: int, first: int, second: int) -> None:
    counts = [first, second]
    target, output = ragged(counts, 12, seed), ragged(counts, 12, seed + 1)
    faces = torch.stack([random_faces(1, 7, n)[0] for n in counts])
    batch = batch_of(target, faces)
    values = {name: metric(output, batch) for name, metric in METRICS.items()}
    for i, n in enumerate(counts):
        out, true = output.points[i, :n].numpy(), target.points[i, :n].numpy()
        expected = {
            "pmd": plain_pmd(out, true),
            "pmd_aligned": float((out - true).var(axis=0).sum() / 3),
            "pmd_uncentred": float(((out - true) ** 2).sum()) / (3 * n),
            "msvd": 3 * plain_pmd(out, true),
            "edge_error": plain_edge_error(out, true, faces[i].numpy()),
            "normal_error": plain_normal_error(out, true, faces[i].numpy()),
        }
        assert {k: v[i].item() for k, v in values.items()} == pytest.approx(expected, rel=1e-9)


def test_closed_forms() -> None:
    target = Clouds.dense(random_points(2, 30))
    batch = batch_of(target, random_faces(2, 9, 30))
    half = (target.points.amax(1) + target.points.amin(1))[:, None] / 2
    grown = target.replace(target.points + 0.1 * (target.points - half) + 5)
    spread = (target.points - half).square().mean(dim=(1, 2))
    torch.testing.assert_close(pmd(grown, batch), 0.01 * spread)
    torch.testing.assert_close(msvd(grown, batch), 0.03 * spread)
    torch.testing.assert_close(edge_error(grown, batch), torch.full((2,), 0.1).double())
    moved = target.replace(target.points + torch.tensor([0.1, 0.2, -0.2]).double())
    torch.testing.assert_close(pmd_uncentred(moved, batch), torch.full((2,), 0.03).double())
    assert bool((pmd(moved, batch) < 1e-30).all())


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_metrics_ignore_vertex_order_padding_values_and_batch(
    metric: Callable[[Clouds, Batch], Tensor],
) -> None:
    counts = [9, 14]
    target, output = ragged(counts, 14), ragged(counts, 14, seed=1)
    faces = random_faces(2, 8, 9)
    plain = metric(output, batch_of(target, faces))
    order = torch.randperm(14, generator=generator_for(0))
    shuffled = Clouds.padded(target.points[:, order], target.mask[:, order])
    other = Clouds.padded(output.points[:, order], output.mask[:, order])
    torch.testing.assert_close(metric(other, batch_of(shuffled, order.argsort()[faces])), plain)
    dirty = Clouds(output.points + 7.0 * ~output.mask[..., None], output.mask)
    torch.testing.assert_close(metric(dirty, batch_of(target, faces)), plain)
    for i, n in enumerate(counts):
        alone = metric(
            Clouds.dense(output.points[i : i + 1, :n]),
            batch_of(Clouds.dense(target.points[i : i + 1, :n]), faces[i : i + 1]),
        )
        torch.testing.assert_close(alone, plain[i : i + 1])


def test_normals_see_turns_and_crumples_and_nothing_else() -> None:
    """A quarter turn about x turns normals along y and z by 90 degrees, those along x by none."""
    target = Clouds.dense(torch.eye(3, dtype=torch.float64)[None].repeat(2, 1, 1) * 0.5)
    corner = Clouds.dense(torch.cat([target.points, torch.zeros(2, 1, 3).double()], dim=1))
    faces = torch.tensor([[3, 1, 2], [3, 2, 0], [3, 0, 1]]).repeat(2, 1, 1)
    batch = batch_of(corner, faces)
    quarter = torch.tensor([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).double()
    turned = corner.replace(corner.points @ quarter.T * 3 + 7)
    torch.testing.assert_close(normal_error(turned, batch), torch.full((2,), 60.0).double())
    collapsed = corner.replace(torch.zeros_like(corner.points))
    torch.testing.assert_close(normal_error(collapsed, batch), torch.full((2,), 90.0).double())
    assert bool((normal_error(corner.replace(corner.points * 2 - 1), batch) < 1e-6).all())


def test_pmd_and_edge_error_do_not_see_translation_and_mse_does() -> None:
    target, output = ragged([9, 14], 14), ragged([9, 14], 14, seed=1)
    batch = batch_of(target, random_faces(2, 8, 9))
    moved = Clouds.padded(output.points + torch.tensor([3.0, -1.0, 2.0]).double(), output.mask)
    for metric in (pmd, msvd, edge_error, normal_error):
        torch.testing.assert_close(metric(moved, batch), metric(output, batch))
    assert bool((pmd_uncentred(moved, batch) > pmd_uncentred(output, batch) + 1).all())
    assert torch.equal(mse(moved, target), pmd_uncentred(moved, batch))


def test_perturbation_norms_against_plain_loops_and_without_padding() -> None:
    clean, other = ragged([9, 14], 14), ragged([9, 14], 14, seed=1)
    attacked = Clouds(other.points + 5.0 * ~other.mask[..., None], other.mask)
    norms = perturbation_norms(clean, attacked)
    for i, n in enumerate((9, 14)):
        delta = (attacked.points - clean.points)[i, :n].tolist()
        flat = [x for row in delta for x in row]
        expected = {
            "rms": math.sqrt(sum(x * x for x in flat) / len(flat)),
            "l2": math.sqrt(sum(x * x for x in flat)),
            "linf": max(abs(x) for x in flat),
            "l2_vertex": max(math.sqrt(sum(x * x for x in row)) for row in delta),
        }
        assert {k: v[i].item() for k, v in norms.items()} == pytest.approx(expected, rel=1e-12)
