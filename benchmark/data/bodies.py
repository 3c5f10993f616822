"""New people from the training identities: blended shapes, other makers' proportions.

A new person is a weighted mean of the 16 training identities' rest shapes, joints and rest
orientations; some weights go a little below zero, so that people lie outside of the hull of the
identities too. Test identities never enter. Then each bone is stretched along itself and thickened
across, by factors alike on both sides: SMPL's and a game's bodies differ from Anny's in the
lengths of limbs, the breadth of shoulders and hips and the sizes of heads, hands and feet.

Stretching stands in front of the bone's turn to the T-pose: with S_k of bone k, ``to_tpose`` of the
new person is R0_k S_k, and skinning as in ``body`` moves joints and skin by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from posebench.benchmark.data import quaternions
from posebench.benchmark.data.body import TRAIN_IDENTITIES, Body
from posebench.shapes import Float

BEYOND = 0.3
"""How far blends go beyond the identities: shares w become w + BEYOND u (w - 1/16), u in 0..1."""

PARTS: dict[str, tuple[tuple[int, ...], float, float]] = {
    "pelvis": ((1,), 0.12, 0.0),
    "thigh": ((2, 3), 0.12, 0.12),
    "shin": ((4, 5), 0.12, 0.12),
    "foot": ((6,), 0.15, 0.12),
    "trunk": ((0, 13, 14, 15, 16, 17), 0.10, 0.12),
    "clavicle": ((18, 19), 0.15, 0.08),
    "upper arm": ((20, 21), 0.12, 0.12),
    "forearm": ((22, 23), 0.12, 0.12),
    "hand": ((24,), 0.18, 0.12),
    "neck": ((32, 33, 34), 0.20, 0.12),
    "head": ((35,), 0.10, 0.05),
}
"""Bones that are stretched alike (left and middle ones; right ones follow the left), and the
standard deviations of the logarithms of their length and girth. Our choice: styles of makers
differ more than adults do."""

OVERALL = (0.85, 1.15)
"""Range of the factor on the whole body."""

PLAIN = 0.35
"""Share of people that keep Anny's proportions."""


RIGHT_OF = {bone: bone + (6 if bone < 13 else 7) for bone in (*range(1, 7), *range(18, 25))}
"""Left bone -> right bone."""

UP_THE_SPINE = {0: 13, 17: 32}
"""Bones with several children, and the one they point to."""


@dataclass(frozen=True)
class People:
    """B new people.

    Attributes:
        blend: (B, 16) shares of the training identities, rows sum to 1.
        length, girth: (B, J) factors of each bone along itself and across.
    """

    blend: Float[Tensor, "b 16"]
    length: Float[Tensor, "b j"]
    girth: Float[Tensor, "b j"]

    def of(self, body: Body) -> Body:
        """The body with these people as its identities, in place of the embedded ones."""
        return stretched(blended(body, self.blend), self.length, self.girth)


def draw_people(count: int, generator: Generator, *, device: torch.device | str = "cpu") -> People:
    """New people; no test identity is in them."""
    return People(
        blend_weights(count, generator, device), *draw_proportions(count, generator, device)
    )


def blend_weights(
    count: int, generator: Generator, device: torch.device | str
) -> Float[Tensor, "b 16"]:
    """Shares of the training identities: exponential draws to a power, so that some people are
    nearly one identity and others a mean of many, then pushed a little away from the mean."""
    people = len(TRAIN_IDENTITIES)
    draw = torch.rand((count, people), generator=generator, device=device)
    shape = torch.rand((2, count, 1), generator=generator, device=device)
    raw = (-draw.clamp(min=1e-6).log()) ** (1 + 3 * shape[0])
    shares = raw / raw.sum(dim=1, keepdim=True)
    return shares + BEYOND * shape[1] * (shares - 1 / people)


def draw_proportions(
    count: int, generator: Generator, device: torch.device | str = "cpu"
) -> tuple[Float[Tensor, "b j"], Float[Tensor, "b j"]]:
    """Length and girth factors of every bone."""
    part, spread = _parts(str(device))
    noise = torch.randn((2, count, len(PARTS)), generator=generator, device=device).clamp(-2, 2)
    share = torch.rand((2, count, 1), generator=generator, device=device)
    low, high = OVERALL
    size = low + (high - low) * share[0]
    factor = torch.where(share[1] < PLAIN, 1.0, (noise * spread).exp())[:, :, part] * size
    return factor[0], factor[1]


def blended(body: Body, blend: Float[Tensor, "b 16"]) -> Body:
    """The body with blends of its training identities as identities."""
    people = slice(TRAIN_IDENTITIES.start, TRAIN_IDENTITIES.stop)
    turns = quaternions.from_matrix(body.to_tpose[people])
    mean = normalize(torch.einsum("bi,ijq->bjq", blend, turns), dim=2)
    return replace(
        body,
        rest=torch.einsum("bi,ivc->bvc", blend, body.rest[people]),
        joints=torch.einsum("bi,ijc->bjc", blend, body.joints[people]),
        to_tpose=quaternions.to_matrix(mean),
    )


def stretched(body: Body, length: Float[Tensor, "i j"], girth: Float[Tensor, "i j"]) -> Body:
    """The body with each identity's bones stretched along themselves and across."""
    axis = bone_axes(body)
    along = axis[..., :, None] * axis[..., None, :]
    eye = torch.eye(3, device=axis.device)
    stretch = girth[..., None, None] * eye + (length - girth)[..., None, None] * along
    return replace(body, to_tpose=body.to_tpose @ stretch)


def bone_axes(body: Body) -> Float[Tensor, "i j 3"]:
    """Unit vectors along the bones at rest: to the next bone, or as their parent where none is."""
    heads, tails = _ends(body.parents)
    return normalize(body.joints[:, tails] - body.joints[:, heads], dim=2)


@lru_cache
def _ends(parents: tuple[int, ...]) -> tuple[list[int], list[int]]:
    heads, tails = [], []
    for bone, parent in enumerate(parents):
        children = [k for k, p in enumerate(parents) if p == bone]
        if children:
            heads.append(bone)
            tails.append(UP_THE_SPINE.get(bone, children[0]))
        else:
            heads.append(parent)
            tails.append(bone)
    return heads, tails


@lru_cache
def _parts(device: str) -> tuple[Tensor, Tensor]:
    """Part of each bone (J,), and spreads (2, 1, parts) of length and girth."""
    spread = torch.tensor([[p[1] for p in PARTS.values()], [p[2] for p in PARTS.values()]])
    return torch.tensor(parts_of_bones(), device=device), spread[:, None].to(device)


def parts_of_bones() -> list[int]:
    """Which of ``PARTS`` each bone belongs to, on either side."""
    part = {}
    for number, (members, _, _) in enumerate(PARTS.values()):
        for bone in members:
            part[bone] = part[RIGHT_OF.get(bone, bone)] = number
    return [part[bone] for bone in sorted(part)]
