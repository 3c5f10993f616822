"""Optimal transport between two clouds' features, and the points that it carries over (3D-CoreNet).

With unit features t_i of N identity points and p_j of M pose points, K_ij = exp((t_i . p_j - 1) /
0.03), and Sinkhorn's rounds from a = 1/N,

    b = (1/M) / (K^T a + 1e-8),    a = (1/N) / (K b + 1e-8),

give the plan a_i K_ij b_j, whose rows are divided by their sums and average the pose's points. As
released: five rounds, b first; the 1e-8 is large against K^T a, so that the plan is not converged.
Dividing by the row's sum takes a_i out again, so the last a is never computed.

K of 27,000 points on either side takes 3 GB, and autograd would keep several matrices of its size.
Larger ones than ``EXPLICIT`` are therefore never whole: each round goes over blocks of rows, with
``torch.utils.checkpoint`` around each, which makes the block again in the backward pass. That is
simpler than a gradient of our own and is differentiable twice; it costs six products of features
in place of one, and with the gradient eighteen in place of three.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from posebench.shapes import Float, Int
from posebench.victims.linear import full_precision

TEMPERATURE = 0.03
ROUNDS = 5
MASS_EPS = 1e-8

EXPLICIT = 2**26
"""Most numbers of a whole K, all samples together: 256 MiB in float32; 8,192 points on a side."""

BLOCK = 2**24
"""Most numbers of a block of rows of K."""

Step = Callable[..., Tensor]
Sweep = Callable[..., list[Tensor]]


def carried(
    rows: Float[Tensor, "b n c"],
    columns: Float[Tensor, "b m c"],
    points: Float[Tensor, "b m 3"],
    row_mass: Float[Tensor, "b n 1"] | None = None,
    column_mass: Float[Tensor, "b m 1"] | None = None,
) -> Float[Tensor, "b n 3"]:
    """Where the transport takes each row: a mean of ``points``, in float32 at least.

    Args:
        rows, columns: features of identity and pose points, unit vectors.
        points: of the pose.
        row_mass, column_mass: 1/n on n real points, 0 on padding; None where there is none.
    """
    with full_precision(points):
        sweep, b = balanced(rows, columns, row_mass, column_mass)
        values = torch.cat([b * points.to(b.dtype), b], dim=2)
        read = torch.cat(sweep(_read, values), dim=1)
        return read[..., :3] / read[..., 3:]


def matched(rows: Float[Tensor, "b n c"], columns: Float[Tensor, "b m c"]) -> Int[Tensor, "b n"]:
    """The pose point that gets most of each row's mass; no gradient."""
    with torch.no_grad(), full_precision(rows):
        sweep, b = balanced(rows, columns)
        return torch.cat(sweep(_best, b.transpose(1, 2)), dim=1)


def balanced(
    rows: Float[Tensor, "b n c"],
    columns: Float[Tensor, "b m c"],
    row_mass: Float[Tensor, "b n 1"] | None = None,
    column_mass: Float[Tensor, "b m 1"] | None = None,
) -> tuple[Sweep, Float[Tensor, "b m 1"]]:
    """The sweeps over K, and b after the last round; arguments as of :func:`carried`."""
    wide = torch.promote_types(rows.dtype, torch.float32)
    rows, columns = rows.to(wide), columns.to(wide)
    if row_mass is None:
        row_mass = rows.new_full((*rows.shape[:2], 1), 1 / rows.shape[1])
    if column_mass is None:
        column_mass = rows.new_full((*columns.shape[:2], 1), 1 / columns.shape[1])
    sweep = sweeps(rows, columns)
    b = column_mass / (_sum(sweep(_gathered, of_rows=row_mass)) + MASS_EPS)
    for _ in range(ROUNDS - 1):
        b = column_mass / (_sum(sweep(_balanced, b, of_rows=row_mass)) + MASS_EPS)
    return sweep, b


def sweeps(rows: Float[Tensor, "b n c"], columns: Float[Tensor, "b m c"]) -> Sweep:
    """``sweep(step, *others, of_rows=None)``: the step's results on every block of rows of K.

    A step is called with a block of K (B, R, M), the others, which belong to the columns, and the
    block's part of ``of_rows`` (B, N, 1), if any.
    """
    size = len(rows) * columns.shape[1]
    if size * rows.shape[1] <= EXPLICIT:
        whole = kernel(rows, columns)
        return lambda step, *others, of_rows=None: [
            step(whole, *others) if of_rows is None else step(whole, *others, of_rows)
        ]

    def on_block(step: Step, part: Tensor, *others: Tensor) -> Tensor:
        return step(kernel(part, columns), *others)

    def sweep(step: Step, *others: Tensor, of_rows: Tensor | None = None) -> list[Tensor]:
        height = max(1, BLOCK // size)
        found = []
        for first in range(0, rows.shape[1], height):
            chosen = slice(first, first + height)
            more = others if of_rows is None else (*others, of_rows[:, chosen])
            found.append(again(on_block, step, rows[:, chosen], *more))
        return found

    return sweep


def again(function: Callable[..., Tensor], *given: object) -> Tensor:
    """The function's result, made again in the backward pass instead of kept."""
    if not torch.is_grad_enabled():
        return function(*given)
    found: Tensor = checkpoint(function, *given, use_reentrant=False, preserve_rng_state=False)
    return found


def kernel(rows: Float[Tensor, "b r c"], columns: Float[Tensor, "b m c"]) -> Float[Tensor, "b r m"]:
    """exp((cosine - 1) / temperature)."""
    one = rows.new_full((), -1 / TEMPERATURE)
    return torch.baddbmm(one, rows / TEMPERATURE, columns.transpose(1, 2)).exp()


def _gathered(block: Tensor, a: Tensor) -> Tensor:
    """A block's part of K^T a."""
    return torch.bmm(block.transpose(1, 2), a)


def _balanced(block: Tensor, b: Tensor, mass: Tensor) -> Tensor:
    """The same with the a that gives its rows their mass."""
    return _gathered(block, mass / (torch.bmm(block, b) + MASS_EPS))


def _read(block: Tensor, values: Tensor) -> Tensor:
    """What its rows read from the columns."""
    return torch.bmm(block, values)


def _best(block: Tensor, b: Tensor) -> Tensor:
    """The column that each of its rows gives most."""
    return (block * b).argmax(dim=2)


def _sum(parts: list[Tensor]) -> Tensor:
    return reduce(torch.add, parts)
