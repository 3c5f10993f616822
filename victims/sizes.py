"""Sizes: the same code at five widths and vertex counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A network width and the mesh it is trained and evaluated on."""

    width: int
    vertices: int


SIZES = {
    "paper": Size(width=1024, vertices=6890),
    "wide": Size(width=512, vertices=1700),
    "compact": Size(width=256, vertices=1700),
    "small": Size(width=128, vertices=1700),
    "tiny": Size(width=32, vertices=800),
}
"""``paper``: as published. ``compact``: shipped weights of every victim, seconds on a CPU.
``wide`` and ``small``: twice and half its width, for studies. ``tiny``: for tests."""
