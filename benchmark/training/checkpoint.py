"""Checkpoints: everything a training run needs to go on, in one safetensors file.

Tensors only, with a JSON header: loading cannot run code. Written beside and renamed, so a kill
at any moment leaves the last good file.

On the kind of device that it was written on, a run goes on with the random numbers it would have
drawn. Generators of different kinds have different states; on another kind the run draws from a
fresh stream, which follows from the seed and the step.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from posebench.benchmark.data.body import body_fingerprint
from posebench.benchmark.records.types import Json
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.state import State
from posebench.benchmark.training.time_budget import PartClock, with_length
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.rng import generator_for

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Header:
    """What a checkpoint says in JSON beside its tensors; see ``State``.

    Attributes:
        recipe: of the run, as JSON holds it; a run resumes only from its own.
        data: fingerprint of the body.
        device: kind of the device whose generator's state is stored.
    """

    recipe: Json
    data: str
    device: str
    step: int
    curve: list[tuple[int, float]]
    seconds: float
    clock: PartClock
    chosen: int


def save_checkpoint(folder: Path, state: State) -> None:
    """Write weights, optimiser state and generator state atomically."""
    from safetensors.torch import save

    tensors = {f"weights.{k}": v for k, v in state.network.state_dict().items()}
    for number, optimiser in enumerate(state.optimisers):
        for index, slots in optimiser.state_dict()["state"].items():
            for slot, value in slots.items():
                tensors[f"optimiser.{number}.{index}.{slot}"] = torch.as_tensor(value)
    tensors |= {f"average.{k}": v for k, v in state.average.state_dict().items()}
    tensors |= {"generator": state.generator.get_state(), "sums": state.sums}
    header = Header(
        recipe=asdict(state.recipe),
        data=body_fingerprint(),
        device=state.generator.device.type,
        step=state.step,
        curve=state.curve,
        seconds=state.seconds,
        clock=state.clock,
        chosen=state.chosen,
    )
    flat = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    written = save(flat, metadata={"checkpoint": json.dumps(asdict(header))})
    write_atomically(folder / NAME, written)


def load_checkpoint(folder: Path, state: State, *, paced: bool) -> bool:
    """Restore a run in place; whether the folder has a checkpoint.

    A ``paced`` run is inside a time budget: it takes over the lengths that were chosen.

    Raises:
        InputError: unreadable file, or one of another recipe or other data.
    """
    path = folder / NAME
    if not path.exists():
        return False
    header, tensors = _read(path)
    differing = differences(header.recipe, state.recipe, lengths=not paced)
    if header.data != body_fingerprint():
        differing.append("other body data")
    if differing:
        raise InputError(
            f"{path} is of another run ({'; '.join(differing)}); use another folder or delete it"
        )
    try:
        state.recipe = _chosen(state.recipe, header)
        _restore(tensors, state)
        _restore_generator(tensors["generator"], state, header)
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} lacks parts of its run ({reason}); delete it") from error
    state.step, state.curve, state.seconds = header.step, header.curve, header.seconds
    state.clock, state.chosen = header.clock, header.chosen
    return True


def differences(stored: Json, recipe: Recipe, *, lengths: bool = True) -> list[str]:
    """What sets a stored recipe apart from this one; ``lengths``: of the parts, too."""
    here = _flat(json.loads(json.dumps(asdict(recipe))))
    there = _flat(stored)
    return [
        f"{key}: {there.get(key)!r} there, {here.get(key)!r} here"
        for key in here | there
        if there.get(key) != here.get(key) and (lengths or key not in ("steps", "after"))
    ]


def _flat(recipe: Json) -> Json:
    inner = recipe.get("adversarial") or {}
    return {**{k: v for k, v in recipe.items() if k != "adversarial"}, **inner}


def _chosen(recipe: Recipe, header: Header) -> Recipe:
    """The recipe with the stored lengths."""
    if not header.chosen:
        return recipe
    steps, part = int(header.recipe["steps"]), header.recipe["adversarial"]
    if recipe.adversarial is None or part is None:
        return with_length(recipe, steps, adversarial=False)
    adversarial = replace(recipe.adversarial, after=float(part["after"]))
    return replace(recipe, steps=steps, adversarial=adversarial)


def _read(path: Path) -> tuple[Header, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            raw = json.loads((file.metadata() or {})["checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = Header(
            recipe=dict(raw["recipe"]),
            data=str(raw["data"]),
            device=str(raw["device"]),
            step=int(raw["step"]),
            curve=[(int(step), float(loss)) for step, loss in raw["curve"]],
            seconds=float(raw["seconds"]),
            clock=PartClock(**raw["clock"]),
            chosen=int(raw["chosen"]),
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a readable checkpoint ({error}); delete it") from error
    return header, tensors


def _restore(tensors: dict[str, Tensor], state: State) -> None:
    for prefix, part in (("weights.", state.network), ("average.", state.average)):
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        part.load_state_dict(found)
    for number, optimiser in enumerate(state.optimisers):
        slots: dict[int, Json] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimiser.{number}."):
                _, _, index, slot = name.split(".", 3)
                slots.setdefault(int(index), {})[slot] = value
        groups = optimiser.state_dict()["param_groups"]
        if not slots and any(group["params"] for group in groups):
            raise ValueError(f"no state of optimiser {number}")
        optimiser.load_state_dict({"state": slots, "param_groups": groups})
    state.sums.copy_(tensors["sums"])


def _restore_generator(stored: Tensor, state: State, header: Header) -> None:
    device, recipe = state.generator.device, state.recipe
    if header.device == device.type:
        state.generator.set_state(stored)
        return
    keys = ("on another device", recipe.victim, device.type, header.step)
    state.generator.set_state(generator_for(recipe.seed, *keys, device=device).get_state())
