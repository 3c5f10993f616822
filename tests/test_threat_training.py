"""Training against a threat model: what rows are shown, what is learned, what it is called."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from posebench import load_victim
from posebench.attacks import VertexAdam
from posebench.attacks.gradient import pose_values
from posebench.attacks.projection import smooth_basis
from posebench.benchmark.checks.run import trained_against
from posebench.benchmark.evaluation.sources import with_source
from posebench.benchmark.training import card
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.capped import Capped
from posebench.benchmark.training.checkpoint import differences
from posebench.benchmark.training.loop import initial_network, train
from posebench.benchmark.training.mixed import FewPoints, SmoothField
from posebench.benchmark.training.recipe import Recipe, adversarial_part, recipe_for
from posebench.benchmark.training.recipe_file import read_recipes
from posebench.benchmark.training.step import consistent
from posebench.benchmark.training.streams import pair_source, pairs_to_watch
from posebench.errors import InputError
from posebench.interfaces import Batch
from posebench.objective import aligned
from posebench.rng import generator_for
from posebench.threats import THREATS
from posebench.victims import load_network, read_weights, write_weights
from posebench.victims import weights as weights_module
from posebench.victims.weights import shipped_path
from tests.test_adversarial import shown
from tests.tiny_training import same_weights, tiny

pytestmark = pytest.mark.usefixtures("one_thread", "meshes_made_once")


@pytest.fixture(scope="module")
def watched(meshes_made_once: None) -> Batch:
    return pairs_to_watch(tiny("npt"), pair_source(tiny("npt"), "cpu"), "cpu")


def robust(**changes: Any) -> Adversarial:
    return adversarial_part("npt", **{"threat": "point-5cm", "after": 0.0, **changes})


def lengths(batch: Batch, poses: Tensor) -> Tensor:
    """Of each row's farthest vertex, metres."""
    return (poses - batch.pose.points).norm(dim=2).amax(dim=1)


@pytest.mark.parametrize("attack", ["vertex-adam", "pgd", "n-fgm"])
def test_each_row_has_its_own_cap_and_a_quarter_stays_clean(attack: str, watched: Batch) -> None:
    network, part = initial_network(tiny("npt")), robust(attack=attack, clean_share=0.25)
    first, poses, removed = shown(network, part, watched)
    assert (first, float(removed)) == (4, 0.0)
    assert torch.equal(poses[:4], watched.pose.points[:4])
    far = lengths(watched, poses)[4:] / (3.0 if attack == "n-fgm" else 1.0)
    assert (far <= 0.05 * (1 + 1e-5)).all()
    if attack != "n-fgm":  # some vertex of each row reaches its cap, and caps spread over 1..5 cm
        assert (far >= 0.01 * (1 - 1e-4)).all()
        assert far.max() - far.min() > 0.015
    assert torch.equal(poses, shown(network, part, watched)[1])
    assert not torch.equal(poses, shown(network, part, watched, seed=1)[1])


def test_mixed_rows_are_capped_bent_or_have_few_points_anywhere(watched: Batch) -> None:
    network, clean = initial_network(tiny("npt")), watched.pose.points
    first, poses, _ = shown(network, robust(mixed=True, attack="pgd"), watched)
    moved = (poses - clean).norm(dim=2)
    of = {number: list(range(first + number, len(poses), 4)) for number in range(4)}
    assert (moved[of[0] + of[2]].amax(dim=1) <= 0.05 * (1 + 1e-5)).all()
    few = of[3]
    assert ((moved[few] > 0).sum(dim=1) == int(0.02 * clean.shape[1])).all()
    assert (poses[few] >= clean[few].amin(dim=1, keepdim=True)).all()
    assert (poses[few] <= clean[few].amax(dim=1, keepdim=True)).all()
    assert moved[few].max() > 0.2
    bent = watched.select(torch.tensor(of[1])).pose
    field = (poses - clean)[of[1]].double()
    basis = smooth_basis(bent)
    torch.testing.assert_close(basis @ (basis.mT @ field), field, atol=1e-6, rtol=0)
    assert (moved[of[1]].amax(dim=1) <= 0.05 * (1 + 1e-5)).all()
    assert (moved[of[1]].amax(dim=1) >= 0.005).all()


