"""Small victims, batches and attacks whose answers are known, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Generator, Tensor, nn

from posebench.attacks import ATTACKS, make_attack
from posebench.cloud import Clouds
from posebench.defenses import DEFENSES
from posebench.interfaces import Attack, AttackResult, Batch, Budget, Defense, Victim, VictimSpec
from posebench.norms import Norm
from posebench.rng import generator_for
from posebench.victims import VICTIMS, PoseTransferNetwork

SPEC = VictimSpec(
    name="toy", title="Toy", paper="none", stochastic=False, point_counts="free", masks=True
)
NETWORKS = [name for name in VICTIMS if not VICTIMS[name].spec.guided]
"""Victims that take any clouds; the others refuse those without correspondence."""
NORM_KEYS: dict[Norm, str] = {"l2": "l2", "linf": "linf", "l2_vertex": "l2_vertex"}
Answer = Callable[[Clouds, Clouds], Clouds]


@dataclass(frozen=True)
class Toy:
    """A victim from a function."""

    answer: Answer
    spec: VictimSpec = SPEC

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        return self.answer(pose, identity)


@dataclass(frozen=True)
class Cheat:
    """An attack that returns what a function makes of the clean pose."""

    budget: Budget
    move: Callable[[Clouds], Clouds]

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        return AttackResult(self.move(batch.pose))


def random_points(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 0.3 * torch.randn(*shape, 3, generator=generator_for(seed, "points")).to(dtype)


def random_batch(
    counts: tuple[int, ...] = (20, 13),
    width: int = 20,
    *,
    points: int = 20,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Poses padded to ``width``; identity and target full, of ``points`` points."""
    size = len(counts)
    mask = torch.arange(width) < torch.tensor(counts)[:, None]
    raw = random_points(size, width, seed=seed, dtype=dtype)
    return Batch(
        pose=Clouds.dense(raw) if bool(mask.all()) else Clouds.padded(raw, mask),
        identity=Clouds.dense(random_points(size, points, seed=seed + 1, dtype=dtype)),
        target=Clouds.dense(random_points(size, points, seed=seed + 2, dtype=dtype)),
        faces=torch.zeros(size, 1, 3, dtype=torch.int64),
        sample_ids=torch.arange(size) + 7,
    )


def affine(matrix: Tensor, offset: Tensor) -> Toy:
    """output = matrix @ flattened pose + offset, the same for every sample."""

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        return identity.replace((pose.points.flatten(1) @ matrix.T + offset).unflatten(1, (-1, 3)))

    return Toy(answer)


def small(name: str, spread: float = 0.4) -> PoseTransferNetwork:
    """A width-16 network with random weights and biases of this deviation, all switched on."""
    with torch.random.fork_rng():
        torch.manual_seed(1)  # noqa: TID251
        network = VICTIMS[name](16)
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0, spread)
    network.settle()
    return network.double().eval()


@dataclass
class Counting:
    """A victim that counts its calls and remembers every pose it was shown."""

    inner: Victim
    seen: list[Tensor]

    @property
    def spec(self) -> VictimSpec:
        return self.inner.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        self.seen.append(pose.points.detach().clone())
        return self.inner(pose, identity, generator=generator)


def _quick(name: str) -> Callable[[Budget], Attack]:
    effort = {"apgd": 6, "cube-apgd": 6, "cw": 6, "query": 25, "vertex-adam": 6}
    return lambda budget: make_attack(name, budget, effort.get(name))


APART = ("pt-ensemble", "universal", "drop", "add", "sparse", "transfer")
QUICK = {name: _quick(name) for name in ATTACKS if name not in APART}
"""Attacks that move the points of a batch, with little effort; the others have their own tests."""


def made_defense(name: str, **smaller: int) -> Defense:
    """The defence of this name with those of the settings that it has, such as fewer ``steps``.

    A skipped test where its library, an optional extra, is not installed.
    """
    if name == "mls":
        pytest.importorskip("compas_cgal", reason="needs compas_cgal, the extra mls")
    made = DEFENSES[name]()
    heeded = {key: value for key, value in smaller.items() if hasattr(made, key)}
    return replace(made, **heeded)  # type: ignore[type-var]
