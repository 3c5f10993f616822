"""Run a record again, pair by pair: is what it says what its cell gives?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from posebench.attacks import FGM, Noise
from posebench.benchmark.audit.compared import Comparison, compared
from posebench.benchmark.audit.rebuild import rebuild_attack, rebuild_defense
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.evaluation.devices import resolve_device
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.evaluation.sources import with_source
from posebench.benchmark.records.types import Cell, Record
from posebench.errors import InputError
from posebench.interfaces import Attack, Defense
from posebench.victims import SIZES, load_network
from posebench.victims.weights import shipped_files, weights_fingerprint


@dataclass(frozen=True)
class Rerun:
    """What it takes to run a record again; see :func:`rerun_of`.

    Attributes:
        record: what was recorded.
        evaluation: its cell, made; its first pairs alone if so asked.
        device: of torch; the networks are there.
    """

    record: Record
    evaluation: Evaluation
    device: str

    @property
    def iterative(self) -> bool:
        """Whether the attack feeds its own result back, which magnifies rounding."""
        attack = self.evaluation.attacks[0]
        return attack is not None and not isinstance(attack, (FGM, Noise))


def rerun_of(
    record: Record, *, weights: Path | None = None, samples: int | None = None, device: str = "auto"
) -> Rerun:
    """Everything a record's cell names, loaded; ``samples`` limits the run to the first pairs.

    Raises:
        InputError: weights that are not at hand, settings that cannot be rebuilt, a cell of a warm
            curve, or more samples than the record has.
    """
    cell = record.cell
    count = cell.samples if samples is None else samples
    if not 1 <= count <= cell.samples:
        raise InputError(f"samples must be 1..{cell.samples}, as the record has, got {count}")
    pairs = load_task(cell.task, samples=cell.samples, vertices=cell.vertices)
    if pairs.fingerprint != cell.fingerprint:
        raise InputError(
            f"cell.fingerprint is not that of {cell.task}: the record is of other pairs"
        )
    attack, defense = attack_of(cell), defense_of(cell)
    place = resolve_device(device)
    path = weights or shipped_weights(cell.weights.sha256)
    if path is None:
        raise InputError(
            f"weights with sha256 {cell.weights.sha256} are not shipped: pass --weights FILE"
        )
    source = with_source(*load_network(cell.victim, weights=path))
    if source.weights.sha256 != cell.weights.sha256:
        raise InputError(
            f"{path}: has sha256 {source.weights.sha256}, the record {cell.weights.sha256}"
        )
    evaluation = Evaluation(
        victim=source.network.to(place, torch.float32),
        attacks=(attack,),
        defense=defense,
        access=cell.access.kind,
        surrogate=surrogate_of(cell, place),
        task=cell.task,
        samples=count,
        vertices=cell.vertices,
        seed=cell.seed,
        weights=source.weights,
        precision=cell.precision,
    )
    return Rerun(record, evaluation, place)


def attack_of(cell: Cell) -> Attack | None:
    """The attack that a cell's settings describe, if it can be run by itself.

    Raises:
        InputError: settings that cannot be rebuilt, another version, a cell of a warm curve.
    """
    if cell.attack is None:
        return None
    if cell.attack.warm_from is not None:
        raise InputError(
            f"this cell of a curve started from the poses of eps {cell.attack.warm_from:g}, and a "
            "record does not name all the cells before it: sweep again with 'posebench run --eps "
            "low:high:count' and compare"
        )
    attack = rebuild_attack(cell.attack.name, cell.attack.settings)
    version = getattr(attack, "version", 1)
    if version != cell.attack.version:
        raise InputError(
            f"cell.attack_version is {cell.attack.version}, here {cell.attack.name!r} is of "
            f"version {version}, which gives other results"
        )
    return attack


def defense_of(cell: Cell) -> Defense | None:
    """The defence that a cell's settings describe."""
    if cell.defense is None:
        return None
    return rebuild_defense(cell.defense.name, cell.defense.settings)


def surrogate_of(cell: Cell, device: str) -> Surrogate | None:
    """The network that a transfer cell was attacked on: by its weights' sha256, where the record
    has it, else the shipped one of that name and the victim's size.

    Raises:
        InputError: no such weights here.
    """
    name, sha256 = cell.access.surrogate, cell.access.surrogate_sha256
    if name is None:
        return None
    path = None if sha256 is None else shipped_weights(sha256)
    if sha256 is not None and path is None:
        raise InputError(f"the surrogate {name!r} with sha256 {sha256} is not shipped")
    size = cell.weights.size
    if size not in SIZES:
        raise InputError(f"the surrogate {name!r} of size {size!r} is not known")
    network, found = load_network(name, size=size, weights=path)
    return Surrogate(network.to(device), weights_fingerprint(found))


def shipped_weights(sha256: str | None) -> Path | None:
    """The shipped weights file with this sha256; None if there is none."""
    found = (path for path in shipped_files() if weights_fingerprint(path) == sha256)
    return next(found, None)


def run_again(
    rerun: Rerun, *, batch_size: int = 8, progress: Callable[[int], None] | None = None
) -> list[Comparison]:
    """Evaluate the cell anew and compare every field; see :func:`compared`."""
    how = Execution(batch_size, rerun.device, progress)
    (now,) = evaluate_all(rerun.evaluation, how)
    return compared(rerun.record, now, iterative=rerun.iterative)
