"""The weight rule of the reference numbers: released state dicts rebuilt from names and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(__file__).parent / "parity"


def reference(name: str) -> dict[str, NDArray[Any]]:
    """All arrays of one reference file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def hashed(count: int, number: int) -> NDArray[np.float64]:
    """Pseudo-random values in [-1, 1) for entry ``number``, by a 32-bit integer hash."""
    k = np.arange(count, dtype=np.uint64)
    h = (k + np.uint64(number * 0x9E3779B9 % 2**32)) & np.uint64(0xFFFFFFFF)
    mask = np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = (h * np.uint64(0x85EBCA6B)) & mask
    h ^= h >> np.uint64(13)
    h = (h * np.uint64(0xC2B2AE35)) & mask
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / 2**31 - 1


def released_state(data: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """The released network's state dict, float32, from the rule."""
    state = {}
    for number, (name, text) in enumerate(zip(data["names"], data["shapes"], strict=True), 1):
        shape = tuple(int(s) for s in str(text).split(","))
        u = hashed(int(np.prod(shape)), number)
        if len(shape) >= 2:
            u = 0.6 * np.sqrt(3 / (shape[1] * shape[2])) * u
        elif str(name).endswith("gamma"):
            u = np.full_like(u, 0.5)
        else:
            u = 0.1 * u
        state[str(name)] = torch.from_numpy(u.reshape(shape).astype(np.float32))
    return state


def stored_state(data: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """The released network's state dict where the file holds it, float64."""
    return {
        key.removeprefix("w/"): torch.from_numpy(value).double()
        for key, value in data.items()
        if key.startswith("w/")
    }
