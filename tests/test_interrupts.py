"""SIGINT and SIGTERM at random moments: no finished step is lost, and the run says how to go on."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from posebench.benchmark.cli.stopping import StopSignals, this_command
from posebench.benchmark.training.checkpoint import NAME

SLOW = """
import sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from posebench.benchmark.training import card, progress, session
real, steps = session.training_step, Path(sys.argv.pop(1))
def step(*arguments):
    losses = real(*arguments)
    with steps.open("a") as log:
        log.write(f"{arguments[3] + 1}\\n")
    time.sleep(0.02)
    return losses
session.training_step = step
progress.REPORTS = 7  # most moments are between two
card.CARD_SAMPLES, card.CARD_ATTACKS = 2, ()
from posebench.benchmark.cli.app import main
main()
"""
"""The command line with a note of each finished step, and time to be interrupted in."""

RECIPE = """
[[run]]
name = "run"
victim = "posemae"
size = "tiny"
steps = 90
batch = 2
points = 64
pose_points = 64
warmup = 5
adversarial = { attack = "pgd", iterations = 1, random_start = 0.5, sor = true, after = 0.5 }
"""
"""Masks and draws of all kinds."""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    recipe = str(tmp_path / "recipe.toml")
    return [sys.executable, str(tmp_path / "slow.py"), str(tmp_path / "steps"), "train", "--recipe",
            recipe, "--out"]  # fmt: skip


def finished_steps(tmp_path: Path) -> list[int]:
    path = tmp_path / "steps"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_random_interruptions_lose_no_step_and_change_nothing(
    words: list[str], tmp_path: Path
) -> None:
    whole = subprocess.run(
        [*words, str(tmp_path / "whole")],
        env=environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    (tmp_path / "steps").unlink()
    draw, folder, stops = random.Random(), tmp_path / "parts" / "run", []
    for number in (signal.SIGINT, signal.SIGTERM):
        command = [*words, str(tmp_path / "parts")]
        before = len(finished_steps(tmp_path))
        with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as process:
            waited = time.monotonic() + 120
            while len(finished_steps(tmp_path)) <= before and time.monotonic() < waited:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.5))
            process.send_signal(number)
            process.send_signal(number)  # as when a shell and its process group both pass it on
            assert process.stderr is not None
            text = process.stderr.read().decode()
        done = finished_steps(tmp_path)
        stops.append(done[-1])
        assert process.returncode == 130, text
        (line,) = text.splitlines()
        assert line.startswith(f"posebench: interrupted (step {done[-1]} of 90 is saved); go on ")
        assert line.endswith("go on with: " + shlex.join(["posebench", *command[3:]]))
        with safe_open(folder / NAME, "pt") as file:
            assert json.loads(file.metadata()["checkpoint"])["step"] == done[-1]
    resumed = subprocess.run(
        [*words, str(tmp_path / "parts")],
        env=environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert finished_steps(tmp_path) == list(range(1, 91)), f"done twice or never; stops {stops}"
    files = [tmp_path / name / "run" / "weights.safetensors" for name in ("whole", "parts")]
    one, other = (load_file(file) for file in files)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert files[0].read_bytes() == files[1].read_bytes(), "curve and card, too"
    rows = [
        [
            {k: row[k] for k in ("step", "loss", "attacked_loss", "removed", "fgm", "pgd")}
            for row in map(json.loads, (file.parent / "log.jsonl").read_text().splitlines())
        ]
        for file in files
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("moment", [0.05, 0.3, 0.8, 1.5])
def test_the_first_moments_end_without_a_traceback(moment: float, tmp_path: Path) -> None:
    """From the first line of the console script on; before, Python itself is being loaded."""
    script = "import sys; sys.stdout.write('x'); sys.stdout.flush()\n"
    script += "from posebench.__main__ import main\nmain()\n"
    words = ["train", "--victim", "npt", "--size", "tiny", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", script, *words], env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        text = process.stderr.read().decode()
    assert process.returncode == 130, text
    (line,) = text.splitlines()
    assert line.startswith("posebench: interrupted")


def test_a_signal_raises_at_once_but_where_it_is_deferred() -> None:
    signals = StopSignals()
    before = signal.getsignal(signal.SIGTERM)
    with signals.installed():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signals.asked, heard = False, []
        with pytest.raises(KeyboardInterrupt), signals.deferred() as asked:
            heard += [asked(), *(signal.raise_signal(signal.SIGTERM) for _ in range(3)), asked()]
        assert heard == [False, None, None, None, True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["posebench", "train", "--out", "my runs"])
    assert this_command() == "posebench train --out 'my runs'"
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert this_command().startswith(
        "torchrun --nproc-per-node 2 -m posebench.benchmark.cli.app tr"
    )
