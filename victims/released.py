"""Victims from checkpoints of the released repositories (NPT, NPT-MP, GC-Transformer)."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posebench.errors import InputError
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.zoo import VICTIMS

_STAGE_PARTS = {
    "conv1": "main1",
    "conv2": "main2",
    "conv_res": "side",
    "spadain1": "modulate_main1.affine",
    "spadain2": "modulate_main2.affine",
    "spadain_res": "modulate_side.affine",
}
_ATTENTION_PARTS = {"query_conv": "query", "key_conv": "key", "value_conv": "value"}


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
    third = released.get("encoder.conv3.weight")
    if third is None or third.ndim == 0:
        raise InputError(
            f"{source}: no tensor 'encoder.conv3.weight', so not a released checkpoint of {name}"
        )
    network = network_class(int(third.shape[0]))
    ours = _renamed(released, heads=len(network.get_submodule("projections")._modules))
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
    dtype = third.dtype if third.dtype == torch.float64 else torch.float32
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


def _renamed(released: Mapping[str, Tensor], *, heads: int) -> dict[str, Tensor]:
    """Released names to ours; scale and shift convolutions become one affine layer."""
    ours: dict[str, Tensor] = {}
    halves: dict[str, dict[str, Tensor]] = {}
    for key, value in released.items():
        flat = value.squeeze(-1) if value.ndim == 3 else value
        if match := re.fullmatch(r"encoder\.conv(\d)\.(weight|bias)", key):
            ours[f"encoder.layers.{int(match[1]) - 1}.{match[2]}"] = flat
        elif match := re.fullmatch(r"decoder\.conv(\d)\.(weight|bias)", key):
            number = int(match[1]) - 1
            layer = "head" if number == heads else f"projections.{number}"
            ours[f"{layer}.{match[2]}"] = flat
        elif match := re.fullmatch(
            r"decoder\.spadain_block(\d)\.(conv1|conv2|conv_res)\.(weight|bias)", key
        ):
            part = _STAGE_PARTS[match[2]]
            ours[f"stages.{int(match[1]) - 1}.{part}.{match[3]}"] = flat
        elif match := re.fullmatch(
            r"decoder\.spadain_block(\d)\.(spadain\w+)\.(conv_weight|conv_bias)\.(weight|bias)", key
        ):
            part = _STAGE_PARTS.get(match[2], match[2])
            name = f"stages.{int(match[1]) - 1}.{part}.{match[4]}"
            halves.setdefault(name, {})[match[3]] = flat
        elif match := re.fullmatch(r"decoder\.cgp_block(\d)\.(\w+?_conv)\.(weight|bias)", key):
            part = _ATTENTION_PARTS.get(match[2], match[2])
            ours[f"attentions.{int(match[1]) - 1}.{part}.{match[3]}"] = flat
        elif match := re.fullmatch(r"decoder\.cgp_block(\d)\.gamma", key):
            ours[f"attentions.{int(match[1]) - 1}.gamma"] = flat
        else:
            ours[key] = flat
    for name, parts in halves.items():
        if set(parts) == {"conv_weight", "conv_bias"}:
            ours[name] = torch.cat([parts["conv_weight"], parts["conv_bias"]])
    return ours
