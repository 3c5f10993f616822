"""``pt-ensemble``: several different attacks, the worst case per sample; it stops by itself.

After AutoAttack (Croce & Hein, arXiv 2003.01690), a victim counts as robust where all of them fail.
It goes on in rounds until it has converged: a sample stops once the last third of its gradients
brought less than ``ENOUGH``, at the latest after ``most``. What was spent and what the end brought
are in the record; there is nothing to tune.

The rounds differ in how they climb and where they start:

* ``VertexAdam`` from the clean pose under a cap a vertex, where it finds most per gradient; APGD in
  the L2 ball, whose best poses move few vertices far; each beside the other.
* short ascents from random points at the budget's edge, the best of which goes on: some networks
  have far worse poses than any that is reached from the clean one (version 3).
* ``VertexAdam`` from the best pose so far with a third of its first step: a long ascent and then a
  fine one beat as many gradients in shorter ascents (version 3).
* from the end of a random search, which needs no gradient: training against FGM flattens the
  objective around the clean pose, and search gets away from there.
* again and again from a random point at the edge, and ``shaken``: from the best pose so far, moved
  by half of the budget at random.

Which rounds, and why in this order: the study in docs/attacks.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from posebench.attacks.apgd import APGD
from posebench.attacks.gradient import check_counts, pose_values
from posebench.attacks.projection import project
from posebench.attacks.query import Query
from posebench.attacks.restarts import better, random_start
from posebench.attacks.sparse import Sparse
from posebench.attacks.vertex_adam import VertexAdam
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Effort, Victim
from posebench.objective import OBJECTIVES
from posebench.rng import generator_for
from posebench.shapes import Float

ENOUGH = 0.01
"""Relative gain of the last third of a sample's gradients below which it stops."""

LEAST = 600
"""Gradients before a sample may stop: the last third of them is then the fine ascent."""

FINE = 0.1
"""First step of a fine ascent, in radii."""

EDGES = 6
"""Short ascents from the edge."""

SEARCHES = 60
"""Forwards of the random search."""

SHAKE = 0.5
"""Length of a shake, in radii."""

Start = Literal["clean", "best", "search", "edge", "shaken"]


@dataclass(frozen=True)
class Round:
    """One ascent, and where it starts."""

    ascent: VertexAdam | APGD | Sparse
    start: Start
    gradients: int

    def within(self, left: int) -> Round:
        """The same with no more gradients than are left."""
        if left >= self.gradients:
            return self
        return Round(replace(self.ascent, iterations=left), self.start, left)


