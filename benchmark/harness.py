"""From victim, attack and defence to a record: the one place where numbers are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.attacks import EOT, Noise, attack_name, run_attack
from posebench.attacks.gradient import frozen
from posebench.benchmark.anny import PoseTransferTask, load_task
from posebench.benchmark.metrics import (
    METRICS,
    attack_intervals,
    attack_metrics,
    perturbation_norms,
    pmd,
    summarise,
)
from posebench.benchmark.record import Record, environment, make_record
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch, Defense, Victim
from posebench.registry import unknown
from posebench.rng import generator_for
from posebench.victims.wrappers import Defended, EqualPoints

Access = Literal["oblivious", "adaptive", "straight-through", "transfer"]

NOISE_DRAWS = 3
"""Random perturbations of the attack's own budget that ``gain_over_noise`` takes the worst of."""

EVALUATION_DRAWS = 5
"""Draws of a stochastic victim that every evaluated number is a mean over."""

EOT_DRAWS = 8
"""Draws that attacks on a stochastic victim average their loss over; never those of evaluation."""

TRAINED_FACTOR = 2.0
"""A victim whose clean PMD does not beat every trivial baseline by this is under-trained."""


@dataclass(frozen=True)
class VictimSource:
    """Where a victim's weights came from, for the record.

    Attributes:
        size: registry key, such as "compact".
        training: "clean", "adversarial", "noise", "imported" or "given".
        recipe: of the run that made the weights, None where unknown.
        network: constructor arguments of a built-in network, None for others.
        weights_sha256: of the weights file, None for a victim that has none.
    """

    size: str | None = None
    training: str = "given"
    recipe: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    weights_sha256: str | None = None


