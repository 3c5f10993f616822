"""Victims from checkpoints of the repositories that their authors released."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posebench.errors import InputError
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.released_names import renamed
from posebench.victims.zoo import VICTIMS


def import_released(
    name: str, state_dict_or_path: Mapping[str, Tensor] | str | Path
) -> PoseTransferNetwork:
    """A victim with a released checkpoint's weights; the width is read off the tensors.

    Accepts a state dict, a safetensors file, or a torch file, which is read by torch's closed-list
    unpickler: code in it is refused, not run. A ``module.`` prefix (DataParallel) and an
    enclosing ``state_dict`` entry are understood.

    Raises:
        InputError: unreadable file, code in a pickle, or tensors that are not this network's.
    """
    network_class = VICTIMS[name]
    if isinstance(state_dict_or_path, (str, Path)):
        source, state = str(state_dict_or_path), read_tensors(Path(state_dict_or_path))
    else:
        source, state = "state dict", dict(state_dict_or_path)
    released = {key.removeprefix("module."): value for key, value in state.items()}
    names, widest = network_class.released_names, network_class.released_width
    ours = renamed(released, names)
    if not names or widest not in ours or ours[widest].ndim == 0:
        raise InputError(
            f"{source}: no tensor that gives {widest or 'its width'!r}, so not a released "
            f"checkpoint of {name}"
        )
    network = network_class(len(ours[widest]))
    wanted = network.state_dict()
    missing = sorted(set(wanted) - set(ours))
    surplus = sorted(set(ours) - set(wanted))
    if missing or surplus:
        raise InputError(
            f"{source}: not a checkpoint of {name}: {len(missing)} tensors missing "
            f"{missing[:2]}, {len(surplus)} left over {surplus[:2]}"
        )
    for key, value in ours.items():
        if value.shape != wanted[key].shape:
            raise InputError(
                f"{source}: {key} has shape {tuple(value.shape)}, {name} of this width needs "
                f"{tuple(wanted[key].shape)}"
            )
    dtype = torch.float64 if ours[widest].dtype == torch.float64 else torch.float32
    network.to(dtype).load_state_dict(ours)
    return network.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors or torch file, without running code.

    Raises:
        InputError: missing, unreadable, truncated, or a pickle that holds more than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"weights {path}: not a whole safetensors file ({error})") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"weights {path}: refused or unreadable: damaged, no torch file, or with code or "
            "objects beside its tensors; save a plain state dict or a safetensors file"
        ) from error
    except Exception as error:  # damaged pickles raise almost anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"weights {path}: refused or unreadable: {reason}") from error
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"weights {path}: holds no state dict of tensors")
    return {str(key): value for key, value in loaded.items()}
