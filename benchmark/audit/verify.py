"""Run a record again and say, field by field, whether it holds within its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.benchmark.audit.rebuild import rebuild_attack, rebuild_defense
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.cells import VictimSource
from posebench.benchmark.evaluation.devices import resolve_device
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.evaluation.metrics import attack_metrics
from posebench.benchmark.records.consistency import rate_intervals, summary_of
from posebench.benchmark.records.schema import read_json
from posebench.benchmark.records.store import Record, check_record
from posebench.benchmark.runs.run import with_source
from posebench.errors import InputError
from posebench.interfaces import Attack, Defense, Victim
from posebench.victims import SIZES, load_victim
from posebench.victims.weights import shipped_path, weights_fingerprint

NEARLY = 1e-3
"""Relative: what has no interval and depends on float32 sums holds if it agrees to this."""

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One field, recorded and run again.

    Attributes:
        field: such as "pmd".
        recorded: mean or value in the record, of the pairs that were run again.
        interval: 95 % bootstrap interval over so many pairs of the record, None where a field
            has none.
        now: the same as ``recorded`` of the new run.
        off: largest relative difference of a pair's value, or of the field's where it has one.
        holds: ``now`` is within the interval or all values agree to ``NEARLY``.
    """

    field: str
    recorded: float
    interval: tuple[float, float] | None
    now: float
    off: float
    holds: bool


@dataclass(frozen=True)
class Rerun:
    """What it takes to run a record again; see :func:`rerun_of`."""

    record: Record
    victim: Victim
    source: VictimSource
    attack: Attack | None
    defense: Defense | None
    surrogate: Victim | None
    samples: int
    device: str


