"""Memory: how much was used, and smaller batches where it runs out."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from posebench.errors import InputError, out_of_memory

R = TypeVar("R")

PROCESS = Path("/proc/self")
"""What Linux tells about this process."""


def halving(run: Callable[[int], R], batch_size: int) -> R:
    """``run(batch_size)``, with half the batch as often as memory runs out.

    For runs whose result does not depend on the batch size; each try begins from the start.

    Raises:
        InputError: if one pair alone is too much.
    """
    while True:
        try:
            return run(batch_size)
        except (MemoryError, RuntimeError, OSError) as error:
            if not out_of_memory(error):
                raise
            if batch_size <= 1:
                reason = next(iter(str(error).splitlines()), "")[:100]
                raise InputError(
                    f"out of memory even with one pair at a time ({reason}): try smaller meshes "
                    "or a machine with more memory"
                ) from error
        # Out here the error is gone, and with it the frames that hold the failed batch.
        batch_size //= 2
        gc.collect()
        torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()


def start_peak(device: str) -> None:
    """Let :func:`peak_memory` count from here; of a process only Linux can."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # no Linux, or not allowed
        (PROCESS / "clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> int:
    """Most bytes in use since :func:`start_peak`: the device's where it counts them, else the
    process's, and that since its start where the system cannot count anew; 0 on Windows."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError, StopIteration):
        lines = (PROCESS / "status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    with contextlib.suppress(ImportError):
        import resource  # POSIX alone

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0
