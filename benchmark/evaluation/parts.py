"""Which body parts does an attack move? Displacements by part, from the skin weights.

The paper says of its Fig. 5 that "the majority of generated perturbation happened to be located on
the body parts that are consistent with the key kinetic positions, such as knees, elbows, and feet".
Here every vertex belongs to parts by its skin weights, and a part's mean displacement is set
against the whole body's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.attacks import attack_name, run_attack
from posebench.benchmark.data.anny import PoseTransferTask
from posebench.benchmark.data.body import load_body
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.cells import VictimSource
from posebench.benchmark.evaluation.metrics import bootstrap_interval
from posebench.benchmark.records.schema import Problem, read_json, schema_problems
from posebench.benchmark.records.store import Record, environment
from posebench.benchmark.reports.paper import TABLE_1
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.interfaces import Attack, Victim
from posebench.rng import generator_for

SCHEMA = "posebench/parts/1"

BONES = {
    "head": ("neck01", "neck02", "neck03", "head"),
    "torso": (
        "root",
        "pelvis",
        "spine01",
        "spine02",
        "spine03",
        "spine04",
        "spine05",
        "clavicle",
        "shoulder01",
    ),
    "upper arm": ("upperarm01", "upperarm02"),
    "forearm": ("lowerarm01", "lowerarm02"),
    "hand": ("wrist",),
    "thigh": ("upperleg01", "upperleg02"),
    "shin": ("lowerleg01", "lowerleg02"),
    "foot": ("foot",),
}
"""Part -> its bones; left and right are one part."""

JOINTS = {"elbow": ("upper arm", "forearm"), "knee": ("thigh", "shin")}
"""Joint region -> the two parts that meet there."""

PARTS = (
    "head", "torso", "upper arm", "elbow", "forearm", "hand", "thigh", "knee", "shin", "foot",
)  # fmt: skip

CLAIMED = ("knee", "elbow", "foot")
"""Where the paper sees the majority of the perturbation."""


@lru_cache
def part_weights(vertices: int) -> NDArray[np.float64]:
    """How far each vertex belongs to each of ``PARTS``, (V, 10), rows sum to 1.

    A part weighs what its bones do. A joint takes from both parts that meet what they share, so
    a vertex that follows thigh and shin alike is all knee (our choice: no threshold).
    """
    with files("posebench.benchmark.data").joinpath("body.npz").open("rb") as stream:
        bones = [str(name).partition(".")[0] for name in np.load(stream)["bones"]]
    skin = load_body(vertices).skin_weights.double().numpy()
    weights = {
        part: skin[:, [bone in names for bone in bones]].sum(axis=1)
        for part, names in BONES.items()
    }
    for joint, (one, other) in JOINTS.items():
        shared = np.minimum(weights[one], weights[other])
        weights[joint] = 2 * shared
        weights[one], weights[other] = weights[one] - shared, weights[other] - shared
    return np.stack([weights[part] for part in PARTS], axis=1)


def displacements(
    victim: Victim,
    attack: Attack,
    *,
    task: str = "anny/seen",
    samples: int = 64,
    vertices: int = 1700,
    seed: int = 0,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """How far the attack moves each vertex of the body in each pair, (S, V) metres.

    Raises:
        InputError: for a task whose pose sources are not the body's own vertices.
    """
    pairs = load_task(task, samples=samples, vertices=vertices)
    if not isinstance(pairs, PoseTransferTask) or pairs.distorted:
        raise InputError(f"body parts are known of anny's undistorted tasks alone, not of {task}")
    if attack.budget.counts_points:
        raise InputError("an attack that drops or adds points moves none")
    found = []
    for ids in torch.arange(samples).split(batch_size):
        batch = pairs.batch(ids)
        result = run_attack(attack, victim, batch, generator=generator_for(seed, "attack"))
        moved = (result.pose.points.double() - batch.pose.points.double()).norm(dim=2)
        found.append(in_body_order(moved, pairs.orders(ids)[0]))
        if progress is not None:
            progress(len(ids))
    return torch.cat(found).numpy()


def in_body_order(values: Tensor, order: Tensor) -> Tensor:
    """Values (B, V) of shuffled vertices where the body has them; ``order`` is the shuffle."""
    return torch.zeros_like(values).scatter(1, order, values)


def means_by_part(moved: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Part, or "body", -> mean displacement over its vertices in each pair, (S,) metres."""
    weights = part_weights(moved.shape[1])
    means = moved @ (weights / weights.sum(axis=0))
    return {"body": moved.mean(axis=1), **{part: means[:, i] for i, part in enumerate(PARTS)}}


