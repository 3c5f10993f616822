"""Threat models and what is new inside them: sparse and smooth budgets, Adam a vertex, rounds."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from posebench.attacks import (
    APGD,
    FGM,
    Noise,
    PTEnsemble,
    Sparse,
    VertexAdam,
    make_attack,
    project,
    run_attack,
)  # fmt: skip
from posebench.attacks.apgd import CubeAPGD
from posebench.attacks.convergence import ENOUGH, LEAST, Found
from posebench.attacks.projection import box, smooth_basis
from posebench.attacks.restarts import random_start
from posebench.benchmark.cli import options
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.evaluation.settings import EvaluationSettings, checked
from posebench.benchmark.records.flags import BOX_FACTOR, flags_of
from posebench.benchmark.records.form import record_to_json
from posebench.benchmark.records.store import parse_record, read_records, record_path
from posebench.benchmark.reports.published import COMMITTED
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, Budget, Victim
from posebench.objective import aligned
from posebench.rng import generator_for
from posebench.threats import HEADLINE, THREATS, find_threat, threat_of
from posebench.victims import load_network
from tests.made_records import made
from tests.toys import Counting, Toy, random_batch, small

SHAPED = {"sparse": Budget(0.2, "sparse"), "smooth": Budget(0.05, "smooth")}


def inside(clean: Clouds, pose: Clouds, budget: Budget) -> None:
    """The budget's own definition, apart from the projection."""
    moved = pose.points - clean.points
    assert not moved[~clean.mask].any()
    if budget.norm == "sparse":
        assert ((moved != 0).any(dim=2).sum(dim=1) <= budget.radius(clean.mask)).all()
        low, high = box(clean)
        real = clean.mask[..., None]
        assert ((pose.points >= low) | ~real).all()
        assert ((pose.points <= high) | ~real).all()
        return
    assert (moved.norm(dim=2) <= budget.eps * (1 + 1e-6)).all()
    for row, points, real in zip(moved, clean.points, clean.mask, strict=True):
        own = smooth_basis(Clouds.dense(points[None, real]))[0]
        rest = row[real] - own @ (own.mT @ row[real])
        assert rest.norm() <= 1e-6 * row.norm()


@pytest.mark.parametrize("norm", SHAPED)
@pytest.mark.parametrize("counts", [(40, 40), (40, 33)])
def test_projections_keep_members_and_find_the_set(norm: str, counts: tuple[int, int]) -> None:
    batch, budget = random_batch(counts, 40), SHAPED[norm]
    clean = batch.pose
    wild = clean.replace(clean.points + torch.randn(2, 40, 3, generator=generator_for(1)) * 0.5)
    wild = wild.replace(torch.where(clean.mask[..., None], wild.points, clean.points))
    found = project(wild, clean, budget)
    inside(clean, found, budget)
    assert (found.points != clean.points).any(dim=2).any(dim=1).all()
    again = project(found, clean, budget)
    torch.testing.assert_close(again.points, found.points, rtol=0, atol=1e-12)
    noise = random_start(clean, budget, batch.sample_ids, generator_for(2))
    inside(clean, noise, budget)
    assert (noise.points != clean.points).any(dim=2).any(dim=1).all()


def test_the_nearest_sparse_cloud_keeps_the_furthest_points() -> None:
    clean = random_batch((10, 10), 10).pose
    step = torch.zeros_like(clean.points)
    step[:, 3], step[:, 5], step[:, 8] = 0.01, 0.02, 0.03
    low, high = box(clean)
    aimed = clean.replace((clean.points + step).clamp(low, high))
    found = project(aimed, clean, Budget(0.2, "sparse"))
    length = (aimed.points - clean.points).norm(dim=2)
    expected = length.topk(2, dim=1).indices.sort(dim=1).values
    moved = (found.points != clean.points).any(dim=2)
    for row, kept in zip(moved, expected, strict=True):
        assert set(row.nonzero()[:, 0].tolist()) <= set(kept.tolist())


