"""Cutting a body out of a scan: a box, the ground plane, the largest cluster; in metres, y up.

Networks centre a pose source by its bounding box, so a floor or a wall moves the body. Steps are
written as words, "floor,cluster", and are done in that order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posebench.benchmark.meshes.files import MIN_POINTS, MeshFile
from posebench.benchmark.meshes.types import Faces, Points
from posebench.errors import InputError

STEPS = "box:X0:X1:Y0:Y1:Z0:Z1, floor or cluster, joined by commas"

COLUMN = 0.1
"""Metres of the ground's cells, of which each gives its lowest point to the search for a floor."""

CLOSE = 0.02
"""Metres that a floor's points lie off their plane, as depth cameras see it."""

FLOOR_HEIGHT = 0.04
"""Metres above the plane that are cut off with it."""

FLOOR_AREA = 0.3
"""Square metres that no body touches the ground with: standing ones 0.1, sitting ones 0.2."""

STEEPEST = 0.6
"""Rise over run of a floor before a tilted camera, 31 degrees."""

GAP = 0.04
"""Metres that a voxel has at least; clusters are of voxels that touch."""

SPACINGS = 3.0
"""The same in distances between neighbouring points, for sparse meshes."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """What a crop did to a file.

    Attributes:
        mesh: before.
        kept: (N,) which of its points are left.
    """

    mesh: MeshFile
    kept: Mask


def cropped(mesh: MeshFile, text: str | None) -> tuple[MeshFile, Cut | None]:
    """A mesh or cloud without what the steps of ``text`` cut off, and what that was.

    Faces stay whose corners all stay. A note says how many points each step cut.

    Raises:
        InputError: text that is no crop, or fewer than ``MIN_POINTS`` points left.
    """
    if text is None:
        return mesh, None
    steps = crop_steps(text)
    left, notes = np.arange(len(mesh.points)), []
    for step in steps:
        keep = kept_by(step, mesh.points[left])
        lost = len(left) - int(keep.sum())
        shown = f"cut {lost:,} of {len(left):,} points" if lost else "found nothing to cut"
        notes.append(f"{mesh.path}: crop {step.partition(':')[0]} {shown}")
        left = left[keep]
        if len(left) < MIN_POINTS:
            raise InputError(
                f"{mesh.path}: crop {step!r} leaves {len(left)} points, a body needs at least "
                f"{MIN_POINTS}: see with --crop-picture of a wider box what there is"
            )
    kept = np.zeros(len(mesh.points), dtype=bool)
    kept[left] = True
    made = replace(
        mesh,
        points=mesh.points[left],
        faces=kept_faces(mesh.faces, kept),
        rewrite=None,
        notes=(*mesh.notes, *notes),
    )
    return made, Cut(mesh, kept)


def crop_steps(text: str) -> tuple[str, ...]:
    """The steps of a crop, checked.

    Raises:
        InputError: an unknown step, or a box whose ends are not numbers that rise.
    """
    steps = tuple(part.strip() for part in text.split(","))
    for step in steps:
        if step not in ("floor", "cluster"):
            box_of(step)
    return steps


def kept_by(step: str, points: Points) -> Mask:
    """Which points (N, 3) a step leaves, (N,)."""
    if step == "cluster":
        return largest_cluster(points)
    if step == "floor":
        plane = find_floor(points)
        if plane is None:
            return np.ones(len(points), dtype=bool)
        above: Mask = heights(points, plane) > FLOOR_HEIGHT
        return above
    low, high = box_of(step)
    inside: Mask = np.asarray(((points >= low) & (points <= high)).all(axis=1))
    return inside


def box_of(step: str) -> tuple[Points, Points]:
    """The two corners, (3,) each, of "box:X0:X1:Y0:Y1:Z0:Z1"; an end that is left out is open.

    Raises:
        InputError: anything else.
    """
    name, *ends = step.split(":")
    try:
        numbers = [float(end) if end else math.nan for end in ends]
    except ValueError:
        numbers = []
    if name != "box" or len(numbers) != 6:
        raise InputError(f"crop {step!r}: a step is {STEPS}")
    low = np.nan_to_num(np.array(numbers[::2]), nan=-math.inf)
    high = np.nan_to_num(np.array(numbers[1::2]), nan=math.inf)
    if not (low < high).all():
        raise InputError(f"crop {step!r}: each low end must be below its high end")
    return low, high


def find_floor(points: Points) -> NDArray[np.float64] | None:
    """The ground plane y = a x + b z + c as (a, b, c), y up; None if there is none.

    A robust fit (Cauchy loss, scipy) to the lowest point of every column: most of these lie on
    the floor if there is one, for a body covers little ground. It must cover ``FLOOR_AREA``.
    """
    from scipy.optimize import least_squares

    low = points[lowest_of_columns(points)]
    if len(low) * COLUMN**2 < FLOOR_AREA:
        return None
    ones = np.stack([low[:, 0], low[:, 2], np.ones(len(low))], axis=1)

    def off(plane: NDArray[np.float64]) -> NDArray[np.float64]:
        gaps: NDArray[np.float64] = low[:, 1] - ones @ plane
        return gaps

    start = np.array([0.0, 0.0, np.quantile(low[:, 1], 0.1)])
    found = least_squares(off, start, loss="cauchy", f_scale=CLOSE)
    plane = np.asarray(found.x)
    on_it = np.abs(off(plane)) <= 2 * CLOSE
    below = (off(plane) < -4 * CLOSE).mean()
    steep = math.hypot(*plane[:2]) > STEEPEST
    if on_it.sum() * COLUMN**2 < FLOOR_AREA or below > 0.05 or steep:
        return None
    near = heights(points, plane)
    plane[2] += np.median(near[np.abs(near) <= 3 * CLOSE])  # the lowest points are its noise's ends
    return plane


def heights(points: Points, plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of points (N, 3) above a plane of :func:`find_floor`, (N,) metres."""
    above = points[:, 1] - points[:, [0, 2]] @ plane[:2] - plane[2]
    result: NDArray[np.float64] = above / math.sqrt(1 + plane[0] ** 2 + plane[1] ** 2)
    return result


