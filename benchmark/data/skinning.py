"""Linear blend skinning (LBS): joints along a tree, then vertices as mixtures of their joints.

    x' = sum_k w_k (T_k (x - j_k) + j'_k),   j'_k = j'_p + T_p (j_k - j_p),   T_k = G_k R_k

with G_k the product of local rotations from the root to joint k, and R_k what turns the joint from
the rest pose into the pose that local rotations are relative to (Loper et al., 2015, where it is
the identity).
"""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.shapes import Float


def rotations(axis_angle: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """Rotation matrices of axis-angle vectors (Rodrigues), exact at zero."""
    angle = axis_angle.norm(dim=-1, keepdim=True)[..., None]
    x, y, z = axis_angle.unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(*x.shape, 3, 3)
    # sinc-like factors: sin(a)/a and (1 - cos(a))/a^2 = (sin(a/2)/(a/2))^2 / 2.
    first = torch.sinc(angle / torch.pi)
    second = 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + first * cross + second * (cross @ cross)


def chain(
    local: Float[Tensor, "b j 3 3"],
    joints: Float[Tensor, "b j 3"],
    parents: tuple[int, ...],
    from_rest: Float[Tensor, "b j 3 3"] | None = None,
) -> tuple[Float[Tensor, "b j 3 3"], Float[Tensor, "b j 3"]]:
    """Rotation and translation of each joint, x' = rotation x + translation.

    ``joints`` are in the rest pose, metres; ``parents`` come first, -1 for the root; ``from_rest``
    None is the identity.
    """
    world: list[Tensor] = []
    turned: list[Tensor] = []
    placed: list[Tensor] = []
    for k, p in enumerate(parents):
        if p < 0:
            world.append(local[:, k])
            placed.append(joints[:, k])
        else:
            world.append(world[p] @ local[:, k])
            offset = (joints[:, k] - joints[:, p])[..., None]
            placed.append(placed[p] + (turned[p] @ offset)[..., 0])
        turned.append(world[k] if from_rest is None else world[k] @ from_rest[:, k])
    rotation = torch.stack(turned, dim=1)
    translation = torch.stack(placed, dim=1) - (rotation @ joints[..., None])[..., 0]
    return rotation, translation


def blend(
    weights: Float[Tensor, "... j"],
    rotation: Float[Tensor, "b j 3 3"],
    translation: Float[Tensor, "b j 3"],
    rest: Float[Tensor, "b n 3"],
) -> Float[Tensor, "b n 3"]:
    """Vertices moved by their weights' mixture of transforms; weights (n, j) or (b, n, j)."""
    blended = weights @ torch.cat([rotation.flatten(2), translation], dim=2)
    matrix = blended[..., :9].reshape(*blended.shape[:-1], 3, 3)
    return (matrix @ rest[..., None])[..., 0] + blended[..., 9:]