def test_smooth_fields_are_smooth() -> None:
    """Neighbours move alike: no field differs by more than the gradient of its Gaussians allows."""
    clean = random_batch((200,), 200).pose
    noise = random_start(clean, Budget(0.05, "smooth"), torch.tensor([1]), generator_for(0))
    moved = (noise.points - clean.points)[0]
    near = torch.cdist(clean.points[0], clean.points[0])
    apart = torch.cdist(moved, moved)
    close = (near > 0) & (near < 0.02)
    assert apart[close].max() < 0.35 * moved.norm(dim=1).max()


def test_ball_attacks_refuse_what_is_no_ball_and_name_what_does() -> None:
    batch = random_batch((20, 20))
    for norm, name in (("sparse", "sparse"), ("smooth", "vertex-adam")):
        with pytest.raises(InputError, match=name):
            run_attack(FGM(SHAPED[norm]), small("npt-mp"), batch)
    with pytest.raises(InputError, match="needs norm 'sparse'"):
        Sparse(Budget(0.1))
    with pytest.raises(InputError, match="use attack 'sparse'"):
        VertexAdam(SHAPED["sparse"])
    with pytest.raises(InputError, match="use attack 'drop'"):
        PTEnsemble(Budget(0.1, "drop"))
    with pytest.raises(InputError, match="not 'mse'"):
        PTEnsemble(Budget(0.1), objective="mse")
    with pytest.raises(InputError, match="share of points below 1"):
        Budget(1.0, "sparse")


def echo(batch: Batch) -> Toy:
    """A victim that errs by exactly what is done to the pose: output - target = pose - clean."""
    clean, target = batch.pose.points, batch.target.points
    return Toy(lambda pose, identity: identity.replace(pose.points - clean + target))


def test_the_ensemble_finds_the_worst_case_that_is_known() -> None:
    """The error after the best translation of +-r displacements is r^2 / 3: half of the points go
    one way, half the other. At the clean pose the gradient is zero."""
    batch = random_batch((20,), 20)
    radius = 0.02
    attack = PTEnsemble(Budget(radius, "l2_vertex"), objective="aligned")
    result = run_attack(attack, echo(batch), batch, generator=generator_for(3))
    assert result.loss is not None
    assert float(result.loss) >= 0.98 * radius**2 / 3
    assert float(result.loss) <= radius**2 / 3 * (1 + 1e-9)


@pytest.mark.parametrize("threat", THREATS)
def test_the_ensemble_is_no_weaker_than_its_first_round_and_says_what_it_spent(threat: str) -> None:
    asked = find_threat(threat)
    budget = replace(asked.budget, eps=0.1) if asked.budget.norm == "sparse" else asked.budget
    batch, network = random_batch((20, 20)), small("npt-mp")
    attack = PTEnsemble(budget, objective=asked.objective, most=600)
    result = run_attack(attack, network, batch, generator=generator_for(4))
    assert result.loss is not None
    assert result.effort is not None
    inside_ball = project(result.pose, batch.pose, budget)
    torch.testing.assert_close(inside_ball.points, result.pose.points, rtol=0, atol=1e-7)
    first = next(chain(attack.opening(), attack.rounds(signs=False)))
    alone = first.ascent.climb(network, batch, batch.pose, generator_for(0))[1]
    if first.start == "clean":
        assert (result.loss >= alone * (1 - 1e-9)).all()
    spent = result.effort.gradients
    assert (spent >= LEAST).all()
    assert spent.double().mean() <= result.backwards
    late = result.effort.late_gain
    assert ((late < ENOUGH) | (spent == attack.most)).all()


def test_rounds_of_few_points_look_at_different_places(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, starts = random_batch((20,), 20), []
    real = Sparse.climb

    def climb(self: Sparse, *given: Any) -> Any:
        end, values = real(replace(self, iterations=1, looks=6), *given)
        starts.append(end.points)
        return end, values

    monkeypatch.setattr(Sparse, "climb", climb)
    attack = PTEnsemble(SHAPED["sparse"], objective="aligned", most=150)
    run_attack(attack, small("npt-mp"), batch, generator=generator_for(7))
    assert len(starts) == 3
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[1], starts[2])


