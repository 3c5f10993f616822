"""Weights on disk: safetensors with a JSON header that says how to rebuild the network."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.registry import unknown
from posebench.victims.zoo import VICTIMS

if TYPE_CHECKING:
    from posebench.victims.network import PoseTransferNetwork

HEADER = "posebench"


TRAININGS = {"clean": "cleanly", "adversarial": "adversarially", "robust": "robustly"}
"""Trainings whose weights may be shipped, and how to say so: "adversarial" is the paper's, against
its literal budget, "robust" is against a threat model of ``posebench.threats``."""


REGIMES = ("protocol", "open")
"""Where training pairs come from: the paper's 16 identities in 400 poses, or people, poses and
points drawn anew at every step."""


def shipped_path(
    victim: str,
    size: str,
    *,
    training: str = "clean",
    regime: str = "protocol",
) -> Path:
    """Where the weights of a victim would be shipped; the file need not exist.

    Raises:
        InputError: an unknown training or regime.
    """
    if training not in TRAININGS:
        raise unknown("training", training, TRAININGS)
    if regime not in REGIMES:
        raise unknown("regime", regime, REGIMES)
    name = f"{victim}-{size}{'' if regime == 'protocol' else f'-{regime}'}"
    name += f"{'' if training == 'clean' else f'-{training}'}.safetensors"
    return Path(str(files("posebench.victims").joinpath("weights", name)))


def shipped_files() -> list[Path]:
    """Every weights file that comes with the library, by name."""
    return sorted(shipped_path("", "").parent.glob("*.safetensors"))


def shipped_victims(size: str) -> tuple[str, ...]:
    """Registry names of those whose clean weights of a size come with the library.

    Without those that need the true correspondence, which few tasks know.
    """
    there = (name for name in VICTIMS if shipped_path(name, size).is_file())
    return tuple(name for name in there if not VICTIMS[name].spec.guided)


def write_weights(
    path: Path, network: PoseTransferNetwork, card: dict[str, Any], *, half: bool = False
) -> None:
    """Write a network's weights atomically; ``card`` says how they came about, JSON-ready.

    ``half``: in half precision, see :func:`rounded`.
    """
    from safetensors.torch import save

    header = {"victim": network.spec.name, "settings": network.settings(), "card": card}
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    write_atomically(path, save(tensors, metadata={HEADER: json.dumps(header, sort_keys=True)}))


def rounded(network: PoseTransferNetwork) -> PoseTransferNetwork:
    """The same network, its weights now those that half precision holds; arithmetic stays as it is.

    Files are half as large. A relative change of 2^-11 moved the clean error of a pair by less than
    one per cent, far less than a few more steps of training do.
    """
    for weight in (*network.parameters(), *network.buffers()):
        if weight.is_floating_point():
            weight.data = weight.data.half().to(weight.dtype)
    return network


def read_weights(path: Path) -> dict[str, Any] | None:
    """The header of a weights file of ours; None for a safetensors file from elsewhere.

    Raises:
        InputError: missing, truncated or otherwise not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(HEADER)
        return None if text is None else dict(json.loads(text))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"weights {path}: not a whole safetensors file ({error})") from error


def load_network(
    name: str,
    *,
    size: str = "compact",
    weights: Path | None = None,
    training: str = "clean",
    regime: str = "protocol",
) -> tuple[PoseTransferNetwork, Path]:
    """A victim in eval mode and the file its weights came from.

    Without ``weights`` the shipped ones are used. Files of the released repositories are
    accepted too, see :func:`import_released`.

    Raises:
        InputError: unknown victim, no such weights, or weights of another victim.
    """
    from posebench.victims.released import import_released

    network_class = VICTIMS[name]
    path = weights or shipped_path(name, size, training=training, regime=regime)
    if weights is None and not path.is_file():
        kind = "" if training == "clean" else f"{TRAININGS[training]} trained "
        kind, more = (f"{kind}open ", " --regime open") if regime == "open" else (kind, "")
        raise InputError(
            f"no {kind}weights of {name!r} at size {size!r} are shipped; train them with "
            f"'posebench train --victim {name} --size {size}{more}' and pass --weights FILE"
        )
    header = read_weights(path) if path.suffix == ".safetensors" else None
    if header is None:
        return import_released(name, path), path
    if header.get("victim") != name:
        raise InputError(f"weights {path}: of victim {header.get('victim')!r}, not {name!r}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network = network_class(**header["settings"])
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, TypeError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise InputError(f"weights {path}: do not fit {name}: {reason}") from error
    return network.eval(), path


def load_victim(
    name: str,
    *,
    size: str = "compact",
    training: str = "clean",
    regime: str = "protocol",
    weights: Path | str | None = None,
) -> PoseTransferNetwork:
    """A victim with trained weights, in eval mode: shipped ones, or those of a file.

    Raises:
        InputError: as :func:`load_network`, or an unknown training or regime.
    """
    if training not in TRAININGS:
        raise unknown("training", training, TRAININGS)
    if regime not in REGIMES:
        raise unknown("regime", regime, REGIMES)
    path = None if weights is None else Path(weights)
    return load_network(name, size=size, weights=path, training=training, regime=regime)[0]


def weights_fingerprint(path: Path) -> str:
    """sha256 of a weights file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
