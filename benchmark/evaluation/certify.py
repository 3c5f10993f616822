"""Certified errors of a victim behind a median: what is guaranteed, pair by pair.

The intervals are those of ``posebench.defenses.certificates``; here they become errors on test
pairs, beside what they must be compared with: the clean error of the defended and of the bare
victim, and the error of returning the pose source, above which a guarantee is worth nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from posebench import objective
from posebench.attacks.gradient import frozen
from posebench.benchmark.data.task import PairTask
from posebench.benchmark.evaluation.measure import predict
from posebench.benchmark.evaluation.sources import Source
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.form import plain
from posebench.benchmark.stats.bootstrap import Summary, summarise
from posebench.defenses.certificates import (
    Interval,
    certified_error,
    drawn_interval,
    gaussian_share,
    partition_interval,
    touched_share,
)
from posebench.defenses.random import GaussianSmoothing
from posebench.defenses.subsets import PartitionMedian, SubsetMedian
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.interfaces import Batch, Defense, Victim
from posebench.rng import generator_for
from posebench.shapes import Float
from posebench.victims.wrappers import Defended, any_count

Certifiable = PartitionMedian | SubsetMedian | GaussianSmoothing

ALPHA = 1e-3
"""Chance that a statistical guarantee of a pair does not hold (our choice)."""


@dataclass(frozen=True)
class Certified:
    """Of one network behind one defence. Squared errors in square metres after the best
    translation, one value a pair."""

    victim: str
    """Registry name."""
    training: str | None
    """Of its weights."""
    weights_sha256: str | None
    """Of their file."""
    defense: str
    """What rebuilds it."""
    kind: Literal["deterministic", "statistical"]
    """Whether the guarantee is certain, or holds a pair with probability 1 - ALPHA and is one on
    the median over all draws."""
    draws: int | None
    """Of a statistical guarantee, for each pair."""
    task: str
    """Of the pairs, the first ``samples``."""
    fingerprint: str
    """sha256 of what the pairs are."""
    samples: int
    """Test pairs."""
    vertices: int
    """Of each mesh."""
    unit: Literal["points", "metres"]
    """Of ``allowed``: points that may lie anywhere, or metres that all coordinates together may
    move by."""
    allowed: tuple[float, ...]
    """What the attacker may do."""
    bounds: tuple[tuple[float, ...], ...]
    """For each of them the certified error of each pair; infinite, in JSON null, where nothing is
    guaranteed."""
    clean: Summary
    """Error of the defended victim on untouched poses."""
    undefended: Summary
    """The same of the bare victim."""
    trivial: Summary
    """Error of returning the pose source."""

    @property
    def meaning(self) -> str:
        """The guarantee in words."""
        what = (
            "all coordinates move by that much together"
            if self.unit == "metres"
            else ("so many points lie anywhere (none added, removed or reordered)")
        )
        if self.kind == "deterministic":
            return f"certain: no output of this very defence errs more, if {what}"
        return (
            f"statistical: a pair's bound holds with probability {1 - ALPHA:g}, for the median "
            f"over all draws, if {what}; a median of few draws scatters around that one"
        )

    def median(self, number: int) -> float:
        """Over pairs; infinite where nothing is guaranteed."""
        return float(np.median(self.bounds[number]))


@dataclass(frozen=True)
class Asked:
    """What to certify.

    Attributes:
        defense: the median in front of the victim.
        allowed: what the attacker may do, see ``Certified``; growing.
        draws: of a statistical guarantee, for each pair; a partition has its groups.
        seed: of the draws.
    """

    defense: Defense
    allowed: tuple[float, ...]
    draws: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.defense, Certifiable):
            raise InputError(
                f"{type(self.defense).__name__} has no certificate: use partition-median, "
                "subset-median or smooth"
            )
        if getattr(self.defense, "centre", "coordinate") != "coordinate":
            raise InputError("only the coordinate-wise median has a certificate")
        if self.draws < 1:
            raise InputError(f"draws must be at least 1, got {self.draws}")

    @property
    def deterministic(self) -> bool:
        """Whether the guarantee is certain."""
        return isinstance(self.defense, PartitionMedian)


def certify(
    source: Source,
    pairs: PairTask,
    asked: Asked,
    progress: Callable[[int], None] | None = None,
    *,
    device: str = "cpu",
) -> Certified:
    """Certify each pair of a task; pairs go one by one, as with random defences everywhere.

    Args:
        device: where the network is.

    Raises:
        InputError: for pairs whose pose source cannot be returned as an answer.
    """
    found: dict[str, list[Tensor]] = {"clean": [], "undefended": [], "trivial": []}
    rows = []
    if "copy-pose" not in pairs.trivial_outputs(torch.tensor([0])):
        raise InputError(f"task {pairs.name}: no pose source in the target's order to compare with")
    for number in range(len(pairs)):
        batch = pairs.batch(torch.tensor([number])).to(device)
        rows.append(certified_pair(source.network, batch, asked))
        answers = {
            "clean": predict(Defended(source.network, asked.defense), batch, asked.seed),
            "undefended": predict(any_count(source.network), batch, asked.seed),
            "trivial": pairs.trivial_outputs(batch.sample_ids)["copy-pose"],
        }
        for name, answer in answers.items():
            error = objective.aligned(answer.to(batch.target.points.device), batch.target)
            found[name].append(error.double().cpu())
        if progress is not None:
            progress(1)
    return Certified(
        victim=source.network.spec.name,
        training=source.weights.training,
        weights_sha256=source.weights.sha256,
        defense=repr(asked.defense),
        kind="deterministic" if asked.deterministic else "statistical",
        draws=None if asked.deterministic else asked.draws,
        task=pairs.name,
        fingerprint=pairs.fingerprint,
        samples=len(pairs),
        vertices=pairs.vertices,
        unit="metres" if isinstance(asked.defense, GaussianSmoothing) else "points",
        allowed=asked.allowed,
        bounds=tuple(zip(*rows, strict=True)),
        **{name: summarise(torch.cat(each).numpy()) for name, each in found.items()},
    )


def certified_pair(victim: Victim, batch: Batch, asked: Asked) -> list[float]:
    """Certified errors of one pair, for each of ``asked.allowed``; infinite where vacuous."""
    system = Defended(victim, asked.defense)
    outputs: list[Tensor] = []
    generator = generator_for(asked.seed, "certify", *batch.sample_ids.tolist())
    generator = generator_for(generator.initial_seed(), device=batch.pose.points.device)
    batch.pose.check_finite("pose source")
    with torch.no_grad(), frozen(victim):
        while len(outputs) < (1 if asked.deterministic else asked.draws):
            answers = system.outputs(batch.pose, batch.identity, generator=generator)
            outputs += [each.points for each in answers]
    drawn = torch.stack(outputs if asked.deterministic else outputs[: asked.draws])
    points = int(batch.pose.counts)
    return [
        float(certified_error(interval(asked.defense, drawn, points, each), batch.target))
        for each in asked.allowed
    ]


def interval(
    defense: Defense, outputs: Float[Tensor, "m b n 3"], points: int, allowed: float
) -> Interval:
    """What is guaranteed of the median of these outputs on a pose of so many points."""
    if isinstance(defense, PartitionMedian):
        return partition_interval(outputs, int(allowed))
    if isinstance(defense, SubsetMedian):
        share = touched_share(points, defense.size(points), min(int(allowed), points))
    else:
        assert isinstance(defense, GaussianSmoothing)
        share = gaussian_share(allowed, defense.sigma)
    return drawn_interval(outputs, share, ALPHA)


def write_certificates(path: Path, found: Sequence[Certified], device: str) -> None:
    """All of them with where they were made, JSON."""
    content = {
        "schema": "posebench/certificates/1",
        "certificates": plain(found),
        "environment": plain(environment(device)),
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")
