"""A body fitted to a cloud of anybody's points, from many starts.

The fit of the defence ``snap`` (``posebench.benchmark.data.body_fit``) starts once, knows no other
maker's proportions, and need only lie near the surface. To read off a pose it must also put the
right limb there: so dozens of poses start at once, on few points, and those that lie nearest go on
with more. A fit that still lies far from the cloud may face another way: then poses start in all
directions. If it has some limb in the wrong place, it tries other poses' limbs, one at a time, and
goes on from those that come nearest. All numbers are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from posebench.benchmark.data.body_fit import precise
from posebench.benchmark.retarget.figure_descent import (
    LOD,
    Cloud,
    Round,
    refined,
    scores,
    spread,
)
from posebench.benchmark.retarget.figure_starts import known_poses, starts
from posebench.benchmark.retarget.figure_turns import turned_starts
from posebench.benchmark.retarget.figures import Figures
from posebench.defenses.snap import nearest_on_surface
from posebench.rng import generator_for

STARTS = 32

ROUNDS = (
    (6, Round(30, (0.5, 0.1), 300, (0.05, 0.03))),
    (2, Round(50, (0.15, 0.05), 700, (0.03, 0.02))),
    (1, Round(80, (0.05, 0.03), 1700, (0.02, 0.01))),
)
"""Rounds of descent, and how many figures are left after each."""

LEFT_LEG, RIGHT_LEG = (1, 4, 7, 10), (2, 5, 8, 11)
LIMBS = (
    LEFT_LEG,
    RIGHT_LEG,
    (*LEFT_LEG, *RIGHT_LEG),
    (13, 16, 18, 20, 22),
    (14, 17, 19, 21, 23),
    (3, 6, 9, 12, 15),
    (0,),
)
"""SMPL's joints that are taken from another pose together: legs, arms, trunk and head, pelvis."""

GOOD, GOOD_CLOUD = 0.0045, 0.01
"""Metres between points and surface on average below which no limb is tried: of a mesh, and of a
cloud, whose own noise counts."""

TRIES, IN_VAIN, GAIN = 4, 2, 0.02
"""Most times that limbs are tried, how many in a row may bring nothing, and the share of the
distance that counts as something: a character's clothes never go away."""

OTHERS, BEST = 100, 3
"""Known poses whose limbs are tried, and how many of each go on."""

TRY = (
    (2, Round(30, (0.3, 0.08), 300, (0.04, 0.02))),
    (1, Round(50, (0.08, 0.03), 1700, (0.02, 0.01))),
)
"""As ``ROUNDS``, after limbs were taken from other poses."""

MEASURED = 2000
"""Points whose distance from the surface is reported."""


@dataclass(frozen=True)
class Fitted:
    """A figure, and how far the cloud's points lie from its surface on average, metres."""

    figure: Figures
    gap: float


def fit_figure(cloud: Cloud) -> Fitted:
    """The figure whose surface lies nearest to a cloud; without gradient.

    Bodies may face anywhere; upright ones that face +z, as everywhere in posebench, take half the
    time. Normals point outwards.
    """
    cloud = cloud.double()
    good = GOOD_CLOUD if cloud.normals is None else GOOD
    best = measured(cloud, descended(cloud, starts(cloud.points, STARTS), ROUNDS))
    if best.gap >= good:
        turned = turned_starts(cloud.points, STARTS)
        best = min(best, measured(cloud, descended(cloud, turned, ROUNDS)), key=gap_of)
    in_vain = 0
    for number in range(TRIES):
        if best.gap < good or in_vain == IN_VAIN:
            break
        others = with_other_limbs(cloud, best.figure, number)
        tried = measured(cloud, descended(cloud, others, TRY))
        in_vain = 0 if tried.gap < (1 - GAIN) * best.gap else in_vain + 1
        best = min(best, tried, key=gap_of)
    return best


def gap_of(fitted: Fitted) -> float:
    """What is to be least."""
    return fitted.gap


def descended(cloud: Cloud, figures: Figures, rounds: tuple[tuple[int, Round], ...]) -> Figures:
    """What is left of the figures after rounds of descent, nearest first."""
    for left, how in rounds:
        figures = refined(cloud.some(how.points), figures, how)
        figures = figures.chosen(torch.arange(min(left, len(figures))))
    return figures


def measured(cloud: Cloud, figure: Figures) -> Fitted:
    """The first figure with its distance from the cloud."""
    body = precise(LOD, cloud.points.device)
    first = figure.chosen(torch.tensor([0]))
    points = cloud.points[spread(len(cloud.points), MEASURED)]
    landed = nearest_on_surface(points, first.vertices(body)[0], body.faces)
    return Fitted(first, float((landed - points).norm(dim=1).mean()))


def with_other_limbs(cloud: Cloud, figure: Figures, number: int) -> Figures:
    """The figure, and for each limb the few best of those that other poses' limbs make of it;
    another ``number`` tries others."""
    known, _, _ = known_poses(cloud.points.device)
    order = torch.randperm(len(known), generator=generator_for(number, "limbs"))[:OTHERS]
    some, found = cloud.some(TRY[0][1].points), [figure]
    for joints in LIMBS:
        made = Figures(*(each.repeat(OTHERS, *[1] * (each.ndim - 1)) for each in figure.tensors()))
        made.pose[:, list(joints)] = known[order][:, list(joints)]
        found.append(made.chosen(scores(some, made).argsort()[:BEST]))
    return Figures(*(torch.cat(parts) for parts in zip(*(f.tensors() for f in found), strict=True)))
