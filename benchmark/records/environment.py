"""Where a number was measured: commit, versions, device."""

from __future__ import annotations

import platform
import re
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from posebench import __version__
from posebench.benchmark.records.types import Environment

GENERATED = ("leaderboards", "docs", "README.md")
"""Top-level names that making records and tables writes to."""


@lru_cache(maxsize=1)
def commit() -> tuple[str | None, bool | None]:
    """Commit of the source tree and whether it has changes; (None, None) for a wheel.

    What is generated from records (``GENERATED``) does not count as a change.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD")
        others = [f":(exclude){name}" for name in GENERATED]
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head.strip(), bool(changed.strip())


def environment(device: str) -> Environment:
    """Commit, versions and device of this process."""
    import torch

    head, dirty = commit()
    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else processor()
    return Environment(
        commit=head,
        dirty=dirty,
        posebench=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=version("numpy"),
        device=device,
        device_name=name,
        dtype="float32",
        threads=torch.get_num_threads(),
    )


@lru_cache
def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model where Linux tells it, else its architecture.

    Iterative attacks magnify rounding, so that their values differ between models.
    """
    try:
        found = re.search(r"^model name\s*:\s*(\S.*?)\s*$", info.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        found = None
    machine = platform.machine() or "unknown"
    return f"{machine}, {found[1]}" if found else machine


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *words], check=True, capture_output=True, text=True
    ).stdout
