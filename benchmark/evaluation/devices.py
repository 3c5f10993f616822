"""Devices by the names that users give them."""

from __future__ import annotations

import torch

from posebench.errors import InputError


def resolve_device(name: str) -> str:
    """'auto' to the fastest device there is; a named one checked.

    Raises:
        InputError: unknown device, or one that this machine or build lacks.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
        torch.Generator(device=name)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).strip().splitlines()[0][:100]
        raise InputError(f"device {name!r} cannot be used here: {reason}") from error
    return name
