"""The card of trained weights: how they came about and what they are worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NotRequired, TypedDict

from posebench.attacks import FGM, PGD, VertexAdam, attack_name
from posebench.benchmark.data.anny import TASKS
from posebench.benchmark.data.body import body_fingerprint
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation, metric_of
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.types import Environment, Json, Record, Weights
from posebench.benchmark.training.loop import Trained
from posebench.benchmark.training.progress import Progress
from posebench.benchmark.training.recipe import Recipe
from posebench.interfaces import Attack, Budget
from posebench.threats import HEADLINE, THREATS
from posebench.victims import SIZES, PoseTransferNetwork

if TYPE_CHECKING:
    import rich.progress

CARD_SAMPLES = 64
"""Test pairs per split on a card."""

CARD_ATTACKS: tuple[Attack, ...] = (
    FGM(Budget(0.02)),
    FGM(Budget(0.08)),
    PGD(Budget(0.02), start=0.0),
    PGD(Budget(0.08), start=0.0),
)
"""What adversarially trained weights are tried with; FGM alone would flatter them."""

ROBUST_ATTACKS: tuple[Attack, ...] = tuple(
    VertexAdam(THREATS[name].budget, iterations=40, objective=THREATS[name].objective)
    for name in HEADLINE
)
"""What weights trained against a threat model are tried with."""

CARD_ATTACK_SAMPLES = 32
"""Pairs of anny/seen per attack on a card."""

LEAST_PAIRS = 2
"""Fewest pairs that are worth a line on the card of a budgeted run: an interval needs two."""

OVERFITTED = 2.0
"""PGD against its own best during training by this factor is catastrophic overfitting."""


class Split(TypedDict):
    """Clean quality on a split; ``clean_pmd`` as records have it."""

    clean_pmd: Json
    trivial: dict[str, float]
    under_trained: bool
    fingerprint: str | None


class Attacked(TypedDict):
    """Quality under an attack; ``pmd`` as records have its ``metric``, PMD where that is unsaid."""

    settings: str
    pmd: Json
    metric: NotRequired[str]


@dataclass(frozen=True)
class Card:
    """What is kept with weights about themselves; no times, so that equal runs have equal files.

    Attributes:
        training: its name in tables.
        recipe: which repeats the run, as JSON.
        steps_done, samples_seen: of this run, not of its ``start``.
        curve: (step, mean training loss).
        data: fingerprint of the body.
        environment: where it was made, as in records.
        licence: of the weights.
        catastrophic_overfitting: None for clean training.
        splits, attacked: what was measured, None before.
    """

    training: str
    recipe: Json
    steps_done: int
    samples_seen: int
    curve: list[tuple[int, float]]
    data: str
    environment: Json
    licence: str = "Apache-2.0"
    catastrophic_overfitting: bool | None = None
    splits: dict[str, Split] | None = None
    attacked: dict[str, Attacked] | None = None

    def as_json(self) -> Json:
        """All that is known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass
class Measured:
    """What weights are worth; the records lack the fingerprint of their file."""

    splits: dict[str, Split] = field(default_factory=dict)
    attacked: dict[str, Attacked] | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def on_card(self) -> Json:
        """The fields of a card that these fill."""
        return {"splits": self.splits, "attacked": self.attacked}

    def add(self, record: Record, task: str, attack: Attack | None) -> None:
        """Take over a record."""
        self.records.append(record)
        metrics = record.metrics
        if attack is None:
            self.splits[task] = {
                "clean_pmd": plain(metrics.clean_pmd),
                "trivial": metrics.trivial,
                "under_trained": "under-trained" in record.flags,
                "fingerprint": record.cell.fingerprint,
            }
            return
        self.attacked = self.attacked or {}
        name = f"{attack_name(attack)} {attack.budget.eps:g}"
        metric = metric_of(attack)
        self.attacked[name] = {"settings": repr(attack), "pmd": plain(metrics.attacked[metric])}
        if metric != "pmd":
            self.attacked[name]["metric"] = metric


