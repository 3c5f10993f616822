"""What a record says twice must agree: a number edited by hand contradicts another one.

Aggregates follow from per-sample values, rates and flags from aggregates, the reached norms from
the budget. A record that was forged as a whole is consistent; ``posebench verify`` runs it again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posebench.attacks import ATTACKS
from posebench.benchmark.evaluation.harness import flags_of
from posebench.benchmark.evaluation.metrics import KAPPAS, RELATIVE_FLOOR, TAU, attack_metrics
from posebench.benchmark.records.schema import Problem
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import RELEASE_POINTS, Budget

EXACT = 1e-9
"""Relative: aggregates are made in float64 from the very values that a record holds."""

SINGLE = 1e-5
"""Relative: victims and attacks compute in float32."""

BUDGET = re.compile(r"Budget\(eps=([^,]*), norm='([^']*)', unit='([^']*)'\)")

Column = NDArray[np.float64]


def contradictions(record: dict[str, Any], *, distorted: bool | None = None) -> Iterator[Problem]:
    """Fields of a record that fits the schema and yet contradict others.

    ``distorted`` says whether the task's pose sources are; None where only the name is at hand.
    """
    cell, metrics = record["cell"], record["metrics"]
    columns = {
        name: np.array(value["per_sample"], dtype=np.float64)  # null becomes NaN
        for name, value in metrics.items()
        if "per_sample" in (value if isinstance(value, dict) else {})
    }
    norms = {
        name: np.array(value["per_sample"], dtype=np.float64)
        for name, value in metrics.get("norms", {}).items()
    }
    lists = {**columns, **{f"norms.{name}": values for name, values in norms.items()}}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) == 1 and lengths != {cell["samples"]}:
        yield Problem("cell.samples", f"is {cell['samples']}, there are {lengths.pop()} values")
        return
    for name, values in lists.items():
        if len(values) != cell["samples"]:
            message = f"has {len(values)} values, cell.samples is {cell['samples']}"
            yield Problem(f"metrics.{name}.per_sample", message)
            return
    for name, values in columns.items():
        yield from _differ(f"metrics.{name}", metrics[name], summary_of(values))
    for name, values in norms.items():
        expected = {"mean": float(values.mean()), "max": float(values.max())}
        yield from _differ(f"metrics.norms.{name}", metrics["norms"][name], expected)
    yield from _twin_problems(columns, attacked=cell["attack"] is not None)
    yield from _settings_problems(cell)
    if cell["attack"] is not None:
        yield from _budget_problems(cell, metrics, norms)
        three = columns["clean_pmd"], columns["pmd"], columns["noise_pmd"]
        if np.isfinite(three).all():
            yield from _differ("metrics", metrics, attack_metrics(*three))
            yield from _differ("metrics.intervals", metrics["intervals"], rate_intervals(*three))
    yield from _flag_problems(record, distorted)


def _flag_problems(record: dict[str, Any], distorted: bool | None) -> Iterator[Problem]:
    task, metrics = record["cell"]["task"], record["metrics"]
    undefined = {"clean_pmd": {"mean": math.nan}, "gain_over_noise": math.nan}
    known = {
        "clean_pmd": metrics["clean_pmd"] if metrics["clean_pmd"]["mean"] is not None else None,
        "gain_over_noise": metrics.get("gain_over_noise", math.inf),
    }
    filled = {name: undefined[name] if value is None else value for name, value in known.items()}
    if distorted is None and "@" in task:  # a level: but a name without one may be of raw scans
        distorted = True
    ways = (False, True) if distorted is None else (distorted,)
    allowed = [flags_of({**metrics, **filled}, distorted=way) for way in ways]
    if record["flags"] not in allowed:
        yield Problem("flags", f"the numbers give {json.dumps(allowed[0])}")


def _twin_problems(columns: dict[str, Column], *, attacked: bool) -> Iterator[Problem]:
    """MSVD is three times PMD; without an attack every metric is its clean twin."""
    for pmd, msvd in (("pmd", "msvd"), ("clean_pmd", "clean_msvd")):
        if msvd in columns:
            for i in _unlike(columns[pmd], columns[msvd] / 3, SINGLE)[:1]:
                message = f"is {columns[pmd][i]:.9g}, {msvd} / 3 is {columns[msvd][i] / 3:.9g}"
                yield Problem(f"metrics.{pmd}.per_sample[{i}]", message)
    for name in () if attacked else columns:
        if f"clean_{name}" in columns:
            for i in _unlike(columns[name], columns[f"clean_{name}"], 0.0)[:1]:
                message = f"differs from clean_{name}, though nothing was attacked"
                yield Problem(f"metrics.{name}.per_sample[{i}]", message)


def _unlike(a: Column, b: Column, relative: float) -> list[int]:
    return np.flatnonzero(~np.isclose(a, b, rtol=relative, atol=1e-15, equal_nan=True)).tolist()


def _differ(field: str, stored: dict[str, Any], expected: dict[str, Any]) -> Iterator[Problem]:
    """Stored numbers, or lists of them, that are not the expected ones; null stands for NaN."""
    for name, value in expected.items():
        found, wanted = (np.array(each, dtype=np.float64) for each in (stored[name], value))
        if not np.allclose(found, wanted, rtol=EXACT, atol=1e-15, equal_nan=True):
            given = f"is {json.dumps(stored[name])}, the per-sample values give "
            shown = "null" if np.isnan(wanted).any() else json.dumps(value)
            yield Problem(f"{field}.{name}", given + shown)


@lru_cache(maxsize=32)
def _redraws(count: int, draws: int, size: int) -> tuple[NDArray[np.int64], Column]:
    """The bootstrap's picks (draws, size) and how often it picks each sample (draws, count)."""
    picks = np.random.default_rng(0).integers(count, size=(draws, size))
    often = np.zeros((draws, count))
    np.add.at(often, (np.arange(draws)[:, None], picks), 1)
    return picks, often


