"""From victim, attack and defence to a record: the one place where numbers are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench import objective
from posebench.attacks import Universal, run_attack
from posebench.attacks.gradient import draws_of, pose_values
from posebench.attacks.restarts import better
from posebench.benchmark.evaluation.access import fit_universal
from posebench.benchmark.evaluation.cells import VictimSource, plan_evaluation
from posebench.benchmark.evaluation.measure import measure, noise_pmd, trivial_pmd
from posebench.benchmark.evaluation.metrics import (
    METRICS,
    attack_intervals,
    attack_metrics,
    perturbation_norms,
    summarise,
)
from posebench.benchmark.records.store import Record, environment, make_record
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, AttackResult, Batch, Defense, Victim
from posebench.rng import generator_for

TRAINED_FACTOR = 2.0
"""A victim whose clean PMD does not beat every trivial baseline by this is under-trained."""


def evaluate(victim: Victim, *, attack: Attack | None = None, **settings: Any) -> Record:
    """Clean and attacked metrics of a victim: :func:`evaluate_sweep` with one attack."""
    return evaluate_sweep(victim, [attack], **settings)[0]


def evaluate_sweep(
    victim: Victim,
    attacks: Sequence[Attack | None],
    *,
    defense: Defense | None = None,
    task: str = "anny/seen",
    access: str = "oblivious",
    surrogate: Victim | None = None,
    samples: int = 32,
    vertices: int = 1700,
    batch_size: int = 8,
    seed: int = 0,
    device: str = "cpu",
    source: VictimSource | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Record]:
    """A record per attack, of a victim on the first ``samples`` pairs of a task.

    The clean numbers are taken with the defence on, as a user would run it. ``access`` says what
    the attack sees: "oblivious" the bare victim, "adaptive" the victim with its defence,
    "straight-through" the same with the defence's gradient taken as the identity's, "transfer"
    the ``surrogate`` alone. On tasks that change the number of points, victims that need equal
    counts stand behind ``EqualPoints``; the record says so. Results do not depend on
    ``batch_size``. ``progress`` is called with each batch's length for every attack.

    Attacks that follow each other with growing budgets make a curve: each sample keeps the pose of
    the smaller budget where the larger one found nothing worse for what it sees, so the curve
    cannot fall for want of luck. All budgets see the same random numbers.

    Raises:
        InputError: unknown task or access, counts out of range, budgets that do not grow, or a
            victim that misbehaves.
    """
    if batch_size < 1:
        raise InputError(f"batch size must be at least 1, got {batch_size}")
    plan = plan_evaluation(
        victim,
        attacks,
        defense=defense,
        task=task,
        access=access,
        surrogate=surrogate,
        samples=samples,
        vertices=vertices,
        seed=seed,
        source=source,
    )
    pairs, system, seen = plan.pairs, plan.system, plan.seen
    if plan.stochastic:
        batch_size = 1
    where: dict[str, Any] = {"task": task, "samples": samples, "vertices": vertices, "seed": seed}
    attacks, tables = list(attacks), [Table() for _ in attacks]
    for number, attack in enumerate(attacks):
        if isinstance(attack, Universal):
            attacks[number], backwards = fit_universal(attack, seen, **where, device=device)
            tables[number].fitted = {"fit_backwards": backwards}
    for ids in torch.arange(samples).split(min(batch_size, samples)):
        batch = pairs.batch(ids).to(device)
        clean = {f"clean_{k}": v for k, v in measure(system, batch, seed).items()}
        clean |= {f"trivial.{k}": v for k, v in trivial_pmd(pairs, batch).items()}
        if defense is not None:
            clean["clean_kept"] = kept_share(defense, batch.pose, seed)
        last: AttackResult | None = None
        for attack, table in zip(attacks, tables, strict=True):
            table.add(clean)
            if attack is not None:
                generator = generator_for(seed, "attack", device=device)
                result = run_attack(attack, seen, batch, generator=generator)
                if last is not None:
                    result = worse(seen, batch, last, result, seed)
                last = result
                table.add(attacked_rows(system, attack, batch, result, seed))
                if defense is not None:
                    table.add({"kept": kept_share(defense, result.pose, seed)})
                table.count(result, len(batch))
            if progress is not None:
                progress(len(ids))
    records = []
    for attack, table, cell in zip(attacks, tables, plan.cells, strict=True):
        metrics = aggregate(table.values(), attacked=attack is not None)
        cost = table.cost(samples)
        flags = flags_of(metrics, distorted=pairs.distorted)
        records.append(make_record(cell, metrics, flags, cost, environment(device)))
    return records


class Table:
    """Per-sample values of one cell as they come, batch by batch."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Tensor]] = {}
        self.asked = {"forwards": 0, "backwards": 0}
        self.fitted: dict[str, int] = {}

    def count(self, result: AttackResult, samples: int) -> None:
        """Add what an attack on one batch asked of what it saw."""
        self.asked["forwards"] += result.forwards * samples
        self.asked["backwards"] += result.backwards * samples

    def cost(self, samples: int) -> dict[str, int]:
        """Forwards and backwards per sample, rounded up, and what fitting took once."""
        return {name: -(-total // samples) for name, total in self.asked.items()} | self.fitted

    def add(self, values: dict[str, Tensor]) -> None:
        """Append one batch's values, (B,) each."""
        for name, value in values.items():
            self.rows.setdefault(name, []).append(value.detach().double().cpu())

    def values(self) -> dict[str, NDArray[np.float64]]:
        """Name -> all samples' values."""
        return {name: torch.cat(parts).numpy() for name, parts in self.rows.items()}


def attacked_rows(
    system: Victim, attack: Attack, batch: Batch, result: AttackResult, seed: int
) -> dict[str, Tensor]:
    """What is measured on attacked poses, (B,) each."""
    norms = perturbation_norms(batch.pose, result.pose)
    if attack.budget.counts_points:  # also where it allows no point at all
        nothing = torch.zeros_like(norms["l2"])
        norms = {"dropped": nothing, "added": nothing, **norms}
    return {
        **measure(system, batch.with_pose(result.pose), seed),
        **{f"norm.{name}": value for name, value in norms.items()},
        "noise_pmd": noise_pmd(system, attack, batch, seed),
        "radius": attack.budget.radius(batch.pose.mask),
    }


def worse(
    seen: Victim, batch: Batch, last: AttackResult, new: AttackResult, seed: int
) -> AttackResult:
    """Per sample the pose with the higher PMD for what the attack sees; costs two looks more."""
    generator = generator_for(seed, "warm start", device=batch.pose.points.device)
    found = [
        pose_values(seen, batch, each.pose, objective=objective.pmd, generator=generator)
        for each in (last, new)
    ]
    pose, _ = better(last.pose, found[0], new.pose, found[1])
    return replace(new, pose=pose, forwards=new.forwards + 2 * draws_of(seen))


def kept_share(defense: Defense, pose: Clouds, seed: int) -> Tensor:
    """Share of each cloud's points that the defence keeps, (B,)."""
    generator = generator_for(seed, "defense", device=pose.points.device)
    return defense(pose, generator=generator).counts / pose.counts


def aggregate(values: dict[str, NDArray[np.float64]], *, attacked: bool) -> dict[str, Any]:
    """Per-sample values to what a record stores."""
    if not attacked:
        clean = {name.removeprefix("clean_"): column for name, column in values.items()}
        values |= {name: clean[name] for name in METRICS.working() if name in clean}
    metrics: dict[str, Any] = {}
    for name, column in values.items():
        group, _, leaf = name.rpartition(".")
        if group == "norm":
            metrics.setdefault("norms", {})[leaf] = {
                "mean": float(column.mean()),
                "max": float(column.max()),
                "per_sample": column.tolist(),
            }
        elif group == "trivial":
            metrics.setdefault("trivial", {})[leaf] = float(column.mean())
        elif name in ("kept", "clean_kept", "radius"):
            metrics[name] = float(column.mean())
        else:
            summary = summarise(column)
            metrics[name] = {
                "mean": summary.mean,
                "ci95": list(summary.ci95),
                "median": summary.median,
                "p95": summary.p95,
                "worst": summary.worst,
                "per_sample": column.tolist(),
            }
    if attacked:
        columns = (values["clean_pmd"], values["pmd"], values["noise_pmd"])
        metrics |= attack_metrics(*columns)
        metrics["intervals"] = attack_intervals(*columns)
    return metrics


def flags_of(metrics: dict[str, Any], *, distorted: bool = False) -> list[str]:
    """Reliability flags, see docs/flags.md: ``under-trained``, or ``near-trivial`` where the pose
    sources were ``distorted``; ``not-above-noise``."""
    flags = []
    easiest = min(metrics["trivial"].values())
    if metrics["clean_pmd"]["mean"] * TRAINED_FACTOR > easiest:
        flags.append("near-trivial" if distorted else "under-trained")
    moved = any(norm["max"] > 0 for norm in metrics.get("norms", {}).values())
    if metrics.get("gain_over_noise", float("inf")) <= 1 and moved:
        flags.append("not-above-noise")
    return flags
