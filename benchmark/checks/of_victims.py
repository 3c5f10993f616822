"""Reliability checks of a victim: does it keep what attacks and tables rely on?

Each takes a subject and returns whether its flag is raised (None: does not apply) and figures.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posebench.attacks.gradient import pose_gradient, pose_values
from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.evaluation.measure import predict
from posebench.benchmark.evaluation.metrics import pmd
from posebench.cloud import Clouds
from posebench.interfaces import Batch
from posebench.objective import pmd as pmd_of_clouds
from posebench.rng import generator_for


def gradient_right(subject: Subject) -> tuple[bool | None, str]:
    """7: autograd's directional derivative is the central difference's, in float64; never zero."""
    if subject.system.spec.stochastic:
        return None, "not defined for a random victim"
    system = in_float64(subject.system)
    worst, step = 0.0, 1e-6
    for batch in subject.batches:
        batch = doubled(batch)
        try:
            _, gradient = pose_gradient(system, batch, batch.pose, objective=pmd_of_clouds)
        except RuntimeError as error:
            return None, f"does not run in float64: {str(error).splitlines()[0][:80]}"
        if not bool(torch.isfinite(gradient).all()):
            return True, "the gradient is not finite"
        length = gradient.norm(dim=(1, 2), keepdim=True)
        if bool((length == 0).any()):
            share = float((length == 0).double().mean())
            return True, f"the gradient is exactly zero on {100 * share:.0f} % of a batch's pairs"
        draws = generator_for(subject.seed, "direction", *batch.sample_ids.tolist())
        noise = torch.randn(gradient.shape, generator=draws, dtype=torch.float64)
        noise = noise.to(gradient) * batch.pose.mask[..., None]
        direction = gradient / length + 0.5 * noise / noise.norm(dim=(1, 2), keepdim=True)
        ends = [
            pose_values(
                system,
                batch,
                batch.pose.replace(batch.pose.points + sign * step * direction),
                objective=pmd_of_clouds,
            )
            for sign in (1, -1)
        ]
        measured = (ends[0] - ends[1]) / (2 * step)
        slope = (gradient * direction).sum(dim=(1, 2))
        worst = max(worst, float(((measured - slope) / slope).abs().max()))
    return worst > 1e-3, f"largest relative error {worst:.1e}"


def repeatable(subject: Subject) -> tuple[bool | None, str]:
    """8: five forwards of the same pair agree."""
    spread = 0.0
    for batch in subject.batches:
        outputs = [predict(subject.system, batch, subject.seed, draw).points for draw in range(5)]
        spread = max(spread, float((torch.stack(outputs) - outputs[0]).abs().max()))
    declared = "declared random" if subject.system.spec.stochastic else "declared deterministic"
    return spread > 0, f"five outputs differ by at most {spread:.1e} m; {declared}"


def batch_free(subject: Subject) -> tuple[bool | None, str]:
    """13: results depend neither on the batch nor on the vertices' order."""
    if subject.system.spec.stochastic:
        return None, "not defined for a random victim"
    worst = 0.0
    parts = [batch.select(slice(i, i + 1)) for batch in subject.batches for i in range(len(batch))]
    alone = [predict(subject.system, part, subject.seed).points for part in parts]
    together = [predict(subject.system, batch, subject.seed).points for batch in subject.batches]
    size = max(float(points.abs().max()) for points in alone)
    worst = float((torch.cat(alone) - torch.cat(together)).abs().max())
    turned = 0.0
    for part, output in zip(parts, alone, strict=True):
        count = part.identity.points.shape[1]
        draws = generator_for(subject.seed, "order", *part.sample_ids.tolist())
        order = torch.randperm(count, generator=draws).to(output.device)
        same = part.pose.points.shape[1] == count
        shuffled = Batch(
            permuted(part.pose, order) if same else part.pose,
            permuted(part.identity, order),
            permuted(part.target, order),
            part.faces,
            part.sample_ids,
        )
        found = predict(subject.system, shuffled, subject.seed).points
        turned = max(turned, float((found - output[:, order]).abs().max()))
    raised = max(worst, turned) > 1e-5 * size
    return raised, f"largest change, metres: batch {worst:.1e}, vertex order {turned:.1e}"


def evaluated_as_stored(subject: Subject) -> tuple[bool | None, str]:
    """14: the stored cloud, read back and shown alone, has the PMD that was reported."""
    if subject.system.spec.stochastic:
        return None, "not defined for a random victim"
    poses, reported = subject.attacked(subject.strongest())
    stored = [pose.points.cpu().numpy().tobytes() for pose in poses]
    again = []
    for batch, pose, raw in zip(subject.batches, poses, stored, strict=True):
        values = np.frombuffer(raw, dtype=pose.points.cpu().numpy().dtype).copy()
        points = torch.from_numpy(values).view(pose.points.shape).to(pose.points)
        output = predict(subject.system, batch.with_pose(pose.replace(points)), subject.seed)
        again.append(pmd(output, batch))
    change = float((torch.cat(again).double().cpu() - reported).abs().max())
    return change > 0, f"largest change of PMD x1e-4: {1e4 * change:.1e}"


def permuted(cloud: Clouds, order: Tensor) -> Clouds:
    """The same points in another order."""
    return Clouds(cloud.points[:, order], cloud.mask[:, order], cloud.full)


def doubled(batch: Batch) -> Batch:
    """The batch in float64."""
    pose, identity, target = (
        cloud.replace(cloud.points.double()) for cloud in (batch.pose, batch.identity, batch.target)
    )
    return Batch(pose, identity, target, batch.faces, batch.sample_ids)


def in_float64(victim: Any) -> Any:
    """A copy of the victim whose network computes in float64."""
    made = copy.deepcopy(victim)
    inner = made
    while not isinstance(inner, nn.Module) and hasattr(inner, "victim"):
        inner = inner.victim
    if isinstance(inner, nn.Module):
        inner.double()
    return made
