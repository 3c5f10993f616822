"""From victim, attack and defence to a record: the one place where numbers are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from posebench import objective
from posebench.attacks import Universal, run_attack
from posebench.attacks.gradient import draws_of, pose_values
from posebench.attacks.restarts import better
from posebench.benchmark.data.names import USUAL_SAMPLES
from posebench.benchmark.data.own_pairs import OwnPairs
from posebench.benchmark.data.task import has_truth, stacks
from posebench.benchmark.evaluation.access import Surrogate, fit_universal, fitting_pairs
from posebench.benchmark.evaluation.extension import add_known, pairs_to_take
from posebench.benchmark.evaluation.measure import measure, noise_pmd, trivial_pmd
from posebench.benchmark.evaluation.metrics import perturbation_norms, pmd
from posebench.benchmark.evaluation.plan import Evaluation, Plan, metric_of, plan_evaluation
from posebench.benchmark.evaluation.table import Table, metrics_of
from posebench.benchmark.evaluation.without_truth import (
    aimed,
    attacked_values,
    clean_values,
    noise_displacement,
)
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.flags import flags_of
from posebench.benchmark.records.types import Record
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, AttackResult, Batch, Defense, Victim
from posebench.rng import generator_for


@dataclass(frozen=True)
class Execution:
    """How an evaluation is run; none of it changes a number beyond rounding.

    Attributes:
        batch_size: pairs at a time.
        device: of torch; the victim and its surrogate are there already.
        progress: called with each batch's length for every attack.
        known: a record that holds some of the pairs; their attacked values are taken over.
    """

    batch_size: int = 8
    device: str = "cpu"
    progress: Callable[[int], None] | None = None
    known: Record | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch size must be at least 1, got {self.batch_size}")


def evaluate(
    victim: Victim,
    *,
    attack: Attack | None = None,
    defense: Defense | None = None,
    access: str | Surrogate = "oblivious",
    task: str = "anny/seen",
    data: OwnPairs | None = None,
    samples: int | None = None,
    vertices: int = 1700,
    seed: int = 0,
) -> Record:
    """Clean and attacked metrics of a victim on the first ``samples`` pairs of a task.

    Of a ``task`` 16 pairs are taken unless others are asked for. ``data``, a ``posebench.OwnPairs``
    made by ``posebench.read_pairs`` or from arrays, takes its place, and all of its pairs are
    taken. Pairs without a truth have no error; their record holds the displacement of the output
    under attack and its plausibility instead, see ``without_truth``.

    The clean numbers are taken with the defence on, as a user would run it. ``access`` says what
    the attack sees: "oblivious" the bare victim, "adaptive" the victim with its defence,
    "straight-through" the same with the defence's gradient taken as the identity's, and a
    ``Surrogate`` another network in its place. On tasks that change the number of points, victims
    that need equal counts stand behind ``EqualPoints``; the record says so.

    For weights to be named in the record, other devices or many budgets at once:
    :func:`evaluate_all`.

    Raises:
        InputError: unknown task or access, counts out of range, or a victim that misbehaves.
    """
    surrogate = access if isinstance(access, Surrogate) else None
    usual = USUAL_SAMPLES if data is None else len(data)
    given = Evaluation(
        victim,
        (attack,),
        defense,
        access="transfer" if isinstance(access, Surrogate) else access,
        surrogate=surrogate,
        task=task if data is None else data.name,
        data=data,
        samples=usual if samples is None else samples,
        vertices=vertices,
        seed=seed,
    )
    return evaluate_all(given)[0]


def evaluate_all(given: Evaluation, how: Execution | None = None) -> list[Record]:
    """A record per attack of an evaluation.

    Attacks that follow each other with growing budgets make a curve: each sample keeps the pose of
    the smaller budget where the larger one found nothing worse for what it sees, so the curve
    cannot fall for want of luck. All budgets see the same random numbers. Results do not depend
    on the batch size.

    Raises:
        InputError: as :func:`evaluate`, and budgets that do not grow.
    """
    how = how or Execution()
    plan = plan_evaluation(given)
    attacks, tables = list(given.attacks), [Table() for _ in given.attacks]
    for number, attack in enumerate(given.attacks):
        if isinstance(attack, Universal):
            attacks[number], tables[number].fitted = fit_universal(
                attack,
                plan.seen,
                fitting_pairs(
                    given.task, given.data, samples=given.samples, vertices=given.vertices
                ),
                seed=given.seed,
                device=how.device,
            )
    alone = plan.stochastic or not stacks(plan.pairs)
    size = 1 if alone else min(how.batch_size, given.samples)
    known = [] if how.known is None else pairs_to_take(given, how.known, how.device)
    others = sorted(set(range(given.samples)) - set(known))
    parts = [torch.tensor(each).split(size) for each in (known, others) if each]
    for ids in chain(*parts):
        batch = plan.pairs.batch(ids).to(how.device)
        add_clean(plan, given, batch, tables)
        last: AttackResult | None = None
        for attack, table in zip(attacks, tables, strict=True):
            if attack is not None and how.known is not None and int(ids[0]) in known:
                add_known(how.known, ids, attack, batch, table)
            elif attack is not None:
                last = add_attacked(plan, given, attack, batch, last, table)
            if how.progress is not None:
                how.progress(len(ids))
    where = environment(how.device)
    records = []
    for cell, table in zip(plan.cells, tables, strict=True):
        table.sort(torch.tensor(known + others))
        metrics = metrics_of(table, "pmd" if cell.attack is None else cell.attack.metric)
        flags = flags_of(metrics, distorted=plan.pairs.distorted)
        records.append(Record(cell, metrics, flags, table.cost(given.samples), where))
    return records


def add_clean(plan: Plan, given: Evaluation, batch: Batch, tables: list[Table]) -> None:
    """Measure a batch's unattacked poses into every table."""
    clean = measured(plan, batch, given.seed)
    trivial = trivial_pmd(plan.pairs, batch)
    kept = {}
    if given.defense is not None:
        kept["clean_kept"] = kept_share(given.defense, batch.pose, given.seed)
    for table in tables:
        table.add(clean=clean, trivial=trivial, others=kept)


