"""A record against a second run of its cell, pair by pair.

Values of clean poses and of random noise must agree to ``NEARLY``, those of attacks of one step to
``ONE_STEP``: rounding is all that a machine may change. Attacks that feed their result back magnify
rounding, so there no pair need agree; what an honest second run has not is a direction. See
docs/submitting.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from posebench.benchmark.records.types import Metrics, Record
from posebench.benchmark.stats.bootstrap import Column
from posebench.benchmark.stats.paired import Change, change_between, holm
from posebench.benchmark.stats.success import success_rates

NEARLY = 1e-3
"""Relative: what another machine's rounding may change in forwards (our choice)."""

ONE_STEP = 1e-2
"""Relative: likewise in one gradient and what follows from it. GC-Transformer's unscaled attention
magnifies rounding most: 0.13 % between two processor models (our choice: some times that)."""

ALPHA = 0.01
"""Chance that an honest run of an iterative attack fails, over all its fields together."""

SHIFT = 1.02
"""Ratio of geometric means below which a shift does not count, however sure (our choice)."""

APART = 4.0
"""Ratio by which one pair of an iterative attack may differ: twice what we saw between processor
models, as a factor of logarithms (our choice)."""

KEPT = 0.01
"""Difference in the share of attacked points that a defence keeps, under an iterative attack."""


@dataclass(frozen=True)
class Comparison:
    """One field, recorded and run again.

    Attributes:
        field: such as "pmd".
        recorded: mean or value in the record, of the pairs that were run again.
        now: the same of the new run.
        off: largest relative difference of a pair's value, or of the field's where it has one.
        holds: whether that is what an honest second run may give.
        p: of no shift, Holm-adjusted over all such fields; None where values must agree.
        change: over pairs, where p was asked for.
    """

    field: str
    recorded: float
    now: float
    off: float
    holds: bool
    p: float | None = None
    change: Change | None = None


def compared(record: Record, now: Record, *, iterative: bool) -> list[Comparison]:
    """Field by field the recorded numbers and those of a run of the same cell's first pairs.

    ``iterative`` says whether the attack feeds its own result back. A field that one of both
    lacks does not hold. Rates follow from the pairs' PMD, so they hold if that does.
    """
    count = now.cell.samples
    columns, again = pair_values(record.metrics), pair_values(now.metrics)
    found: dict[str, Comparison] = {}
    for name, values in columns.items():
        attacked = not (name.startswith("clean_") or name == "noise_pmd")
        near = ONE_STEP if attacked else NEARLY
        loose = attacked and iterative
        found[name] = one(name, values[:count], again.get(name), near=near, loose=loose)
    found = adjusted(found)
    if record.cell.attack is not None:
        displaced = record.cell.attack.metric == "displacement"
        sources = ("clean_pmd", "displacement" if displaced else "pmd", "noise_pmd")
        rates = success_rates(*(columns[name][:count] for name in sources))
        rates_now = success_rates(*(again[name] for name in sources))
        follows = all(found[name].holds for name in sources)
        for name, rate in rates.items():
            each = one(name, np.array([rate]), np.array([rates_now[name]]))
            found[name] = replace(each, holds=follows)
    return [*found.values(), *single_values(record, now, iterative=iterative)]


def pair_values(metrics: Metrics) -> dict[str, Column]:
    """Values of every pair by the field's JSON name."""
    found = {f"clean_{name}": each.values for name, each in metrics.clean.items()}
    found |= {name: each.values for name, each in metrics.attacked.items()}
    if metrics.attack is not None:
        found["noise_pmd"] = metrics.attack.noise_pmd.values
        for name, norm in metrics.attack.norms.items():
            found[f"norms.{name}"] = np.array(norm.per_sample)
    return found


def one(
    name: str, old: Column, new: Column | None, *, near: float = NEARLY, loose: bool = False
) -> Comparison:
    """A field's values (n,), recorded and now: do all agree to ``near``?

    ``loose`` asks, of those that do not, that they be not shifted.
    """
    new = np.full_like(old, math.nan) if new is None else new
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(same, 0.0, abs(new - old) / abs(old))
    largest = float(np.nan_to_num(off, nan=math.inf).max())
    close = largest <= near
    made = Comparison(name, float(old.mean()), float(new.mean()), largest, close)
    if close or not loose or not (np.isfinite(old) & np.isfinite(new)).all():
        return made
    if (old <= 0).any() or (new <= 0).any():
        return made
    within = bool((abs(np.log(new / old)) <= math.log(APART)).all())
    if len(old) < 2 or not within:
        return replace(made, holds=within)
    change = change_between(old[None], new[None])
    return replace(made, p=change.p_either, change=change)


def adjusted(found: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The fields with p adjusted for how many there are, and judged by it."""
    tested = [each for each in found.values() if each.change is not None]
    judged = dict(found)
    for each, p in zip(tested, holm([each.p or 0.0 for each in tested]), strict=True):
        assert each.change is not None, "only tested fields come here"
        small = abs(each.change.mean) <= math.log(SHIFT)
        judged[each.field] = replace(each, p=p, holds=small or p >= ALPHA)
    return judged


def single_values(record: Record, now: Record, *, iterative: bool) -> list[Comparison]:
    """Fields with one value: cost, and, of whole records, what is stored as a mean alone."""
    values = {
        f"cost.{name}": (value, getattr(now.cost, name))
        for name, value in vars(record.cost).items()
        if value is not None
    }
    old, new = record.metrics, now.metrics
    if record.cell.samples == now.cell.samples:
        values |= {f"trivial.{k}": (v, new.trivial.get(k)) for k, v in old.trivial.items()}
        values |= {k: (getattr(old, k), getattr(new, k)) for k in ("kept", "clean_kept")}
        if old.attack is not None and new.attack is not None:
            values["radius"] = old.attack.radius, new.attack.radius
    found = []
    for name, (recorded, value) in values.items():
        if recorded is None and value is None:
            continue
        each = one(name, *(column_of(one_value) for one_value in (recorded, value)))
        if name == "kept" and iterative:
            each = replace(each, holds=abs(each.now - each.recorded) <= KEPT)
        found.append(each)
    return found


def column_of(value: float | int | None) -> Column:
    """One value, (1,); NaN for one that is not there."""
    return np.array([math.nan if value is None else value], dtype=np.float64)