@dataclass(frozen=True)
class PTEnsemble:
    """Worst case over rounds of different ascents and starts, until they bring no more.

    Attributes:
        budget: how far the pose may move.
        objective: "pmd" or "aligned".
        most: gradients per sample, at most.
    """

    budget: Budget
    objective: str = "pmd"
    most: int = 3000
    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        check_counts(self, "most")
        if self.objective not in ("pmd", "aligned"):
            raise InputError(f"pt-ensemble maximises pmd or aligned, not {self.objective!r}")
        if self.budget.counts_points:
            raise InputError(
                f"pt-ensemble keeps all points, norm {self.budget.norm!r} does not: use attack "
                f"{self.budget.norm!r}"
            )

    def rounds(self) -> Iterator[Round]:
        """What is run in order, without an end."""

        def adam(gradients: int, start: Start, step: float = VertexAdam.step) -> Round:
            ascent = VertexAdam(
                self.budget, iterations=gradients, step=step, objective=self.objective
            )
            return Round(ascent, start, gradients)

        def apgd(gradients: int, start: Start) -> Round:
            ascent = APGD(self.budget, iterations=gradients, objective=self.objective)
            return Round(ascent, start, gradients)

        if self.budget.norm == "sparse":
            ascent = Sparse(self.budget, iterations=50, objective=self.objective)
            for number in count():
                yield Round(ascent, "shaken" if number > 2 and number % 2 else "edge", 50)
        elif self.budget.norm == "l2":
            yield apgd(100, "clean")
            yield apgd(100, "search")
            yield adam(100, "clean")
            while True:
                yield apgd(100, "edge")
                yield adam(50, "edge")
                yield apgd(50, "shaken")
        else:
            for _ in range(EDGES):
                yield adam(20, "edge")
            yield adam(80, "best")
            yield adam(200, "clean")
            yield adam(200, "best", FINE)
            yield adam(100, "shaken")
            if self.budget.norm != "smooth":  # which has no steepest step
                yield apgd(50, "clean")
                yield adam(50, "search")
            while True:
                yield adam(50, "edge")
                yield adam(100, "shaken")

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        seed = 0 if generator is None else generator.initial_seed()
        clean = batch.pose.detach()
        best = clean.points
        found = Found(pose_values(victim, batch, clean, objective=self.worth, generator=generator))
        for number, each in enumerate(self.rounds()):
            rows = found.going_on(self.most)
            if not len(rows):
                break
            each = each.within(self.most - int(found.spent[rows[0]]))  # all have spent the same
            part = batch.select(rows)
            own = generator_for(seed, "round", number, device=best.device)
            former = part.pose.replace(best[rows])
            start = self.start(each.start, victim, part, former, own)
            # The places that Sparse looks at follow from its generator: others in each round.
            sees = own if isinstance(each.ascent, Sparse) else generator
            end, _ = each.ascent.climb(victim, part, start, sees)
            end = project(end.detach(), part.pose, self.budget)
            worth = pose_values(victim, part, end, objective=self.worth, generator=generator)
            kept, values = better(former, found.values[rows], end, worth)
            best = best.index_copy(0, rows.to(best.device), kept.points)
            found.add(rows, values, each.gradients)
        effort = Effort(found.spent, found.late_gain())
        return AttackResult(clean.replace(best), effort=effort)

    def worth(self, output: Clouds, target: Clouds) -> Float[Tensor, "b"]:
        """The objective."""
        return OBJECTIVES[self.objective](output, target)

    def start(
        self, kind: Start, victim: Victim, batch: Batch, best: Clouds, generator: Generator
    ) -> Clouds:
        """Where a round begins."""
        clean = batch.pose.detach()
        if kind == "clean":
            return clean
        if kind == "best":
            return best
        if kind == "search":
            search = Query(self.budget, iterations=SEARCHES, objective=self.objective)
            pose = search(victim, batch, generator=generator).pose
            return project(pose.detach(), clean, self.budget)
        length = SHAKE if kind == "shaken" else 1.0
        moved = random_start(clean, self.budget, batch.sample_ids, generator, length=length)
        if kind == "edge":
            return moved
        if self.budget.norm == "sparse":  # a few points cannot be in two places
            return best
        return project(best.replace(best.points + moved.points - clean.points), clean, self.budget)


class Found:
    """The best value of each sample after each of its rounds.

    Attributes:
        values: (B,) the best so far.
        spent: (B,) int64, gradients so far, on the CPU.
        history: after each round: gradients by then and values, of all samples.
    """

    def __init__(self, values: Float[Tensor, "b"]) -> None:
        self.values = values
        self.spent = torch.zeros(len(values), dtype=torch.int64)
        self.history = [(self.spent, values)]

    def add(self, rows: Tensor, values: Float[Tensor, "r"], gradients: int) -> None:
        """Enter a round of some samples."""
        self.values = self.values.index_copy(0, rows.to(self.values.device), values)
        self.spent = self.spent.index_add(0, rows, torch.full_like(rows, gradients))
        self.history.append((self.spent, self.values))

    def late_gain(self) -> Float[Tensor, "b"]:
        """Relative growth over the last third of each sample's gradients, (B,) on the CPU.

        Where two thirds fall into a round, the value before that round counts.
        """
        earlier = self.history[0][1]
        for spent, values in self.history:
            reached = (3 * spent <= 2 * self.spent).to(values.device)
            earlier = torch.where(reached, values, earlier)
        tiny = torch.finfo(earlier.dtype).tiny
        gain = (self.values / earlier.clamp_min(tiny) - 1).nan_to_num(nan=math.inf, posinf=1e9)
        return gain.cpu()

    def going_on(self, most: int) -> Tensor:
        """Numbers (R,) of the samples that have not converged, on the CPU."""
        going = (self.spent < LEAST) | (self.late_gain() >= ENOUGH)
        return (going & (self.spent < most)).nonzero()[:, 0]
