"""Names of tensors in released checkpoints, turned into ours by patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Names = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Patterns, and what takes the place of what they find, applied in turn. Tensors whose new names
end in ``#0`` and ``#1`` are stacked into one, of the name before it."""


def renamed(released: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Released tensors by our names, kernel-1 convolutions as matrices."""
    ours: dict[str, Tensor] = {}
    stacked: dict[str, dict[str, Tensor]] = {}
    for key, value in released.items():
        for pattern, new in names:
            key = re.sub(pattern, new, key)
        flat = value.squeeze(-1) if value.ndim == 3 else value
        name, _, place = key.partition("#")
        if place:
            stacked.setdefault(name, {})[place] = flat
        else:
            ours[name] = flat
    for name, parts in stacked.items():
        if set(parts) == {"0", "1"}:
            ours[name] = torch.cat([parts["0"], parts["1"]])
    return ours


def counted(prefix: str, suffix: str = ".") -> Callable[[re.Match[str]], str]:
    """A replacement: the prefix and the number found, counted from 0 in place of 1."""
    return lambda found: f"{prefix}{int(found[1]) - 1}{suffix}"


def spadain_names(head: int) -> Names:
    """Of NPT, GC-Transformer and their max-pool variants; ``head`` is the last convolution's number
    in the decoder."""
    return (
        (r"^encoder\.conv(\d)\.", counted("encoder.layers.")),
        (rf"^decoder\.conv{head}\.", "head."),
        (r"^decoder\.conv(\d)\.", counted("projections.")),
        (r"^decoder\.cgp_block(\d)\.", counted("attentions.")),
        (r"\.(query|key|value)_conv\.", r".\1."),
        (r"^decoder\.spadain_block(\d)\.", counted("stages.")),
        (r"\.spadain_res\.", ".modulate_side."),
        (r"\.spadain(\d)\.", r".modulate_main\1."),
        (r"\.conv_weight\.(weight|bias)$", r".affine.\1#0"),
        (r"\.conv_bias\.(weight|bias)$", r".affine.\1#1"),
        (r"\.conv_res\.", ".side."),
        (r"^(stages\.\d)\.conv(\d)\.", r"\1.main\2."),
    )
