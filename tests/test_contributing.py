"""The recipes of CONTRIBUTING.md, carried out as they are written in a copy of the tree."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("posebench", "attacks", "victims", "defenses", "benchmark", "tests")
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "posebench": [sys.executable, "-m", "posebench.benchmark.cli.app"],
    "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
}


def blocks(heading: str) -> list[tuple[str, str]]:
    """Language and text of each block below a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return BLOCK.findall(section)


def copy_of_the_tree(folder: Path) -> Path:
    """The project's code in another place: links to its files, which are replaced to be edited."""
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, copy_function=os.symlink,
            ignore=shutil.ignore_patterns("__pycache__", "reference"),
        )  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def write(tree: Path, block: str) -> None:
    """``# path``: a new file. ``# in path``: imports to the others, the rest to the end."""
    head, _, body = block.partition("\n")
    place = re.fullmatch(r"# (in )?(\S+\.py)", head)
    assert place is not None, f"a block must say where it goes, not {head!r}"
    path = tree / place[2]
    if place[1] is None:
        assert not path.exists()
        path.write_text(body)
        return
    lines = path.read_text().splitlines(keepends=True)
    added = body.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith("from posebench"))
    imports = [line for line in added if line.startswith("from ")]
    others = [line for line in added if not line.startswith("from ")]
    path.unlink()
    path.write_text("".join([*lines[:first], *imports, *lines[first:], *others]))


def carry_out(tree: Path, line: str) -> None:
    """One line of a shell block, in the copy."""
    words = shlex.split(line)
    done = subprocess.run(
        [*PROGRAMS[words[0]], *words[1:]],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize("heading", ["Add a victim", "Add an attack", "Add a defence"])
def test_recipes_work_as_written(heading: str, tmp_path: Path) -> None:
    found = blocks(heading)
    assert {language for language, _ in found} == {"python", "bash"}
    tree = copy_of_the_tree(tmp_path)
    for language, text in found:
        if language == "python":
            write(tree, text)
        else:
            for line in text.splitlines():
                carry_out(tree, line)
    new = [str(path.relative_to(tree)) for path in tree.rglob("*.py") if "mine" in path.name]
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", *new]
    done = subprocess.run(ruff, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
