"""A victim with one pair as a classifier of images in [0, 1], for attacks of other libraries.

    x = (pose - low) / (high - low)        as (R, 3, n, 1), an image n pixels high and one wide
    z = (M - tau) / tau                    logits (-z / 2, z / 2), right label 0

M is the objective, PMD or PMD after the best translation. Class 1 means broken, M > tau, and the
cross entropy of label 0 is softplus(z). It grows with M everywhere, so its gradient has M's
direction; dividing by tau keeps it from vanishing, since z >= -1, where the slope of softplus is
0.27.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from posebench.attacks.gradient import draws_of, frozen
from posebench.errors import InputError
from posebench.interfaces import Batch, Victim
from posebench.objective import OBJECTIVES
from posebench.shapes import Float


@dataclass(frozen=True)
class Box:
    """Where poses are shown.

    Attributes:
        low, high: coordinates in metres that become 0 and 1.
        cap: how far a vertex may move, metres; None for as far as it will.
    """

    low: float
    high: float
    cap: float | None = None


class PoseClassifier(nn.Module):
    """One pair of a victim as a classifier of scaled poses; made by :func:`as_classifier`.

    The rows of what it is given are poses for the same pair, any number of them.
    """

    def __init__(
        self,
        victim: Victim,
        sample: Batch,
        box: Box,
        tau: float,
        objective: str,
        generator: Generator | None,
    ) -> None:
        super().__init__()
        # In a tuple it is no submodule: train() and zero_grad() do not reach the victim.
        self._victim = (victim,)
        self._sample = sample
        self._box, self._tau = box, tau
        self._objective = OBJECTIVES[objective]
        self._generator = generator
        # The libraries ask the parameters where the model is.
        points = sample.pose.points
        self.device_mark = nn.Parameter(points.new_zeros(()), requires_grad=False)

    def scaled(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "1 3 n 1"]:
        """Metres to the box."""
        low, high = self._box.low, self._box.high
        return ((points - low) / (high - low)).mT[None, :, :, None].contiguous()

    def metres(self, step: Float[Tensor, "1 3 n 1"]) -> Float[Tensor, "n 3"]:
        """A displacement in the box, in metres."""
        return step[0, :, :, 0].mT * (self._box.high - self._box.low)

    def forward(self, x: Float[Tensor, "r 3 n 1"]) -> Float[Tensor, "r 2"]:
        """Logits of "holds" and "broken"."""
        (victim,), clean = self._victim, self._sample.pose
        low, high = self._box.low, self._box.high
        points = self._capped(low + (high - low) * x[..., 0].mT.to(clean.points.dtype))
        rows = self._sample.select(torch.zeros(len(x), dtype=torch.int64, device=x.device))
        real = rows.pose.points.new_zeros(rows.pose.points.shape)
        real[rows.pose.mask] = points.flatten(0, 1)
        pose = rows.pose.replace(real)
        with frozen(victim):
            values = torch.stack(
                [
                    self._objective(
                        victim(pose, rows.identity, generator=self._generator), rows.target
                    )
                    for _ in range(draws_of(victim))
                ]
            ).mean(dim=0)
        if points.requires_grad and not values.requires_grad:
            raise InputError(
                f"victim {victim.spec.name!r} gives no gradient to the pose: gradient attacks "
                "cannot be used on it"
            )
        z = (values - self._tau) / self._tau
        return torch.stack([-z / 2, z / 2], dim=1)

    def _capped(self, points: Float[Tensor, "r n 3"]) -> Float[Tensor, "r n 3"]:
        """Real points that moved further than the cap, taken back to it; gradients pass."""
        if self._box.cap is None:
            return points
        clean = self._sample.pose.points[self._sample.pose.mask]
        moved = points - clean
        length = moved.norm(dim=2, keepdim=True).clamp_min(1e-30)
        held: Tensor = clean + moved * (self._box.cap / length).clamp_max(1)
        return held


def as_classifier(
    victim: Victim,
    batch: Batch,
    *,
    low: float,
    high: float,
    tau: float = 1e-3,
    objective: str = "pmd",
    cap: float | None = None,
    generator: Generator | None = None,
) -> PoseClassifier:
    """A batch of one sample as a two-class ``nn.Module`` over (R, 3, n, 1), n its real points.

    ``low`` and ``high`` are the coordinates in metres that become 0 and 1, ``tau`` the
    ``objective`` in square metres above which class 1 wins. With a ``cap`` the victim meets every
    vertex that moved further at the cap, in metres. The victim's mode, ``.grad`` and
    ``requires_grad`` stay as they are, whatever is done to the module.

    Raises:
        InputError: for more than one sample, an empty box, or a tau that is not positive.
    """
    if len(batch) != 1:
        raise InputError(f"a classifier is made of one sample, got {len(batch)}: use batch.select")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"the box needs low < high, got {low} and {high}")
    if not (math.isfinite(tau) and tau > 0):
        raise InputError(f"tau must be a positive number, got {tau}")
    return PoseClassifier(victim, batch, Box(low, high, cap), tau, objective, generator).eval()
