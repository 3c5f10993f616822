"""Ascents in the cubes around a cap a vertex: the gradient's closed form, and what they find."""

from __future__ import annotations

import pytest
import torch

from posebench.attacks import APGD, run_attack
from posebench.attacks.apgd import CubeAPGD
from posebench.attacks.space import Cube
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.objective import aligned
from posebench.rng import generator_for
from tests.toys import Toy, random_batch, small

CAP = Budget(0.02, "l2_vertex")


def test_the_gradient_in_a_cube_is_that_of_the_projection() -> None:
    """Against autograd through ``u min(1, r / |u|)``, at points inside, outside and at rest."""
    clean = random_batch((30, 30), 30).pose
    moved = torch.randn(2, 30, 3, generator=generator_for(1)).double() * CAP.eps
    moved[:, 0] = 0
    assert 5 < int((moved.norm(dim=2) > CAP.eps).sum()) < 55
    outer = torch.randn(2, 30, 3, generator=generator_for(2)).double()

    at = moved.clone().requires_grad_(True)
    length = at.norm(dim=2, keepdim=True).clamp_min(1e-30)
    pose = at * (CAP.eps / length).clamp(max=1)
    (expected,) = torch.autograd.grad((pose * outer).sum(), at)

    space = Cube(clean, CAP)
    there = clean.replace(clean.points + moved)
    found = space.gradient(outer, there)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        space.pose(there).points, clean.points + pose.detach(), rtol=0, atol=1e-12
    )


def test_iterates_meet_the_victim_inside_the_balls_and_climb() -> None:
    batch, shown = random_batch((20, 20)), []

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        shown.append(pose.points.detach())
        found: Clouds = network(pose, identity)
        return found

    network = small("npt")
    ascent = CubeAPGD(CAP, 12, objective="aligned")
    end, values = ascent.climb(Toy(answer), batch, batch.pose, generator_for(3))
    for points in (*shown, end.points):
        assert ((points - batch.pose.points).norm(dim=2) <= CAP.eps * (1 + 1e-9)).all()
    first = aligned(network(batch.pose, batch.identity), batch.target)
    reached = aligned(network(end, batch.identity), batch.target)
    torch.testing.assert_close(reached, values)
    assert (values > first * 1.05).all()


def test_it_is_apgd_in_other_balls_alone() -> None:
    batch, network = random_batch((20,), 20), small("npt")
    for budget in (Budget(0.02), Budget(0.02, "linf"), CAP):
        ends = [
            run_attack(kind(budget, 6), network, batch, generator=generator_for(4)).pose.points
            for kind in (APGD, CubeAPGD)
        ]
        assert torch.equal(*ends) == (budget != CAP)
    with pytest.raises(InputError, match="not for norm 'l2'"):
        Cube(batch.pose, Budget(0.02))
