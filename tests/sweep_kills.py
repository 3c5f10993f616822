"""Kill -9 at random moments of a sweep, as a program:

    python -m tests.sweep_kills FOLDER [KILLS] [SEED]

A process that has everything imported forks one that runs ``posebench sweep`` as typed, kills it
after a random time, starts the next, and so on; whenever a sweep gets to its end, the records and
the CSV must be those of an undisturbed sweep, byte for byte, and a new sweep begins in an empty
folder. Those killed with some of their records written count as "partly". Two kills more hit the
moments when a record is being written. Prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from posebench.benchmark.cli.app import main
from posebench.benchmark.records.store import read_records
from posebench.benchmark.reports.csv_table import csv_text
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import write_weights

GRID = """
weights = "npt-mp.safetensors"
size = "tiny"
samples = 2

[[grid]]
attacks = ["none", "fgm"]
eps = [0.02, "0:0.08:3"]
defenses = ["none", "sor"]
"""
CELLS = 2 + (1 + 3) * 2
"""With and without SOR: clean, FGM with one budget, and FGM along a curve of three."""


def sweep(out: Path) -> int:
    """``posebench sweep``; its exit code."""
    sys.argv = ["posebench", "sweep", "grid.toml", "--out", str(out), "--device", "cpu"]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def forked(run: Callable[[], int]) -> int:
    """The id of a process that ends with what ``run`` gives."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = run()
    finally:
        os._exit(code)


def ended(number: int) -> int:
    """Wait for a process: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def records(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.json")}


def killed_at(name: str, number: int) -> Callable[[], int]:
    """A sweep that is killed at its ``number``-th call of a function of ``os``."""

    def run() -> int:
        real, calls = getattr(os, name), 0

        def deadly(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given)

        setattr(os, name, deadly)
        return sweep(Path("killed"))

    return run


def kill_sweeps(kills: int, seed: int) -> dict[str, Any]:
    """Undisturbed once, then killed again and again; what happened."""
    assert sweep(Path("undisturbed")) == 0  # here, so that forks find all imported and cached
    expected = records(Path("undisturbed"))
    table = csv_text(read_records(Path("undisturbed")))
    assert len(expected) == CELLS, len(expected)
    draw, done, finished, partly, begun = random.Random(seed), 0, 0, 0, False

    def check(out: Path) -> None:
        nonlocal finished
        assert records(out) == expected
        assert csv_text(read_records(out)) == table
        finished += 1

    started = time.monotonic()
    assert ended(forked(lambda: sweep(Path("forked")))) == 0
    whole = time.monotonic() - started
    check(Path("forked"))
    while done < kills or begun:
        out = Path(f"sweep{finished}")
        number = forked(lambda out=out: sweep(out))
        if done < kills:
            time.sleep(draw.uniform(0, whole))
            os.kill(number, signal.SIGKILL)  # a process that has ended but is not waited for stays
        code = ended(number)
        if code == 0:
            check(out)
            begun = False
        else:
            assert code == -signal.SIGKILL, code
            done += 1
            begun = True
            partly += 0 < len(records(out)) < CELLS
    for name in ("fsync", "replace"):
        before = len(records(Path("killed")))
        assert ended(forked(killed_at(name, 4))) == -signal.SIGKILL
        assert len(records(Path("killed"))) == before + 2  # after a probe of the folder
        done += 1
    assert ended(forked(lambda: sweep(Path("killed")))) == 0
    check(Path("killed"))
    return {
        "kills": done,
        "partly": partly,
        "sweeps": finished,
        "cells": CELLS,
        "seconds": round(whole, 2),
    }


if __name__ == "__main__":
    folder, kills, seed = Path(sys.argv[1]), *map(int, (*sys.argv[2:], 20, 0)[:2])
    os.chdir(folder)
    torch.set_num_threads(1)  # forks after torch's threads hang
    network = initial_network(Recipe("npt-mp", size="tiny"))
    write_weights(Path("npt-mp.safetensors"), network, {"training": "clean"})
    Path("grid.toml").write_text(GRID, encoding="utf-8")
    sys.stdout.write(json.dumps(kill_sweeps(kills, seed)) + "\n")
