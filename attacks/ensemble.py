"""``pt-ensemble``: several different attacks, the worst case per sample; no knob but the budget.

After AutoAttack (Croce & Hein, arXiv 2003.01690): gradient ascent on the metric itself and on its
logarithm, the minimum-norm C&W attack, and random search without gradients. A victim counts as
robust where all four fail. Its number is the one to rank by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Generator

from posebench.attacks.apgd import APGD
from posebench.attacks.cw import CW
from posebench.attacks.gradient import pose_values, project
from posebench.attacks.iterative import better
from posebench.attacks.query import Query
from posebench.interfaces import Attack, AttackResult, Batch, Budget, Victim
from posebench.objective import pmd


@dataclass(frozen=True)
class PTEnsemble:
    """Worst case over APGD on PMD, APGD on log PMD, C&W and random search."""

    budget: Budget

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks, in the order they run."""
        return (
            APGD(self.budget),
            APGD(self.budget, objective="log_mse"),
            CW(self.budget),
            Query(self.budget),
        )

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        best = batch.pose.detach()
        values = best.points.new_full((len(batch),), -math.inf)
        forwards = backwards = 0
        for attack in self.members:
            result = attack(victim, batch, generator=generator)
            pose = project(result.pose.detach(), batch.pose, self.budget)
            found = pose_values(victim, batch, pose, objective=pmd, generator=generator)
            best, values = better(best, values, pose, found)
            forwards, backwards = forwards + result.forwards + 1, backwards + result.backwards
        return AttackResult(best, values, forwards, backwards)
