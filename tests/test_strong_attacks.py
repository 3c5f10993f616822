"""APGD, C&W, query attacks and the smallest eps: closed forms and orderings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from posebench.attacks import APGD, CW, FGM, PGD, Noise, Query, run_attack
from posebench.attacks.apgd import checkpoints
from posebench.attacks.cw import Term
from posebench.attacks.minimum import minimum_eps
from posebench.benchmark.evaluation.metrics import perturbation_norms
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, Budget, Victim
from posebench.norms import DistanceNorm
from posebench.objective import OBJECTIVES
from posebench.rng import generator_for
from tests.toys import NORM_KEYS, Counting, Toy, affine, random_batch, small


def reached(victim: Victim, batch: Batch, pose: Clouds, objective: str = "pmd") -> Tensor:
    return OBJECTIVES[objective](victim(pose, batch.identity), batch.target).detach()


@pytest.mark.parametrize("norm", get_args(DistanceNorm))
def test_apgd_stays_in_the_ball_keeps_the_best_and_counts_its_calls(norm: DistanceNorm) -> None:
    batch, budget = random_batch((20, 20)), Budget(0.05, norm)
    victim = Counting(small("npt-mp"), [])
    attack = APGD(budget, iterations=12, restarts=2)
    result = run_attack(attack, victim, batch, generator=generator_for(1))
    assert (result.forwards, result.backwards) == (26, 24)
    assert torch.equal(victim.seen.pop(), result.pose.points), "the library's own look"
    assert len(victim.seen) == 26
    for points in victim.seen:
        norms = perturbation_norms(batch.pose, batch.pose.replace(points))[NORM_KEYS[norm]]
        assert (norms <= budget.radius(batch.pose.mask) * (1 + 1e-9)).all()
    values = torch.stack(
        [reached(victim.inner, batch, batch.pose.replace(points)) for points in victim.seen]
    )
    torch.testing.assert_close(result.loss, values.amax(dim=0), rtol=1e-9, atol=0)
    torch.testing.assert_close(
        reached(victim.inner, batch, result.pose), result.loss, rtol=1e-9, atol=0
    )
    assert torch.equal(victim.seen[0], batch.pose.points)
    assert not torch.equal(victim.seen[13], batch.pose.points), "restarts start elsewhere"


def test_checkpoints_are_those_of_the_paper() -> None:
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("name", ["npt", "npt-mp", "gct", "posemae"])
def test_one_step_of_apgd_is_fgm_and_more_never_end_below_it(name: str) -> None:
    batch, network, budget = random_batch((20, 20)), small(name), Budget(0.05)
    fgm = run_attack(FGM(budget, objective="pmd"), network, batch)
    one = run_attack(APGD(budget, iterations=1), network, batch)
    values = reached(network, batch, fgm.pose)
    up = values > reached(network, batch, batch.pose)
    torch.testing.assert_close(one.pose.points[up], fgm.pose.points[up], rtol=0, atol=1e-12)
    many = run_attack(APGD(budget, iterations=15), network, batch)
    assert (reached(network, batch, many.pose) >= values * (1 - 1e-12)).all()


def test_apgd_climbs_to_the_known_maximum_of_a_linear_victim() -> None:
    """output = x: M = |x + d - t|^2 / 3n is largest at d = radius (x - t) / |x - t|."""
    batch = random_batch((20, 20))
    victim = affine(torch.eye(60).double(), torch.zeros(60).double())
    result = run_attack(APGD(Budget(0.1), iterations=40, objective="mse"), victim, batch)
    apart = (batch.pose.points - batch.target.points).flatten(1).norm(dim=1)
    expected = (apart + 0.1 * math.sqrt(60)).square() / 60
    torch.testing.assert_close(result.loss, expected, rtol=1e-6, atol=0)


def bumpy() -> Toy:
    """A victim with many local maxima, on which constant steps get stuck."""
    wave = torch.randn(60, 60, generator=generator_for(5)).double() / 4
    return Toy(
        lambda pose, identity: identity.replace(
            torch.sin(3 * pose.points.flatten(1) @ wave).unflatten(1, (-1, 3))
        )
    )


def test_apgd_with_the_same_gradients_is_stronger_than_pgd_on_the_whole() -> None:
    batch = random_batch((20,) * 32)
    found = {
        attack.__class__: reached(bumpy(), batch, run_attack(attack, bumpy(), batch).pose)
        for attack in (APGD(Budget(0.1), iterations=40), PGD(Budget(0.1), iterations=40))
    }
    assert found[APGD].mean() > 1.01 * found[PGD].mean()


@pytest.mark.parametrize("method", ["search", "nes"])
def test_query_attacks_need_no_gradient_and_beat_noise(method: Any) -> None:
    batch, network = random_batch((20, 20)), small("npt-mp")
    victim = Counting(Toy(lambda pose, identity: network(pose.detach(), identity).detach()), [])
    with pytest.raises(InputError, match="gives no gradient"):
        run_attack(FGM(Budget(0.05)), victim, batch)
    victim.seen.clear()
    attack = Query(Budget(0.05), iterations=150, method=method)
    result = run_attack(attack, victim, batch, generator=generator_for(2))
    assert result.backwards == 0
    assert len(victim.seen) == result.forwards + 1 <= 151
    found = reached(victim, batch, result.pose)
    torch.testing.assert_close(found, result.loss, rtol=1e-9, atol=0)
    noise = torch.stack(
        [
            reached(
                victim,
                batch,
                run_attack(Noise(Budget(0.05)), victim, batch, generator=generator_for(s)).pose,
            )
            for s in range(20)
        ]
    )
    assert (found > noise.median(dim=0).values).all()
    few = run_attack(replace(attack, iterations=22), victim, batch, generator=generator_for(2))
    assert few.loss is not None
    assert result.loss is not None
    assert few.loss.mean() < result.loss.mean()
    attack = Query(Budget(0.05), iterations=1)  # the clean pose alone
    one = run_attack(attack, victim, batch)
    assert torch.equal(one.pose.points, batch.pose.points)


def ramp(batch: Batch, tau: float) -> tuple[Toy, Tensor]:
    """output = target + (0.5 + w . (pose - clean)) u: a victim whose smallest step is known.

    u moves the inner vertices of the target alone, so centring by the bounding box changes
    nothing, and half of the way to tau is gone from the start. Returns the RMS step as well.
    """
    size, entries = len(batch), batch.pose.points[0].numel()
    w = torch.randn(entries, generator=generator_for(1)).double()
    target = batch.target.points
    low, high = target.amin(dim=1, keepdim=True), target.amax(dim=1, keepdim=True)
    inner = ((2 * target - low - high).abs() < 0.8 * (high - low)).all(dim=2, keepdim=True)
    u = inner * torch.randn(size, entries // 3, 3, generator=generator_for(2)).double()
    u = u * math.sqrt(tau * entries) / u.flatten(1).norm(dim=1)[:, None, None]
    u, clean = 0.05 * u, batch.pose.points

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        rows = [int((target == row).flatten(1).all(dim=1).nonzero()) for row in identity.points]
        moved = ((pose.points - clean[rows]).flatten(1) @ w)[:, None, None]
        return identity.replace(target[rows] + (10 + moved) * u[rows])

    rms = 10 / w.norm() / math.sqrt(entries)
    return Toy(answer), rms.expand(size)


@pytest.mark.parametrize("term", get_args(Term))
def test_cw_and_bisection_find_the_smallest_step_of_a_known_victim(term: Any) -> None:
    tau = 1e-4
    batch = random_batch((20, 20))
    batch = replace(batch, identity=batch.target)  # tells the victim which sample it sees
    victim, expected = ramp(batch, tau)
    attack = CW(Budget(0.5), tau=tau, searches=10, iterations=200, rate=0.005, term=term)
    found, values, rms = attack.smallest(victim, batch, generator=generator_for(3))
    assert (values > tau).all()
    torch.testing.assert_close(perturbation_norms(batch.pose, found)["rms"], rms)
    torch.testing.assert_close(rms, expected, rtol=0.03, atol=0)
    eps = minimum_eps(lambda eps: FGM(Budget(eps)), victim, batch, largest=1.0, tau=tau, rounds=16)
    torch.testing.assert_close(eps, expected, rtol=1e-3, atol=0)


def test_cw_is_projected_and_reports_what_it_cannot_break() -> None:
    batch = random_batch((20, 13))
    attack = CW(Budget(0.001), tau=1e3, searches=2, iterations=3)
    result = run_attack(attack, small("npt-mp"), batch)
    assert (perturbation_norms(batch.pose, result.pose)["rms"] <= 0.001 * (1 + 1e-9)).all()
    *_, rms = attack.smallest(small("npt-mp"), batch)
    assert torch.isinf(rms).all()


def test_smallest_eps_at_its_ends() -> None:
    batch, network = random_batch((20, 20)), small("npt-mp")
    clean = reached(network, batch, batch.pose)
    search = {"victim": network, "batch": batch, "rounds": 2}
    eps = minimum_eps(lambda e: FGM(Budget(e)), largest=0.1, tau=float(clean.min()) / 2, **search)
    assert eps.tolist() == [0, 0]
    eps = minimum_eps(lambda e: FGM(Budget(e)), largest=1e-9, tau=1e3, **search)
    assert torch.isinf(eps).all()
    for bad in ({"largest": 0.0}, {"largest": 0.1, "tau": math.nan}, {"largest": 0.1, "rounds": 0}):
        with pytest.raises(InputError, match=list(bad)[-1]):
            minimum_eps(lambda e: FGM(Budget(e)), **{**search, **bad})


@pytest.mark.parametrize(
    ("make", "changes", "part"),
    [
        (APGD, {"iterations": 0}, "iterations must be"),
        (APGD, {"restarts": 0}, "restarts must be"),
        (CW, {"tau": -1.0}, "tau must be"),
        (CW, {"rate": math.inf}, "rate must be"),
        (CW, {"searches": 0}, "searches must be"),
        (Query, {"iterations": 0}, "iterations must be"),
        (Query, {"iterations": 21, "method": "nes"}, "one step of nes takes 22 iterations"),
    ],
)
def test_bad_settings_are_refused(make: Any, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        make(Budget(0.1), **changes)
