"""Files of displacements by body part: what ``posebench plot heat`` publishes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from posebench.attacks import attack_name
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.parts import PARTS, means_by_part, part_weights
from posebench.benchmark.evaluation.sources import Source
from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import Problem, read_json
from posebench.benchmark.records.types import Environment
from posebench.benchmark.stats.bootstrap import Column, mean_interval
from posebench.errors import InputError
from posebench.fields import STRICT, Count, Name, Positive, Sha256
from posebench.files import write_atomically
from posebench.interfaces import Attack


@dataclass(frozen=True)
class PartsCell:
    """What was attacked."""

    __pydantic_config__ = STRICT

    task: Name
    """Data set and split."""
    samples: Count
    """Test pairs."""
    vertices: Count
    """Of each mesh."""
    fingerprint: Sha256 | None
    """sha256 of what the pairs are."""
    victim: Name
    """Registry name of the network."""
    size: Name | None
    """Registry name, or None."""
    training: Name
    """clean, adversarial, noise, imported or given."""
    weights_sha256: Sha256 | None
    """Of the weights file; None for a victim that has none."""
    attack: Name
    """Registry name."""
    attack_settings: Name
    """repr of the attack."""
    seed: int
    """Of the attack."""
    eps: Positive
    """Budget."""


@dataclass(frozen=True)
class Relative:
    """To the body's mean, over pairs."""

    __pydantic_config__ = STRICT

    mean: float
    """Of the ratio."""
    ci95: tuple[float, float]
    """95 % bootstrap interval of the mean."""


@dataclass(frozen=True)
class Part:
    """One body part's displacement."""

    __pydantic_config__ = STRICT

    vertices: Positive
    """Sum of the vertices' weights."""
    per_sample: tuple[float, ...]
    """Mean displacement over the part in each pair, metres."""
    relative: Relative
    """To the body's mean."""


@dataclass(frozen=True)
class WholeBody:
    """The body's displacement."""

    __pydantic_config__ = STRICT

    per_sample: tuple[float, ...]
    """Mean displacement over all vertices in each pair, metres."""


@dataclass(frozen=True)
class PartsRecord:
    """A file of displacements by body part, of ``posebench plot heat``."""

    __pydantic_config__ = STRICT

    schema: Literal["posebench/parts/1"]
    """The file's form."""
    cell: PartsCell
    """What was attacked."""
    body: WholeBody
    """All of it."""
    parts: dict[str, Part]
    """Each of ``PARTS``."""
    environment: Environment
    """Where it was measured."""


def relative(part: Column, body: Column) -> Relative:
    """Mean over pairs of a part's displacement over the body's, with its bootstrap interval."""
    ratio = part / body
    return Relative(float(ratio.mean()), mean_interval(ratio))


def parts_record(
    moved: Column, source: Source, attack: Attack, *, task: str, seed: int, device: str = "cpu"
) -> PartsRecord:
    """Displacements (S, V) of one victim and attack as they are published."""
    samples, vertices = moved.shape
    if not (moved.sum(axis=1) > 0).all():
        raise InputError("the attack moves nothing in some pairs: no part can be set against it")
    means, count = means_by_part(moved), part_weights(vertices).sum(axis=0)
    weights = source.weights
    cell = PartsCell(
        task=task,
        samples=samples,
        vertices=vertices,
        fingerprint=load_task(task, samples=samples, vertices=vertices).fingerprint,
        victim=source.network.spec.name,
        size=weights.size,
        training=weights.training,
        weights_sha256=weights.sha256,
        attack=attack_name(attack),
        attack_settings=repr(attack),
        seed=seed,
        eps=attack.budget.eps,
    )
    parts = {
        part: Part(
            float(count[i]), tuple(means[part].tolist()), relative(means[part], means["body"])
        )
        for i, part in enumerate(PARTS)
    }
    body = WholeBody(tuple(means["body"].tolist()))
    return PartsRecord("posebench/parts/1", cell, body, parts, environment(device))


def write_parts(folder: Path, record: PartsRecord) -> Path:
    """Write one file of displacements by part; its name says victim, training and attack."""
    cell = record.cell
    words = (cell.task.replace("/", "-"), cell.victim, str(cell.size), cell.training)
    path = folder / f"{'-'.join(words)}-{cell.attack}-{cell.eps:g}.json"
    text = json.dumps(plain(record), indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text)
    return path


def parts_problems(record: PartsRecord) -> list[Problem]:
    """Parts that are missing, lists of other lengths than the cell's samples, and ratios that do
    not follow from them."""
    samples, found = record.cell.samples, []
    body = np.array(record.body.per_sample)
    for odd in sorted({*PARTS} ^ record.parts.keys()):
        missing = odd in PARTS
        found.append(Problem(f"parts.{odd}", "is missing" if missing else "is not a part"))
    for name, part in record.parts.items():
        if not len(body) == len(part.per_sample) == samples:
            found.append(Problem(f"parts.{name}.per_sample", f"cell.samples is {samples}"))
            continue
        expected = asdict(relative(np.array(part.per_sample), body))
        for key, value in expected.items():
            stored = getattr(part.relative, key)
            if not np.allclose(stored, value, rtol=1e-9):
                message = f"is {stored}, the per-sample values give {value}"
                found.append(Problem(f"parts.{name}.relative.{key}", message))
    return found


def read_parts(folder: Path) -> list[PartsRecord]:
    """All files of displacements by part in a folder.

    Raises:
        InputError: naming a file and field that is not as :func:`write_parts` writes it.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        record = decode(PartsRecord, read_json(path), str(path))
        wrong = parts_problems(record)
        if wrong:
            raise InputError(f"{path}: {wrong[0]}")
        found.append(record)
    return found
