"""Randomness: one generator per purpose, derived from a seed and the purpose's name."""

from __future__ import annotations

import hashlib

import torch


def generator_for(
    seed: int, *keys: int | str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator that depends on the seed and all keys, and on nothing else.

    Keys name the purpose, such as ``generator_for(0, "attack", sample_id)``, so drawing more
    for one purpose never shifts another.
    """
    text = "\x1f".join([str(seed), *map(str, keys)])
    state = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
    return torch.Generator(device=device).manual_seed(state)


def sample_generators(
    generator: torch.Generator | None, sample_ids: torch.Tensor
) -> list[torch.Generator]:
    """One generator per sample, from the generator's seed and the sample's number alone.

    So a sample's random draws do not depend on the batch it happens to be in. Without a
    generator the seed is 0.
    """
    seed = 0 if generator is None else generator.initial_seed()
    return [generator_for(seed, "sample", number) for number in sample_ids.tolist()]


def moved_to(like: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Draws made on the CPU, where ``like`` is and in its dtype, without waiting for the device."""
    if like.device.type == "cuda":
        draws = draws.pin_memory()  # from other memory the copy would wait
    return draws.to(like, non_blocking=True)
