"""The SMPL body model (Loper et al., 2015) from a file that the user has on disk.

Not part of posebench and not to be redistributed: see https://smpl.is.tue.mpg.de for the licence.
Nothing in a file is run: ``.npz`` files without objects, ``.pkl`` files by ``smpl_pickle``.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.benchmark.data.skinning import blend, chain, rotations
from posebench.benchmark.data.smpl_pickle import array_of, read_inert
from posebench.errors import InputError
from posebench.shapes import Float, Int

SHAPES = 10
"""Shape coefficients that SMPL-NPT uses; newer files hold up to 300."""

KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
MAX_BYTES = 2**29
MAX_VERTICES = 100_000


@dataclass(frozen=True)
class SmplModel:
    """Linear blend skinning with shape and pose correctives; float64.

    Attributes:
        template: (V, 3) mean body in the rest pose, metres.
        shape_directions: (V, 3, S), metres per unit of a shape coefficient.
        pose_directions: (V, 3, 9 (J - 1)), metres per unit of a rotation matrix entry.
        joint_regressor: (J, V), rest joints from rest vertices.
        skin_weights: (V, J).
        parents: parent of each joint, -1 for the root; parents come first.
        faces: (F, 3) int64.
    """

    template: Float[Tensor, "v 3"]
    shape_directions: Float[Tensor, "v 3 s"]
    pose_directions: Float[Tensor, "v 3 p"]
    joint_regressor: Float[Tensor, "j v"]
    skin_weights: Float[Tensor, "v j"]
    parents: tuple[int, ...]
    faces: Int[Tensor, "f 3"]


def load_smpl(path: Path) -> SmplModel:
    """An SMPL model from ``.npz`` or the released ``.pkl``; the first ten shape directions.

    Raises:
        InputError: no such file, code in a pickle, a missing key, shapes that do not fit.
    """
    if not path.is_file():
        raise InputError(f"SMPL model {path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"SMPL model {path}: larger than {MAX_BYTES >> 20} MiB, so no SMPL model")
    try:
        if path.suffix == ".npz":
            arrays = _npz_arrays(path)
        elif path.suffix == ".pkl":
            arrays = _pickled_arrays(path)
        else:
            raise InputError("an SMPL model ends in .npz or .pkl")
        return _model_of(arrays)
    except InputError as error:
        raise InputError(f"SMPL model {path}: {error}") from error
    except OSError as error:
        raise InputError(f"SMPL model {path}: {error.strerror or error}") from error


def pose_smpl(
    model: SmplModel, betas: Float[Tensor, "s"], pose: Float[Tensor, "b j 3"]
) -> Float[Tensor, "b v 3"]:
    """Vertices in metres of one shape in each pose (axis-angle, radians), without translation.

    Loper et al., equations 2 to 10: shape, joints from the shaped body, pose correctives on the
    rotation matrices less the identity, then skinning.
    """
    shaped = model.template + model.shape_directions @ betas
    joints = model.joint_regressor @ shaped
    local = rotations(pose)
    eye = torch.eye(3, dtype=local.dtype)
    corrective = (local[:, 1:] - eye).flatten(1)
    rest = shaped + torch.einsum("vcp,bp->bvc", model.pose_directions, corrective)
    rotation, translation = chain(local, joints.expand(len(pose), -1, -1), model.parents)
    return blend(model.skin_weights, rotation, translation, rest)


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > 2 * MAX_BYTES:
                raise InputError("unpacks to more than an SMPL model holds")
        with np.load(path, allow_pickle=False) as data:
            return {key: np.asarray(data[key]) for key in KEYS if key in data.files}
    except InputError:
        raise
    except Exception as error:  # damaged archives raise almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"not a readable .npz without objects ({reason})") from error


def _pickled_arrays(path: Path) -> dict[str, NDArray[Any]]:
    content = read_inert(path.read_bytes())
    if not isinstance(content, dict):
        raise InputError(f"holds {type(content).__name__}, not a dictionary")
    arrays = {}
    for key in KEYS:
        if key in content:
            try:
                arrays[key] = array_of(content[key])
            except InputError as error:
                raise InputError(f"{key}: {error}") from error
    return arrays


def _model_of(arrays: dict[str, NDArray[Any]]) -> SmplModel:
    """Every shape checked against the template's and the joint tree's."""
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise InputError(f"{', '.join(missing)} missing, so no SMPL model")
    template, tree = arrays["v_template"], arrays["kintree_table"]
    if template.ndim != 2 or tree.ndim != 2:
        raise InputError("v_template and kintree_table must be matrices")
    vertices, joints = template.shape[0], tree.shape[1]
    if not 1 <= vertices <= MAX_VERTICES or not 1 <= joints <= 100:
        raise InputError(f"{vertices} vertices and {joints} joints, so no body")
    shapes = {
        "v_template": (vertices, 3),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "J_regressor": (joints, vertices),
        "weights": (vertices, joints),
        "kintree_table": (2, joints),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise InputError(f"{key} has shape {arrays[key].shape}, expected {shape}")
    directions, faces = arrays["shapedirs"], arrays["f"]
    if directions.ndim != 3 or directions.shape[:2] != (vertices, 3) or not directions.shape[2]:
        raise InputError(f"shapedirs has shape {directions.shape}, expected ({vertices}, 3, S)")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.size == 0:
        raise InputError(f"f has shape {faces.shape}, expected (F, 3)")
    for key in ("f", "kintree_table"):
        if arrays[key].dtype.kind not in "iu":
            raise InputError(f"{key} must hold integers")
    if not 0 <= int(faces.min()) <= int(faces.max()) < vertices:
        raise InputError(f"f names vertices outside 0..{vertices - 1}")
    floats = {}
    for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        if arrays[key].dtype.kind not in "fiu" or not np.isfinite(arrays[key]).all():
            raise InputError(f"{key} must hold finite numbers")
        floats[key] = torch.from_numpy(np.array(arrays[key], dtype=np.float64, order="C"))
    return SmplModel(
        template=floats["v_template"],
        shape_directions=floats["shapedirs"][..., :SHAPES].contiguous(),
        pose_directions=floats["posedirs"],
        joint_regressor=floats["J_regressor"],
        skin_weights=floats["weights"],
        parents=_parents(tree),
        faces=torch.from_numpy(faces.astype(np.int64)),
    )


def _parents(tree: NDArray[Any]) -> tuple[int, ...]:
    """Rows (parent's number, own number) to parent positions; the root's parent is no joint."""
    position = {int(own): k for k, own in enumerate(tree[1])}
    parents = (-1, *(position.get(int(parent), -1) for parent in tree[0, 1:]))
    if any(not 0 <= parent < k for k, parent in enumerate(parents) if k):
        raise InputError("kintree_table is no tree with parents first")
    return parents
