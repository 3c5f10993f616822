"""What a release consists of: its workflow, the container, the constraints, the citation."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import posebench

yaml = pytest.importorskip("yaml")
Requirement = pytest.importorskip("packaging.requirements").Requirement

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Every step of a workflow that runs a shell."""
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        yield from (step for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_shell_of_workflows_parses(path: Path) -> None:
    for step in steps(path):
        done = subprocess.run(
            ["bash", "-n", "-c", re.sub(r"\$\{\{.*?\}\}", "x", step["run"])],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{step['run']}\n{done.stderr}"


def run_step(name: str, folder: Path, tools: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A step of the release in bash, with tools in place of those that reach out."""
    (step,) = [s for s in steps(ROOT / ".github/workflows/release.yml") if s.get("name") == name]
    assert "${{" not in step["run"], "inputs go through the environment: no injection"
    assert set(env) >= set(step.get("env", {}))
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]], cwd=folder, text=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", **env},
        capture_output=True, check=False,
    )  # fmt: skip


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """``twine`` and ``gh`` that write down what they were asked."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("twine", "gh"):
        (folder / name).write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/{name}.log\n')
        (folder / name).chmod(0o755)
    return folder


def test_release_refuses_a_tag_that_is_not_the_version(tmp_path: Path, tools: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "posebench").mkdir(parents=True)
    for name in ("posebench/__init__.py", "CITATION.cff"):
        (tree / name).write_text((ROOT / name).read_text())
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\n## {posebench.__version__}\n")
    name, good = "Tag and version agree", f"v{posebench.__version__}"
    assert run_step(name, tree, tools, TAG=good).returncode == 0
    wrong = run_step(name, tree, tools, TAG="v9.9.9")
    assert (wrong.returncode, "the tag is v9.9.9" in wrong.stdout) == (1, True)
    (tree / "CHANGELOG.md").write_text(f"# Changelog\n\n## {posebench.__version__}, unreleased\n")
    unreleased = run_step(name, tree, tools, TAG=good)
    assert (unreleased.returncode, "CHANGELOG.md" in unreleased.stdout) == (1, True)
    (tree / "CITATION.cff").write_text("version: 0.0.1\n")
    assert run_step(name, tree, tools, TAG=good).returncode == 1


def test_release_checks_and_attaches_what_was_built(tmp_path: Path, tools: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    for name in ("posebench-1.tar.gz", "posebench-1-py3-none-any.whl"):
        (dist / name).write_text(name)
    checked = run_step("Check", tmp_path, tools)
    assert checked.returncode == 0, checked.stderr
    assert (tmp_path / "twine.log").read_text().split()[:2] == ["check", "--strict"]
    sums = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(sums, cwd=dist, capture_output=True, check=False).returncode == 0
    assert len((dist / "SHA256SUMS").read_text().splitlines()) == 2
    env = {"TAG": "v1", "GH_TOKEN": "", "GITHUB_REPOSITORY": "a/b"}
    assert run_step("Attach", tmp_path, tools, **env).returncode == 0
    asked = (tmp_path / "gh.log").read_text().split("\n")
    assert asked[:3] == ["release", "create", "v1"]
    assert {f"dist/{path.name}" for path in dist.iterdir()} <= set(asked)


# ---- constraints


def required(extra: str, python: str) -> Iterator[Any]:
    """Requirements of the project with an extra, with those that it names itself, on Linux."""
    found = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux",
        "platform_system": "Linux", "platform_machine": "x86_64",
    }  # fmt: skip
    for each in map(Requirement, found):
        if each.name == "posebench":
            for inner in each.extras:
                yield from required(inner, python)
        elif each.marker is None or each.marker.evaluate(environment):
            yield each


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_all_that_is_required(python: str) -> None:
    pinned: dict[str, list[str]] = {}
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux",
        "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix",
        "platform_python_implementation": "CPython", "implementation_name": "cpython",
    }  # fmt: skip
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        each = Requirement(line)
        if each.marker is None or each.marker.evaluate(environment):
            (pin,) = each.specifier
            assert pin.operator == "==", line
            pinned.setdefault(each.name.replace("_", "-").lower(), []).append(pin.version)
    assert all(len(versions) == 1 for versions in pinned.values()), "one version each"
    for each in required("dev", python):
        (version,) = pinned[each.name.replace("_", "-").lower()]
        assert each.specifier.contains(version), f"{each} but {version}: make it anew"


def test_workflows_install_from_the_constraints() -> None:
    head = (ROOT / "constraints.txt").read_text().splitlines()[1]
    assert "uv pip compile pyproject.toml" in head
    assert head.endswith("--output-file constraints.txt")
    installs = [
        line
        for path in WORKFLOWS
        for step in steps(path)
        for line in step["run"].splitlines()
        if line.strip().startswith("pip install") and "torchattacks" not in line
    ]
    assert len(installs) >= 4
    assert [line for line in installs if "--constraint constraints.txt" not in line] == []


# ---- container


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and argument of each line of a Dockerfile."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.split("\n"))]


def test_the_container_copies_and_installs_the_package(tmp_path: Path) -> None:
    found = instructions((ROOT / "Dockerfile").read_text())
    copied = [name for word, rest in found if word == "COPY" for name in rest.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, kept[1:]) for kept in ignored if kept.startswith("!")), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.split("/")[0] for path in project["tool"]["setuptools"]["package-dir"].values()}
    assert folders <= set(copied)
    needed = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"}
    assert needed | {f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]} <= set(
        copied
    )
    (base,) = [rest for word, rest in found if word == "FROM"]
    assert any(base == f"python:{python}-slim" for python in PYTHONS)
    (entry,) = [rest for word, rest in found if word == "ENTRYPOINT"]
    assert yaml.safe_load(entry)[0] in PROJECT["scripts"]
    (shell,) = [rest for word, rest in found if word == "RUN"]
    log = tmp_path / "pip.log"
    (tmp_path / "pip").write_text(f'#!/bin/sh\necho "$@" > {log}\n')
    (tmp_path / "pip").chmod(0o755)
    for device, index in (("cpu", "download.pytorch.org/whl/cpu"), ("cuda", "pypi.org/simple")):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DEVICE": device}
        subprocess.run(["sh", "-ec", shell], cwd=tmp_path, env=env, check=True)
        words = log.read_text().split()
        assert words[0] == "install"
        assert words[-1] == "."
        assert words[words.index("--extra-index-url") + 1].endswith(index)
        assert words[words.index("--constraint") + 1] in copied


def test_the_citation_names_this_version_and_the_paper() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(said)
    assert said["version"] == posebench.__version__
    assert said["license"] == PROJECT["license"]
    (paper,) = said["references"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert paper["title"] in readme
    assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in readme
    assert [each["family-names"] for each in paper["authors"]][::3] == ["Chen", "Zhao"]
