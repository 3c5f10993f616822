"""What a record says twice must agree: a number edited by hand contradicts another one.

Aggregates follow from per-sample values, rates and flags from aggregates, the reached norms from
the budget. A record that was forged as a whole is consistent; ``posebench verify`` runs it again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from posebench.benchmark.records.flags import flags_of
from posebench.benchmark.records.json_files import Problem
from posebench.benchmark.records.types import AttackCell, Cell, Record, UnderAttack
from posebench.benchmark.stats.bootstrap import Column, Summary, summarise
from posebench.benchmark.stats.success import success_intervals, success_rates
from posebench.norms import RELEASE_POINTS

EXACT = 1e-9
"""Relative: aggregates are made in float64 from the very values that a record holds."""

SINGLE = 1e-5
"""Relative: victims and attacks compute in float32."""

BUDGET = re.compile(r"Budget\(eps=([^,]*), norm='([^']*)', unit='([^']*)'\)")

NEEDED_NORMS = ("rms", "l2", "linf", "l2_vertex")
NEEDED_RATES = tuple(success_rates(*np.ones((3, 1))))
"""Norms and rates of every attacked cell."""


def contradictions(record: Record, *, distorted: bool | None = None) -> Iterator[Problem]:
    """Fields of a record that fits its type and yet contradict others.

    ``distorted`` says whether the task's pose sources are; None where only the name is at hand.
    """
    missing = list(_missing(record))
    if missing:
        yield from missing
        return
    cell, metrics = record.cell, record.metrics
    summaries = metrics.summaries
    columns = {name: _column(each.per_sample) for name, each in summaries.items()}
    norms: dict[str, Column] = {}
    if metrics.attack is not None:
        norms = {name: np.array(each.per_sample) for name, each in metrics.attack.norms.items()}
    wrong = list(_length_problems(cell.samples, columns, norms))
    if wrong:
        yield from wrong[:1]
        return
    yield from _differ(claim for found in summaries.items() for claim in _summary_claims(*found))
    yield from _twin_problems(columns, attacked=cell.attack is not None)
    if cell.attack is not None and metrics.attack is not None:
        yield from _differ(_norm_claims(metrics.attack, norms))
        yield from _settings_problems(cell.attack)
        yield from _budget_problems(cell.attack, metrics.attack, norms)
        metric = cell.attack.metric
        before = columns["clean_pmd" if metric == "displacement" else f"clean_{metric}"]
        three = before, columns[metric], columns["noise_pmd"]
        if np.isfinite(three if metrics.truth else three[1:]).all():
            yield from _differ(_success_claims(metrics.attack, three))
    yield from _flag_problems(record, distorted)


def _missing(record: Record) -> Iterator[Problem]:
    """Fields that a cell of this kind must have, or must not."""
    cell, metrics = record.cell, record.metrics
    judged = ("pmd",) if cell.attack is None else ("pmd", cell.attack.metric)
    clean = tuple(name for name in judged if name != "displacement")
    names: list[tuple[str, Mapping[str, object], tuple[str, ...]]] = [
        ("metrics.clean_", metrics.clean, clean),
        ("metrics.", metrics.attacked, judged),
    ]
    if metrics.attack is not None:
        names += [
            ("metrics.norms.", metrics.attack.norms, NEEDED_NORMS),
            ("metrics.", metrics.attack.rates, NEEDED_RATES),
            ("metrics.intervals.", metrics.attack.intervals, NEEDED_RATES),
        ]
    for prefix, found, needed in names:
        for name in needed:
            if name not in found:
                yield Problem(prefix + name, "is missing")
    yield from _truth_problems(record)
    if cell.attack is None and metrics.attack is not None:
        yield Problem("metrics.norms", "does not belong to a cell without an attack")
    for name, value in (("kept", metrics.kept), ("clean_kept", metrics.clean_kept)):
        if cell.defense is None and value is not None:
            yield Problem(f"metrics.{name}", "does not belong to a cell without a defence")
    if cell.defense is not None and metrics.clean_kept is None:
        yield Problem("metrics.clean_kept", "is missing")


def _truth_problems(record: Record) -> Iterator[Problem]:
    """Pairs without a truth have neither trivial answers nor an attack that is judged by error."""
    if "pmd" not in record.metrics.clean:
        return
    truth, attack = record.metrics.truth, record.cell.attack
    if truth and not record.metrics.trivial:
        yield Problem("metrics.trivial", "must hold at least one answer that needs no skill")
    if not truth and record.metrics.trivial:
        yield Problem("metrics.trivial", "is not defined where clean_pmd is not")
    if attack is not None and truth == (attack.metric == "displacement"):
        known = "is" if truth else "is not"
        yield Problem("cell.metric", f"is {attack.metric!r}, and clean_pmd {known} defined")


def _length_problems(
    samples: int, columns: Mapping[str, Column], norms: Mapping[str, Column]
) -> Iterator[Problem]:
    lists = {**columns, **{f"norms.{name}": values for name, values in norms.items()}}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) == 1 and lengths != {samples}:
        yield Problem("cell.samples", f"is {samples}, there are {lengths.pop()} values")
        return
    for name, values in lists.items():
        if len(values) != samples:
            message = f"has {len(values)} values, cell.samples is {samples}"
            yield Problem(f"metrics.{name}.per_sample", message)


Claim: TypeAlias = tuple[str, tuple[float, ...], tuple[float, ...]]
"""A field, the numbers that a record has there, and those that follow from its others."""


def _summary_claims(name: str, stored: Summary) -> Iterator[Claim]:
    expected = _summarised(stored.per_sample)
    yield f"metrics.{name}.mean", (stored.mean,), (expected.mean,)
    yield f"metrics.{name}.ci95", stored.ci95, expected.ci95
    yield f"metrics.{name}.median", (stored.median,), (expected.median,)
    yield f"metrics.{name}.p95", (stored.p95,), (expected.p95,)
    yield f"metrics.{name}.worst", (stored.worst,), (expected.worst,)


@lru_cache(maxsize=512)
def _column(per_sample: tuple[float, ...]) -> Column:
    """Many records share columns: those of a victim without an attack, all of a clean cell."""
    return np.array(per_sample, dtype=np.float64)


@lru_cache(maxsize=512)
def _summarised(per_sample: tuple[float, ...]) -> Summary:
    return summarise(_column(per_sample))


def _norm_claims(found: UnderAttack, norms: Mapping[str, Column]) -> Iterator[Claim]:
    for name, values in norms.items():
        stored = found.norms[name]
        yield f"metrics.norms.{name}.mean", (stored.mean,), (float(values.mean()),)
        yield f"metrics.norms.{name}.max", (stored.max,), (float(values.max()),)


def _success_claims(found: UnderAttack, three: tuple[Column, Column, Column]) -> Iterator[Claim]:
    for name, value in success_rates(*three).items():
        yield f"metrics.{name}", (found.rates[name],), (value,)
    for name, ends in success_intervals(*three).items():
        yield f"metrics.intervals.{name}", found.intervals[name], ends


def _flag_problems(record: Record, distorted: bool | None) -> Iterator[Problem]:
    if distorted is None and "@" in record.cell.task:
        distorted = True  # a level says so; a name without one may be of raw scans
    ways = (False, True) if distorted is None else (distorted,)
    allowed = [flags_of(record.metrics, distorted=way) for way in ways]
    if record.flags not in allowed:
        yield Problem("flags", f"the numbers give {json.dumps(allowed[0])}")


def _twin_problems(columns: Mapping[str, Column], *, attacked: bool) -> Iterator[Problem]:
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
    if (abs(a - b) <= 1e-15 + relative * abs(b)).all():  # nearly always, and isclose is slow
        return []
    return np.flatnonzero(~np.isclose(a, b, rtol=relative, atol=1e-15, equal_nan=True)).tolist()


def _differ(claims: Iterable[Claim]) -> Iterator[Problem]:
    """Stored numbers, or pairs of them, that are not the expected ones."""
    claims = list(claims)
    stored = np.array([number for _, numbers, _ in claims for number in numbers])
    expected = np.array([number for _, _, numbers in claims for number in numbers])
    unlike = _unlike(stored, expected, EXACT)
    owners = [claim for claim in claims for _ in claim[1]]
    for field, found, wanted in dict.fromkeys(owners[number] for number in unlike):
        yield Problem(field, f"is {_shown(found)}, the per-sample values give {_shown(wanted)}")


def _shown(numbers: tuple[float, ...]) -> str:
    if any(map(math.isnan, numbers)):
        return "null"
    return json.dumps(numbers[0] if len(numbers) == 1 else numbers)


def _settings_problems(attack: AttackCell) -> Iterator[Problem]:
    """A budget other than the settings'."""
    if stated := BUDGET.search(attack.settings):
        given = {"eps": attack.eps, "norm": attack.norm, "eps_unit": attack.unit}
        for (key, value), text in zip(given.items(), stated.groups(), strict=True):
            if str(value) != text:
                yield Problem(f"cell.{key}", f"is {value}, attack_settings say {text}")


