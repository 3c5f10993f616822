"""The repository as a whole: lint, types, the wheel, committed records and tables, README."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("posebench", "attacks", "victims", "defenses", "benchmark")


def command(*words: str, cwd: Path = ROOT) -> str:
    """Run a command; its output on success, a failed test on any other exit code."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def test_lint() -> None:
    command(sys.executable, "-m", "ruff", "check", ".")
    command(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_types() -> None:
    command(sys.executable, "-m", "mypy")


def test_wheel_holds_every_file_and_runs(tmp_path: Path) -> None:
    """Made from the source distribution, so that this holds every file, too."""
    command(sys.executable, "-m", "build", "--outdir", str(tmp_path), ".")
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    command(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source))
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        packed = {n for n in archive.namelist() if n.startswith("posebench/")}
        assert "posebench_pytest.py" in archive.namelist()
    alone = ("--no-deps", "--no-index", "--no-compile", "--target", str(target))
    command(sys.executable, "-m", "pip", "install", "-q", *alone, str(wheel))
    expected = set()
    tracked = command("git", "ls-files", "--", *FOLDERS).splitlines()
    for name in tracked:
        if not (ROOT / name).is_symlink():
            expected.add(name if name.startswith("posebench/") else f"posebench/{name}")
    assert packed == expected
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import posebench.benchmark.cli.app as cli; "
        "assert cli.__file__.startswith(sys.argv[1]); sys.argv = ['posebench', 'list']; cli.main()"
    )
    listed = command(sys.executable, "-P", "-c", code, str(target), cwd=tmp_path)
    assert "compact" in listed


def test_committed_tables_are_what_the_records_give() -> None:
    from posebench.benchmark.reports.build import check_tables

    assert check_tables(ROOT / "leaderboards" / "records", ROOT / "leaderboards", ROOT) == []


def test_readme_commands_exist() -> None:
    """The README names the run the project is about, and CI can find its test command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "posebench run --victim gct --attack fgm --eps 0.08" in text
    after = text.split("<!-- tests -->", 1)[1]
    assert "python -m pytest" in after.split("```")[1]


def test_readme_python_runs(tmp_path: Path) -> None:
    """The five lines of API in the README, run as printed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python", 1)[1].split("```", 1)[0]
    output = command(sys.executable, "-c", code, cwd=tmp_path)
    (line,) = [line for line in output.splitlines() if line.startswith("attacked PMD x1e-4")]
    assert float(line.split()[3]) > 0


def test_no_large_or_foreign_files() -> None:
    weights = list((ROOT / "victims" / "weights").glob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 40 * 2**20
    for path in weights:
        assert path.with_suffix(".md").is_file(), f"{path.name} has no card"