@pytest.mark.parametrize("made", [SmoothField(0.05, 0.05, 3), FewPoints(0.05, 3)])
def test_mixed_attacks_climb(made: Any, watched: Batch) -> None:
    """From the same random start, the network's own gradients harm it more than another's."""
    network, _ = load_network("npt")
    ends = []
    for asked in (network, initial_network(tiny("npt"))):
        pose = made(asked, watched, generator=generator_for(0)).pose
        ends.append(pose_values(network, watched, pose, objective=aligned).mean())
    assert ends[0] > 1.2 * ends[1]


def test_starts_are_even_in_each_ball() -> None:
    like = torch.zeros(4, 5000, 3)
    caps, moved = Capped(0.05, 0.01).drawn(like, 1.0, generator_for(0))
    shares = (moved.norm(dim=2, keepdim=True) / caps).flatten(1)
    # The share of a ball's volume below r is r^3, whatever the row's cap.
    for r in (0.3, 0.5, 0.8):
        below = (shares < r).float().mean(dim=1)
        torch.testing.assert_close(below, torch.full((4,), r**3), atol=0.03, rtol=0)
    assert shares.max() <= 1 + 1e-6


@pytest.mark.parametrize("rule", ["vertex-adam", "pgd"])
def test_three_steps_harm_far_more_than_their_start_and_no_more_than_many(
    rule: Any, watched: Batch
) -> None:
    network = load_network("npt-mp")[0]
    attack = Capped(0.05, 0.05, rule=rule)

    def harm(pose: Any) -> float:
        return float(pose_values(network, watched, pose, objective=aligned).mean())

    start = watched.pose.replace(
        watched.pose.points + attack.drawn(watched.pose.points, 1.0, generator_for(3))[1]
    )
    found = harm(attack(network, watched, generator=generator_for(3)).pose)
    many = VertexAdam(attack.budget, iterations=30, objective="aligned")
    best = harm(many(network, watched, generator=generator_for(3)).pose)
    clean = harm(watched.pose)
    assert found - clean > 2 * (harm(start) - clean)
    assert found <= 1.05 * best


def test_trades_is_the_clean_error_and_how_far_attacked_outputs_leave_it() -> None:
    output, target = (torch.randn(3, 5, 3, generator=generator_for(0, n)) for n in range(2))
    calm = torch.randn(2, 5, 3, generator=generator_for(0, "calm"))
    expected = torch.stack(
        [
            (output[0] - target[0]).square().mean(),
            (calm[0] - target[1]).square().mean() + 6 * (output[1] - calm[0]).square().mean(),
            (calm[1] - target[2]).square().mean() + 6 * (output[2] - calm[1]).square().mean(),
        ]
    ).mean()
    torch.testing.assert_close(consistent(output, calm, target, 6.0), expected)


