"""What this machine offers: cores, memory, devices, and how fast one core multiplies matrices.

Names of processors say little: the same core multiplies at half its speed with another library's
kernels, and a container may hold a part of the cores it shows. So speed is measured.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SIDE = 512
"""Of the square matrices that are multiplied: half a millisecond to a tenth of a second."""

SECONDS = 0.25
"""Of each measurement."""

CGROUP = Path("/sys/fs/cgroup")
"""What Linux tells about a container's limits (version 2)."""

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Cores:
    """The CPU, as far as this process may use it.

    Attributes:
        seen: of the machine.
        usable: that this process may run on.
        quota: of them that a container may keep busy; None without a limit.
        load: processes that wanted a core in the last minute; None where no system says it.
    """

    seen: int
    usable: int
    quota: float | None
    load: float | None

    @property
    def allowed(self) -> int:
        """How many threads make sense on an idle machine."""
        return max(1, int(min(self.usable, self.quota or self.usable)))

    def load_words(self) -> str:
        """How busy they are, in words."""
        busy = "load unknown" if self.load is None else f"load {self.load:.1f}"
        return f"{busy} on {self.allowed} {'core' if self.allowed == 1 else 'cores'}"


@dataclass(frozen=True)
class Memory:
    """Bytes; None where no system says it."""

    total: int | None
    available: int | None


@dataclass(frozen=True)
class Accelerator:
    """A device of torch and its bytes of memory."""

    device: str
    name: str
    memory: int


@dataclass(frozen=True)
class Speed:
    """Products of matrices, 10^9 multiplications and additions a second.

    Attributes:
        dtype, threads: of the products.
        clock: by the clock, as a user waits.
        core: by the core's own time, which others on a busy machine do not shorten; None for more
            threads than one.
    """

    dtype: str
    threads: int
    clock: float
    core: float | None


def cores() -> Cores:
    """Of this process."""
    seen = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else seen
    quota, load = None, None
    with contextlib.suppress(OSError, ValueError):  # no limit reads "max", which is no number
        share, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        quota = int(share) / int(period)
    with contextlib.suppress(OSError, AttributeError):
        load = os.getloadavg()[0]
    return Cores(seen, usable, quota, load)


def memory() -> Memory:
    """Of the machine, or of the container where that has less."""
    total, available = None, None
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.split(":") for line in MEMINFO.read_text(encoding="ascii").splitlines())
        kib = {name: int(value.split()[0]) for name, value in lines}
        total, available = 1024 * kib["MemTotal"], 1024 * kib["MemAvailable"]
    with contextlib.suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        total = limit if total is None else min(total, limit)
        left = max(0, limit - used)
        available = left if available is None else min(available, left)
    return Memory(total, available)


def accelerators() -> tuple[Accelerator, ...]:
    """Devices that torch can use; needs torch."""
    import torch

    with warnings.catch_warnings():  # about drivers that are too old: the answer is "none"
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            return ()
        found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    return tuple(
        Accelerator(f"cuda:{number}", each.name, each.total_memory)
        for number, each in enumerate(found)
    )


def has_nvidia_driver() -> bool:
    """Whether there is an NVIDIA GPU's driver, whatever torch makes of it."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def speeds() -> tuple[Speed, ...]:
    """Of float32 and bfloat16 on one thread, and of float32 on torch's threads where it has more;
    needs torch. About a second; torch's number of threads is as before afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        found = [speed(torch.float32, 1), speed(torch.bfloat16, 1)]
        if before > 1:
            torch.set_num_threads(before)
            found.append(speed(torch.float32, before))
    finally:
        torch.set_num_threads(before)
    return tuple(found)


def speed(dtype: torch.dtype, threads: int) -> Speed:
    """The median over products in ``SECONDS``, after one that warms up."""
    import torch

    left, right = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(2))
    torch.mm(left, right)
    by_clock: list[float] = []
    by_core: list[float] = []
    end = time.perf_counter() + SECONDS
    while not by_clock or time.perf_counter() < end:
        start, used = time.perf_counter(), time.thread_time()
        torch.mm(left, right)
        by_clock.append(time.perf_counter() - start)
        by_core.append(time.thread_time() - used)
    clock, core = (
        2 * SIDE**3 / max(statistics.median(taken), 1e-9) / 1e9 for taken in (by_clock, by_core)
    )
    name = str(dtype).removeprefix("torch.")
    return Speed(name, threads, clock, core if threads == 1 else None)
