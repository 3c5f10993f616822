"""Running an attack the safe way. What an attack returns is a pose, and that alone is taken from
it: the library projects it onto the budget, counts what the attack asked of the victim, and looks
at the projected pose itself.

* :func:`bounded` projects and counts, and asks the device nothing: for training.
* :func:`checked` also refuses what no attack may return, or no victim may be shown.
* :func:`run_attack` evaluates the objective once more, at the pose that is returned.
"""

from __future__ import annotations

import torch
from torch import Generator

from posebench.attacks.counting import Calls, counting
from posebench.attacks.gradient import pose_values
from posebench.attacks.point_counts import enforce_counts
from posebench.attacks.projection import project
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, AttackResult, Batch, Victim
from posebench.objective import OBJECTIVES
from posebench.rng import generator_for


def run_attack(
    attack: Attack, victim: Victim, batch: Batch, *, generator: Generator | None = None
) -> AttackResult:
    """Attack the batch's poses; the result is inside the attack's budget, whatever it returned.

    ``loss`` is the attack's ``objective`` at the returned pose, or PMD where it has none; of a
    stochastic victim from fresh draws. What that look costs is the library's and not counted.
    A budget of zero returns the clean poses bit for bit.

    Raises:
        InputError: as :func:`checked`.
    """
    pose, calls = checked(attack, victim, batch, generator=generator)
    fresh = None
    if generator is not None:
        fresh = generator_for(generator.initial_seed(), "re-evaluation", device=generator.device)
    objective = OBJECTIVES[getattr(attack, "objective", "pmd")]
    loss = pose_values(victim, batch, pose, objective=objective, generator=fresh)
    return AttackResult(pose, loss, *calls.per_sample(len(batch)), calls.effort)


def checked(
    attack: Attack, victim: Victim, batch: Batch, *, generator: Generator | None = None
) -> tuple[Clouds, Calls]:
    """The attacked poses inside the budget, and the victim's calls.

    Raises:
        InputError: if a clean cloud is empty or not finite, or if the attack changes shape or
            mask, returns something else or a coordinate that is not finite.
    """
    batch.pose.check_finite("pose source")
    batch.identity.check_finite("identity")
    pose, calls = as_returned(attack, victim, batch, generator)
    clean, name = batch.pose.detach(), type(attack).__name__
    if attack.budget.counts_points:
        pose = enforce_counts(pose, clean, attack.budget, name)
    elif pose.points.shape != clean.points.shape or not torch.equal(pose.mask, clean.mask):
        raise InputError(f"{name} changed the shape or mask of the pose, which it must not")
    if not bool(torch.isfinite(pose.points).all()):
        raise InputError(
            f"{name} returned coordinates that are NaN or infinite; so may be the gradient of "
            f"victim {victim.spec.name!r}"
        )
    if not attack.budget.counts_points:
        pose = project(pose, clean, attack.budget)
    return pose, calls


def bounded(
    attack: Attack, victim: Victim, batch: Batch, *, generator: Generator | None = None
) -> tuple[Clouds, Calls]:
    """As :func:`checked`, unchecked: nothing here waits for the device.

    Raises:
        InputError: for a budget of points to drop or add, which only checks can enforce.
    """
    pose, calls = as_returned(attack, victim, batch, generator)
    return project(pose, batch.pose.detach(), attack.budget), calls


def as_returned(
    attack: Attack, victim: Victim, batch: Batch, generator: Generator | None
) -> tuple[Clouds, Calls]:
    """What the attack makes of the poses, wherever it lies, and the victim's calls.

    Raises:
        InputError: if it returns something else than an ``AttackResult``.
    """
    with counting(victim) as (shown, calls):
        result = attack(shown, batch, generator=generator)
    if not isinstance(result, AttackResult):
        name, made = type(attack).__name__, type(result).__name__
        raise InputError(f"{name} must return an AttackResult with the pose, returned {made}")
    calls.effort = result.effort
    return result.pose.detach(), calls
