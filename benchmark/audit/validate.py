"""Is a file what posebench writes? Its schema, its contradictions, its name, its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from posebench.benchmark.data.body import LODS
from posebench.benchmark.data.datasets import dataset_of, load_task, parse_task
from posebench.benchmark.evaluation.measure import trivial_pmd
from posebench.benchmark.evaluation.parts import SCHEMA as PARTS_SCHEMA
from posebench.benchmark.evaluation.parts import parts_problems
from posebench.benchmark.gate.baseline import SCHEMA as BASELINE_SCHEMA
from posebench.benchmark.gate.baseline import read_baseline
from posebench.benchmark.records.consistency import SINGLE, contradictions
from posebench.benchmark.records.schema import Problem, read_json, schema_problems
from posebench.benchmark.records.store import SCHEMA, record_path
from posebench.benchmark.reports.page_samples import SCHEMA as SAMPLE_SCHEMA
from posebench.benchmark.reports.page_samples import read_sample
from posebench.benchmark.runs.run import with_source
from posebench.errors import InputError
from posebench.victims import VICTIMS, load_victim, read_weights
from posebench.victims.weights import shipped_path

READERS: dict[str, Callable[[Path], Any]] = {
    SAMPLE_SCHEMA: read_sample,
    BASELINE_SCHEMA: read_baseline,
}
"""Files without a published schema, which their readers check."""


def json_files(paths: Iterable[Path]) -> list[Path]:
    """The files given, and all ``*.json`` below the folders given.

    Raises:
        InputError: for a path that is not there, or a folder without such files.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        below = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not below:
            raise InputError(f"{path}: holds no .json files")
        found += below
    return list(dict.fromkeys(found))


def file_problems(path: Path) -> list[Problem]:
    """All that is wrong with a file of posebench's; none if it is valid.

    Beyond what ``check_record`` asks of a record that is read for tables: its file has the name
    that its cell gives, and the cell says nothing of task and shipped weights that is not so.
    """
    try:
        content = read_json(path)
    except InputError as error:
        return [Problem("file", str(error).removeprefix(f"{path}: "))]
    kind = content.get("schema") if isinstance(content, dict) else None
    if isinstance(kind, str) and kind in READERS:
        try:
            READERS[kind](path)
        except InputError as error:
            return [Problem("file", str(error).removeprefix(f"{path}: "))]
        return []
    found = schema_problems(content)
    if not found and content["schema"] == PARTS_SCHEMA:
        return parts_problems(content)
    if found or content["schema"] != SCHEMA:
        return found
    cell = content["cell"]
    try:
        distorted = parse_task(cell["task"]).distorted
    except InputError as error:
        distorted = None
        found.append(Problem("cell.task", str(error)))
    else:
        found += task_problems(content)
    found += [*contradictions(content, distorted=distorted), *weights_problems(cell)]
    expected = record_path(Path(), content).name
    if path.name != expected:
        message = f"belongs in a file named {expected}: was a field changed, or the file renamed?"
        found.append(Problem("cell", message))
    return found


def task_problems(record: dict[str, Any]) -> Iterator[Problem]:
    """Pairs or trivial baselines that are not those of the task.

    Data that only their users have are not at hand.
    """
    cell = record["cell"]
    if dataset_of(cell["task"]).on_disk:
        return
    size = cell["samples"], cell["vertices"]
    try:
        fingerprint = _fingerprint(cell["task"], *size)
    except InputError as error:
        field = "cell.samples" if cell["vertices"] in LODS else "cell.vertices"
        yield Problem(field, str(error))
        return
    if cell["fingerprint"] != fingerprint:
        what = f"{size[0]} pairs of {cell['task']} at {size[1]} vertices"
        yield Problem("cell.fingerprint", f"is not that of {what}, {fingerprint}")
        return
    expected = _trivial(parse_task(cell["task"]).trivial, *size)
    given = record["metrics"]["trivial"]
    for name in sorted(given.keys() ^ expected.keys()):
        message = "is missing" if name in expected else "is no answer that the task has"
        yield Problem(f"metrics.trivial.{name}", message)
    for name, value in expected.items():
        if name in given and not math.isclose(given[name], value, rel_tol=10 * SINGLE):
            yield Problem(f"metrics.trivial.{name}", f"is {given[name]}, the task's is {value:.9g}")


@lru_cache(maxsize=256)
def _fingerprint(task: str, samples: int, vertices: int) -> str:
    return load_task(task, samples=samples, vertices=vertices).fingerprint


@lru_cache(maxsize=64)
def _trivial(task: str, samples: int, vertices: int) -> dict[str, float]:
    """Mean PMD of each answer that needs no skill."""
    pairs = load_task(task, samples=samples, vertices=vertices)
    parts = [trivial_pmd(pairs, pairs.batch(ids)) for ids in torch.arange(samples).split(16)]
    return {name: float(torch.cat([p[name] for p in parts]).double().mean()) for name in parts[0]}


def weights_problems(cell: dict[str, Any]) -> Iterator[Problem]:
    """A cell that describes shipped weights and has another sha256, or the other way round.

    So weights trained anew by a shipped recipe need a seed of their own to be told apart.
    """
    same = [source for source in _shipped() if source["weights_sha256"] == cell["weights_sha256"]]
    if same:
        for key, value in same[0].items():
            if key != "file" and cell[key] != value:
                message = f"is {json.dumps(cell[key])}, {same[0]['file']} says {json.dumps(value)}"
                yield Problem(f"cell.{key}", message)
        return
    for source in _shipped():
        told = source.keys() - {"file", "weights_sha256"}
        if all(cell[key] == source[key] for key in told):
            message = f"is not that of {source['file']}, which the cell describes: "
            yield Problem("cell.weights_sha256", message + source["weights_sha256"])


@lru_cache
def _shipped() -> list[dict[str, Any]]:
    """What records of each shipped weights file say of it, and the file's name."""
    found = []
    for path in sorted(shipped_path("npt", "compact").parent.glob("*.safetensors")):
        name = str((read_weights(path) or {}).get("victim"))
        if name in VICTIMS:
            source = with_source(*load_victim(name, weights=path))[1]
            told = json.loads(json.dumps({"victim": name, **asdict(source)}))
            found.append({**told, "file": path.name})
    return found
