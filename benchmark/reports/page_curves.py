"""The leaderboard page's robustness curves, from sweeps of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.reports.page_json import Numbers, numbers
from posebench.benchmark.stats.bootstrap import Column, interval_of, redraws

TAUS = np.geomspace(1e-4, 1, 81)
"""Thresholds on PMD, square metres: 0.3 to 10,000 times the released code's 1e-3 and between."""

DRAWS = 300
"""Bootstrap draws per threshold; a band on a screen, not a number in a table."""

UNDEFINED = (float("nan"),) * 3


@dataclass(frozen=True)
class Point:
    """One budget: PMD, its mean under noise, and attack success at each of ``TAUS``."""

    eps: float
    pmd: Numbers
    noise: float
    success: tuple[Numbers, ...]


@dataclass(frozen=True)
class Curve:
    """One sweep of shipped weights."""

    victim: str
    training: str
    attack: str
    norm: str
    eps_unit: str
    task: str
    samples: int
    points: tuple[Point, ...]


def curves(chains: Iterable[Sequence[Record]]) -> list[Curve]:
    """One curve per shipped weights and attack: PMD over eps, success over tau at every eps.

    Of several sweeps of the same the one with most pairs, then most budgets, is shown.
    """
    best: dict[tuple[str, ...], Sequence[Record]] = {}
    for chain in chains:
        cell = chain[0].cell
        if cell.attack is None or cell.task != "anny/seen" or cell.access.kind != "oblivious":
            continue
        attack = cell.attack
        key = (attack.name, attack.norm, attack.unit, cell.victim, cell.weights.training)
        size = (cell.samples, len(chain))
        if key not in best or size > (best[key][0].cell.samples, len(best[key])):
            best[key] = chain
    return [curve(key, chain) for key, chain in sorted(best.items(), key=lambda item: item[0])]


def curve(key: tuple[str, ...], chain: Sequence[Record]) -> Curve:
    """One sweep's points; an undefined PMD leaves a gap."""
    attack, norm, unit, victim, training = key
    points = tuple(
        Point(
            eps=each.cell.attack.eps,
            pmd=numbers(each.metrics.pmd),
            noise=each.metrics.attack.noise_pmd.mean * UNIT,
            success=success(each.metrics.clean_pmd.values, each.metrics.pmd.values),
        )
        for each in chain
        if each.cell.attack is not None and each.metrics.attack is not None
    )
    cell = chain[0].cell
    return Curve(victim, training, attack, norm, unit, cell.task, cell.samples, points)


def success(clean: Column, attacked: Column) -> tuple[Numbers, ...]:
    """Per threshold the share broken among the good ones, and its 95 % bootstrap interval.

    Of PMD (n,) each. NaN where no pair is good or one is undefined; redrawn sets without a good
    pair are left out.
    """
    if not (np.isfinite(clean).all() and np.isfinite(attacked).all()):
        return (UNDEFINED,) * len(TAUS)
    _, often = redraws(len(clean), DRAWS, len(clean))
    return tuple(_share(clean <= tau, attacked > tau, often) for tau in TAUS)


def _share(good: NDArray[np.bool_], bad: NDArray[np.bool_], often: Column) -> Numbers:
    if not good.any():
        return UNDEFINED
    kept, broken = often @ good, often @ (good & bad)
    low, high = interval_of(broken[kept > 0] / kept[kept > 0])
    middle = float((good & bad).sum() / good.sum())
    return round(middle, 4), round(low, 4), round(high, 4)
