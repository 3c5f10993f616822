"""Everything on an accelerator that is not there, in a process of its own.

PyTorch takes in a new kind of device once and for all: what runs in the same process afterwards,
and what ran before, would meet it half prepared.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_everything_runs_on_the_device_alone() -> None:
    """The tests of ``on_device.py``."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/on_device.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    if done.returncode:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:])
    assert " passed" in done.stdout
