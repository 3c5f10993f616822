"""``pt-ensemble``: several different attacks, the worst case per sample; it stops by itself.

After AutoAttack (Croce & Hein, arXiv 2003.01690), a victim counts as robust where all of them fail.
It goes on in rounds until it has converged (:mod:`posebench.attacks.convergence`), at the latest
after ``most`` gradients. What was spent and what the end brought are in the record; there is
nothing to tune.

The rounds differ in how they climb and where they start:

* under a cap a vertex ``VertexAdam`` finds most of networks that pool the pose, APGD by signs in
  the cubes around the balls (``posebench.attacks.space``) of those that hear it vertex by vertex.
  Every sample tries both; where 50 steps by signs end above 150 of Adam's, it goes on by signs, and
  Adam from where they end, in case that was the wrong sign (version 4).
* APGD in the L2 ball, whose best poses move few vertices far, with first steps of one, a half and
  a quarter of the radius (version 4; two, as published, find less there).
* from random points at the budget's edge, first in short ascents, the best of which goes on, then
  in long ones: some networks have far worse poses than any that is reached from the clean one.
* ``VertexAdam`` from the best pose so far with a third of its first step: a long ascent and then a
  fine one beat as many gradients in shorter ascents (version 3), and after every long ascent from
  elsewhere it is fine ones that bring most (version 4).
* in the L2 ball from the end of a random search, which needs no gradient: training against FGM
  flattens the objective around the clean pose; and ``shaken``: from the best pose so far, moved by
  half of the budget at random.

Which rounds, and why in this order: the study in docs/attacks.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from posebench.attacks.apgd import APGD, CubeAPGD
from posebench.attacks.convergence import Found
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

FINE = 0.1
"""First step of a fine ascent, in radii."""

EDGES = 4
"""Short ascents from the edge."""

SEARCHES = 60
"""Forwards of the random search."""

SHAKE = 0.5
"""Length of a shake, in radii."""

Start = Literal["clean", "best", "search", "edge", "shaken"]


@dataclass(frozen=True)
class SteppedAPGD(CubeAPGD):
    """Auto-PGD whose first step is another than the published two radii."""

    first: float = 2.0

    def first_step(self) -> float:
        return self.first


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
    version: ClassVar[int] = 4

    def __post_init__(self) -> None:
        check_counts(self, "most")
        if self.objective not in ("pmd", "aligned"):
            raise InputError(f"pt-ensemble maximises pmd or aligned, not {self.objective!r}")
        if self.budget.counts_points:
            raise InputError(
                f"pt-ensemble keeps all points, norm {self.budget.norm!r} does not: use attack "
                f"{self.budget.norm!r}"
            )

    @property
    def knows_signs(self) -> bool:
        """Whether a steepest step by signs is another than the gradient's own."""
        return self.budget.norm in ("l2_vertex", "linf")

    def opening(self) -> list[Round]:
        """What every sample begins with; where signs are known, they come last."""
        if self.budget.norm in ("l2", "sparse"):
            return []
        edges = [self.adam(20, "edge")] * EDGES
        other = self.apgd if self.knows_signs else self.adam
        return [*edges, self.adam(70, "best"), other(50, "clean")]

    def rounds(self, *, signs: bool) -> Iterator[Round]:
        """What follows in order, without an end; ``signs`` of a sample that goes on by signs."""
        adam, apgd = self.adam, self.apgd
        if self.budget.norm == "sparse":
            ascent = Sparse(self.budget, iterations=50, objective=self.objective)
            for number in count():
                yield Round(ascent, "shaken" if number > 2 and number % 2 else "edge", 50)
        elif self.budget.norm == "l2":
            yield apgd(100, "clean", 1.0)
            yield apgd(200, "clean", 0.5)
            yield apgd(200, "best", 0.25)
            yield apgd(100, "edge", 1.0)
            while True:
                yield apgd(100, "search", 0.5)
                yield apgd(100, "shaken", 0.5)
                yield apgd(100, "edge", 1.0)
        elif signs:
            yield apgd(200, "clean")
            yield apgd(100, "edge")
            yield adam(100, "best")
            while True:
                yield apgd(200, "edge")
                yield adam(200, "best")
        else:
            yield adam(200, "clean")
            yield adam(200, "best", FINE)
            while True:
                yield adam(200, "edge")
                yield adam(200, "best", FINE)

    def adam(self, gradients: int, start: Start, step: float = VertexAdam.step) -> Round:
        """A round of ``VertexAdam``."""
        ascent = VertexAdam(self.budget, iterations=gradients, step=step, objective=self.objective)
        return Round(ascent, start, gradients)

    def apgd(self, gradients: int, start: Start, first: float = 2.0) -> Round:
        """A round of APGD, under a cap a vertex by signs; ``first`` step in radii."""
        ascent = SteppedAPGD(
            self.budget, iterations=gradients, objective=self.objective, first=first
        )
        return Round(ascent, start, gradients)

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        search = Search(self, victim, batch, generator)
        everybody = torch.arange(len(batch))
        search.run(opening := self.opening(), everybody)
        climbed = search.gained.cpu() & self.knows_signs
        for signs in (False, True):
            search.run(self.rounds(signs=signs), everybody[climbed == signs], after=len(opening))
        found = search.found
        effort = Effort(found.spent, found.late_gain())
        return AttackResult(batch.pose.detach().replace(search.best), effort=effort)

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


class Search:
    """The best pose of each sample so far, and the rounds that look for a worse one.

    Attributes:
        best: (B, N, 3) points.
        found: their values.
        gained: (B,) whether the last round ended above all before it.
    """

    def __init__(
        self, attack: PTEnsemble, victim: Victim, batch: Batch, generator: Generator | None
    ) -> None:
        self.attack, self.victim, self.batch, self.generator = attack, victim, batch, generator
        self.seed = 0 if generator is None else generator.initial_seed()
        clean = batch.pose.detach()
        self.best = clean.points
        self.found = Found(self.values(batch, clean))
        self.gained = torch.zeros_like(self.found.values).bool()

    def values(self, batch: Batch, pose: Clouds) -> Float[Tensor, "r"]:
        """The objective at poses of some samples."""
        return pose_values(
            self.victim, batch, pose, objective=self.attack.worth, generator=self.generator
        )

    def run(self, rounds: Iterable[Round], rows: Tensor, *, after: int = 0) -> None:
        """Rounds, numbered on from ``after``, of the samples ``rows`` until all have converged."""
        for number, each in enumerate(rounds, after):
            rows = rows[self.found.going_on(self.attack.most)[rows]]
            if not len(rows):
                break
            left = self.attack.most - int(self.found.spent[rows[0]])  # all have spent the same
            self.climb(each.within(left), number, rows)

    def climb(self, each: Round, number: int, rows: Tensor) -> None:
        """One round of the samples ``rows``."""
        attack, part = self.attack, self.batch.select(rows)
        own = generator_for(self.seed, "round", number, device=self.best.device)
        former = part.pose.replace(self.best[rows])
        start = attack.start(each.start, self.victim, part, former, own)
        # The places that Sparse looks at follow from its generator: others in each round.
        sees = own if isinstance(each.ascent, Sparse) else self.generator
        end, _ = each.ascent.climb(self.victim, part, start, sees)
        end = project(end.detach(), part.pose, attack.budget)
        before = self.found.values[rows]
        kept, values = better(former, before, end, self.values(part, end))
        there = rows.to(self.best.device)
        self.best = self.best.index_copy(0, there, kept.points)
        self.gained = self.gained.index_copy(0, there, values > before)
        self.found.add(rows, values, each.gradients)
