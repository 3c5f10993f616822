"""Sample meshes for the leaderboard page's viewer: what went in, what came out, where it came from.

One JSON file per test pair with the vertices of every shipped victim's results, clean and
attacked. Vertices are int16 times a scale per cloud: for a body of 2 m that is 0.03 mm, far below
what an attack moves, and a fifth of the size of decimal text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.attacks import FGM, PGD, attack_name, run_attack
from posebench.benchmark.data.datasets import dataset_of, load_task
from posebench.benchmark.evaluation.metrics import perturbation_norms, pmd
from posebench.benchmark.evaluation.samples import SCHEMA, Sample, sample_problems
from posebench.benchmark.evaluation.sources import Source, find_networks
from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.json_files import read_json
from posebench.benchmark.records.types import Json
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.geometry import centred
from posebench.interfaces import Attack, Batch, Budget, Victim
from posebench.rng import generator_for
from posebench.victims.weights import shipped_victims

SAMPLE_ATTACKS: tuple[Attack, ...] = (FGM(Budget(0.02)), FGM(Budget(0.08)), PGD(Budget(0.08)))
"""The tables' attacks, so that a shown PMD stands in a record too."""


def packed(points: NDArray[np.floating]) -> Json:
    """Points (V, 3) as little-endian int16 in base64, and the metres of one step."""
    scale = float(np.abs(points).max()) / 32767 or 1.0
    steps = np.rint(points.astype(np.float64) / scale).astype("<i2")
    return {"scale": scale, "points": base64.b64encode(steps.tobytes()).decode()}


def packed_faces(faces: NDArray[np.integer]) -> str:
    """Triangles (F, 3) as little-endian uint16 in base64."""
    return base64.b64encode(faces.astype("<u2").tobytes()).decode()


def make_sample(
    task: str,
    sample: int,
    *,
    vertices: int = 1700,
    size: str = "compact",
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Json:
    """One pair of one of anny's undistorted splits, seen through every shipped victim.

    The attack's random numbers are those of ``evaluate`` with the same seed, so the PMD is the
    record's but for rounding, which PGD's steps multiply (a record's batches round otherwise).
    Truth and results are centred by their bounding boxes, as PMD does it; ``progress`` is called
    after each victim.
    """
    pairs = load_task(task, samples=sample + 1, vertices=vertices)
    ids = torch.tensor([sample])
    batch = pairs.batch(ids)
    pose_faces = pairs.pose_faces(ids)
    if pose_faces is None or dataset_of(task).on_disk:
        raise InputError(f"samples are of undistorted poses that may be published, not of {task!r}")
    victims = []
    for name in shipped_victims(size):
        for source in find_networks(name, None, size):
            victims.append(victim_views(source, batch, seed))
        progress()
    return {
        "schema": SCHEMA,
        "task": task,
        "sample": sample,
        "fingerprint": pairs.fingerprint,
        "vertices": vertices,
        "seed": seed,
        "environment": plain(environment("cpu")),
        "pose": packed(batch.pose.points[0].numpy()),
        "pose_faces": packed_faces(pose_faces[0].numpy()),
        "identity": packed(batch.identity.points[0].numpy()),
        "truth": packed(centred(batch.target).points[0].numpy()),
        "faces": packed_faces(batch.faces[0].numpy()),
        "victims": victims,
    }


def victim_views(source: Source, batch: Batch, seed: int) -> Json:
    """A victim's clean result on a batch of one, and every attack's pose and result."""
    victim, attacked = source.network, []
    for attack in SAMPLE_ATTACKS:
        found = run_attack(attack, victim, batch, generator=generator_for(seed, "attack"))
        norms = perturbation_norms(batch.pose, found.pose)
        attacked.append(
            {
                "attack": attack_name(attack),
                "attack_settings": repr(attack),
                "eps": attack.budget.eps,
                "rms": float(norms["rms"]),
                "pose": packed(found.pose.points[0].numpy()),
                **output_view(victim, batch, found.pose),
            }
        )
    return {
        "victim": victim.spec.name,
        "title": victim.spec.title,
        "training": source.weights.training,
        "weights_sha256": source.weights.sha256,
        "clean": output_view(victim, batch, batch.pose),
        "attacked": attacked,
    }


def output_view(victim: Victim, batch: Batch, pose: Clouds) -> Json:
    """A victim's result on some pose and its PMD."""
    with torch.no_grad():
        output = victim(pose, batch.identity)
    return {"pmd": float(pmd(output, batch)), "output": packed(centred(output).points[0].numpy())}


def sample_text(sample: Json) -> str:
    """Canonical JSON of a sample, as its file holds it."""
    return json.dumps(sample, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_samples(folder: Path) -> list[Json]:
    """All samples of a folder in the order of their names; none if there is no such folder."""
    return [read_sample(path) for path in sorted(folder.glob("*.json"))]


def read_sample(path: Path) -> Json:
    """One sample.

    Raises:
        InputError: naming the file if it is not a sample, or if its clouds are damaged.
    """
    content: Json = read_json(path)
    for problem in sample_problems(decode(Sample, content, str(path))):
        raise InputError(f"{path}: {problem}")
    return content