def test_samples_go_on_by_the_steps_that_took_them_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second sample climbs by signs alone; then only its rounds are by signs."""
    batch, met = random_batch((20, 20)), []
    stays = batch.sample_ids[0]

    def climb(self: APGD | VertexAdam, victim: Victim, part: Batch, *_: Any) -> Any:
        signs = isinstance(self, CubeAPGD)
        met.append((signs, self.iterations, part.sample_ids.tolist()))
        moved = torch.zeros_like(part.pose.points)
        if signs:
            moved[part.sample_ids != stays] = 0.01
        return part.pose.replace(part.pose.points + moved), None

    monkeypatch.setattr(APGD, "climb", climb)
    monkeypatch.setattr(VertexAdam, "climb", climb)
    monkeypatch.setattr(PTEnsemble, "worth", lambda _, output, __: output.points.exp().sum((1, 2)))
    attack = PTEnsemble(Budget(0.02, "l2_vertex"), most=650)
    run_attack(attack, Toy(lambda pose, _: pose), batch, generator=generator_for(5))
    first, second = batch.sample_ids.tolist()
    assert met[:6] == [*[(False, 20, [first, second])] * 4, (False, 70, [first, second]),
                       (True, 50, [first, second])]  # fmt: skip
    assert [each for each in met[6:] if first in each[2]] == [(False, 200, [first])] * 2
    by_signs = [each for each in met[6:] if second in each[2]]
    assert by_signs[:3] == [(True, 200, [second]), (True, 100, [second]), (False, 100, [second])]


@pytest.mark.parametrize("most", [30, 230])
def test_the_ensemble_spends_no_more_than_it_may(most: int) -> None:
    batch = random_batch((20, 20))
    attack = PTEnsemble(Budget(0.02, "l2_vertex"), objective="aligned", most=most)
    result = run_attack(attack, echo(batch), batch, generator=generator_for(6))
    assert result.effort is not None
    assert result.effort.gradients.tolist() == [most, most]
    assert result.backwards == most


def test_an_ensemble_does_not_depend_on_its_batch_and_eps_0_is_the_clean_pose() -> None:
    batch, network = random_batch((20, 20)), small("npt-mp")
    attack = PTEnsemble(Budget(0.02, "l2_vertex"), objective="aligned", most=200)
    both = run_attack(attack, network, batch, generator=generator_for(5))
    for row in range(2):
        part = batch.select(slice(row, row + 1))
        alone = run_attack(attack, network, part, generator=generator_for(5))
        torch.testing.assert_close(alone.pose.points[0], both.pose.points[row], rtol=0, atol=1e-9)
    none = replace(attack, budget=Budget(0.0, "l2_vertex"))
    still = run_attack(none, network, batch, generator=generator_for(5)).pose
    assert torch.equal(still.points, batch.pose.points)


def test_the_last_third_is_that_of_each_sample() -> None:
    found = Found(torch.tensor([1.0, 1.0]))
    everybody = torch.arange(2)
    found.add(everybody, torch.tensor([2.0, 1.0]), 300)
    assert found.going_on(900).all(), "too early to tell"
    found.add(everybody, torch.tensor([2.0, 3.0]), 300)
    assert found.spent.tolist() == [600, 600]
    # Two thirds of 600 are 400: the value after 300 counts.
    torch.testing.assert_close(found.late_gain(), torch.tensor([0.0, 2.0]))
    assert found.going_on(900).tolist() == [False, True]
    assert not found.going_on(600).any()
    found.add(torch.tensor([1]), torch.tensor([3.0]), 300)
    torch.testing.assert_close(found.late_gain(), torch.tensor([0.0, 0.0]))
    assert not found.going_on(900).any()
    assert found.spent.tolist() == [600, 900]


def test_adam_a_vertex_turns_with_the_body() -> None:
    """The shared second moment makes a climb on a rotated scene the rotated climb."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator_for(8)).double()).Q
    batch = random_batch((20, 20))
    scale = torch.rand(20, 1, generator=generator_for(9)).double()

    def scene(matrix: Tensor) -> tuple[Toy, Batch]:
        def answer(pose: Clouds, identity: Clouds) -> Clouds:
            return identity.replace(identity.points + 0.5 * scale * pose.points)

        moved = replace(
            batch,
            pose=batch.pose.replace(batch.pose.points @ matrix.T),
            identity=batch.identity.replace(batch.identity.points @ matrix.T),
            target=batch.target.replace(batch.target.points @ matrix.T),
        )
        return Toy(answer), moved

    attack = VertexAdam(Budget(0.02, "l2_vertex"), iterations=8, objective="aligned")
    plain, straight = scene(torch.eye(3).double())
    same, turned = scene(turn)
    first = attack(plain, straight).pose.points
    second = attack(same, turned).pose.points
    torch.testing.assert_close(first @ turn.T, second, rtol=0, atol=1e-12)


