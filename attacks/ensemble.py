"""``pt-ensemble``: several different attacks, the worst case per sample; no knob but the budget.

After AutoAttack (Croce & Hein, arXiv 2003.01690): random search without gradients, gradient ascent
on the metric itself and on the logarithm of the mean squared error, and the minimum-norm C&W
attack. A victim counts as robust where all of them fail. Its number is the one to rank by.

Our choice: one more ascent on the metric starts where random search ended. Training against FGM
flattens the objective around the clean pose, where every ascent of the family starts; search gets
away from there without a gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator

from posebench.attacks.apgd import APGD
from posebench.attacks.cw import CW
from posebench.attacks.gradient import pose_values
from posebench.attacks.projection import project
from posebench.attacks.query import Query
from posebench.attacks.restarts import better
from posebench.interfaces import Attack, AttackResult, Batch, Budget, Victim
from posebench.objective import pmd


@dataclass(frozen=True)
class PTEnsemble:
    """Worst case over random search, APGD on PMD from the clean pose and from the search's, APGD on
    the log loss, and C&W."""

    budget: Budget
    version: ClassVar[int] = 1

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks that start at the clean pose, in the order they run."""
        return (
            Query(self.budget),
            APGD(self.budget),
            APGD(self.budget, objective="log_mse"),
            CW(self.budget),
        )

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        found = [attack(victim, batch, generator=generator).pose for attack in self.members]
        searched = project(found[0].detach(), batch.pose, self.budget)
        found.append(APGD(self.budget).climb(victim, batch, searched, generator)[0])
        best = batch.pose.detach()
        values = best.points.new_full((len(batch),), -math.inf)
        for each in found:
            pose = project(each.detach(), batch.pose, self.budget)
            worth = pose_values(victim, batch, pose, objective=pmd, generator=generator)
            best, values = better(best, values, pose, worth)
        return AttackResult(best)
