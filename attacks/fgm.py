"""FGM with the PT adversarial loss: the attack of the paper's Table 2 (Eq. 5-7).

    x_adv = x + radius * g / ||g||,   g = gradient of the objective to the pose, per sample

The released code descends 1 / MSE and adds 1e-9 to the norm; the direction is the same, see
``posebench.objective``. Cost: one forward, one backward.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from posebench.attacks.gradient import check_objective, pose_gradient
from posebench.attacks.projection import steepest
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import OBJECTIVES


@dataclass(frozen=True)
class FGM:
    """Fast gradient method: one steepest step to the edge of the budget.

    Attributes:
        budget: how far the pose may move.
        objective: key of ``posebench.objective.OBJECTIVES``; ``mse``, ``pt`` and
            ``log_mse`` walk the same way here.
    """

    budget: Budget
    objective: str = "mse"

    def __post_init__(self) -> None:
        check_objective(self)

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        objective = OBJECTIVES[self.objective]
        _, gradient = pose_gradient(
            victim, batch, batch.pose, objective=objective, generator=generator
        )
        step = steepest(gradient, self.budget, batch.pose.mask)
        pose = batch.pose.replace(batch.pose.points.detach() + step)
        return AttackResult(pose)
