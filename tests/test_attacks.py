"""Attacks: parity with released numbers, closed forms, budgets, and cheats that are stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast, get_args

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from posebench.attacks import (
    ATTACKS,
    FGM,
    IFGM,
    PGD,
    Noise,
    attack_name,
    pose_gradient,
    project,
    run_attack,
    steepest,
)
from posebench.benchmark.evaluation.metrics import perturbation_norms, pmd
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Attack, Batch, Budget
from posebench.norms import DistanceNorm, Unit
from posebench.objective import OBJECTIVES, mse
from posebench.rng import generator_for
from posebench.victims import EqualPoints, PoseTransferNetwork, import_released
from tests.parity_rule import reference, released_state
from tests.toys import (
    NORM_KEYS,
    QUICK,
    Answer,
    Cheat,
    Counting,
    Toy,
    affine,
    random_batch,
    random_points,
    small,
)

RELEASED = {"npt": ("npt_w32", "npt"), "gct": ("cgp_w32", "cgp"), "npt-mp": ("nptmp_w32", "nptmp")}


def released_case(name: str) -> tuple[PoseTransferNetwork, Batch]:
    data = reference(RELEASED[name][0])
    network = import_released(name, released_state(data))
    pose, identity = (
        torch.from_numpy(reference("npt_w32")[k]).transpose(1, 2).contiguous()
        for k in ("pose", "identity")
    )
    target = torch.from_numpy(reference("npt_w32")["gt"])
    return network, Batch(
        Clouds.dense(pose),
        Clouds.dense(identity),
        Clouds.dense(target),
        torch.zeros(2, 1, 3, dtype=torch.int64),
        torch.arange(2),
    )


@pytest.mark.parametrize("objective", ["mse", "pt", "log_mse"])
@pytest.mark.parametrize("name", RELEASED)
def test_fgm_equals_released_fgm(name: str, objective: str) -> None:
    network, batch = released_case(name)
    data, key = reference("attack_and_loss"), f"fgm_{RELEASED[name][1]}"
    attack = FGM(Budget(float(data[f"{key}_budget_l2"]), unit="total"), objective=objective)
    result = run_attack(attack, network, batch)
    expected = torch.from_numpy(data[f"{key}_adv_pose"]).transpose(1, 2)
    torch.testing.assert_close(result.pose.points, expected, rtol=0, atol=2e-6)
    assert (result.forwards, result.backwards) == (1, 1)
    with torch.no_grad():
        for pose, field in ((batch.pose, "mse_clean"), (result.pose, "mse_adv")):
            value = mse(network(pose, batch.identity), batch.target)
            np.testing.assert_allclose(value.numpy(), data[f"{key}_{field}"], rtol=1e-5)


@pytest.mark.parametrize(
    ("budget", "field"),
    [
        (Budget(1.0, "l2", "total"), "clip_l2_budget1"),
        (Budget(0.02, "l2_vertex"), "clip_perpoint_budget002"),
    ],
)
def test_projection_equals_released_clipping(budget: Budget, field: str) -> None:
    data = reference("attack_and_loss")
    clean = torch.from_numpy(reference("npt_w32")["pose"]).transpose(1, 2)
    moved = torch.from_numpy(data["clip_in"]).transpose(1, 2)
    projected = project(Clouds.dense(moved), Clouds.dense(clean), budget).points
    expected = torch.from_numpy(data[field]).transpose(1, 2)
    assert not torch.equal(moved, expected)
    torch.testing.assert_close(projected, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("norm", get_args(DistanceNorm))
def test_fgm_on_an_affine_victim_is_the_closed_form(norm: DistanceNorm) -> None:
    """M = |A x + b - t|^2 / 3n, so grad M = 2 A^T r / 3n, and M(x + d) is known exactly."""
    batch = random_batch()
    matrix = random_points(60, 20).reshape(60, 60)
    offset = random_points(20, seed=9).flatten()
    eps, n = 0.01, 20
    result = run_attack(FGM(Budget(eps, norm, "total")), affine(matrix, offset), batch)
    for i, count in enumerate((20, 13)):
        residual = matrix @ batch.pose.points[i].flatten() + offset
        residual = residual - batch.target.points[i].flatten()
        gradient = (2 / (3 * n) * matrix.T @ residual).reshape(20, 3)[:count]
        if norm == "l2":
            step = eps * gradient / gradient.norm()
            gain = eps * gradient.norm()
        elif norm == "linf":
            step = eps * gradient.sign()
            gain = eps * gradient.abs().sum()
        else:
            step = eps * gradient / gradient.norm(dim=1, keepdim=True)
            gain = eps * gradient.norm(dim=1).sum()
        delta = torch.zeros(20, 3).double()
        delta[:count] = step
        expected = batch.pose.points[i] + delta
        torch.testing.assert_close(result.pose.points[i], expected, rtol=0, atol=1e-13)
        before, after = (
            (matrix @ x.flatten() + offset - batch.target.points[i].flatten()).square().mean()
            for x in (batch.pose.points[i], result.pose.points[i])
        )
        curvature = (matrix @ delta.flatten()).square().mean()
        torch.testing.assert_close(after, before + gain + curvature)


def test_fgm_reaches_the_optimum_where_the_pose_enters_the_loss_linearly() -> None:
    """Output = pose + c along the residual: the best point of the ball is at its edge there."""
    batch = random_batch((20, 20))
    victim = Toy(lambda pose, identity: pose)
    eps = 0.05
    result = run_attack(FGM(Budget(eps, unit="total")), victim, batch)
    distance = (batch.pose.points - batch.target.points).flatten(1).norm(dim=1)
    best = (distance + eps).square() / 60
    torch.testing.assert_close(mse(result.pose, batch.target), best)


def test_gradient_agrees_with_central_differences() -> None:
    batch = random_batch((20, 20))
    for name in ("npt", "gct", "npt-mp", "posemae"):
        network = small(name)
        direction = random_points(2, 20, seed=5)
        for objective in OBJECTIVES.values():
            values, gradient = pose_gradient(network, batch, batch.pose, objective=objective)
            step = 1e-6
            with torch.no_grad():
                up, down = (
                    objective(
                        network(
                            batch.pose.replace(batch.pose.points + sign * step * direction),
                            batch.identity,
                        ),
                        batch.target,
                    )
                    for sign in (1, -1)
                )
            slope = (gradient * direction).sum(dim=(1, 2))
            torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-9)
            assert bool((slope.abs() > 1e-6 * values.abs()).all())


@pytest.mark.parametrize(
    ("budget", "radii"),
    [
        (Budget(0.08), (0.08 * math.sqrt(60), 0.08 * math.sqrt(39))),
        (Budget(0.08, "l2", "release"), (0.08 * math.sqrt(3 * 1024),) * 2),
        (Budget(0.08, "l2", "total"), (0.08, 0.08)),
        (Budget(0.08, "linf"), (0.08, 0.08)),
        (Budget(0.08, "linf", "total"), (0.08, 0.08)),
        (Budget(0.08, "l2_vertex"), (0.08, 0.08)),
    ],
)
@pytest.mark.parametrize("attack", ["fgm", "noise", "pgd"])  # I-FGM's steps add up along one line
def test_radius_of_each_unit_and_attacks_use_it_up(
    attack: str, budget: Budget, radii: tuple[float, float]
) -> None:
    batch = random_batch()
    assert budget.radius(batch.pose.mask).tolist() == pytest.approx(radii, rel=1e-12)
    victim = affine(random_points(60, 20).reshape(60, 60), torch.zeros(60).double())
    result = run_attack(ATTACKS[attack](budget), victim, batch)
    norms = perturbation_norms(batch.pose, result.pose)
    assert norms[NORM_KEYS[budget.norm]].tolist() == pytest.approx(radii, rel=1e-9)
    if budget.norm == "l2" and budget.unit == "rms":
        assert norms["rms"].tolist() == pytest.approx([0.08, 0.08], rel=1e-9)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 20),
    norm=st.sampled_from(get_args(DistanceNorm)),
    unit=st.sampled_from(get_args(Unit)),
    exponent=st.floats(-7, 1),
    offset=st.sampled_from([0.0, 3.0]),
    attack=st.sampled_from(["fgm", "noise", "leaves", "edge"]),
)
def test_budget_holds_on_the_stored_float32_tensor(
    seed: int,
    count: int,
    norm: DistanceNorm,
    unit: Unit,
    exponent: float,
    offset: float,
    attack: str,
) -> None:
    """However small the budget is against the coordinates, and whatever the attack returns."""
    budget = Budget(10**exponent, norm, unit if norm == "l2" else "total")
    batch = random_batch((count, 20), seed=seed, dtype=torch.float32)
    batch = batch.with_pose(Clouds.padded(batch.pose.points + offset, batch.pose.mask))
    victim = affine(random_points(60, 20).reshape(60, 60).float(), torch.zeros(60))
    radius = budget.radius(batch.pose.mask)
    noise = random_points(2, 20, seed=seed + 3, dtype=torch.float32)
    moves: dict[str, Attack] = {
        "fgm": FGM(budget),
        "noise": Noise(budget),
        "leaves": Cheat(budget, lambda pose: pose.replace(pose.points + 100 * noise)),
        "edge": Cheat(
            budget, lambda pose: pose.replace(pose.points + steepest(noise, budget, pose.mask))
        ),
    }
    result = run_attack(moves[attack], victim, batch)
    norms = perturbation_norms(batch.pose, result.pose)
    assert bool((norms[NORM_KEYS[norm]] <= radius * (1 + 1e-5)).all())
    assert bool((result.pose.points[~batch.pose.mask] == 0).all())
    again = project(result.pose, batch.pose, budget)
    assert torch.equal(again.points, result.pose.points), "what is inside is left alone"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), norm=st.sampled_from(get_args(DistanceNorm)))
def test_projection_is_the_nearest_point_of_the_ball(seed: int, norm: DistanceNorm) -> None:
    """The obtuse-angle rule: (x - Px) . (z - Px) <= 0 for every z of a convex set."""
    batch = random_batch((20, 20), seed=seed)
    budget = Budget(0.3, norm, "total")
    outside = batch.pose.replace(batch.pose.points + random_points(2, 20, seed=seed + 3))
    nearest = project(outside, batch.pose, budget).points
    inner = steepest(random_points(2, 20, seed=seed + 4), budget, batch.pose.mask)
    away = outside.points - nearest
    assert bool((away.flatten(1).norm(dim=1) > 0.1).all())
    for inside in (batch.pose.points, batch.pose.points + inner):
        assert bool(((away * (inside - nearest)).sum(dim=(1, 2)) <= 1e-12).all())


@pytest.mark.parametrize("norm", get_args(DistanceNorm))
@pytest.mark.parametrize("attack", [*QUICK, "cheat"])
def test_zero_budget_returns_the_clean_bits(attack: str, norm: DistanceNorm) -> None:
    budget = Budget(0.0, norm)
    batch = random_batch(dtype=torch.float32)
    batch.pose.points[0, 0] = -0.0
    moves = {
        "cheat": Cheat(budget, lambda pose: pose.replace(pose.points + 1)),
        **{name: make(budget) for name, make in QUICK.items()},
    }
    victim = affine(random_points(60, 20).reshape(60, 60).float(), torch.zeros(60))
    result = run_attack(moves[attack], victim, batch)
    bits = torch.int32
    assert torch.equal(result.pose.points.view(bits), batch.pose.points.view(bits))
    assert torch.equal(result.pose.mask, batch.pose.mask)


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda pose: pose.replace(pose.points * math.nan), "NaN or infinite"),
        (lambda pose: pose.replace(pose.points + math.inf), "NaN or infinite"),
        (lambda pose: Clouds.dense(pose.points[:, :-1]), "shape or mask"),
        (lambda pose: pose.select(slice(0, 1)), "shape or mask"),
        (lambda pose: pose.keep(torch.zeros_like(pose.mask)), "shape or mask"),
    ],
)
def test_cheating_attacks_are_refused(move: Callable[[Clouds], Clouds], message: str) -> None:
    with pytest.raises(InputError, match=f"Cheat .*{message}"):
        run_attack(Cheat(Budget(0.1), move), Toy(lambda pose, _: pose), random_batch())


def test_cheat_outside_the_ball_is_put_on_its_edge_and_cut_from_the_graph() -> None:
    batch = random_batch()
    far = batch.pose.points.clone().requires_grad_(True)
    cheat = Cheat(Budget(0.1), lambda pose: pose.replace(far + 50))
    result = run_attack(cheat, Toy(lambda pose, _: pose), batch)
    assert not result.pose.points.requires_grad
    expected = (batch.pose.points + 0.1).where(batch.pose.mask[..., None], torch.tensor(0.0))
    torch.testing.assert_close(result.pose.points, expected.double())


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_attack_leaves_the_victim_as_it_found_it(training: bool, wrap: bool) -> None:
    network = small("npt").train(training)
    parameters = list(network.parameters())
    parameters[3].requires_grad_(False)
    for number, parameter in enumerate(parameters[:3]):
        parameter.grad = torch.full_like(parameter, float(number))
    seen: list[tuple[bool, bool]] = []
    network.register_forward_pre_hook(
        lambda module, _: seen.append(
            (module.training, any(p.requires_grad for p in module.parameters()))
        )
    )
    network.get_submodule("stages.1").train(not training)
    modes = [module.training for module in network.modules()]
    victim = EqualPoints(network) if wrap else network
    run_attack(FGM(Budget(0.05)), victim, random_batch((20, 20)))
    assert seen == [(False, False)] * 2, "attacked in eval mode with frozen parameters"
    assert [module.training for module in network.modules()] == modes
    assert [p.requires_grad for p in parameters] == [i != 3 for i in range(len(parameters))]
    for number, parameter in enumerate(parameters):
        if number < 3:
            assert parameter.grad is not None
            assert bool((parameter.grad == number).all())
        else:
            assert parameter.grad is None


def test_victim_is_restored_even_if_it_fails() -> None:
    network = small("npt").train()
    with pytest.raises(InputError, match="equal point"):
        run_attack(FGM(Budget(0.05)), network, random_batch((20, 20), points=9))
    assert network.training
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("objective", ["mse", "pt", "log_mse"])  # pmd does not see shifts
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_perfect_fit_and_nearly_perfect_fit_stay_finite(dtype: torch.dtype, objective: str) -> None:
    batch = random_batch((20, 20), dtype=dtype)
    attack = FGM(Budget(0.05), objective=objective)
    zeros = batch.pose.replace(torch.zeros_like(batch.pose.points))  # small errors do not drown
    fitted = replace(batch, pose=zeros, target=zeros)
    for error in (0.0, 1e-12, 1e-4):

        def shifted(pose: Clouds, identity: Clouds, by: float = error) -> Clouds:
            return pose.replace(pose.points + by)

        victim = Toy(shifted)
        norms = perturbation_norms(zeros, run_attack(attack, victim, fitted).pose)
        assert norms["rms"].tolist() == pytest.approx([0.05 if error else 0.0] * 2, rel=1e-5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda pose, _: pose.detach(), "no gradient to the pose"),
        (lambda pose, identity: identity, "no gradient to the pose"),
        (lambda pose, _: pose.replace((pose.points - pose.points).sqrt()), "NaN or infinite"),
    ],
    ids=["detached", "ignores the pose", "gradient not finite"],
)
def test_victims_without_a_usable_gradient_are_refused(answer: Answer, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        run_attack(FGM(Budget(0.1)), Toy(answer), random_batch((20, 20)))
    assert "'toy'" in str(error.value)


def test_victim_with_parameters_of_its_own_that_ignores_the_pose_is_refused() -> None:
    weight = torch.ones(3).double().requires_grad_(True)
    victim = Toy(lambda _, identity: identity.replace(identity.points * weight))
    with pytest.raises(InputError, match="does not depend on the pose"):
        run_attack(FGM(Budget(0.1)), victim, random_batch())
    assert weight.grad is None


@pytest.mark.parametrize("attack", QUICK)
@pytest.mark.parametrize("norm", get_args(DistanceNorm))
def test_result_of_a_sample_does_not_depend_on_its_batch_or_padding(
    attack: str, norm: DistanceNorm
) -> None:
    network = small("npt-mp")
    batch = random_batch()
    run = QUICK[attack](Budget(0.05, norm))
    together = run_attack(run, network, batch, generator=generator_for(3)).pose.points
    for i, count in enumerate((20, 13)):
        one = slice(i, i + 1)
        alone = Batch(
            Clouds.dense(batch.pose.points[one, :count]),
            batch.identity.select(one),
            batch.target.select(one),
            batch.faces[one],
            batch.sample_ids[one],
        )
        points = run_attack(run, network, alone, generator=generator_for(3)).pose.points
        torch.testing.assert_close(together[one, :count], points, rtol=0, atol=1e-12)


def test_noise_follows_its_seed_and_its_distribution() -> None:
    batch = random_batch((3000, 2000), 3000, points=3000)
    victim = Toy(lambda pose, _: pose)

    def draw(norm: DistanceNorm, seed: int) -> Tensor:
        attack = Noise(Budget(0.05, norm))
        result = run_attack(attack, victim, batch, generator=generator_for(seed))
        return result.pose.points - batch.pose.points

    first = draw("l2", 0)
    assert torch.equal(first, draw("l2", 0))
    assert not torch.equal(first, draw("l2", 1))
    assert abs(float((first[0, :2000] * first[1, :2000]).mean())) < 0.05**2 / 10
    kurtosis = float((first[0] / 0.05).pow(4).mean())
    assert kurtosis == pytest.approx(3, abs=0.3), "Gaussian per coordinate"
    assert float(first[0].mean().abs()) < 0.05 / 30
    assert bool(torch.isclose(draw("linf", 0)[0].abs(), torch.tensor(0.05).double()).all())
    each = draw("l2_vertex", 0)[0].norm(dim=1)
    assert bool(torch.isclose(each, torch.tensor(0.05).double()).all())


@pytest.mark.parametrize("name", ["npt", "posemae"])
def test_small_budgets_raise_pmd_monotonously_and_beat_noise(name: str) -> None:
    network = small(name)
    batch = random_batch((20, 20))

    def reached(attack: Attack) -> Tensor:
        pose = run_attack(attack, network, batch, generator=generator_for(0)).pose
        with torch.no_grad():
            return mse(network(pose, batch.identity), batch.target)

    steps = [reached(FGM(Budget(eps))) for eps in (0.0, 1e-6, 1e-5, 1e-4, 1e-3)]
    for smaller, larger in zip(steps[:-1], steps[1:], strict=True):
        assert bool((larger > smaller).all())
    assert bool((steps[3] - steps[0] > 2 * (reached(Noise(Budget(1e-4))) - steps[0]).abs()).all())
    with torch.no_grad():
        clean = pmd(network(batch.pose, batch.identity), batch)
    assert bool(torch.isfinite(clean).all())


@pytest.mark.parametrize("eps", [math.nan, math.inf, -math.inf, -1e-9])
def test_budget_refuses_bad_eps(eps: float) -> None:
    with pytest.raises(InputError, match="finite number >= 0"):
        Budget(eps)


def test_budget_refuses_unknown_norm_and_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'release' is defined for norm 'l2' alone"):
        Budget(0.1, "linf", "release")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would complain first
    with pytest.raises(
        InputError, match=r"unknown norm 'l1'.*known are add, drop, l2, l2_vertex, linf"
    ):
        Budget(0.1, cast("DistanceNorm", "l1"))
    with pytest.raises(InputError, match="unknown eps unit 'mm': known are release, rms, total"):
        Budget(0.1, unit=cast("Unit", "mm"))


def test_registry_suggests_names_and_attacks_rebuild_from_their_repr() -> None:
    with pytest.raises(InputError, match="did you mean 'fgm'"):
        ATTACKS["fmg"]
    for name, make in ATTACKS.items():
        own = name in ("drop", "add", "sparse")
        budget = Budget(0.08, name) if own else Budget(0.08, "l2", "release")
        attack = make(budget)
        assert eval(repr(attack), {type(attack).__name__: type(attack), "Budget": Budget}) == attack
        assert attack_name(attack) == name


@pytest.mark.parametrize("norm", get_args(DistanceNorm))
def test_iterates_stay_around_the_clean_cloud_and_the_best_is_kept(norm: DistanceNorm) -> None:
    """Far steps, so that each projection works; the released PGD left its ball here."""
    batch = random_batch((20, 20))
    victim = Counting(small("npt-mp"), [])
    budget = Budget(0.05, norm)
    attack = PGD(budget, iterations=7, travel=9.0, start=1.0, restarts=2)
    result = run_attack(attack, victim, batch, generator=generator_for(1))
    assert (result.forwards, result.backwards) == (16, 14)
    assert len(victim.seen) == 16 + 1, "the library looks once more"
    values = []
    for points in victim.seen:
        moved = batch.pose.replace(points)
        norms = perturbation_norms(batch.pose, moved)[NORM_KEYS[norm]]
        assert (norms <= budget.radius(batch.pose.mask) * (1 + 1e-9)).all()
        values.append(mse(victim.inner(moved, batch.identity), batch.target))
    best = torch.stack(values).amax(dim=0)
    torch.testing.assert_close(result.loss, best.detach(), rtol=1e-9, atol=0)
    reached = mse(victim.inner(result.pose, batch.identity), batch.target).detach()
    torch.testing.assert_close(reached, best.detach(), rtol=1e-6, atol=0)
    assert not torch.equal(victim.seen[0], victim.seen[8]), "restarts start elsewhere"


def test_one_step_of_ifgm_is_fgm() -> None:
    batch, network = random_batch((20, 20)), small("npt")
    one = run_attack(IFGM(Budget(0.02), iterations=1), network, batch)
    fgm = run_attack(FGM(Budget(0.02)), network, batch)
    better = mse(network(fgm.pose, batch.identity), batch.target) > mse(
        network(batch.pose, batch.identity), batch.target
    )
    assert better.all()
    torch.testing.assert_close(one.pose.points, fgm.pose.points, rtol=0, atol=1e-12)


def test_pgd_climbs_to_the_known_maximum_of_a_linear_victim() -> None:
    """output = x: M = |x + d - t|^2 / 3n is largest at d = radius (x - t) / |x - t|."""
    batch = random_batch((20, 20))
    victim = affine(torch.eye(60).double(), torch.zeros(60).double())
    result = run_attack(PGD(Budget(0.1), iterations=30), victim, batch, generator=generator_for(2))
    apart = (batch.pose.points - batch.target.points).flatten(1).norm(dim=1)
    expected = (apart + 0.1 * math.sqrt(60)).square() / 60
    torch.testing.assert_close(result.loss, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"iterations": 0},
        {"restarts": 0},
        {"travel": -1.0},
        {"start": 1.5},
        {"momentum": -0.1},
        {"travel": float("nan")},
    ],
)
def test_iterative_attacks_refuse_bad_settings(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        PGD(Budget(0.1), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("attack", ["noise", "fgm"])
def test_clean_clouds_that_are_empty_or_not_finite_are_refused(attack: str) -> None:
    batch, victim = random_batch(), Toy(lambda pose, identity: identity)
    points = batch.pose.points.clone()
    points[0, 0] = torch.inf
    empty = torch.zeros_like(batch.pose.mask)
    for pose, part in (
        (batch.pose.replace(points), "pose source: coordinates must be finite"),
        (Clouds.padded(batch.pose.points, empty), "pose source: a cloud has no points"),
    ):
        with pytest.raises(InputError, match=part):
            run_attack(ATTACKS[attack](Budget(0.1)), victim, batch.with_pose(pose))
