"""The error after the best translation: closed forms, a search for a better one, padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from posebench.cloud import Clouds
from posebench.objective import OBJECTIVES, aligned, mse, pmd
from posebench.rng import generator_for


def clouds(counts: tuple[int, ...], seed: int) -> Clouds:
    """Point sets in float64, padded to the longest."""
    draws = [
        torch.randn(n, 3, generator=generator_for(seed, n, i)).double()
        for i, n in enumerate(counts)
    ]
    return Clouds.from_list(draws)


counts = st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple)


@settings(max_examples=40, deadline=None)
@given(counts=counts, seed=st.integers(0, 10**6))
def test_no_translation_is_better_and_none_changes_it(counts: tuple[int, ...], seed: int) -> None:
    output, target = clouds(counts, seed), clouds(counts, seed + 1)
    value = aligned(output, target)
    shifts = torch.randn(50, len(counts), 1, 3, generator=generator_for(seed)).double()
    for shift in shifts:
        moved = output.replace((output.points + shift) * output.mask[..., None])
        torch.testing.assert_close(aligned(moved, target), value)
        assert (value <= mse(moved, target) + 1e-12).all()
    assert (value <= pmd(output, target) + 1e-12).all()


def test_the_minimum_is_found_by_descent_too() -> None:
    output, target = clouds((9, 5), 0), clouds((9, 5), 1)
    shift = torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([shift], line_search_fn="strong_wolfe", max_iter=50)

    def error() -> Tensor:
        return mse(output.replace((output.points + shift) * output.mask[..., None]), target)

    def closure() -> Tensor:
        search.zero_grad()
        error().sum().backward()  # type: ignore[no-untyped-call]
        return error().sum().detach()

    search.step(closure)  # type: ignore[arg-type]
    torch.testing.assert_close(aligned(output, target), error().detach(), rtol=1e-9, atol=0)


def test_a_spike_moves_the_bounding_box_and_not_the_centroid() -> None:
    """One of 1,000 points flies ten metres: PMD blames all of them, the aligned error that one."""
    target = Clouds.dense(torch.rand(1, 1000, 3, generator=generator_for(0)).double() - 0.5)
    points = target.points.clone()
    points[0, 0, 0] += 10.0
    output = target.replace(points)
    torch.testing.assert_close(
        aligned(output, target), torch.tensor([100 * (1 - 1e-3) / 3000]).double()
    )
    assert float(pmd(output, target)) > 100 * float(aligned(output, target))


def test_padding_changes_nothing_whatever_it_holds() -> None:
    output, target = clouds((9, 5), 0), clouds((9, 5), 1)
    together = aligned(output, target)
    dirty = Clouds(output.points + 7.0 * ~output.mask[..., None], output.mask)
    torch.testing.assert_close(aligned(dirty, target), together)
    for row, count in enumerate((9, 5)):
        alone = [Clouds.dense(each.points[row : row + 1, :count]) for each in (output, target)]
        torch.testing.assert_close(aligned(*alone), together[row : row + 1])


@pytest.mark.parametrize("sizes", [(7, 7), (7, 4)])
def test_its_gradient_is_right_and_zero_on_padding(sizes: tuple[int, ...]) -> None:
    output, target = clouds(sizes, 0), clouds(sizes, 1)
    points = output.points.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: aligned(output.replace(p), target), points)
    (gradient,) = torch.autograd.grad(aligned(output.replace(points), target).sum(), points)
    assert (gradient[~output.mask] == 0).all()
    total = gradient.sum(dim=1)
    torch.testing.assert_close(total, torch.zeros_like(total))


def test_float32_keeps_six_digits_far_from_the_origin() -> None:
    """Errors of a millimetre on bodies that stand ten metres away."""
    target = clouds((2000,), 0)
    noise = 1e-3 * torch.randn(1, 2000, 3, generator=generator_for(1)).double()
    far = Clouds.dense((target.points / 4 + 10).float())
    output = Clouds.dense((far.points.double() + noise).float())
    exact = aligned(Clouds.dense(output.points.double()), Clouds.dense(far.points.double()))
    torch.testing.assert_close(aligned(output, far).double(), exact, rtol=1e-5, atol=0)


def test_it_is_an_objective_for_every_attack() -> None:
    assert OBJECTIVES["aligned"] is aligned