def relative(part: NDArray[np.float64], body: NDArray[np.float64]) -> dict[str, Any]:
    """Mean over pairs of a part's displacement over the body's, with its bootstrap interval."""
    ratio = part / body
    return {"mean": float(ratio.mean()), "ci95": list(bootstrap_interval(ratio))}


def parts_record(
    moved: NDArray[np.float64],
    victim: str,
    source: VictimSource,
    attack: Attack,
    *,
    task: str,
    seed: int,
    device: str = "cpu",
) -> Record:
    """Displacements (S, V) of one victim and attack as they are published."""
    samples, vertices = moved.shape
    if not (moved.sum(axis=1) > 0).all():
        raise InputError("the attack moves nothing in some pairs: no part can be set against it")
    means, count = means_by_part(moved), part_weights(vertices).sum(axis=0)
    return {
        "schema": SCHEMA,
        "cell": {
            "task": task,
            "samples": samples,
            "vertices": vertices,
            "fingerprint": load_task(task, samples=samples, vertices=vertices).fingerprint,
            "victim": victim,
            "size": source.size,
            "training": source.training,
            "weights_sha256": source.weights_sha256,
            "attack": attack_name(attack),
            "attack_settings": repr(attack),
            "eps": attack.budget.eps,
            "seed": seed,
        },
        "body": {"per_sample": means["body"].tolist()},
        "parts": {
            part: {
                "vertices": float(count[i]),
                "per_sample": means[part].tolist(),
                "relative": relative(means[part], means["body"]),
            }
            for i, part in enumerate(PARTS)
        },
        "environment": environment(device),
    }


def write_parts(folder: Path, record: Record) -> Path:
    """Write one file of displacements by part; its name says victim, training and attack."""
    cell = record["cell"]
    words = (cell["task"].replace("/", "-"), cell["victim"], cell["size"], cell["training"])
    path = folder / f"{'-'.join(map(str, words))}-{cell['attack']}-{cell['eps']:g}.json"
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text)
    return path


def parts_problems(record: Record) -> list[Problem]:
    """Lists of other lengths than the cell's samples, and ratios that do not follow from them."""
    samples, found = record["cell"]["samples"], []
    body = record["body"]["per_sample"]
    for part in PARTS:
        own = record["parts"][part]
        if not len(body) == len(own["per_sample"]) == samples:
            found.append(Problem(f"parts.{part}.per_sample", f"cell.samples is {samples}"))
            continue
        expected = relative(np.array(own["per_sample"]), np.array(body))
        for name, value in expected.items():
            if not np.allclose(own["relative"][name], value, rtol=1e-9):
                message = f"is {own['relative'][name]}, the per-sample values give {value}"
                found.append(Problem(f"parts.{part}.relative.{name}", message))
    return found


def read_parts(folder: Path) -> list[Record]:
    """All files of displacements by part in a folder.

    Raises:
        InputError: naming a file and field that is not as :func:`write_parts` writes it.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        record = read_json(path)
        wrong = schema_problems(record)
        wrong = wrong or parts_problems(record)
        if wrong:
            raise InputError(f"{path}: {wrong[0]}")
        found.append(record)
    return found


def share_of(record: Record, parts: tuple[str, ...]) -> float:
    """Share of all displacement, summed over vertices, that lies on these parts; mean of pairs."""
    counts = {name: part["vertices"] for name, part in record["parts"].items()}
    each = (counts[name] * record["parts"][name]["relative"]["mean"] for name in parts)
    return float(sum(each) / sum(counts.values()))


def parts_table(records: list[Record]) -> list[str]:
    """Markdown: mean displacement of each part over the body's, and what the paper claims of it."""
    head = ["victim", "training", "attack", "pairs", *PARTS, f"share on {', '.join(CLAIMED)}"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]

    def place(record: Record) -> tuple[str, int, bool]:
        cell = record["cell"]
        order = [*TABLE_1].index(cell["victim"]) if cell["victim"] in TABLE_1 else len(TABLE_1)
        return cell["attack"], order, cell["training"] != "clean"

    for record in sorted(records, key=place):
        cell = record["cell"]
        row = [cell["victim"], cell["training"], f"{cell['attack']} {cell['eps']:g}"]
        row.append(str(cell["samples"]))
        for part in PARTS:
            own = record["parts"][part]["relative"]
            row.append("{:.2f} [{:.2f}, {:.2f}]".format(own["mean"], *own["ci95"]))
        row.append(f"{100 * share_of(record, CLAIMED):.0f} %")
        lines.append(f"| {' | '.join(row)} |")
    return lines
