"""Unit quaternions (w, x, y, z) in torch: what composing and averaging rotations needs."""

from __future__ import annotations

import torch
from torch import Tensor

from posebench.shapes import Float


def from_axis_angle(vectors: Float[Tensor, "... 3"]) -> Float[Tensor, "... 4"]:
    """Quaternions of axis-angle vectors in radians, exact at zero."""
    angle = vectors.norm(dim=-1, keepdim=True)
    # sin(a / 2) / a = sinc(a / 2 pi) / 2 in torch's convention.
    return torch.cat(
        [(angle / 2).cos(), 0.5 * torch.sinc(angle / (2 * torch.pi)) * vectors], dim=-1
    )


def to_axis_angle(quaternions: Float[Tensor, "... 4"]) -> Float[Tensor, "... 3"]:
    """Axis-angle vectors of at most half a turn, radians."""
    short = torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    scalar, vector = short[..., :1], short[..., 1:]
    sine = vector.norm(dim=-1, keepdim=True)
    factor = 2 * torch.atan2(sine, scalar) / sine.clamp(min=1e-12)
    return torch.where(sine > 1e-6, factor, 2.0) * vector


def multiply(
    first: Float[Tensor, "*#b 4"], second: Float[Tensor, "*#b 4"]
) -> Float[Tensor, "*#b 4"]:
    """The rotation that applies ``second``, then ``first``, as a product of matrices does."""
    a, u = first[..., :1], first[..., 1:]
    b, v = second[..., :1], second[..., 1:]
    scalar = a * b - (u * v).sum(dim=-1, keepdim=True)
    return torch.cat([scalar, a * v + b * u + torch.linalg.cross(u, v)], dim=-1)


def inverse(quaternions: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
    """The opposite rotations of unit quaternions."""
    return torch.cat([quaternions[..., :1], -quaternions[..., 1:]], dim=-1)


def to_matrix(quaternions: Float[Tensor, "... 4"]) -> Float[Tensor, "... 3 3"]:
    """Rotation matrices of unit quaternions."""
    w, x, y, z = quaternions.unbind(dim=-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).view(*w.shape, 3, 3)


def from_matrix(matrices: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 4"]:
    """Quaternions of rotations well below half a turn (the bones' rest orientations are)."""
    scalar = (1 + matrices.diagonal(dim1=-2, dim2=-1).sum(dim=-1)).clamp(min=1e-6).sqrt() / 2
    skew = matrices - matrices.transpose(-1, -2)
    vector = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
    return torch.cat([scalar[..., None], vector / (4 * scalar[..., None])], dim=-1)
