"""What is not left to an attack: the budget, the value at the end, the count of its questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from posebench.attacks import (
    APGD,
    CW,
    EOT,
    FGM,
    IFGM,
    MIFGM,
    PGD,
    Noise,
    Restarts,
    attack_version,
    make_attack,
    pose_gradient,
    run_attack,
)
from posebench.attacks.enforce import bounded
from posebench.attacks.gradient import network_of, pose_values
from posebench.attacks.restarts import random_start
from posebench.benchmark.evaluation.metrics import perturbation_norms
from posebench.benchmark.training.adversarial import Adversarial, attack_rows
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import AttackResult, Batch, Budget, Victim
from posebench.objective import mse, pmd
from posebench.rng import generator_for
from posebench.victims.wrappers import EqualPoints
from tests.toys import QUICK, Counting, Toy, random_batch, small

Way = Callable[[Victim, Batch], None]


def look(victim: Victim, batch: Batch) -> None:
    victim(batch.pose, batch.identity)


def gradient(victim: Victim, batch: Batch) -> None:
    pose_gradient(victim, batch, batch.pose)


def one_sample(victim: Victim, batch: Batch) -> None:
    look(victim, batch.select(slice(0, 1)))


def one_leaf_again(victim: Victim, batch: Batch) -> None:
    """Two looks and one backward, three times, all on one tensor."""
    points = batch.pose.points.clone().requires_grad_(True)
    pose = batch.pose.replace(points)
    for _ in range(3):
        total = sum(victim(pose, batch.identity).points.square().sum() for _ in range(2))
        torch.autograd.grad(total, points)  # type: ignore[arg-type]


def backward_through_parameters_alone(victim: Victim, batch: Batch) -> None:
    network = network_of(victim)
    assert network is not None
    output = victim(batch.pose, batch.identity).points.sum()
    torch.autograd.grad(output, next(network.parameters()))


def network_inside(victim: Victim, batch: Batch) -> None:
    network = network_of(victim)
    assert network is not None
    pose_gradient(network, batch, batch.pose)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Liar:
    """Asks in some ways, says that it asked nothing, and claims more than it found."""

    budget: Budget
    ways: tuple[Way, ...]
    objective: str = "mse"

    def __call__(
        self, victim: Victim, batch: Batch, *, generator: Generator | None = None
    ) -> AttackResult:
        for way in self.ways:
            way(victim, batch)
        far = batch.pose.replace(batch.pose.points + 3.0 * batch.pose.mask[..., None])
        return AttackResult(far, torch.full((len(batch),), 1e9), forwards=0, backwards=0)


@pytest.mark.parametrize("wrap", [lambda net: net, EqualPoints, lambda net: EOT(net, 1)])
@pytest.mark.parametrize(
    ("ways", "forwards", "backwards"),
    [
        ((), 0, 0),
        ((look, look, gradient), 3, 1),
        ((one_sample, one_sample, one_sample), 2, 0),  # three rows over two samples
        ((one_leaf_again,), 6, 6),
        ((backward_through_parameters_alone,), 1, 0),
        ((network_inside, look), 2, 1),
    ],
)
def test_nothing_is_believed_from_an_attack(
    ways: tuple[Way, ...], forwards: int, backwards: int, wrap: Callable[[Any], Victim]
) -> None:
    network, batch = small("npt-mp"), random_batch((20, 20))
    result = run_attack(Liar(Budget(0.1), ways), wrap(network), batch)
    assert (result.forwards, result.backwards) == (forwards, backwards)
    rms = perturbation_norms(batch.pose, result.pose)["rms"]
    torch.testing.assert_close(rms, torch.full_like(rms, 0.1))
    value = mse(network(result.pose, batch.identity), batch.target).detach()
    torch.testing.assert_close(result.loss, value)
    assert not network._forward_pre_hooks, "no hook stays behind"


def test_each_draw_is_counted_and_the_last_look_is_from_fresh_draws() -> None:
    batch = random_batch((20, 20))

    class Drawing(Toy):
        def __call__(self, pose: Clouds, identity: Clouds, *, generator: Any = None) -> Clouds:
            return identity.replace(pose.points * (1 + torch.randn(1, generator=generator)))

    victim = EOT(Drawing(lambda pose, _: pose), 5)
    attack = Liar(Budget(0.1), (gradient,))
    result = run_attack(attack, victim, batch, generator=generator_for(1))
    assert (result.forwards, result.backwards) == (5, 5)
    drawn = pose_values(victim, batch, result.pose, generator=generator_for(1))
    assert not torch.equal(drawn, result.loss)
    again = run_attack(attack, victim, batch, generator=generator_for(1))
    assert torch.equal(again.loss, result.loss)  # type: ignore[arg-type]


def test_something_else_than_a_result_is_refused() -> None:
    def wrong(victim: Victim, batch: Batch, *, generator: Generator | None = None) -> Clouds:
        return batch.pose

    wrong.budget = Budget(0.1)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"must return an AttackResult .* returned Clouds"):
        run_attack(wrong, Toy(lambda pose, _: pose), random_batch())  # type: ignore[arg-type]


# ---- C&W and draws


def test_cw_averages_over_draws() -> None:
    """Two draws of opposite sign around the target: one draw alone would never succeed."""
    batch = random_batch((20, 20))
    signs = iter([0.01, 0.2] * 1000)

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        shift = torch.zeros_like(batch.target.points)
        shift[:, :10] = next(signs)
        return batch.target.replace(batch.target.points + shift + 0 * pose.points)

    counting = Counting(Toy(answer), [])
    attack = CW(Budget(0.1), searches=2, iterations=3)
    _, values, _ = attack.smallest(EOT(counting, 2), batch)
    both = [pmd(answer(batch.pose, batch.identity), batch.target) for _ in range(2)]
    torch.testing.assert_close(values, torch.stack(both).mean(dim=0))
    assert len(counting.seen) == 2 * 2 * 3
    result = run_attack(attack, EOT(counting, 2), batch)
    assert (result.forwards, result.backwards) == (12, 12)


# ---- training


class Asked(Exception):
    """Something was asked for that a device would have to be waited for."""


class NoQuestions(TorchFunctionMode):
    """Raises where Python would need the value of a tensor; sample ids may be read."""

    def __init__(self, ids: Tensor) -> None:
        super().__init__()
        self.ids = ids

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        questions = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero",
                     "equal", "masked_select", "cpu", "numpy", "unique"}  # fmt: skip
        own = args and isinstance(args[0], Tensor) and args[0].data_ptr() == self.ids.data_ptr()
        if name in questions and not own:
            raise Asked(name)
        if name in ("__getitem__", "__setitem__"):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(each, Tensor) and each.dtype == torch.bool for each in index):
                raise Asked("index by a mask")
        return func(*args, **(kwargs or {}))


def test_questions_are_noticed() -> None:
    points, ids = torch.ones(3), torch.arange(2)
    for ask in (
        lambda: bool(points.any()),
        lambda: points.tolist(),
        lambda: points[points > 0],
        lambda: torch.equal(points, points),
        lambda: float(points[0]),
    ):
        with pytest.raises(Asked), NoQuestions(ids):
            ask()


@pytest.mark.parametrize("norm", ["l2", "l2_vertex"])
@pytest.mark.parametrize(
    "attack",
    [
        FGM,
        Noise,
        lambda budget: PGD(budget, iterations=2, restarts=2),
        lambda budget: MIFGM(budget, iterations=2),
        lambda budget: APGD(budget, iterations=6, restarts=2),
    ],
)
def test_gradient_attacks_and_their_enforcement_ask_the_device_nothing(
    attack: Callable[[Budget], Any], norm: Any
) -> None:
    network, batch = small("npt-mp"), random_batch((20, 20))
    with NoQuestions(batch.sample_ids):
        pose, _ = bounded(attack(Budget(0.1, norm)), network, batch, generator=generator_for(0))
    moved = perturbation_norms(batch.pose, pose)["rms" if norm == "l2" else norm]
    assert (moved <= 0.1 * (1 + 1e-9)).all()
    assert (moved > 0).any()


def test_training_projects_and_counts_like_everything_else() -> None:
    network, batch = small("npt-mp").float(), random_batch((20,) * 4, dtype=torch.float32)
    adversarial = Adversarial("fgm", 0.1, clean_share=0.5)
    first, poses, _ = attack_rows(
        network,
        adversarial,
        (batch.pose.points, batch.identity.points, batch.target.points),
        ids=torch.arange(4),
        attack=Liar(Budget(0.1), (look,)),
        seed=0,
        generator=generator_for(0),
    )
    assert first == 2
    assert torch.equal(poses[:2], batch.pose.points[:2])
    moved = (poses[2:] - batch.pose.points[2:]).double().square().mean(dim=(1, 2)).sqrt()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=1e-5, atol=0)


# ---- restarts


@pytest.mark.parametrize("length", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("counts", [(20, 20), (20, 13)])
def test_random_starts_are_as_long_as_asked(length: float, counts: tuple[int, ...]) -> None:
    batch = random_batch(counts)
    start = random_start(batch.pose, Budget(0.1), batch.sample_ids, generator_for(0), length=length)
    rms = perturbation_norms(batch.pose, start)["rms"]
    torch.testing.assert_close(rms, torch.full_like(rms, 0.1 * length))
    assert torch.equal(start.points[~start.mask], torch.zeros_like(start.points[~start.mask]))
    for row in range(2):
        part = batch.select(slice(row, row + 1))
        alone = random_start(
            part.pose, Budget(0.1), part.sample_ids, generator_for(0), length=length
        )
        torch.testing.assert_close(alone.points, start.points[row : row + 1])


@pytest.mark.parametrize(
    ("ascent", "inner", "first"),
    [
        (PGD(Budget(0.1), iterations=3, start=0.5, restarts=4), PGD(Budget(0.1), 3), 0.5),
        (APGD(Budget(0.1), iterations=5, restarts=4), APGD(Budget(0.1), iterations=5), 0.0),
        (None, IFGM(Budget(0.1), iterations=3, objective="pmd"), 0.0),
    ],
)
def test_restarts_compose_with_any_ascent(ascent: Any, inner: Any, first: float) -> None:
    """What PGD and APGD do themselves, and each run alone is no better than all together."""
    network, batch = small("npt-mp"), random_batch((20, 13))
    later = first or 1.0
    attack = Restarts(inner, 4, first=first, later=later)
    assert attack.budget == inner.budget
    assert eval(repr(attack), globals()) == attack
    result = run_attack(attack, network, batch, generator=generator_for(2))
    if ascent is not None:
        own = run_attack(ascent, network, batch, generator=generator_for(2))
        assert torch.equal(own.pose.points, result.pose.points)
        assert (own.forwards, own.backwards) == (result.forwards, result.backwards)
    ends = []
    for number in range(4):
        length = later if number else first
        start = random_start(
            batch.pose, inner.budget, batch.sample_ids,
            generator_for(generator_for(2).initial_seed(), "restart", number), length=length,
        )  # fmt: skip
        ends.append(inner.climb(network, batch, start, None)[1])
    torch.testing.assert_close(result.loss, torch.stack(ends).amax(dim=0))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"first": 1.5}, {"later": -0.1}])
def test_bad_restarts_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Restarts(PGD(Budget(0.1)), **wrong)


# ---- versions and objectives


def test_every_attack_has_a_version() -> None:
    for make in QUICK.values():
        assert attack_version(make(Budget(0.1))) >= 1
    assert attack_version(Liar(Budget(0.1), ())) == 1

    class Second(Liar):
        version = 2

    assert attack_version(Second(Budget(0.1), ())) == 2


@pytest.mark.parametrize("name", ["fgm", "pgd", "ifgm", "apgd", "query", "universal", "transfer"])
def test_unknown_objectives_are_refused_with_a_suggestion(name: str) -> None:
    make = type(make_attack(name, Budget(0.1)))
    with pytest.raises(InputError, match="unknown objective 'alligned': did you mean 'aligned'"):
        make(Budget(0.1), objective="alligned")  # type: ignore[call-arg]
