"""What reliability checks look at: a victim, some pairs, a budget, and the attacks run so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from posebench.attacks import APGD, EOT
from posebench.attacks.enforce import checked
from posebench.benchmark.evaluation.measure import measure
from posebench.benchmark.evaluation.metrics import METRICS
from posebench.cloud import Clouds
from posebench.interfaces import Attack, Batch, Budget, Defense, Victim
from posebench.norms import Norm
from posebench.rng import generator_for
from posebench.victims.wrappers import Defended

Found = tuple[list[Clouds], Tensor, Victim | None]


@dataclass(frozen=True)
class TrainingAttack:
    """What a victim was trained against.

    Attributes:
        name: registry name.
        eps: metres RMS per coordinate; of ``l2_vertex`` metres a vertex.
        iterations: of an iterative attack; None for its own number.
        norm: of its budget.
    """

    name: str
    eps: float
    iterations: int | None = None
    norm: Norm = "l2"

    @property
    def budget(self) -> Budget:
        """What it may do."""
        return Budget(self.eps, self.norm)


@dataclass(frozen=True)
class Subject:
    """What is checked, and with how much effort.

    Attributes:
        victim: the bare victim.
        batches: pairs with unique sample ids; one pair each if the victim is stochastic.
        budget: of the attacks whose number is to be believed; distance norms alone.
        defense: in front of the victim; attacks see it (adaptive access).
        surrogate: another network, for transfer; None leaves that part out.
        trained_against: the attack in training, if it was adversarial.
        iterations: gradient steps of APGD and PGD.
        objective: what attacks maximise: "pmd" or "aligned".
        seed: of attacks and noise.
        found: attacks already run, so that checks share them; a changed subject starts anew.
    """

    victim: Victim
    batches: list[Batch]
    budget: Budget
    defense: Defense | None = None
    surrogate: Victim | None = None
    trained_against: TrainingAttack | None = None
    iterations: int = 50
    objective: str = "pmd"
    seed: int = 0
    found: dict[tuple[str, int], Found] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def system(self) -> Victim:
        """The victim with its defence."""
        return self.victim if self.defense is None else Defended(self.victim, self.defense)

    @cached_property
    def seen(self) -> Victim:
        """What attacks see: the system; of a random one, the mean of the loss over draws."""
        return EOT(self.system) if self.system.spec.stochastic else self.system

    def attacked(self, attack: Attack, seen: Victim | None = None) -> tuple[list[Clouds], Tensor]:
        """Attacked poses of all batches and the system's error on them, (S,) float64.

        Kept by the attack's settings and by the very object that it sees: a repr does not say
        which weights are inside. The object is kept too, so that its id stays its own.
        """
        key = repr(attack), 0 if seen is None else id(seen)
        if key not in self.found:
            poses = []
            for batch in self.batches:
                generator = generator_for(self.seed, "check", device=batch.pose.points.device)
                pose, _ = checked(attack, seen or self.seen, batch, generator=generator)
                poses.append(pose)
            self.found[key] = poses, self.error(poses), seen
        return self.found[key][:2]

    def error(self, poses: list[Clouds] | None = None) -> Tensor:
        """The system's PMD, or PMD after the best translation where that is the objective, on these
        poses, on the clean ones by default, (S,) float64."""
        name = "pmd_aligned" if self.objective == "aligned" else "pmd"
        shown = [batch.pose for batch in self.batches] if poses is None else poses
        values = [
            measure(self.system, batch.with_pose(pose), self.seed, {name: METRICS[name]})[name]
            for batch, pose in zip(self.batches, shown, strict=True)
        ]
        return torch.cat(values).double().cpu()

    def strongest(self) -> Attack:
        """The white-box attack whose number is to be believed."""
        return APGD(self.budget, iterations=self.iterations, objective=self.objective)

    def pairs(self) -> list[Batch]:
        """Every pair alone."""
        return [batch.select(slice(i, i + 1)) for batch in self.batches for i in range(len(batch))]


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches as one, pose sources padded to the longest."""
    size = max(batch.pose.points.shape[1] for batch in batches)
    return Batch(
        Clouds.stacked([batch.pose.widened(size) for batch in batches]),
        Clouds.stacked([batch.identity for batch in batches]),
        Clouds.stacked([batch.target for batch in batches]),
        torch.cat([batch.faces for batch in batches]),
        torch.cat([batch.sample_ids for batch in batches]),
    )