def evaluate(
    victim: Victim,
    *,
    attack: Attack | None = None,
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
) -> Record:
    """Clean and attacked metrics of a victim on the first ``samples`` pairs of a task.

    The clean numbers are taken with the defence on, as a user would run it. ``access`` says what
    the attack sees: "oblivious" the bare victim, "adaptive" the victim with its defence,
    "straight-through" the same with the defence's gradient taken as the identity's, "transfer"
    the ``surrogate`` alone. Results do not depend on ``batch_size``. ``progress`` is called with
    each batch's length.

    Raises:
        InputError: unknown task or access, counts out of range, or a victim that misbehaves.
    """
    if batch_size < 1:
        raise InputError(f"batch size must be at least 1, got {batch_size}")
    pairs = load_task(task, samples=samples, vertices=vertices)
    bare = victim
    victim = bare if defense is None else Defended(bare, defense)
    attacked_victim = seen_by_attack(bare, defense, access, surrogate)
    if victim.spec.stochastic:
        # A draw belongs to a sample, whatever the batch: so one sample at a time.
        batch_size = 1
    draws = EVALUATION_DRAWS if victim.spec.stochastic else 1
    eot = EOT_DRAWS if attacked_victim.spec.stochastic else 1
    if eot > 1:
        attacked_victim = EOT(attacked_victim, eot)
    rows: dict[str, list[Tensor]] = {}
    cost = {"forwards": 0, "backwards": 0}

    def collect(prefix: str, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            rows.setdefault(prefix + name, []).append(value.detach().double().cpu())

    for ids in torch.arange(samples).split(min(batch_size, samples)):
        batch = pairs.batch(ids).to(device)
        collect("clean_", measure(victim, batch, seed))
        collect("trivial.", trivial_pmd(pairs, batch))
        if defense is not None:
            cleaned = defense(batch.pose, generator=generator_for(seed, "defense", device=device))
            collect("", {"clean_kept": cleaned.counts / batch.pose.counts})
        if attack is not None:
            generator = generator_for(seed, "attack", device=device)
            result = run_attack(attack, attacked_victim, batch, generator=generator)
            cost = {"forwards": eot * result.forwards, "backwards": eot * result.backwards}
            attacked = batch.with_pose(result.pose)
            collect("", measure(victim, attacked, seed))
            collect("norm.", perturbation_norms(batch.pose, result.pose))
            collect("", {"noise_pmd": noise_pmd(victim, attack, batch, seed)})
            collect("", {"radius": attack.budget.radius(batch.pose.mask)})
            if defense is not None:
                cleaned = defense(
                    result.pose, generator=generator_for(seed, "defense", device=device)
                )
                collect("", {"kept": cleaned.counts / batch.pose.counts})
        if progress is not None:
            progress(len(ids))
    values = {name: torch.cat(parts).numpy() for name, parts in rows.items()}
    source = source or VictimSource()
    cell = {
        "task": task,
        "samples": samples,
        "fingerprint": pairs.fingerprint,
        "vertices": vertices,
        "victim": bare.spec.name,
        "size": source.size,
        "training": source.training,
        "recipe": source.recipe,
        "network": source.network,
        "weights_sha256": source.weights_sha256,
        "attack": None if attack is None else attack_name(attack),
        "attack_settings": None if attack is None else repr(attack),
        "eps": None if attack is None else attack.budget.eps,
        "eps_unit": None if attack is None else attack.budget.unit,
        "norm": None if attack is None else attack.budget.norm,
        "defense": None if defense is None else type(defense).__name__.lower(),
        "defense_settings": None if defense is None else repr(defense),
        "access": access if surrogate is None else f"{access} from {surrogate.spec.name}",
        "wrappers": wrappers(victim),
        "seed": seed,
        "draws": draws,
    }
    metrics = aggregate(values, attacked=attack is not None)
    return make_record(cell, metrics, flags_of(metrics), cost, environment(device))


def seen_by_attack(
    victim: Victim, defense: Defense | None, access: str, surrogate: Victim | None
) -> Victim:
    """The victim whose gradients and outputs an attack with this access gets.

    Raises:
        InputError: unknown access, or one that lacks its surrogate or defence.
    """
    if access not in get_args(Access):
        raise unknown("access", access, get_args(Access))
    if (access == "transfer") != (surrogate is not None):
        raise InputError("access 'transfer' and a surrogate go together: give both or neither")
    if surrogate is not None:
        return surrogate
    if access == "straight-through" and defense is None:
        raise InputError("access 'straight-through' needs a defence")
    if access == "oblivious" or defense is None:
        return victim
    return Defended(victim, defense, straight_through=access == "straight-through")


def predict(victim: Victim, batch: Batch, seed: int, draw: int = 0) -> Clouds:
    """The victim's output in eval mode; its own randomness follows seed, draw and samples.

    Raises:
        InputError: if a cloud is empty or not finite, or the victim returns another shape or NaN.
    """
    batch.pose.check_finite("pose source")
    batch.identity.check_finite("identity")
    keys = ("victim", draw, *batch.sample_ids.tolist()) if victim.spec.stochastic else ("victim",)
    generator = generator_for(seed, *keys, device=batch.pose.points.device)
    with torch.no_grad(), frozen(victim):
        output = victim(batch.pose, batch.identity, generator=generator)
    check_output(victim, output, batch)
    return output


def measure(victim: Victim, batch: Batch, seed: int) -> dict[str, Tensor]:
    """All per-sample metrics of one batch; of a stochastic victim, means over fresh draws."""
    draws = EVALUATION_DRAWS if victim.spec.stochastic else 1
    outputs = [predict(victim, batch, seed, draw) for draw in range(draws)]
    return {
        name: torch.stack([metric(output, batch) for output in outputs]).mean(dim=0)
        for name, metric in METRICS.items()
    }


def check_output(victim: Victim, output: Clouds, batch: Batch) -> None:
    """One clear error for a victim that breaks the contract."""
    if output.points.shape != batch.target.points.shape:
        raise InputError(
            f"victim {victim.spec.name!r} returned {tuple(output.points.shape)}, expected the "
            f"identity's {tuple(batch.target.points.shape)}"
        )
    if not bool(torch.isfinite(output.points).all()):
        raise InputError(f"victim {victim.spec.name!r} returned NaN or infinite coordinates")


def noise_pmd(victim: Victim, attack: Attack, batch: Batch, seed: int) -> Tensor:
    """Worst PMD of each sample over random perturbations of the attack's budget, (B,)."""
    noise = Noise(attack.budget)
    draws = [
        run_attack(noise, victim, batch, generator=generator_for(seed, "noise", draw)).pose
        for draw in range(NOISE_DRAWS)
    ]
    values = [pmd(predict(victim, batch.with_pose(pose), seed), batch) for pose in draws]
    return torch.stack(values).amax(dim=0)


def trivial_pmd(pairs: PoseTransferTask, batch: Batch) -> dict[str, Tensor]:
    """PMD of the three answers that need no skill; every table prints them."""
    outputs = pairs.trivial_outputs(batch.sample_ids.cpu())
    device = batch.pose.points.device
    return {name: pmd(output.to(device), batch) for name, output in outputs.items()}


def aggregate(values: dict[str, NDArray[np.float64]], *, attacked: bool) -> dict[str, Any]:
    """Per-sample values to what a record stores."""
    if not attacked:
        for name in METRICS:
            values[name] = values[f"clean_{name}"]
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


def flags_of(metrics: dict[str, Any]) -> list[str]:
    """Reliability flags: ``under-trained`` and ``not-above-noise``; see docs/flags.md."""
    flags = []
    easiest = min(metrics["trivial"].values())
    if metrics["clean_pmd"]["mean"] * TRAINED_FACTOR > easiest:
        flags.append("under-trained")
    if metrics.get("gain_over_noise", float("inf")) <= 1 and metrics["norms"]["rms"]["max"] > 0:
        flags.append("not-above-noise")
    return flags


def wrappers(victim: Victim) -> list[str]:
    """Names of the wrappers around a victim, outermost first."""
    names: list[str] = []
    while isinstance(victim, (Defended, EqualPoints)):
        names.append(type(victim).__name__)
        inner = victim.victim
        if isinstance(victim, Defended) and not inner.spec.masks:
            names.append(EqualPoints.__name__)
        victim = inner
    return names
