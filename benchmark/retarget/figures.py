"""People of any proportions in any poses: what a body that is fitted to a cloud can become."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from posebench.benchmark.data.bodies import PARTS, blended, parts_of_bones, stretched
from posebench.benchmark.data.body import TRAIN_IDENTITIES, Body, pose_body
from posebench.shapes import Float, Int

PEOPLE = len(TRAIN_IDENTITIES)
"""Training identities that are blended; test identities never enter."""


@dataclass(frozen=True)
class Figures:
    """K people, each in one pose; every field is free in a fit.

    Attributes:
        pose: (K, 24, 3) axis-angle vectors, radians.
        shares: (K, 16) of the training identities, away from equal shares; only differences count.
        length, girth: (K, 11) logarithms of factors on bones of ``PARTS``, left as right.
        size: (K,) logarithms of factors on whole bodies.
        place: (K, 3) metres, of the bodies' origins.
    """

    pose: Float[Tensor, "k 24 3"]
    shares: Float[Tensor, "k 16"]
    length: Float[Tensor, "k p"]
    girth: Float[Tensor, "k p"]
    size: Float[Tensor, "k"]
    place: Float[Tensor, "k 3"]

    @staticmethod
    def of(
        pose: Float[Tensor, "k 24 3"], size: Float[Tensor, "k"], place: Float[Tensor, "k 3"]
    ) -> Figures:
        """The mean person in these poses, sizes and places."""
        plain = pose.new_zeros(len(pose), len(PARTS))
        return Figures(pose, pose.new_zeros(len(pose), PEOPLE), plain, plain, size, place)

    def __len__(self) -> int:
        return len(self.pose)

    def tensors(self) -> list[Tensor]:
        """The fields in their order."""
        return [getattr(self, each.name) for each in fields(self)]

    def chosen(self, rows: Int[Tensor, "m"]) -> Figures:
        """Some of them."""
        return Figures(*(each[rows] for each in self.tensors()))

    def people(self, body: Body) -> Body:
        """The body with these K people as its identities, of size 1."""
        blend = 1 / PEOPLE + self.shares - self.shares.mean(dim=1, keepdim=True)
        part = parts_of_bones()
        return stretched(
            blended(body, blend), self.length[:, part].exp(), self.girth[:, part].exp()
        )

    def vertices(self, body: Body) -> Float[Tensor, "k v 3"]:
        """Their surfaces at the body's level of detail, metres."""
        numbers = torch.arange(len(self.pose), device=self.pose.device)
        posed = pose_body(self.people(body), numbers, self.pose)
        return posed * self.size.exp()[:, None, None] + self.place[:, None]
