"""What every gradient attack is built from: gradient to the pose, values, random directions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, Victim, VictimSpec
from posebench.objective import OBJECTIVES, Objective, mse
from posebench.rng import moved_to, sample_generators
from posebench.shapes import Float, Int


@dataclass(frozen=True)
class EOT:
    """A stochastic victim whose loss attacks average over ``draws`` calls.

    Expectation over transformations (Athalye et al., arXiv 1707.07397). A call is one draw.
    """

    victim: Victim
    draws: int = 8

    @property
    def spec(self) -> VictimSpec:
        return self.victim.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return self.victim(pose, identity, generator=generator)


def network_of(victim: Victim) -> nn.Module | None:
    """The network inside a victim's wrappers, which keep it in ``victim``; None where none is."""
    inner: object = victim
    while not isinstance(inner, nn.Module) and hasattr(inner, "victim"):
        inner = inner.victim
    return inner if isinstance(inner, nn.Module) else None


@contextmanager
def frozen(victim: Victim) -> Iterator[None]:
    """Eval mode and no parameter gradients inside, everything as before afterwards.

    Frozen parameters make the attack's backward pass about 1.6 times cheaper, and the training
    step that may surround it finds its parameters' gradients untouched. Looks through wrappers,
    see :func:`network_of`.
    """
    network = network_of(victim)
    if network is None:
        yield
        return
    modes = [(module, module.training) for module in network.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.eval()
    network.requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)


def pose_gradient(
    victim: Victim,
    batch: Batch,
    pose: Clouds,
    *,
    objective: Objective = mse,
    generator: Generator | None = None,
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b n 3"]]:
    """Objective per sample and its gradient to the pose's points, padding zero.

    One forward and one backward; of a victim behind ``EOT``, means over its draws
    (of the **loss**: the mean of outputs has a smaller error than outputs have on the mean).
    Samples do not mix: the objectives are summed. Whether the
    gradient is finite is not asked here, which would make training wait for the device:
    ``steepest`` passes NaN on and ``run_attack`` refuses it.

    Raises:
        InputError: if the output does not depend on the pose.
    """
    if isinstance(victim, EOT):
        found = [
            pose_gradient(victim.victim, batch, pose, objective=objective, generator=generator)
            for _ in range(victim.draws)
        ]
        means = (torch.stack(parts).mean(dim=0) for parts in zip(*found, strict=True))
        return next(means), next(means)
    points = pose.points.detach().requires_grad_(True)
    with frozen(victim), torch.enable_grad():
        output = victim(pose.replace(points), batch.identity, generator=generator)
        values = objective(output, batch.target)
        if not values.requires_grad:
            raise InputError(
                f"victim {victim.spec.name!r} gives no gradient to the pose: gradient attacks "
                "cannot be used on it"
            )
        (gradient,) = torch.autograd.grad(values.sum(), points, allow_unused=True)
    if gradient is None:
        raise InputError(f"the output of victim {victim.spec.name!r} does not depend on the pose")
    return values.detach(), gradient * pose.mask[..., None]


def pose_values(
    victim: Victim,
    batch: Batch,
    pose: Clouds,
    *,
    objective: Objective = mse,
    generator: Generator | None = None,
) -> Float[Tensor, "b"]:
    """Objective per sample, (B,), without its gradient; a mean over draws behind ``EOT``."""
    with torch.no_grad(), frozen(victim):
        found = [
            objective(victim(pose, batch.identity, generator=generator), batch.target)
            for _ in range(draws_of(victim))
        ]
    return torch.stack(found).mean(dim=0)


def draws_of(victim: Victim) -> int:
    """Calls that one look at the victim takes: those of ``EOT``, else one."""
    return victim.draws if isinstance(victim, EOT) else 1


def check_counts(attack: object, *names: str) -> None:
    """Raise InputError for an attack's setting that is not at least 1."""
    for name in names:
        if getattr(attack, name) < 1:
            raise InputError(f"{name} must be at least 1, got {getattr(attack, name)}")


def check_shares(attack: object, *names: str) -> None:
    """Raise InputError for an attack's setting that is not in 0..1."""
    for name in names:
        if not 0 <= getattr(attack, name) <= 1:
            raise InputError(f"{name} must be in 0..1, got {getattr(attack, name)}")


def check_objective(attack: object) -> None:
    """Raise InputError, with a suggestion, for an ``objective`` that is not registered."""
    OBJECTIVES[attack.objective]  # type: ignore[attr-defined]


def random_direction(
    pose: Clouds, sample_ids: Int[Tensor, "b"], generator: Generator | None
) -> Float[Tensor, "b n 3"]:
    """Standard normal draws on real points, zero on padding, from each sample's own generator.

    One draw per real point, so that the length of the padding does not shift a sample's draws. The
    device is asked for the number of points only where there is padding.
    """
    own, size = sample_generators(generator, sample_ids), pose.points.shape[1]
    counts = [size] * len(own) if pose.full else pose.counts.tolist()
    each = [torch.randn(count, 3, generator=g) for count, g in zip(counts, own, strict=True)]
    draws = moved_to(pose.points, torch.nn.utils.rnn.pad_sequence(each, batch_first=True))
    if pose.full:
        return draws
    number = (pose.mask.cumsum(dim=1) - 1).clamp_min(0)[..., None].expand(-1, -1, 3)
    return draws.gather(1, number).where(pose.mask[..., None], draws.new_zeros(()))
