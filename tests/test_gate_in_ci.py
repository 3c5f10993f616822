"""The gate in other people's repositories: the pytest plug-in and the GitHub Action."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from posebench.benchmark.gate.compare import update_baseline
from posebench.benchmark.gate.config import read_gate
from tests.gates import write_gate

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())


def python_path() -> dict[str, str]:
    """This tree first, whatever else is installed; one thread, for networks this small."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:posebench", "-p", "posebench_pytest"]
    return subprocess.run(
        [*command, "-p", "no:dash", "-p", "no:cacheprovider", *words],
        cwd=folder, env=python_path(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


TESTS = """
def test_green(posebench_gate):
    posebench_gate("gate.toml")

def test_red(posebench_gate, monkeypatch):
    monkeypatch.setenv("GAIN", "1.3")
    posebench_gate("gate.toml", seed_offset=1)

def test_missing(posebench_gate):
    posebench_gate("gate.toml", baseline="none.json")
"""


def test_the_fixture_writes_passes_and_fails(tmp_path: Path) -> None:
    write_gate(tmp_path, "fixture_network")
    (tmp_path / "test_gate.py").write_text(TESTS)
    written = run_pytest(tmp_path, "--posebench-update", "-rs", "-k", "green")
    assert (written.returncode, "look at its diff" in written.stdout) == (0, True), written.stdout
    checked = run_pytest(tmp_path, "-rA", "-n1").stdout  # in a worker of pytest-xdist
    assert "2 failed, 1 passed" in checked, checked
    assert "PASSED test_gate.py::test_green" in checked
    assert "less robust" in checked
    assert "red: " in checked
    assert "baseline none.json: no such file; make it with" in checked.replace(f"{tmp_path}/", "")
    assert "Traceback" not in checked


def test_loading_the_plug_in_costs_nothing_and_it_is_installed(tmp_path: Path) -> None:
    code = "import sys, posebench_pytest; print({'torch', 'posebench', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=python_path(), capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"posebench": "posebench_pytest"}
    assert project["tool"]["setuptools"]["py-modules"] == ["posebench_pytest"]


def test_every_input_of_the_action_is_used_and_known() -> None:
    text = (ROOT / "action.yml").read_text()
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", text))
    assert used == set(ACTION["inputs"])
    assert all(each["description"] and "default" in each for each in ACTION["inputs"].values())
    for step in ACTION["runs"]["steps"]:
        if "run" in step:
            assert step["shell"] == "bash"
            assert "${{" not in step["run"], "inputs go through the environment: no injection"
    page = (ROOT / "docs" / "regress.md").read_text()
    workflow = yaml.safe_load(page.split("```yaml", 1)[1].split("```", 1)[0])
    (job,) = workflow["jobs"].values()
    (step,) = [each for each in job["steps"] if "posebench" in each["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert len(page.split("```yaml", 1)[1].split("```", 1)[0].strip().splitlines()) <= 12


def substituted(step: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """A step's environment as GitHub fills it in."""
    inputs = {name: each["default"] for name, each in ACTION["inputs"].items()} | given
    values = {f"inputs.{name}": value for name, value in inputs.items()}
    values["github.action_path"] = str(ROOT)
    return {
        name: re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: values[found[1]], text)
        for name, text in step["env"].items()
    }


def test_the_actions_steps_install_and_gate(tmp_path: Path) -> None:
    """Its shell lines in bash, with pip recorded in place of run."""
    tools = tmp_path / "bin"
    tools.mkdir()
    log = tmp_path / "pip.log"
    (tools / "python").write_text(f'#!/bin/bash\nprintf "%s\\n" "$*" >> {log}\n')
    (tools / "posebench").write_text(
        f'#!/bin/bash\nexec {sys.executable} -m posebench.benchmark.cli.app "$@"\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    repository = tmp_path / "with space"
    repository.mkdir()
    write_gate(repository, "action_network").rename(repository / "my gate.toml")
    given = {"config": "my gate.toml", "install": "-e . numpy", "baseline": "base.json"}
    summary = tmp_path / "summary.md"

    def run_step(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        (step,) = [each for each in ACTION["runs"]["steps"] if each.get("name") == name]
        path = f"{tools}:{os.environ['PATH']}"
        extra = {"PATH": path, "GITHUB_STEP_SUMMARY": str(summary), **substituted(step, given)}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step["run"]], cwd=repository,
            env={**python_path(), **extra, **more}, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip

    assert run_step("Install").returncode == 0
    ours, theirs = log.read_text().splitlines()
    assert ours.endswith(f" {ROOT}")
    assert theirs.endswith("/cpu -e . numpy")
    update_baseline(read_gate(repository / "my gate.toml", repository / "base.json"))
    green = run_step("Gate")
    assert green.returncode == 0, green.stderr
    assert "green" in summary.read_text()
    red = run_step("Gate", GAIN="1.3")
    assert red.returncode == 1, red.stderr
    assert "less robust" in summary.read_text()