def summary_of(values: Column, size: int | None = None) -> dict[str, Any]:
    """As ``metrics.summarise``, with redraws that all records of as many samples share.

    ``size`` asks for the interval of a mean over so many samples.
    """
    if not np.isfinite(values).all():
        nan = math.nan
        return {**dict.fromkeys(("mean", "median", "p95", "worst"), nan), "ci95": [nan, nan]}
    size = size or len(values)
    means = _redraws(len(values), 2000, size)[1] @ values / size
    return {
        "mean": float(values.mean()),
        "ci95": np.quantile(means, [0.025, 0.975]).tolist(),
        "median": float(np.median(values)),
        "p95": float(np.quantile(values, 0.95)),
        "worst": float(values.max()),
    }


def rate_intervals(
    clean: Column, attacked: Column, noise: Column, size: int | None = None
) -> dict[str, list[float]]:
    """As ``metrics.attack_intervals``, all redraws at once; ``size`` as in ``summary_of``."""
    size = size or len(clean)
    picks, often = _redraws(len(clean), 500, size)
    good, broken = clean <= TAU, attacked > TAU
    base = often @ good
    found = {
        "clean_fail": often @ ~good / size,
        "asr@tau": (often @ (good & broken))[base > 0] / base[base > 0],
        "robust_rate": often @ (good & ~broken) / size,
        "gain_over_noise": np.median((attacked / np.maximum(noise, 1e-12))[picks], axis=1),
    }
    for kappa in KAPPAS:
        worse = attacked >= kappa * np.maximum(clean, RELATIVE_FLOOR)
        found[f"asr_rel@{kappa:g}"] = often @ worse / size
    return {
        name: np.quantile(values, [0.025, 0.975]).tolist() if len(values) else [math.nan] * 2
        for name, values in found.items()
    }


def _settings_problems(cell: dict[str, Any]) -> Iterator[Problem]:
    """Names beside settings of another attack or defence, and a budget other than the settings'."""
    for key in ("attack", "defense"):
        name, settings = cell[key], cell[f"{key}_settings"]
        kind = _class_name(key, name)
        if kind is not None and not settings.startswith(f"{kind}("):
            message = f"is {name!r}, {key}_settings are {settings.partition('(')[0]!r}"
            yield Problem(f"cell.{key}", message)
    if cell["attack"] is not None and (stated := BUDGET.search(cell["attack_settings"])):
        for key, text in zip(("eps", "norm", "eps_unit"), stated.groups(), strict=True):
            if str(cell[key]) != text:
                yield Problem(f"cell.{key}", f"is {cell[key]}, attack_settings say {text}")


@lru_cache
def _class_name(kind: str, name: str | None) -> str | None:
    """Of a registered attack or defence; cached, for a look-up may ask all installed packages."""
    known: Mapping[str, object] = ATTACKS if kind == "attack" else DEFENSES
    return getattr(known[name], "__name__", None) if name is not None and name in known else None


def _budget_problems(
    cell: dict[str, Any], metrics: dict[str, Any], norms: dict[str, Column]
) -> Iterator[Problem]:
    """Reached norms outside the budget, or a radius that is not the budget's."""
    eps, norm, unit = cell["eps"], cell["norm"], cell["eps_unit"]
    try:
        budget = Budget(float(eps), norm, unit)
    except InputError as error:
        yield Problem("cell.eps", str(error))
        return
    limit = eps * math.sqrt(3 * RELEASE_POINTS) if unit == "release" else eps
    measured = {"l2": "rms" if unit == "rms" else "l2", "drop": "dropped", "add": "added"}
    name = measured.get(norm, norm)
    if name not in norms:
        yield Problem(f"metrics.norms.{name}", "is missing: the budget limits it")
        return
    over = np.flatnonzero(norms[name] > limit * (1 + SINGLE) + 1e-9)
    if len(over):
        field = f"metrics.norms.{name}.per_sample[{over[0]}]"
        yield Problem(field, f"is {norms[name][over[0]]:.6g}, the budget ends at {limit:.6g}")
    if budget.counts_points:
        return
    if name == "rms":  # radius = eps sqrt(3 n), and l2 = rms sqrt(3 n)
        moved = norms["rms"] > 0
        if eps > 0 and not moved.all():
            return
        limit = float((eps * norms["l2"][moved] / norms["rms"][moved]).mean()) if eps else 0.0
    if not math.isclose(metrics["radius"], limit, rel_tol=SINGLE):
        message = f"is {metrics['radius']:.9g}, budget and norms give {limit:.9g}"
        yield Problem("metrics.radius", message)