@dataclass(frozen=True)
class Job:
    """One evaluation of a card."""

    task: str
    attack: Attack | None
    samples: int

    @property
    def cost(self) -> int:
        """Of a pair, roughly, in forwards: an iteration of an attack takes three."""
        if self.attack is None:
            return 1
        return 4 + 3 * int(getattr(self.attack, "iterations", 1))


def make_card(trained: Trained, log: Sequence[Progress], made: Environment) -> Card:
    """How the weights came about; ``made`` is the environment they were made in."""
    recipe = trained.recipe
    return Card(
        training=training_name(recipe),
        recipe=asdict(recipe),
        steps_done=trained.step,
        samples_seen=(trained.step - recipe.first) * recipe.batch,
        curve=list(trained.curve),
        data=body_fingerprint(),
        environment=plain(made),
        catastrophic_overfitting=None if recipe.adversarial is None else overfitted(log),
    )


def measured(
    network: PoseTransferNetwork,
    recipe: Recipe,
    *,
    device: str,
    bar: rich.progress.Progress,
    deadline: float = math.inf,
) -> Measured:
    """What the weights are worth on every split and, if adversarially trained, under attack.

    With a deadline (of ``time.monotonic``) each evaluation takes as many pairs as its part of the
    time left allows, by the time that those before took, and is left out where that is none. The
    first split is always evaluated.
    """
    jobs = [Job(task, None, CARD_SAMPLES) for task in TASKS]
    if recipe.adversarial is not None:
        attacks = CARD_ATTACKS if recipe.adversarial.threat is None else ROBUST_ATTACKS
        jobs += [Job("anny/seen", attack, CARD_ATTACK_SAMPLES) for attack in attacks]
    weights = Weights(
        size=recipe.size,
        training=training_name(recipe),
        recipe=asdict(recipe),
        network=network.settings(),
    )
    shown = bar.add_task("evaluating", total=sum(job.samples for job in jobs))

    def run(job: Job, samples: int) -> Record:
        given = Evaluation(
            network,
            (job.attack,),
            task=job.task,
            samples=samples,
            vertices=SIZES[recipe.size].vertices,
            weights=weights,
        )
        how = Execution(device=device, progress=lambda done: bar.advance(shown, done))
        return evaluate_all(given, how)[0]

    found, pace, pilot = Measured(), 0.0, None
    if deadline < math.inf:
        run(jobs[0], 1)  # what is loaded and compiled once must not count for the pace
        pilot, pace = _seconds_each(run, jobs[0], min(LEAST_PAIRS, jobs[0].samples))
    for number, job in enumerate(jobs):
        share = (deadline - time.monotonic()) / (len(jobs) - number)
        samples = fitting(job, share, pace)
        if samples:
            record, pace = _seconds_each(run, job, samples)
            found.add(record, job.task, job.attack)
        elif pilot is not None and job is jobs[0]:
            found.add(pilot, job.task, job.attack)
    return found


def fitting(job: Job, seconds: float, pace: float) -> int:
    """How many pairs of a job fit, 0 for too few; ``pace`` is the seconds of a forward."""
    if seconds == math.inf:
        return job.samples
    samples = min(job.samples, int(max(seconds, 0.0) / max(pace * job.cost, 1e-9)))
    return samples if samples >= min(LEAST_PAIRS, job.samples) else 0


def _seconds_each(
    run: Callable[[Job, int], Record], job: Job, samples: int
) -> tuple[Record, float]:
    before = time.monotonic()
    record = run(job, samples)
    return record, (time.monotonic() - before) / (samples * job.cost)


def training_name(recipe: Recipe) -> str:
    """The training's name in tables: clean, adversarial, robust (against a threat model), or noise
    for the augmentation baseline."""
    if recipe.adversarial is None or recipe.adversarial.clean_share == 1:
        return "clean"
    if recipe.adversarial.threat is not None:
        return "robust"
    return "noise" if recipe.adversarial.attack == "noise" else "adversarial"


def overfitted(log: Sequence[Progress]) -> bool:
    """Catastrophic overfitting: PGD at the end far above its best during the run."""
    seen = [row.pgd for row in log if row.pgd is not None]
    return bool(seen) and seen[-1] > OVERFITTED * min(seen)
