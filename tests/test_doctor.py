"""``posebench doctor``: what it finds is what is there, and nothing that is missing breaks it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from posebench.benchmark.evaluation import checkup, machine
from posebench.benchmark.evaluation.machine import Accelerator, Cores, Memory, Speed
from tests.bad_meshes import call

ROOT = Path(__file__).resolve().parent.parent
CPU = checkup.Torch("2.9.0+cpu", None, 2, mkl=True)
IDLE = Cores(seen=8, usable=8, quota=None, load=0.1)


def test_doctor_says_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SECONDS", 0.01)
    before = torch.get_num_threads()
    done = call(["doctor", "--json"])
    assert (done["code"], done["err"]) == (0, "")
    found = json.loads(done["out"])
    assert found["torch"]["version"] == torch.__version__
    assert found["torch"]["threads"] == before == torch.get_num_threads()
    assert {(each["dtype"], each["threads"]) for each in found["speeds"]} >= {
        ("float32", 1),
        ("bfloat16", 1),
    }
    assert all(each["clock"] > 0.1 for each in found["speeds"])
    assert found["missing"] == []
    assert "compact" in found["weights"]["npt"]
    shown = call(["doctor"])
    for part in ("float32, 1 thread", "GFLOP/s", torch.__version__, "extras", "memory"):
        assert part in shown["out"]


def test_speed_is_that_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """With clocks that take 2 ms a product by the wall and 1 ms of the core."""
    monkeypatch.setattr(machine, "SECONDS", 0.02)
    ticks = iter(range(10_000))
    monkeypatch.setattr(machine.time, "perf_counter", lambda: 2e-3 * next(ticks))
    cores = iter(range(10_000))
    monkeypatch.setattr(machine.time, "thread_time", lambda: 1e-3 * next(cores))
    found = machine.speed(torch.float32, 1)
    assert found.clock == pytest.approx(2 * 512**3 / 2e-3 / 1e9)
    assert found.core == pytest.approx(2 * 512**3 / 1e-3 / 1e9)


def test_extras_are_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    collections = {"adapters", "dev", "docs"}
    assert set(checkup.EXTRAS) == set(project["optional-dependencies"]) - collections
    names = {line.partition(">")[0].partition("=")[0] for line in project["dependencies"]}
    assert set(checkup.REQUIRED) == names


def test_limits_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    assert machine.cores().quota is None
    assert machine.memory() == Memory(None, None)
    (tmp_path / "meminfo").write_text("MemTotal:  8192 kB\nMemAvailable:  4096 kB\n")
    assert machine.memory() == Memory(8192 * 1024, 4096 * 1024)
    for name, text in (("cpu.max", "150000 100000"), ("memory.max", "2097152"),
                       ("memory.current", "1048576")):  # fmt: skip
        (tmp_path / name).write_text(text + "\n")
    assert machine.cores().quota == 1.5
    assert Cores(seen=16, usable=8, quota=1.5, load=None).allowed == 1
    assert machine.memory() == Memory(2 * 2**20, 2**20)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cores().quota is None
    assert machine.memory().total == 8192 * 1024


def speeds(one: int, two: int, rough: int) -> tuple[Speed, ...]:
    found = (("float32", 1, one), ("bfloat16", 1, rough), ("float32", 2, two))
    return tuple(Speed(name, n, float(fast), float(fast) if n == 1 else None)
                 for name, n, fast in found)  # fmt: skip


def test_what_will_be_slow() -> None:
    """Each reason where it holds, and none where it does not."""
    assert not list(checkup.slow_cores(IDLE, CPU, speeds(80, 150, 160)))
    (line,) = checkup.slow_cores(IDLE, CPU, speeds(80, 8, 160))
    assert line.startswith("2 threads multiply matrices 0.1 times as fast as one (load 0.1 on 8")
    narrow = Cores(seen=8, usable=8, quota=1.0, load=None)
    (line,) = checkup.slow_cores(narrow, CPU, ())
    assert "OMP_NUM_THREADS=1" in line
    amd, intel = "x86_64, AMD EPYC", "x86_64, Intel(R) Xeon(R)"
    assert not list(checkup.slow_products(amd, CPU, speeds(80, 80, 160)))
    assert not list(checkup.slow_products(intel, CPU, speeds(80, 80, 1000)))
    (line,) = checkup.slow_products(amd, CPU, speeds(80, 80, 320))
    assert "1/4.0" in line
    (line,) = checkup.slow_products(intel, CPU, speeds(80, 80, 20))
    assert "0.25 of float32's speed" in line
    (line,) = checkup.slow_devices((), CPU, driver=False)
    assert line.startswith("no CUDA device")
    (line,) = checkup.slow_devices((), CPU, driver=True)
    assert "built without CUDA" in line
    assert not list(checkup.slow_devices((Accelerator("cuda:0", "GPU", 2**36),), CPU, driver=True))
    (line,) = checkup.little_memory(Memory(2**33, 2**30))
    assert line.startswith("1.0 GiB of memory are free")
    assert not list(checkup.little_memory(Memory(None, None)))


def test_doctor_needs_no_torch(tmp_path: Path) -> None:
    """That is one of the things to be found out."""
    code = """
import sys
sys.modules.update(dict.fromkeys(("torch", "open3d", "matplotlib", "pandas")))  # as if missing
sys.argv = ["posebench", "doctor"]
from posebench.benchmark.cli.app import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "missing: torch cannot be loaded" in done.stdout
    assert "pip install 'posebench[open3d]'" in done.stdout
