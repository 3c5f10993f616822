"""The command as a process: how it starts, what shells ask it, and how it ends when things go wrong
around it."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from posebench.attacks import ATTACKS
from posebench.benchmark.cli.app import app
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.errors import InputError
from posebench.victims import VICTIMS
from tests.command_line import Evil, Outcome, assert_refused, only_record, words

RUN = ["run", "--victim", "npt", "--samples", "1", "--device", "cpu", "--out"]


def posebench(*words: str, shell: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m posebench`` with the given words, followed by a shell's redirections."""
    line = '"$0" -m posebench "$@" ' + shell
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, sys.executable, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
        timeout=300,
    )


def test_python_m_is_the_command() -> None:
    done = posebench("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("posebench 0.")
    assert "Usage: posebench run" in posebench("run", "--help").stdout


# ---- what it prints


def test_process_prints_json_alone(weights: dict[str, Path], tmp_path: Path) -> None:
    more = ("--samples", 1, "--json")
    done = posebench(*words(weights["npt"], tmp_path / "records", *more))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [only_record(tmp_path / "records")]


PROCESS_CASES = {
    "code": ([], ["refused"]),
    "norm": (["--norm", "l2_vertx"], ["unknown norm", "did you mean 'l2_vertex'"]),
    "unit": (["--eps-unit", "rsm"], ["unknown eps unit", "did you mean 'rms'"]),
}


@pytest.mark.parametrize("case", PROCESS_CASES)
def test_process_refuses_in_one_line(case: str, tmp_path: Path) -> None:
    more, parts = PROCESS_CASES[case]
    path = tmp_path / "bad.pth"
    path.write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    done = posebench(*words(path, tmp_path / "out", *more))
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert_refused(outcome, tmp_path / "out", *parts)
    assert not (tmp_path / "ran").exists()


def test_process_usage_error() -> None:
    done = posebench("run", "--victim", "npt", "--samples", "abc")
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


# ---- completion, by the protocol that the shells' scripts speak


def completed(line: str) -> list[str]:
    """What bash offers at the end of a line."""
    words = line.split(" ")
    done = posebench(
        _POSEBENCH_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
    )
    assert done.returncode == 0, done
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("posebench re", ["regress", "report"]),
        ("posebench plot h", ["heat"]),
        ("posebench run --vic", ["--victim"]),
        ("posebench run --victim np", ["npt-mp", "npt"]),
        ("posebench run --attack p", ["pgd", "pt-ensemble"]),
        ("posebench run --attack n", ["noise", "none"]),
        ("posebench run --defense s", ["sor", "smooth", "subset-median", "snap"]),
        ("posebench run --task anny/un", ["anny/unseen", "anny/unseen-bent"]),
        ("posebench run --access a", ["adaptive"]),
        ("posebench transfer --pose-unit m", ["m", "mm"]),
        ("posebench cost --size t", ["tiny"]),
    ],
)
def test_completion(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_completion_can_be_installed() -> None:
    done = posebench("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done
    assert "_POSEBENCH_COMPLETE=complete_bash" in done.stdout
    assert "--install-completion" in posebench("--help").stdout


# ---- standard output that ends early


@pytest.mark.parametrize("more", [["--json"], []])
def test_full_disk_below_standard_output_is_one_line(more: list[str], tmp_path: Path) -> None:
    done = posebench(*RUN, str(tmp_path), *more, shell=">/dev/full")
    assert done.returncode == 2
    assert done.stderr == (
        "posebench: error: cannot write to standard output: No space left on device\n"
    )
    assert len(list(tmp_path.rglob("*.json"))) == 3, "records were written before"
    assert posebench("list", shell=">/dev/full").stderr == done.stderr


@pytest.mark.parametrize("words", [["list"], ["--help"]])
def test_closed_pipe_is_silent_and_no_failure(words: list[str]) -> None:
    """The reader is gone before a word is written."""
    done = posebench(*words, shell="| (exec <&-; sleep 2)", PYTHONUNBUFFERED="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_closed_pipe_does_not_hide_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    done = posebench("validate", str(tmp_path), shell="| (exec <&-; sleep 2)")
    assert (done.returncode, done.stderr) == (1, "")


# ---- Ctrl-C, pressed while a module is being imported

INTERRUPT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the parent ignores
sys.meta_path.insert(0, Interrupt())
from posebench.__main__ import main
main()
"""
EARLY = ["posebench.benchmark.cli.app", "typer", "torch", "torch.nn", "posebench.victims.npt"]


@pytest.mark.parametrize("module", EARLY)
def test_interrupt_is_one_line(module: str, tmp_path: Path) -> None:
    code = f"MODULE = {module!r}{INTERRUPT}"
    done = subprocess.run(
        [sys.executable, "-c", code, *RUN, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "posebench: interrupted\n")


def test_the_package_loads_little_before_the_command_can_be_interrupted() -> None:
    """``python -m posebench`` imports the package before its first line."""
    code = (
        "import sys, typing, json, importlib.util; before = set(sys.modules); import posebench; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [name for name in json.loads(done.stdout) if not name.startswith("__editable__")]
    assert loaded == ["posebench", "posebench.lazy"]


# ---- memory, plug-ins, help


def commands(command: Any, *words: str) -> dict[str, Any]:
    """Every command by its words; typer's commands have no public class."""
    inner: dict[str, Any] = getattr(command, "commands", {})
    if not inner:
        return {" ".join(words): command}
    found: dict[str, Any] = {}
    for name, each in inner.items():
        found |= commands(each, *words, name)
    return found


COMMANDS = commands(typer.main.get_command(app))
COMPUTING = (
    "attack", "certify", "check", "cost", "plot grid", "plot heat", "regress",
    "run", "sweep", "train", "transfer", "verify",
)  # fmt: skip


@pytest.mark.parametrize("name", COMPUTING)
def test_advice_for_want_of_memory_names_options_of_the_command(name: str) -> None:
    advice = getattr(COMMANDS[name].callback, "advice", "")
    options = {option for each in COMMANDS[name].params for option in each.opts}
    named = re.findall(r"--[\w-]+", advice)
    assert named, f"{name} says nothing"
    assert set(named) <= options


def test_want_of_memory_is_one_line_with_the_advice() -> None:
    @when_memory_runs_out("a smaller --spoon")
    def fails(error: Exception) -> None:
        raise error

    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")):
        with pytest.raises(InputError, match=r"^out of memory; try a smaller --spoon$"):
            fails(error)
    with pytest.raises(RuntimeError, match="shape"):
        fails(RuntimeError("shape"))


def test_broken_plug_in_is_a_line_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", "posebench.attacks.fgm:FGM", "posebench.attacks"),
        EntryPoint("odd", "nowhere_at_all:Nothing", "posebench.attacks"),
    ]

    monkeypatch.setitem(vars(ATTACKS), "_plugged", {point.name: point for point in points})
    monkeypatch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))  # what it loads is forgotten
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, ["list"])
    assert done.exit_code == 0, done
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "mine Fast gradient method: one steepest step to the edge of the budget." in lines
    (odd,) = [line for line in lines if line.startswith("odd ")]
    assert odd.startswith("odd broken plug-in: attack 'odd' of package 'nowhere_at_all' cannot be")
    assert "nowhere_at_all" in odd
    for name in VICTIMS:
        assert any(line.startswith(f"{name} ") for line in lines)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_shows_an_example_that_it_takes(name: str) -> None:
    """Its options and arguments parse; nothing is run."""
    epilog = COMMANDS[name].epilog or ""
    lines = [line[2:] for line in epilog.splitlines() if line.startswith("- posebench ")]
    mine = [
        shlex.split(line.split("  ")[0])[1:]
        for line in lines
        if line.startswith(f"posebench {name}")
    ]
    assert mine, f"{name} has no example"
    for example in mine:
        COMMANDS[name].make_context(name, example[len(name.split()) :])