def add_attacked(
    plan: Plan,
    given: Evaluation,
    attack: Attack,
    batch: Batch,
    last: AttackResult | None,
    table: Table,
) -> AttackResult:
    """Attack a batch, keep the last budget's poses where they are worse, measure into a table."""
    device, seed, truth = batch.pose.points.device, given.seed, has_truth(plan.pairs)
    generator = generator_for(seed, "attack", device=device)
    if not truth:
        batch = aimed(plan.seen, batch, attack.budget, seed)
    result = run_attack(attack, plan.seen, batch, generator=generator)
    if last is not None:
        result = worse(plan.seen, batch, last, result, seed, metric_of(attack))
    norms = perturbation_norms(batch.pose, result.pose)
    if attack.budget.counts_points:  # also where it allows no point at all
        nothing = torch.zeros_like(norms["l2"])
        norms = {"dropped": nothing, "added": nothing, **norms}
    if attack.budget.norm == "sparse":
        moved = (result.pose.points != batch.pose.points).any(dim=2)
        norms = {"moved": moved.sum(dim=1).double() / batch.pose.counts, **norms}
    if truth:
        noise = noise_pmd(plan.system, attack, batch, seed, metric_of(attack))
        attacked = measured(plan, batch.with_pose(result.pose), seed)
    else:
        noise = noise_displacement(plan.system, attack, batch, seed)
        attacked = attacked_values(plan.system, batch, result.pose, seed)
    others = {"noise_pmd": noise, "radius": attack.budget.radius(batch.pose.mask)}
    if given.defense is not None:
        others["kept"] = kept_share(given.defense, result.pose, seed)
    effort = {}
    if result.effort is not None:
        effort = {"gradients": result.effort.gradients, "late_gain": result.effort.late_gain}
    table.add(attacked=attacked, norms=norms, others=others, effort=effort)
    table.count(result, len(batch))
    return result


def measured(plan: Plan, batch: Batch, seed: int) -> dict[str, Tensor]:
    """All metrics, of a batch without a truth its outputs' plausibility; of a study in lower
    precision also the PMD in it, whose distance from the other is the error that it makes."""
    if not has_truth(plan.pairs):
        return clean_values(plan.system, batch, seed)
    found = measure(plan.system, batch, seed)
    if plan.rough is not None:
        found["bf16_pmd"] = measure(plan.rough, batch, seed, {"pmd": pmd})["pmd"]
    return found


def worse(
    seen: Victim, batch: Batch, last: AttackResult, new: AttackResult, seed: int, metric: str
) -> AttackResult:
    """Per sample the pose with the higher metric for what the attack sees; costs two looks more."""
    generator = generator_for(seed, "warm start", device=batch.pose.points.device)
    judge = objective.aligned if metric == "pmd_aligned" else objective.pmd
    found = [
        pose_values(seen, batch, each.pose, objective=judge, generator=generator)
        for each in (last, new)
    ]
    pose, _ = better(last.pose, found[0], new.pose, found[1])
    return replace(new, pose=pose, forwards=new.forwards + 2 * draws_of(seen))


def kept_share(defense: Defense, pose: Clouds, seed: int) -> Tensor:
    """Share of each cloud's points that the defence keeps, (B,)."""
    generator = generator_for(seed, "defense", device=pose.points.device)
    return defense(pose, generator=generator).counts / pose.counts
