"""Reliability checks of a victim: does it keep what attacks and tables rely on?

Each takes a subject and returns whether its flag is raised (None: does not apply) and figures.
"""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from posebench.attacks.gradient import pose_gradient, pose_values
from posebench.benchmark.checks.subject import Subject, joined
from posebench.benchmark.evaluation.measure import predict
from posebench.benchmark.evaluation.memory import halving
from posebench.benchmark.evaluation.metrics import pmd
from posebench.cloud import Clouds
from posebench.errors import out_of_memory
from posebench.interfaces import Batch
from posebench.objective import pmd as pmd_of_clouds
from posebench.rng import generator_for
from posebench.victims.wrappers import EqualPoints

TOGETHER = 8
"""Pairs in one batch of check 13, as many as ``posebench run`` takes; fewer if memory runs out."""


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
            if out_of_memory(error):
                raise
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
    """13: results depend neither on the batch nor on the points' order."""
    if subject.system.spec.stochastic:
        return None, "not defined for a random victim"
    parts = subject.pairs()
    alone = [predict(subject.system, part, subject.seed).points for part in parts]

    def outputs(count: int) -> tuple[int, list[Tensor]]:
        groups = [parts[i : i + count] for i in range(0, len(parts), count)]
        return count, [predict(subject.system, joined(g), subject.seed).points for g in groups]

    count, together = halving(outputs, min(TOGETHER, len(parts)))
    if count < min(2, len(parts)):
        return None, "too little memory for two pairs at once"
    size = max(float(points.abs().max()) for points in alone)
    mixed = float((torch.cat(alone) - torch.cat(together)).abs().max())
    turned = max(
        order_change(subject, part, output) for part, output in zip(parts, alone, strict=True)
    )
    raised = max(mixed, turned) > 1e-5 * size
    return raised, (
        f"largest change, metres: among {count} pairs {mixed:.1e}, "
        f"points in another order {turned:.1e}"
    )


def order_change(subject: Subject, pair: Batch, output: Tensor) -> float:
    """Largest change of a pair's output (1, N, 3) when its points are renumbered, metres.

    Pose and identity together, because networks that pair by index rely on equal orders. Where
    the pose has points of its own number, it is shuffled for itself, unless the protocol's
    resampler stands in between, which goes by order.
    """
    identity, pose = pair.identity.points.shape[1], pair.pose.points.shape[1]
    keys = ("order", *pair.sample_ids.tolist())
    order = shuffle(identity, generator_for(subject.seed, *keys), output)
    own = order
    if pose != identity:
        own = torch.arange(pose, device=output.device)
        if not isinstance(subject.victim, EqualPoints):
            own = shuffle(pose, generator_for(subject.seed, *keys, "pose"), output)
    found = predict(subject.system, pair.renumbered(order, own), subject.seed).points
    return float((found - output[:, order]).abs().max())


def shuffle(count: int, generator: Generator, like: Tensor) -> Tensor:
    """A random order of ``count`` points, on the device of ``like``."""
    return torch.randperm(count, generator=generator).to(like.device)


def evaluated_as_stored(subject: Subject) -> tuple[bool | None, str]:
    """14: the attacked cloud, written to a file, read back and shown alone, has its PMD."""
    if subject.system.spec.stochastic:
        return None, "not defined for a random victim"
    poses, reported = subject.attacked(subject.strongest())
    again = []
    with TemporaryDirectory() as folder:
        for pair, cloud in zip(subject.pairs(), each_cloud(poses), strict=True):
            path = Path(folder) / "attacked.npy"
            store(path, cloud)
            read = Clouds.dense(torch.from_numpy(np.load(path))[None].to(cloud))
            output = predict(subject.system, pair.with_pose(read), subject.seed)
            again.append(pmd(output, pair))
    change = float((torch.cat(again).double().cpu() - reported).abs().max())
    return change > 0, f"largest change of PMD x1e-4: {1e4 * change:.1e}"


def each_cloud(poses: list[Clouds]) -> list[Tensor]:
    """The real points of every cloud, (n, 3) each."""
    return [
        points[mask] for pose in poses for points, mask in zip(pose.points, pose.mask, strict=True)
    ]


def store(path: Path, points: Tensor) -> None:
    """Points (n, 3) as files of clouds hold them: float32, no padding."""
    np.save(path, points.cpu().numpy().astype(np.float32))


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
