"""Checkpoints: everything a training run needs to go on, in one safetensors file.

Tensors only, with a JSON header: loading cannot run code. Written beside and renamed, so a kill
at any moment leaves the last good file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from posebench.errors import InputError
from posebench.files import write_atomically

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The header of a checkpoint.

    Attributes:
        card: the recipe and the data's fingerprint; a run resumes only from its own.
        step: optimiser steps done.
        curve: (step, loss) entries so far.
    """

    card: dict[str, Any]
    step: int
    curve: tuple[tuple[int, float], ...]


def save_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    network: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    generator: Generator,
) -> None:
    """Write weights, optimiser state and generator state atomically."""
    from safetensors.torch import save

    tensors = {f"weights.{k}": v for k, v in network.state_dict().items()}
    for number, optimiser in enumerate(optimisers):
        for index, slots in optimiser.state_dict()["state"].items():
            for slot, value in slots.items():
                tensors[f"optimiser.{number}.{index}.{slot}"] = torch.as_tensor(value)
    tensors["generator"] = generator.get_state()
    header = {"card": checkpoint.card, "step": checkpoint.step, "curve": checkpoint.curve}
    flat = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomically(folder / NAME, save(flat, metadata={"checkpoint": json.dumps(header)}))


def stored_recipe(folder: Path) -> dict[str, Any] | None:
    """The recipe of the checkpoint in a folder; None where there is none."""
    path = folder / NAME
    if not path.exists():
        return None
    recipe: dict[str, Any] = _read(path)[0]["card"]["recipe"]
    return recipe


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["checkpoint"])
            header = {key: header[key] for key in ("card", "step", "curve")}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            int(header["card"]["recipe"]["steps"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a readable checkpoint ({error}); delete it") from error
    return header, tensors


def load_checkpoint(
    folder: Path,
    card: dict[str, Any],
    network: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    generator: Generator,
) -> Checkpoint | None:
    """Restore a run in place; None where the folder has no checkpoint.

    Raises:
        InputError: unreadable file, or one of another recipe or other data.
    """
    path = folder / NAME
    if not path.exists():
        return None
    header, tensors = _read(path)
    if header["card"] != card:
        differing = [
            f"{key}: {header['card']['recipe'].get(key)!r} there, {value!r} here"
            for key, value in card["recipe"].items()
            if header["card"]["recipe"].get(key) != value
        ] or ["other body data"]
        raise InputError(
            f"{path} is of another run ({'; '.join(differing)}); use another folder or delete it"
        )
    try:
        _restore(tensors, network, optimisers, generator)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} lacks parts of its run ({reason}); delete it") from error
    curve = tuple((int(s), float(v)) for s, v in header["curve"])
    return Checkpoint(card, int(header["step"]), curve)


def _restore(
    tensors: dict[str, Tensor],
    network: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    generator: Generator,
) -> None:
    network.load_state_dict(
        {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    )
    for number, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimiser.{number}."):
                _, _, index, slot = name.split(".", 3)
                state.setdefault(int(index), {})[slot] = value
        groups = optimiser.state_dict()["param_groups"]
        if not state:
            raise ValueError(f"no state of optimiser {number}")
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    generator.set_state(tensors["generator"])