def name_problems(
    cell: Cell, attacks: Mapping[str, object], defenses: Mapping[str, object]
) -> Iterator[Problem]:
    """Names beside settings of another attack or defence, of those that are registered."""
    for key, part, known in (
        ("attack", cell.attack, attacks),
        ("defense", cell.defense, defenses),
    ):
        if part is None or part.name not in known:
            continue
        kind = getattr(known[part.name], "__name__", None)
        if kind is not None and not part.settings.startswith(f"{kind}("):
            message = f"is {part.name!r}, {key}_settings are {part.settings.partition('(')[0]!r}"
            yield Problem(f"cell.{key}", message)


def _budget_problems(
    attack: AttackCell, found: UnderAttack, norms: Mapping[str, Column]
) -> Iterator[Problem]:
    """Reached norms outside the budget, or a radius that is not the budget's."""
    eps, unit = attack.eps, attack.unit
    if unit == "release" and attack.norm != "l2":
        yield Problem("cell.eps", "eps unit 'release' is defined for norm 'l2' alone")
        return
    limit = eps * math.sqrt(3 * RELEASE_POINTS) if unit == "release" else eps
    measured = {"l2": "rms" if unit == "rms" else "l2", "drop": "dropped", "add": "added"}
    measured |= {"smooth": "l2_vertex", "sparse": "moved"}
    name = measured.get(attack.norm, attack.norm)
    if name not in norms:
        yield Problem(f"metrics.norms.{name}", "is missing: the budget limits it")
        return
    over = np.flatnonzero(norms[name] > limit * (1 + SINGLE) + 1e-9)
    if len(over):
        field = f"metrics.norms.{name}.per_sample[{over[0]}]"
        yield Problem(field, f"is {norms[name][over[0]]:.6g}, the budget ends at {limit:.6g}")
    if attack.norm in ("drop", "add", "sparse"):
        return
    if name == "rms":  # radius = eps sqrt(3 n), and l2 = rms sqrt(3 n)
        moved = norms["rms"] > 0
        if eps > 0 and not moved.all():
            return
        limit = float((eps * norms["l2"][moved] / norms["rms"][moved]).mean()) if eps else 0.0
    if not math.isclose(found.radius, limit, rel_tol=SINGLE):
        message = f"is {found.radius:.9g}, budget and norms give {limit:.9g}"
        yield Problem("metrics.radius", message)
