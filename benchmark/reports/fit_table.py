"""How far off fitted bodies are, beside the network for anybody's bodies: the table of
docs/meshes.md.

    python -m posebench.benchmark.reports.fit_table

Ten seconds to a minute of one core a pair; pairs that served to choose the fit's numbers are left
out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import pi
from statistics import mean, median

import torch
from torch import Tensor

from posebench.benchmark.data import quaternions
from posebench.benchmark.data.body import TEST_IDENTITIES, load_body, pose_body
from posebench.benchmark.data.body_fit import vertex_normals
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.data.held_out import held_out_arrays
from posebench.benchmark.data.mannequin import mannequins
from posebench.benchmark.reports.markdown import NOTHING, table
from posebench.benchmark.retarget.figure_descent import Cloud
from posebench.benchmark.retarget.fitted import FittedTransfer, by_fits
from posebench.cloud import Clouds
from posebench.geometry import centred
from posebench.interfaces import Batch
from posebench.objective import pmd
from posebench.shapes import Float, Int
from posebench.victims import load_network

SPLITS = (
    "seen", "unseen", "unseen-bent", "wide", "natural", "character", "tpose", "makers", "acrobatic",
    "scan@3",
)  # fmt: skip
PAIRS, FIRST, FIRST_NATURAL = 8, 8, 16
"""Pairs of each task, and the first: earlier ones were looked at while the fit was made."""

NETWORK = "ffptnet"

AROUND = "`anny/natural`, facing anywhere"
TAKES, GIVES = "a mannequin in a person's natural pose", "a person in a mannequin's natural pose"


@dataclass(frozen=True)
class Row:
    """One pair: PMDs in square metres, and whether the fit was doubted; a copy needs vertices that
    correspond."""

    fitted: float
    network: float
    copied: float | None
    doubted: bool


def rows_of(task: str, *, around: bool = False) -> Iterator[Row]:
    """The task's pairs, one after the other; ``around`` turns their pose sources, each further."""
    network, _ = load_network(NETWORK, regime="open")
    first = FIRST_NATURAL if task == "anny/natural" else FIRST
    pairs = load_task(task, samples=first + PAIRS, vertices=1700)
    for number in range(PAIRS):
        ids = torch.tensor([first + number])
        turn = heading((number + 0.5) / PAIRS if around else 0.0)
        plain, faces = pairs.batch(ids), pairs.pose_faces(ids)
        batch = replace(plain, pose=turned(plain.pose, turn), target=turned(plain.target, turn))
        found = fitted(batch, None if faces is None else faces[0])
        copied = turned(pairs.trivial_outputs(ids)["copy-pose"], turn)
        with torch.no_grad():
            answer = network(batch.pose, batch.identity)
        yield Row(
            float(pmd(Clouds.dense(torch.from_numpy(found.points).float()[None]), batch.target)),
            float(pmd(answer, batch.target)),
            float(pmd(copied, batch.target)),
            any(found.doubts()),
        )


def mannequin_rows(*, gives: bool) -> Iterator[Row]:
    """Pairs of people and mannequins, one after the other."""
    network, _ = load_network(NETWORK, regime="open")
    for number in range(PAIRS):
        batch, source_faces = mannequin_pair(number, gives=gives)
        found = fitted(batch, source_faces)
        with torch.no_grad():
            answer = network(batch.pose, batch.identity)
        yield Row(
            float(pmd(Clouds.dense(torch.from_numpy(found.points).float()[None]), batch.target)),
            float(pmd(answer, batch.target)),
            None,
            any(found.doubts()),
        )


def mannequin_pair(number: int, *, gives: bool) -> tuple[Batch, Int[Tensor, "f 3"]]:
    """A held-out natural pose from a person to a mannequin in T- or A-pose, or from a mannequin to
    a person, and the pose source's faces; neither is the same person."""
    people, arrays = load_body(1700), held_out_arrays()
    puppets = mannequins(people)
    giver, taker = (puppets, people) if gives else (people, puppets)
    first, second = (torch.tensor([TEST_IDENTITIES[number + more]]) for more in (0, 6))
    pose = arrays["natural"][[FIRST_NATURAL + number]]
    made = (
        pose_body(giver, first, pose),
        pose_body(taker, second, arrays["tpose"][[number]]),
        pose_body(taker, second, pose),
    )
    source, identity, target = (centred(Clouds.dense(points)) for points in made)
    ids = torch.tensor([number])
    return Batch(source, identity, target, taker.faces[None], ids), giver.faces


def heading(share: float) -> Float[Tensor, "3 3"]:
    """A share of a whole turn about the upright axis."""
    upright = torch.tensor([0.0, 2 * pi * share, 0.0])
    return quaternions.to_matrix(quaternions.from_axis_angle(upright))


def turned(cloud: Clouds, turn: Float[Tensor, "3 3"]) -> Clouds:
    """Every point turned about the origin."""
    return cloud.replace(cloud.points @ turn.T)


def fitted(batch: Batch, source_faces: Int[Tensor, "f 3"] | None) -> FittedTransfer:
    """A pair by fitted bodies, as ``transfer`` does it."""
    pose, identity = batch.pose.points[0], batch.identity.points[0]
    facing = None if source_faces is None else vertex_normals(pose.double(), source_faces)
    normals = vertex_normals(identity.double(), batch.faces[0])
    return by_fits(Cloud(pose, facing), Cloud(identity, normals))


def line(task: str, rows: list[Row]) -> list[str]:
    """A row of the table: means and, in brackets, medians."""
    shown = []
    for name in ("fitted", "network", "copied"):
        found = [value for row in rows if (value := getattr(row, name)) is not None]
        shown.append(f"{1e4 * mean(found):.1f} ({1e4 * median(found):.1f})" if found else NOTHING)
    sure = [row.fitted for row in rows if not row.doubted]
    trusted = f"{1e4 * mean(sure):.1f} ({len(sure)})" if sure else NOTHING
    return [task, shown[0], trusted, *shown[1:]]


def studies() -> Iterator[tuple[str, Iterator[Row]]]:
    """What each row of the table is called, and its pairs."""
    for split in SPLITS:
        yield f"`anny/{split}`", rows_of(f"anny/{split}")
    yield AROUND, rows_of("anny/natural", around=True)
    yield TAKES, mannequin_rows(gives=False)
    yield GIVES, mannequin_rows(gives=True)


if __name__ == "__main__":
    head = ["task", "fitted", "not doubted (pairs)", f"{NETWORK}, open", "pose source returned"]
    sys.stdout.write("\n".join(table(head, [])) + "\n")
    for name, rows in studies():
        sys.stdout.write(table(head, [line(name, list(rows))])[-1] + "\n")
        sys.stdout.flush()  # each takes minutes
