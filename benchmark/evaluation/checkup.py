"""What ``posebench doctor`` finds: what is installed, what the machine offers, what will be slow.

Nothing here fails because something is missing, torch included: that is what is to be found out.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from posebench import __version__
from posebench.benchmark.evaluation import machine
from posebench.benchmark.evaluation.machine import Accelerator, Cores, Memory, Speed
from posebench.benchmark.records.environment import commit, processor

REQUIRED = (
    "torch", "numpy", "pandas", "pydantic", "matplotlib", "rich", "safetensors", "scipy",
    "trimesh", "typer",
)  # fmt: skip
"""Distributions that posebench depends on."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "open3d": ("open3d",),
    "dfaust": ("h5py",),
    "mls": ("compas_cgal",),
    "ray": ("ray",),
    "body": ("anny", "roma", "fast_simplification", "rtree"),
    "foolbox": ("foolbox",),
    "art": ("art", "packaging"),
    "torchattacks": ("torchattacks",),
}
"""Optional extra -> what it makes importable."""

LITTLE = 2 * 2**30
"""Bytes of free memory below which evaluations of usual meshes may not fit; see docs/meshes.md."""

UNITS = 2.5
"""Ratio of both precisions' speeds from which float32 is called slow (our choice; 2 is right)."""

GAIN = 1.2
"""Speed-up by more threads from which they are worth having (our choice)."""


@dataclass(frozen=True)
class Torch:
    """The installed torch.

    Attributes:
        version: with its build, such as 2.9.0+cpu.
        cuda: version that it was built for; None without.
        threads: that it would start for one operation.
        mkl: whether Intel MKL multiplies its float32 matrices.
    """

    version: str
    cuda: str | None
    threads: int
    mkl: bool


@dataclass(frozen=True)
class Checkup:
    """All that was found; ``slow`` and ``missing`` are in words, in order of weight."""

    posebench: str
    commit: str | None
    python: str
    system: str
    processor: str
    cores: Cores
    memory: Memory
    torch: Torch | None
    accelerators: tuple[Accelerator, ...]
    speeds: tuple[Speed, ...]
    packages: dict[str, str | None]
    extras: dict[str, bool]
    missing: tuple[str, ...]
    slow: tuple[str, ...]


def checkup() -> Checkup:
    """Look at everything; some seconds, most of them torch's loading."""
    packages = {name: installed(name) for name in REQUIRED}
    extras = {name: all(map(importable, parts)) for name, parts in EXTRAS.items()}
    cores, memory = machine.cores(), machine.memory()
    found, why = torch_here()
    accelerators = machine.accelerators() if found else ()
    speeds = machine.speeds() if found else ()
    lacks = [f"{name}: pip install {name}" for name, there in packages.items() if there is None]
    if why is not None and packages["torch"] is not None:
        lacks.insert(0, f"torch cannot be loaded: {why}")
    return Checkup(
        posebench=__version__,
        commit=commit()[0],
        python=platform.python_version(),
        system=platform.platform(),
        processor=processor(),
        cores=cores,
        memory=memory,
        torch=found,
        accelerators=accelerators,
        speeds=speeds,
        packages=packages,
        extras=extras,
        missing=tuple(lacks),
        slow=tuple(
            (
                *slow_cores(cores, found, speeds),
                *slow_products(processor(), found, speeds),
                *slow_devices(accelerators, found, machine.has_nvidia_driver()),
                *little_memory(memory),
            )
        ),
    )


def installed(distribution: str) -> str | None:
    """Its version; None if it is not there."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def importable(module: str) -> bool:
    """Whether there is such a module; it is not loaded."""
    try:
        return find_spec(module) is not None
    except ValueError:  # a module without a spec, as tests put them in the way
        return False


def torch_here() -> tuple[Torch | None, str | None]:
    """What torch says of itself, or why it cannot."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it loads is missing
        return None, " ".join(str(error).split())
    built = torch.version.cuda
    threads = torch.get_num_threads()
    return Torch(torch.__version__, built, threads, torch.backends.mkl.is_available()), None


def slow_cores(cores: Cores, torch: Torch | None, speeds: tuple[Speed, ...]) -> Iterator[str]:
    """More threads than help, by what was measured, else by what is free."""
    if torch is None or torch.threads == 1:
        return
    fast = {each.threads: each.clock for each in speeds if each.dtype == "float32"}
    one, more = fast.get(1), fast.get(torch.threads)
    if one is not None and more is not None and more < GAIN * one:
        yield (
            f"{torch.threads} threads multiply matrices {more / one:.1f} times as fast as one "
            f"({cores.load_words()}), and small operations, which wait for each other, suffer "
            "more: set OMP_NUM_THREADS=1"
        )
    elif torch.threads > cores.allowed:
        yield (
            f"torch starts {torch.threads} threads, this process may keep {cores.allowed} cores "
            f"busy: set OMP_NUM_THREADS={cores.allowed}"
        )


def slow_products(name: str, torch: Torch | None, speeds: tuple[Speed, ...]) -> Iterator[str]:
    """A processor or library that is slow at one of both precisions.

    AMD's cores with bfloat16 units make twice as many products in bfloat16 as in float32, and
    have nothing that makes more; a larger ratio is float32's loss.
    """
    alone = {each.dtype: each.core for each in speeds if each.core is not None}
    if "float32" not in alone or "bfloat16" not in alone:
        return
    ratio = alone["bfloat16"] / alone["float32"]
    if ratio < 1:
        yield (
            f"bfloat16 products run at {ratio:.2g} of float32's speed: this processor has no "
            "units for them, so --precision bf16 and training in bf16 save no time"
        )
    elif ratio > UNITS and torch is not None and torch.mkl and "AMD" in name:
        yield (
            f"float32 products run at 1/{ratio:.1f} of bfloat16's speed, and this processor could "
            "make half as many: Intel MKL, which makes them, does not use all of an AMD core. "
            "Evaluation is float32; training in bf16, the recipes' default, is not affected"
        )


def slow_devices(
    found: tuple[Accelerator, ...], torch: Torch | None, driver: bool
) -> Iterator[str]:
    """No device, or one that torch does not see."""
    if torch is None or found:
        return
    if driver:
        built = "without CUDA" if torch.cuda is None else f"for CUDA {torch.cuda}"
        yield f"there is an NVIDIA driver, but torch {torch.version}, built {built}, cannot use it"
    else:
        yield (
            "no CUDA device: compact networks are made for a CPU, --size paper and "
            "the recipe 'accelerator' are not (docs/performance.md)"
        )


def little_memory(memory: Memory) -> Iterator[str]:
    """Less than usual evaluations take."""
    if memory.available is not None and memory.available < LITTLE:
        yield (
            f"{memory.available / 2**30:.1f} GiB of memory are free: take a smaller --batch-size"
        )
