"""Deformation gradients of triangles, and the mesh that fits wanted ones best (Poisson system).

Sumner and Popovic (SIGGRAPH 2004) give each triangle a fourth vertex along its normal and ask for
the mesh whose affine maps per triangle are nearest to the wanted ones, all triangles alike. The
fourth vertex belongs to one triangle only and takes the map's action along the normal, so what is
left to solve for are the vertices: with the rest edges W = Q R of a triangle and its new edges X,
the sum over triangles of |X R^-1 - S Q|^2 over S, the wanted map. Its normal equations are sparse,
positive definite once a vertex of every connected part is held, and depend on the rest mesh alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.shapes import Float, Int

if TYPE_CHECKING:
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import SuperLU

KEPT = 64
"""Factorisations in memory; one of 6,890 vertices takes about 3 MB."""

FLAT = 1e-12
"""Triangles with a smaller area, square metres, have no directions and are left out."""


@dataclass(frozen=True)
class Poisson:
    """The system of one rest mesh of n vertices and f triangles that count.

    Attributes:
        factor: of the normal matrix (n, n).
        operator: (2f, n); times new vertices it gives X R^-1, two rows a triangle.
        frames: (f, 3, 2) Q, an orthonormal frame of each triangle.
        used: (f,) which of the mesh's triangles count.
        parts: (n,) number of each vertex's connected part, counted from 0.
    """

    factor: SuperLU
    operator: csc_array
    frames: Float[Tensor, "f 3 2"]
    used: Int[Tensor, "f"]
    parts: Int[Tensor, "n"]


@lru_cache(maxsize=KEPT)
def poisson(points: bytes, faces: bytes) -> Poisson:
    """The system of a rest mesh: (n, 3) float64 points and (f, 3) int64 triangles as bytes."""
    from scipy.sparse import coo_array, csc_array
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import splu

    rest = np.frombuffer(points).reshape(-1, 3)
    triangles = np.frombuffer(faces, dtype=np.int64).reshape(-1, 3)
    edges = np.stack([rest[triangles[:, k]] - rest[triangles[:, 0]] for k in (1, 2)], axis=2)
    area = np.linalg.norm(np.cross(edges[..., 0], edges[..., 1]), axis=1) / 2
    used = np.flatnonzero(area > FLAT)
    triangles, edges = triangles[used], edges[used]
    frames, triangular = np.linalg.qr(edges)
    inverse = np.linalg.inv(triangular)  # (f, edge, direction)
    weights = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
    count, size = len(triangles), len(rest)
    rows = 2 * np.arange(count)[:, None, None] + np.arange(2)
    where = (np.broadcast_to(rows, weights.shape).ravel(), np.repeat(triangles.ravel(), 2))
    operator = csc_array(coo_array((weights.ravel(), where), shape=(2 * count, size)))
    normal = operator.T @ operator
    _, parts = connected_components(normal, directed=False)
    _, first = np.unique(parts, return_index=True)
    held = np.zeros(size)
    held[first] = max(1.0, float(normal.diagonal().mean()))
    matrix = csc_array(normal + coo_array((held, (np.arange(size), np.arange(size)))))
    return Poisson(
        factor=splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}),
        operator=operator,
        frames=torch.from_numpy(frames),
        used=torch.from_numpy(used),
        parts=torch.from_numpy(parts.astype(np.int64)),
    )


class _Fit(torch.autograd.Function):
    """Vertices from wanted maps in the frames: x = A^-1 G^T b, and the adjoint b = G A^-1 x.

    A is symmetric, so the gradient is one more solution with the same factors: exact, by the
    implicit function. Both directions are linear and each is the other's gradient.
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, system: Poisson, adjoint: bool) -> Tensor:
        ctx.system, ctx.adjoint = system, adjoint
        values = given.detach().numpy()
        if adjoint:
            found = system.operator @ system.factor.solve(values)
        else:
            found = system.factor.solve(system.operator.T @ values)
        return torch.from_numpy(np.ascontiguousarray(found))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        found: Tensor = _Fit.apply(  # type: ignore[no-untyped-call]
            grad.contiguous(), ctx.system, not ctx.adjoint
        )
        return found, None, None


def fitted(
    system: Poisson, maps: Float[Tensor, "f 3 3"], centres: Float[Tensor, "n 3"]
) -> Float[Tensor, "n 3"]:
    """The mesh whose triangles are nearest to these maps of the rest mesh's, float64, CPU.

    ``centres`` says where the connected parts belong: each has the mean of its rows.
    """
    wanted = (maps @ system.frames).transpose(1, 2).flatten(0, 1)
    vertices: Tensor = _Fit.apply(  # type: ignore[no-untyped-call]
        wanted.contiguous(), system, False
    )
    count = int(system.parts.max()) + 1
    sizes = torch.bincount(system.parts, minlength=count)[:, None]
    sums = vertices.new_zeros(count, 3).index_add(0, system.parts, centres - vertices)
    return vertices + (sums / sizes)[system.parts]


def triangle_maps(
    before: Float[Tensor, "n 3"], after: Float[Tensor, "n 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "f 3 3"]:
    """The affine map of each triangle from one mesh to another, normals going with it."""
    maps: Tensor = torch.linalg.solve(frame(before, faces), frame(after, faces), left=False)
    return maps


def frame(points: Float[Tensor, "n 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "f 3 3"]:
    """Two edges and the normal, as long as the root of twice the area, as columns."""
    corners = points[faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = torch.linalg.cross(first, second)
    length = normal.norm(dim=1, keepdim=True).clamp_min(2 * FLAT)
    return torch.stack([first, second, normal / length.sqrt()], dim=2)


def system_of(points: Float[Tensor, "n 3"], faces: Int[Tensor, "f 3"]) -> Poisson:
    """The system of a rest mesh, from memory where it was asked for lately."""
    rest: NDArray[np.float64] = points.detach().cpu().double().contiguous().numpy()
    return poisson(rest.tobytes(), faces.cpu().contiguous().numpy().tobytes())