def test_sparse_moves_what_hurts_and_keeps_the_rest() -> None:
    """A victim that looks at one point alone: that point must be found."""
    batch = random_batch((20, 20))

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        pull = pose.points[:, 4:5] - batch.pose.points[: len(pose.points), 4:5]
        sign = torch.linspace(-1, 1, 20, dtype=pull.dtype)[None, :, None]
        return identity.replace(batch.target.points + sign * pull)

    attack = Sparse(Budget(0.05, "sparse"), objective="aligned")
    result = run_attack(attack, Toy(answer), batch, generator=generator_for(1))
    moved = (result.pose.points != batch.pose.points).any(dim=2)
    assert moved.sum(dim=1).tolist() == [1, 1]
    assert moved[:, 4].all()
    corner = torch.maximum(
        *(
            (side - batch.pose.points[:, 4:5]).abs().amax(dim=2, keepdim=True)
            for side in box(batch.pose)
        )
    )
    reached = (result.pose.points - batch.pose.points)[:, 4].norm(dim=1)
    assert (reached >= 0.9 * corner[:, 0, 0]).all()


def test_restarts_of_sparse_look_elsewhere_and_starts_do_not_see_padding() -> None:
    batch, budget = random_batch((20, 20)), SHAPED["sparse"]
    victim = Counting(small("npt-mp"), [])
    attack = Sparse(budget, iterations=1, restarts=2, looks=5)
    attack(victim, batch, generator=generator_for(1))
    looks = [*victim.seen[:5], *victim.seen[7:12]]
    assert all(not torch.equal(a, b) for a, b in combinations(looks, 2))
    wide = batch.pose.widened(30)
    plain, padded = (
        random_start(clean, budget, batch.sample_ids, generator_for(2)).points[:, :20]
        for clean in (batch.pose, wide)
    )
    assert torch.equal(plain, padded)


def test_help_and_page_know_every_threat_model() -> None:
    """Both name them by hand: help must not import torch, and the page has words of its own."""
    (option,) = get_args(options.Threat)[1:]
    assert all(name in option.help for name in THREATS)
    page = (Path(__file__).resolve().parent.parent / "docs" / "threats.md").read_text("utf-8")
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == list(THREATS)


def test_clean_numbers_are_no_centring_artefact() -> None:
    """The factor stands well above what any committed clean pairs give; stray points of distorted
    pose sources do pull the box."""
    records = [each for each in read_records(COMMITTED) if "@" not in each.cell.task]
    clean = [each.metrics.clean for each in records if "pmd_aligned" in each.metrics.clean]
    ratios = [each["pmd"].mean / each["pmd_aligned"].mean for each in clean]
    assert len(ratios) > 16
    assert 1 < max(ratios) < 0.9 * BOX_FACTOR