@pytest.mark.parametrize("consistency", [None, 6.0])
def test_a_stopped_run_ends_as_an_undisturbed_one(consistency: Any, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise Stop

    recipe = tiny("npt", adversarial=robust(after=1 / 3, consistency=consistency), batch=4)
    with pytest.raises(Stop):
        train(recipe, tmp_path / "parts", report=stop, checkpoint_seconds=0.0)
    parts = train(recipe, tmp_path / "parts")
    whole = train(recipe, tmp_path / "whole")
    assert same_weights(parts.network, whole.network)
    assert parts.curve == whole.curve


def test_training_against_the_cap_takes_away_half_of_the_harm(
    watched: Batch, tmp_path: Path
) -> None:
    """Two small networks, equally many steps; what 20 steps of another attack add at 5 cm."""
    attack = VertexAdam(THREATS["point-5cm"].budget, iterations=20, objective="aligned")
    harms = []
    for part in (None, robust(rate_share=1.0)):
        recipe = tiny("npt-mp", steps=120, batch=8, warmup=10, adversarial=part)
        network = train(recipe, tmp_path / str(part is None)).network
        clean, attacked = (
            float(pose_values(network, watched, pose, objective=aligned).mean())
            for pose in (watched.pose, attack(network, watched).pose)
        )
        harms.append(attacked - clean)
    assert 0 < harms[1] < 0.6 * harms[0]


def test_recipes_name_the_threat_and_older_ones_keep_their_meaning() -> None:
    recipe = recipe_for("npt", adversarial=adversarial_part("npt", threat="point-2cm"))
    part = recipe.adversarial
    assert part is not None
    assert (part.threat, part.eps, part.eps_low) == ("point-2cm", 0.02, 0.004)
    assert (part.attack, part.iterations, part.clean_share) == ("n-fgm", None, 0.0)
    assert recipe.fresh_poses == 0.5
    assert recipe_for("npt", adversarial=part, regime="open").fresh_poses is None
    assert recipe_for("npt", adversarial=part, fresh_poses=0.0).fresh_poses is None
    assert recipe_for("npt").fresh_poses is None
    iterated = adversarial_part("npt", threat="point-2cm", attack="pgd")
    assert (iterated.iterations, iterated.random_start) == (3, 1.0)
    assert card.training_name(recipe) == "robust"
    stored = json.loads(json.dumps(asdict(recipe)))
    assert differences(stored, recipe) == []
    other = replace(recipe, adversarial=replace(part, eps_low=0.01))
    assert differences(stored, other) == ["eps_low: 0.004 there, 0.01 here"]
    old = read_weights(shipped_path("npt", "small", training="adversarial"))
    assert old is not None
    found = old["card"]["recipe"]
    assert "threat" not in found["adversarial"]
    made = Recipe(**{**found, "adversarial": Adversarial(**found["adversarial"])})
    named = {each.partition(":")[0] for each in differences(found, made)}
    younger = {"decay", "surface", "regime", "mixed", "muon"}
    assert named <= younger, "settings younger than those weights"
    assert card.training_name(made) == "adversarial"
    for run in read_recipes("robust"):
        assert (card.training_name(run.recipe), run.start) == ("robust", "shipped")


def test_robust_weights_load_by_name_and_checks_know_their_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny("npt", adversarial=robust())
    network = initial_network(recipe)
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(weights_module, "files", lambda _: tmp_path)
    path = tmp_path / "weights" / "npt-tiny-robust.safetensors"
    with pytest.raises(InputError, match="no robustly trained weights of 'npt'"):
        load_victim("npt", size="tiny", training="robust")
    write_weights(path, network, {"training": "robust", "recipe": asdict(recipe)})
    assert same_weights(load_victim("npt", size="tiny", training="robust"), network)
    weights = with_source(network, path).weights
    assert weights.training == "robust"
    against = trained_against(weights)
    assert against is not None
    assert against.budget == THREATS["point-5cm"].budget
    with pytest.raises(InputError, match="did you mean 'robust'"):
        load_victim("npt", training="robbust")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"threat": "point-5"}, "did you mean 'point-5cm'"),
        ({"threat": "sparse"}, "cannot be trained against: take one of point-2cm, point-5cm"),
        ({"attack": "fgm"}, "attack against a threat model"),
        ({"eps": 0.03}, "decides eps"),
        ({"eps_low": 0.06}, "eps_low must be in"),
        ({"schedule": "ramp"}, "no schedule"),
        ({"attack": "n-fgm", "iterations": 2}, "one step"),
        ({"consistency": 0.0}, "consistency must be"),
        ({"attack": "pgd", "iterations": 0}, "iterations must be at least 1"),
        ({"threat": None, "eps_low": 0.01}, "eps_low is of training against a threat model"),
        ({"threat": None, "mixed": True}, "of training against a threat model"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        robust(**changes)