def read_record(path: Path) -> Record:
    """One valid record.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    record: Record = read_json(path)
    check_record(record, str(path))
    return record


def rerun_of(
    record: Record, *, weights: Path | None = None, samples: int | None = None, device: str = "auto"
) -> Rerun:
    """Everything a record's cell names, loaded; ``samples`` limits the run to the first pairs.

    Raises:
        InputError: weights that are not at hand, settings that cannot be rebuilt, a cell of a warm
            curve, or more samples than the record has.
    """
    cell = record["cell"]
    count = cell["samples"] if samples is None else samples
    if not 1 <= count <= cell["samples"]:
        raise InputError(f"samples must be 1..{cell['samples']}, as the record has, got {count}")
    pairs = load_task(cell["task"], samples=cell["samples"], vertices=cell["vertices"])
    if pairs.fingerprint != cell["fingerprint"]:
        raise InputError(
            f"cell.fingerprint is not that of {cell['task']}: the record is of other pairs"
        )
    attack, defense = None, None
    if cell["attack"] is not None:
        settings, warm, before = cell["attack_settings"].partition(" warm from eps ")
        if warm:
            raise InputError(
                f"this cell of a curve started from the poses of eps {before}, and a record does "
                "not name all the cells before it: sweep again with 'posebench run --eps "
                "low:high:count' and compare"
            )
        attack = rebuild_attack(cell["attack"], settings)
    if cell["defense"] is not None:
        defense = rebuild_defense(cell["defense"], cell["defense_settings"])
    path = weights or shipped_weights(cell["weights_sha256"])
    if path is None:
        raise InputError(
            f"weights with sha256 {cell['weights_sha256']} are not shipped: pass --weights FILE"
        )
    network, source = with_source(*load_victim(cell["victim"], weights=path))
    if source.weights_sha256 != cell["weights_sha256"]:
        raise InputError(
            f"{path}: has sha256 {source.weights_sha256}, the record {cell['weights_sha256']}"
        )
    place, surrogate = resolve_device(device), None
    if cell["access"].startswith("transfer from "):
        name = cell["access"].removeprefix("transfer from ")
        if cell["size"] not in SIZES:
            raise InputError(f"the surrogate {name!r} of size {cell['size']!r} is not known")
        surrogate = load_victim(name, size=cell["size"])[0].to(place)
    victim = network.to(place, torch.float32)
    return Rerun(record, victim, source, attack, defense, surrogate, count, place)


def shipped_weights(sha256: str | None) -> Path | None:
    """The shipped weights file with this sha256; None if there is none."""
    folder = shipped_path("npt", "compact").parent
    found = (p for p in sorted(folder.glob("*.safetensors")) if weights_fingerprint(p) == sha256)
    return next(found, None)


def run_again(
    rerun: Rerun, *, batch_size: int = 8, progress: Callable[[int], None] | None = None
) -> list[Comparison]:
    """Evaluate the cell anew and compare every field; see :func:`compared`."""
    cell = rerun.record["cell"]
    now = evaluate(
        rerun.victim,
        attack=rerun.attack,
        defense=rerun.defense,
        task=cell["task"],
        access=cell["access"].partition(" from ")[0],
        surrogate=rerun.surrogate,
        samples=rerun.samples,
        vertices=cell["vertices"],
        batch_size=batch_size,
        seed=cell["seed"],
        device=rerun.device,
        source=rerun.source,
        progress=progress,
    )
    return compared(rerun.record, now)


def compared(record: Record, now: Record) -> list[Comparison]:
    """Field by field the recorded numbers and those of a run of the same cell's first pairs.

    The interval of a mean or rate is that of as many pairs drawn from the whole record, for the
    whole record its own. A field that one of both lacks does not hold.
    """
    count, whole = now["cell"]["samples"], record["cell"]["samples"]
    columns, again = _columns(record["metrics"]), _columns(now["metrics"])
    found = []
    for name, values in columns.items():
        ends = summary_of(values, count)["ci95"]
        found.append(_comparison(name, values[:count], again.get(name), ends))
    if record["cell"]["attack"] is not None:
        clean, pmd, noise = (columns[name] for name in ("clean_pmd", "pmd", "noise_pmd"))
        ends_of = rate_intervals(clean, pmd, noise, size=count)
        rates = attack_metrics(clean[:count], pmd[:count], noise[:count])
        rates_now = attack_metrics(again["clean_pmd"], again["pmd"], again["noise_pmd"])
        for name, rate in rates.items():
            one, other = np.array([rate]), np.array([rates_now[name]])
            found.append(_comparison(name, one, other, ends_of[name]))
    single = {f"cost.{k}": (v, now["cost"].get(k)) for k, v in record["cost"].items()}
    if count == whole:  # stored as means over all pairs alone
        old, new = record["metrics"], now["metrics"]
        single |= {k: (old[k], new.get(k)) for k in ("radius", "kept", "clean_kept") if k in old}
        single |= {f"trivial.{k}": (v, new["trivial"].get(k)) for k, v in old["trivial"].items()}
    for name, pair in single.items():
        recorded, value = (np.array([each], dtype=np.float64) for each in pair)
        found.append(_comparison(name, recorded, value))
    return found


def _columns(metrics: dict[str, Any]) -> dict[str, Column]:
    """Per-sample values by field; null becomes NaN."""
    named = {**metrics, **{f"norms.{k}": v for k, v in metrics.get("norms", {}).items()}}
    return {
        name: np.array(value["per_sample"], dtype=np.float64)
        for name, value in named.items()
        if isinstance(value, dict) and "per_sample" in value
    }


def _comparison(
    name: str, old: Column, new: Column | None, ends: list[float] | None = None
) -> Comparison:
    new = np.full_like(old, math.nan) if new is None else new
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(same, 0.0, abs(new - old) / abs(old))
    mean, interval = float(new.mean()), None if ends is None else (ends[0], ends[1])
    inside = interval is not None and interval[0] <= mean <= interval[1]
    largest = float(off.max())
    return Comparison(name, float(old.mean()), interval, mean, largest, inside or largest <= NEARLY)
