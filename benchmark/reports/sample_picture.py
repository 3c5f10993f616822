"""The picture of one test pair: what went in, what came out, and what an attack made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from posebench.attacks import ATTACKS, run_attack
from posebench.benchmark.data.datasets import load_task, task_vertices
from posebench.benchmark.evaluation.metrics import pmd
from posebench.benchmark.evaluation.sources import find_networks
from posebench.benchmark.reports.pictures import Panel, check_ending, draw_rows
from posebench.errors import InputError
from posebench.files import check_writable
from posebench.geometry import centred
from posebench.interfaces import Attack, Budget, Victim
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.victims import SIZES
from posebench.victims.weights import TRAININGS
from posebench.victims.wrappers import any_count

TRAINED = {name: f"{word} trained" for name, word in TRAININGS.items()}


def draw_picture(
    victims: Sequence[str],
    attack: str,
    eps: float,
    *,
    task: str,
    sample: int,
    size: str,
    out: Path,
) -> None:
    """One row of panels per victim and training whose weights are shipped.

    Raises:
        InputError: a name, number or ending that cannot be, before anything is computed.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    if sample < 0:
        raise InputError(f"sample must be 0 or more, got {sample}")
    check_ending(out)
    made = ATTACKS[attack](Budget(eps))
    check_writable(out.parent)
    rows = []
    for name in victims:
        for source in find_networks(name, None, size):
            panels = sample_panels(
                source.network, made, task=task, sample=sample, vertices=SIZES[size].vertices
            )
            training = TRAINED.get(source.weights.training, source.weights.training)
            rows.append((f"{source.network.spec.title}\n{training}", panels))
    draw_rows(rows, out)


def sample_panels(
    victim: Victim, attack: Attack, *, task: str, sample: int, vertices: int, seed: int = 0
) -> list[Panel]:
    """Six panels of one test pair: pose, attacked pose, identity, truth, clean and attacked."""
    vertices = task_vertices(task, vertices, samples=sample + 1)
    pairs = load_task(task, samples=sample + 1, vertices=vertices)
    ids = torch.tensor([sample])
    batch = pairs.batch(ids)
    over_pose = pairs.pose_faces(ids)
    pose_faces = None if over_pose is None else over_pose[0].numpy()
    faces = batch.faces[0].numpy()
    victim = victim if pairs.keeps_count else any_count(victim)
    result = run_attack(attack, victim, batch, generator=generator_for(seed, "attack"))
    with torch.no_grad():
        clean = victim(batch.pose, batch.identity)
        attacked = victim(result.pose, batch.identity)
    truth = centred(batch.target).points[0]
    moved = (result.pose.points - batch.pose.points)[0].norm(dim=1)
    panels = [
        Panel(batch.pose.points[0].numpy(), pose_faces, None, "pose source"),
        Panel(result.pose.points[0].numpy(), pose_faces, moved.numpy(), "attacked pose"),
        Panel(batch.identity.points[0].numpy(), faces, None, "identity"),
        Panel(truth.numpy(), faces, None, "truth"),
    ]
    for name, output in (("clean", clean), ("attacked", attacked)):
        points = centred(output).points[0]
        error = (points - truth).norm(dim=1)
        value = float(pmd(output, batch)) * 1e4
        panels.append(
            Panel(points.numpy(), faces, error.numpy(), f"result, {name}: PMD {value:.1f}e-4")
        )
    return panels
