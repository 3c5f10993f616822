"""What reliability checks look at: a victim, some pairs, a budget, and the attacks run so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from posebench.attacks import APGD, EOT
from posebench.attacks.enforce import checked
from posebench.benchmark.evaluation.measure import measure
from posebench.benchmark.evaluation.metrics import pmd
from posebench.cloud import Clouds
from posebench.interfaces import Attack, Batch, Budget, Defense, Victim
from posebench.rng import generator_for
from posebench.victims.wrappers import Defended


@dataclass(frozen=True)
class Subject:
    """What is checked, and with how much effort.

    Attributes:
        victim: the bare victim.
        batches: pairs with unique sample ids; one pair each if the victim is stochastic.
        budget: of the attacks whose number is to be believed; distance norms alone.
        defense: in front of the victim; attacks see it (adaptive access).
        surrogate: another network, for transfer; None leaves that part out.
        trained_against: name and eps of the attack in training, if it was adversarial.
        iterations: gradient steps of APGD and PGD.
        seed: of attacks and noise.
        found: attacks already run, so that checks share them.
    """

    victim: Victim
    batches: list[Batch]
    budget: Budget
    defense: Defense | None = None
    surrogate: Victim | None = None
    trained_against: tuple[str, float] | None = None
    iterations: int = 50
    seed: int = 0
    found: dict[str, tuple[list[Clouds], Tensor]] = field(default_factory=dict, repr=False)

    @property
    def system(self) -> Victim:
        """The victim with its defence."""
        return self.victim if self.defense is None else Defended(self.victim, self.defense)

    @property
    def seen(self) -> Victim:
        """What attacks see: the system; of a random one, the mean of the loss over draws."""
        return EOT(self.system) if self.system.spec.stochastic else self.system

    def attacked(self, attack: Attack, seen: Victim | None = None) -> tuple[list[Clouds], Tensor]:
        """Attacked poses of all batches and the system's PMD on them, (S,) float64."""
        key = f"{attack!r} {seen!r}" if seen is not None else repr(attack)
        if key not in self.found:
            poses = []
            for batch in self.batches:
                generator = generator_for(self.seed, "check", device=batch.pose.points.device)
                pose, _ = checked(attack, seen or self.seen, batch, generator=generator)
                poses.append(pose)
            self.found[key] = poses, self.pmd(poses)
        return self.found[key]

    def pmd(self, poses: list[Clouds] | None = None) -> Tensor:
        """The system's PMD on these poses, on the clean ones by default, (S,) float64."""
        shown = [batch.pose for batch in self.batches] if poses is None else poses
        values = [
            measure(self.system, batch.with_pose(pose), self.seed, {"pmd": pmd})["pmd"]
            for batch, pose in zip(self.batches, shown, strict=True)
        ]
        return torch.cat(values).double().cpu()

    def strongest(self) -> Attack:
        """The white-box attack whose number is to be believed."""
        return APGD(self.budget, iterations=self.iterations)