def test_threat_models_are_found_by_name_and_by_what_they_are() -> None:
    assert all(find_threat(name) is threat for name, threat in THREATS.items())
    assert set(HEADLINE) <= set(THREATS)
    for threat in THREATS.values():
        assert threat_of(threat.budget, threat.metric) is threat
    assert threat_of(Budget(0.03), "pmd") is None
    with pytest.raises(InputError, match="did you mean 'point-2cm'"):
        find_threat("points-2cm")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eps": (0.03,)}, "decides eps"),
        ({"norm": "linf"}, "decides norm"),
        ({"objective": "pmd"}, "decides objective"),
        ({"threat": "point-3cm"}, "unknown threat model"),
        ({"attack": "none", "threat": None, "objective": "pmd"}, "--objective needs an attack"),
        ({"attack": "noise", "threat": None, "objective": "pmd"}, "takes no objective"),
        ({"threat": None, "objective": "pdm"}, "did you mean 'pmd'"),
    ],
)
def test_what_a_threat_model_decides_is_not_given_twice(
    settings: dict[str, Any], words: str
) -> None:
    base = {"victim": "npt", "attack": "fgm", "threat": "point-2cm"}
    with pytest.raises(InputError, match=words):
        checked(EvaluationSettings(**{**base, **settings}))


def test_a_threat_model_is_short_for_norm_eps_and_metric() -> None:
    short = EvaluationSettings("npt", attack="apgd", threat="point-5cm")
    long = EvaluationSettings("npt", attack="apgd", eps=(0.05,), norm="l2_vertex")
    long = replace(long, objective="aligned")
    assert checked(short) == checked(long)
    (attack,) = checked(short).made_attacks()
    assert attack == APGD(Budget(0.05, "l2_vertex"), objective="aligned")
    (noise,) = checked(replace(short, attack="noise")).made_attacks()
    assert noise == Noise(Budget(0.05, "l2_vertex"))
    assert make_attack("fgm", Budget(0.1), objective="aligned") == FGM(
        Budget(0.1), objective="aligned"
    )


def test_a_record_is_judged_by_the_metric_that_its_attack_maximises() -> None:
    network, _ = load_network("npt-mp")
    asked = find_threat("point-2cm")
    attack = PTEnsemble(asked.budget, objective="aligned", most=1)
    record = evaluate(network, attack=attack, samples=2)
    under = record.metrics.attack
    assert under is not None
    cell = record_to_json(record)["cell"]
    assert cell["metric"] == "pmd_aligned"
    assert cell["attack_version"] == PTEnsemble.version
    ratio = [
        a / n
        for a, n in zip(
            record.metrics.attacked["pmd_aligned"].per_sample, under.noise_pmd.per_sample,
            strict=True,
        )
    ]  # fmt: skip
    assert under.rates["gain_over_noise"] == pytest.approx(sum(ratio) / 2)
    assert under.effort is not None
    assert under.effort.gradients == (1, 1)
    assert "not-converged" in record.flags
    assert parse_record(record_to_json(record), "here") == record
    assert under.norms["l2_vertex"].max <= 0.02 * (1 + 1e-6)


def test_flags_of_an_attack_that_went_on_and_of_one_that_moved_the_box() -> None:
    record = made(attack="fgm", pmd=(0.01, 0.02))
    under = record.metrics.attack
    assert under is not None
    assert "centring-artefact" not in record.flags
    aligned_ones = {"pmd_aligned": replace(record.metrics.pmd, mean=record.metrics.pmd.mean / 3)}
    metrics = replace(record.metrics, attacked=record.metrics.attacked | aligned_ones)
    assert "centring-artefact" in flags_of(metrics)
    near = {"pmd_aligned": replace(record.metrics.pmd, mean=record.metrics.pmd.mean / 1.5)}
    metrics = replace(record.metrics, attacked=record.metrics.attacked | near)
    assert "centring-artefact" not in flags_of(metrics)


def test_old_cells_keep_their_paths() -> None:
    assert "metric" not in record_to_json(made())["cell"]
    assert record_path(Path(), made(metric="pmd_aligned")) != record_path(Path(), made())


def test_aligned_is_the_minimum_over_translations() -> None:
    batch = random_batch((20, 20))
    output = batch.identity
    best = aligned(output, batch.target)
    for seed in range(5):
        shift = torch.randn(2, 1, 3, generator=generator_for(seed)).double()
        moved = output.replace(output.points + shift)
        torch.testing.assert_close(aligned(moved, batch.target), best)
        plain = (moved.points - batch.target.points).square().mean(dim=(1, 2))
        assert (plain >= best * (1 - 1e-12)).all()
    assert math.isfinite(float(best.sum()))
