"""The families of natural poses as tables, read from ``pose_families.toml``, where they stand."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posebench.benchmark.data.joint_angles import INDEX, LIMB, RANGES
from posebench.shapes import Float, Int

DRIVES = ("own", "depth", "reach")
"""What an angle follows: a draw of its own, or one of two that the entries of a pose share."""

GAIT_ANGLES = ("hip_flexion", "knee_flexion", "ankle_dorsiflexion")
HARMONICS = 3
"""Of a stride; the curves' remainder is below 3 degrees on average."""


@dataclass(frozen=True)
class Families:
    """F families of A angles each, G gaits, on one device.

    Attributes:
        names: of the families.
        weights: (F,) cumulative shares, the last is 1.
        low, high: (F, A) degrees where a draw is 0 and 1.
        drive: (F, A) index into DRIVES.
        planted, arms, legs: (F, 1) see the file.
        gait: (F,) index into the gaits, -1 without.
        curves: (G, 3, 1 + 2 K) mean, cosine and sine parts of GAIT_ANGLES, degrees.
        swing: (G, 2) range of the arms' amplitude, degrees.
    """

    names: tuple[str, ...]
    weights: Float[Tensor, "f"]
    low: Float[Tensor, "f a"]
    high: Float[Tensor, "f a"]
    drive: Int[Tensor, "f a"]
    planted: Float[Tensor, "f 1"]
    arms: Float[Tensor, "f 1"]
    legs: Float[Tensor, "f 1"]
    gait: Int[Tensor, "f"]
    curves: Float[Tensor, "g 3 c"]
    swing: Float[Tensor, "g 2"]


@lru_cache
def load_families(device: torch.device | str = "cpu") -> Families:
    """The families on a device."""
    text = files("posebench.benchmark.data").joinpath("pose_families.toml").read_text("utf-8")
    content = tomllib.loads(text)
    kinds, gaits = content["family"], content["gait"]
    low, high, drive = [], [], []
    for kind in kinds.values():
        row = dict(both_sides(content["relaxed"]))
        for part in kind.get("with", ()):
            row |= both_sides(content["part"][part])
        row |= both_sides(kind.get("angles", {}))
        low.append([row[name][0] for name in RANGES])
        high.append([row[name][1] for name in RANGES])
        drive.append([DRIVES.index((*row[name], "own")[2]) for name in RANGES])
    weights = np.cumsum([kind["weight"] for kind in kinds.values()])

    def column(key: str, usual: float) -> Tensor:
        return torch.tensor([[kind.get(key, usual)] for kind in kinds.values()], device=device)

    curves = np.stack([harmonics(gait) for gait in gaits.values()])
    return Families(
        names=tuple(kinds),
        weights=torch.tensor(weights / weights[-1], dtype=torch.float32, device=device),
        low=torch.tensor(low, dtype=torch.float32, device=device),
        high=torch.tensor(high, dtype=torch.float32, device=device),
        drive=torch.tensor(drive, device=device),
        planted=column("planted", 1.0),
        arms=column("arms", 0.3),
        legs=column("legs", 0.3),
        gait=torch.tensor(
            [list(gaits).index(k["gait"]) if "gait" in k else -1 for k in kinds.values()],
            device=device,
        ),
        curves=torch.tensor(curves, dtype=torch.float32, device=device),
        swing=torch.tensor(
            [gait["arms"] for gait in gaits.values()], dtype=torch.float32, device=device
        ),
    )


def both_sides(entries: dict[str, Any]) -> dict[str, Any]:
    """Entries by full angle name; an entry of one side comes after the one of both."""
    found: dict[str, Any] = {}
    for name, entry in entries.items():
        found |= {f"{side}_{name}": entry for side in ("left", "right")} if name in LIMB else {}
    found |= {name: entry for name, entry in entries.items() if name not in LIMB}
    if odd := found.keys() - INDEX.keys():
        raise ValueError(f"pose_families.toml names unknown angles: {sorted(odd)}")
    return found


def harmonics(gait: dict[str, list[int]]) -> NDArray[np.float64]:
    """Mean, cosine and sine parts (3, 1 + 2 K) of a gait's curves over one stride."""
    curves = np.array([gait[name] for name in GAIT_ANGLES])
    parts = np.fft.rfft(curves, axis=1)[:, : HARMONICS + 1] / curves.shape[1]
    waves = 2 * parts[:, 1:]
    return np.concatenate([parts[:, :1].real, waves.real, -waves.imag], axis=1)
