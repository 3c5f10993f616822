"""What a victim's outputs are worth on a batch: metrics per sample, the contract checked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from posebench.attacks import Noise
from posebench.attacks.enforce import checked
from posebench.attacks.gradient import frozen
from posebench.benchmark.data.task import PairTask
from posebench.benchmark.evaluation.metrics import METRICS, pmd
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch, Metric, Victim
from posebench.rng import generator_for

NOISE_DRAWS = 3
"""Random perturbations of the attack's own budget that ``gain_over_noise`` takes the worst of."""

EVALUATION_DRAWS = 5
"""Draws of a stochastic victim that every evaluated number is a mean over."""


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


def measure(
    victim: Victim, batch: Batch, seed: int, metrics: Mapping[str, Metric] | None = None
) -> dict[str, Tensor]:
    """Per-sample metrics of one batch; of a stochastic victim, means over fresh draws.

    Without ``metrics``, all that are registered and can be used.
    """
    metrics = METRICS.working() if metrics is None else metrics
    draws = EVALUATION_DRAWS if victim.spec.stochastic else 1
    outputs = [predict(victim, batch, seed, draw) for draw in range(draws)]
    return {
        name: torch.stack([metric(output, batch) for output in outputs]).mean(dim=0)
        for name, metric in metrics.items()
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


def noise_pmd(
    victim: Victim, attack: Attack, batch: Batch, seed: int, metric: str = "pmd"
) -> Tensor:
    """Worst PMD, or other ``metric``, of each sample over random perturbations of the attack's
    budget, (B,)."""
    noise = Noise(attack.budget)
    draws = [
        checked(noise, victim, batch, generator=generator_for(seed, "noise", draw))[0]
        for draw in range(NOISE_DRAWS)
    ]
    asked = {metric: METRICS[metric]}
    values = [measure(victim, batch.with_pose(pose), seed, asked)[metric] for pose in draws]
    return torch.stack(values).amax(dim=0)


def trivial_pmd(pairs: PairTask, batch: Batch) -> dict[str, Tensor]:
    """PMD of the three answers that need no skill; every table prints them."""
    outputs = pairs.trivial_outputs(batch.sample_ids.cpu())
    device = batch.pose.points.device
    return {name: pmd(output.to(device), batch) for name, output in outputs.items()}
