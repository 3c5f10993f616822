"""The pose floor: an error that no network which transfers poses exactly can avoid.

Some moves inside a budget turn the pose source into the same person in another pose: every joint
right, every point on the body. A network that answers such a source exactly returns the identity in
that other pose and is, against the truth of the original one, off by the distance between the two
targets. So for a network f, whatever it is,

    error of f under attack at the first pose + clean error of f at the other one >= D / 2,

D the squared distance of the targets (the triangle inequality, squared), and an exact f has the
first term at D. A robust error below the floor is bought with clean error on neighbouring poses.
The floor is a search for the largest D and so a lower bound on the largest there is. Ours; the
argument is that of Tramer et al., arXiv 2002.04599, on invariance against sensitivity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.benchmark.data.anny import TASKS, PoseTransferTask
from posebench.benchmark.data.body import pose_body
from posebench.rng import generator_for
from posebench.shapes import Float, Int

STARTS = 6
"""Random directions of joints that each pair begins from."""

STEPS = 120
RATE = 0.05
SHARPNESS = 24
"""Exponent of the norm that stands for the furthest vertex while directions are improved."""


def pose_floor(
    task: PoseTransferTask,
    ids: Int[Tensor, "b"],
    radius: float,
    *,
    seed: int = 0,
    starts: int = STARTS,
    steps: int = STEPS,
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b v 3"]]:
    """Errors (B,) after the best translation, square metres, and the pose sources (B, V, 3) that
    cause them, in the body's own order: each vertex within ``radius`` metres of the clean one.

    Every start climbs the ratio of what the target moves to what the furthest vertex of the source
    moves (both grow alike where joints turn little), and is scaled to the radius after each step.
    """
    identity, _, giver, number = task.triples[ids].unbind(dim=1)
    pose = task.body.poses[TASKS[task.split]][number]
    rows = torch.arange(len(ids)).repeat_interleave(starts)
    draws = [
        torch.randn((starts, 25, 3), generator=generator_for(seed, "floor", int(i))) for i in ids
    ]
    moved = torch.cat(draws).requires_grad_()
    before = _meshes(task, giver, identity, pose, torch.zeros(len(ids), 25, 3))
    optimiser = torch.optim.Adam([moved], lr=RATE)
    best = torch.zeros(len(rows))
    found = torch.zeros((len(rows), *before[0].shape[1:]))
    scale = torch.full((len(rows), 1, 1), radius)
    for step in range(steps + 1):
        source, target = _meshes(task, giver[rows], identity[rows], pose[rows], moved * scale)
        gaps = (source - before[0][rows]).norm(dim=2)
        shift = target - before[1][rows]
        gain = (shift - shift.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
        with torch.no_grad():
            furthest = gaps.amax(dim=1)
            inside = (furthest <= radius) & (gain > best)
            best = torch.where(inside, gain, best)
            found = torch.where(inside[:, None, None], source, found)
        if step == steps:
            break
        # Larger numbers than metres, so that high powers do not vanish.
        soft = (gaps / furthest[:, None]).pow(SHARPNESS).mean(dim=1).log() / SHARPNESS
        loss = 2 * (soft + furthest.log()) - gain.log()
        optimiser.zero_grad()
        torch.autograd.backward(loss.sum())
        optimiser.step()
        with torch.no_grad():  # a little inside, as the next step moves the furthest vertex
            scale = scale * (0.995 * radius / furthest)[:, None, None]
    values = best.view(len(ids), starts)
    at = values.argmax(dim=1)
    chosen = torch.arange(len(ids)) * starts + at
    return values.amax(dim=1), found[chosen]


def _meshes(
    task: PoseTransferTask,
    giver: Int[Tensor, "r"],
    identity: Int[Tensor, "r"],
    pose: Float[Tensor, "r 24 3"],
    moved: Float[Tensor, "r 25 3"],
) -> tuple[Float[Tensor, "r v 3"], Float[Tensor, "r v 3"]]:
    """Pose source and target with joints turned, and the source shifted by the last row."""
    turned = pose + moved[:, :24]
    source = pose_body(task.body, giver, turned) + moved[:, 24:]
    return source, pose_body(task.body, identity, turned)
