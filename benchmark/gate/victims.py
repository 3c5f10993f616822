"""The victim of a gate's cell: shipped, from a weights file, or made by a user's function."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

from torch import nn

from posebench.benchmark.gate.config import GateCell
from posebench.errors import InputError
from posebench.interfaces import Victim
from posebench.victims import load_network


def load_gate_victim(cell: GateCell, folder: Path, device: str) -> Victim:
    """The cell's victim in eval mode; paths are relative to the gate's ``folder``.

    Raises:
        InputError: no such weights or function, or one whose result is no victim.
    """
    asked = cell.evaluation
    if ":" in asked.victim:
        victim = victim_from(asked.victim, folder)
        network = network_of(victim)
        if network is not None:
            network.eval().to(device)
        return victim
    weights = None if asked.weights is None else folder / asked.weights
    found, _ = load_network(
        asked.victim,
        size=asked.size,
        weights=weights,
        training=cell.training,
        regime=asked.regime,
    )
    return found.to(device).eval()


def victim_from(name: str, folder: Path) -> Victim:
    """What ``package.module:function`` returns; modules in ``folder`` or here are found too.

    Raises:
        InputError: it cannot be imported or called, or returns something else.
    """
    module, _, function = name.partition(":")
    places = [str(place.resolve()) for place in (Path(), folder)]
    sys.path[:0] = places
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError,
            SyntaxError, TypeError, ValueError) as error:  # fmt: skip
        text = " ".join(str(error).split())[:200]
        raise InputError(f"victim {name!r}: {type(error).__name__}: {text}") from error
    finally:
        for place in places:
            sys.path.remove(place)
    if not isinstance(made, Victim):
        raise InputError(
            f"victim {name!r}: returned {type(made).__name__}, not a victim; wrap a network with "
            "posebench.from_module"
        )
    return made


def network_of(victim: Victim) -> nn.Module | None:
    """The network inside a victim and its wrappers, None if it is made of something else."""
    inner: object = victim
    while not isinstance(inner, nn.Module) and hasattr(inner, "victim"):
        inner = inner.victim
    return inner if isinstance(inner, nn.Module) else None


def parameters_sha256(victim: Victim) -> str | None:
    """sha256 over names and values of the parameters in memory; None if there are none.

    Not of a file: whatever happens to weights after they were read is a change too.
    """
    network = network_of(victim)
    state = {} if network is None else network.state_dict()
    if not state:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