def lowest_of_columns(points: Points) -> NDArray[np.int64]:
    """Which points (N, 3) are the lowest in their cell of the ground."""
    order = np.argsort(points[:, 1], kind="stable")
    cells = np.floor(points[order][:, [0, 2]] / COLUMN).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.asarray(order[first])


def largest_cluster(points: Points) -> Mask:
    """Which points (N, 3) belong to the cluster of most points, (N,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    voxels, place = np.unique(
        np.floor(points / voxel_of(points)).astype(np.int64), axis=0, return_inverse=True
    )
    pairs = cKDTree(voxels).query_pairs(math.sqrt(3) + 0.01, output_type="ndarray")
    count = len(voxels)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    cluster = np.asarray(connected_components(links, directed=False)[1])[place.reshape(-1)]
    found: Mask = cluster == np.bincount(cluster).argmax()
    return found


def voxel_of(points: Points) -> float:
    """Side of the voxels, metres: ``GAP``, more where points lie further apart."""
    from scipy.spatial import cKDTree

    queries = points[np.random.default_rng(0).permutation(len(points))[:2000]]
    gaps = np.asarray(cKDTree(points).query(queries, k=2)[0])[:, 1]
    return max(GAP, SPACINGS * float(np.median(gaps)))


def kept_faces(faces: Faces | None, kept: Mask) -> Faces | None:
    """Triangles (F, 3) whose corners are all kept, over the kept points; None if none is."""
    if faces is None:
        return None
    whole = faces[kept[faces].all(axis=1)]
    rank = np.cumsum(kept) - 1
    return np.asarray(rank[whole]) if len(whole) else None
