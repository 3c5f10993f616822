"""The documentation site: its pages, links and code, and the notebooks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer.main

from posebench.attacks import ATTACKS
from posebench.benchmark.cli.app import app, main

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


WITHOUT_DOCSTRING = {"ATTACKS", "DEFENSES", "SIZES", "VICTIMS", "__version__"}
"""Plain data, which `posebench list` shows."""


class Links(HTMLParser):
    """Where a page points to, and what can be pointed to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, every warning an error."""
    pytest.importorskip("furo", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("docs") / "site"
    words = ["-q", "-W", "--keep-going", "-c", str(DOCS), str(ROOT), str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 50
    missing, checked = [], 0
    for path, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            checked += 1
            if not file.is_file() or (parts.fragment and file in pages and (
                unquote(parts.fragment) not in pages[file].anchors
            )):  # fmt: skip
                missing.append(f"{path.relative_to(site)} -> {target}")
    assert missing == []
    assert checked > 1000


def test_pages_are_complete(site: Path) -> None:
    """The generated page, every command and every public name are part of it."""
    assert (site / "leaderboards" / "index.html").read_bytes() == (
        ROOT / "leaderboards" / "index.html"
    ).read_bytes()
    commands = (site / "docs/reference/commands.html").read_text(encoding="utf-8")
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        assert f'id="posebench-{name}"' in commands
    for package in ("posebench", "posebench.attacks", "posebench.victims", "posebench.defenses"):
        page = package.rpartition(".")[2].replace("posebench", "python")
        text = (site / f"docs/reference/{page}.html").read_text(encoding="utf-8")
        for name in set(import_module(package).__all__) - WITHOUT_DOCSTRING:
            assert f'id="{package}.{name}"' in text, f"{package}.{name}"


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def test_start_here_works_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (_, install), *rest = blocks(DOCS / "start.md")
    assert "pip install -e ." in install
    for language, text in rest:
        if language == "python":
            exec(compile(text, "start.md", "exec"), {"__name__": "__main__"})
            continue
        for line in text.strip().splitlines():
            monkeypatch.setattr("sys.argv", line.split())
            with pytest.raises(SystemExit, match="0"):
                main()
    assert {"out.obj", "out.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "under-trained" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["own-network", "own-attack"])
def test_how_to_pages_work_as_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the converged attack, which takes hundreds of gradients: there a step stands in."""
    monkeypatch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))  # a page registers one
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for language, text in blocks(DOCS / "howto" / f"{name}.md"):
        assert language == "python"
        if text.startswith("# mynetwork.py"):
            (tmp_path / "mynetwork.py").write_text(text)
            continue
        text = text.replace("import PTEnsemble", "import VertexAdam as PTEnsemble")
        text = text.replace("objective=threat", "iterations=1, objective=threat").replace(
            "=8", "=1"
        )
        exec(compile(text, name, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_is_stored_without_outputs(path: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    nbformat = pytest.importorskip("nbformat")
    text = path.read_text(encoding="utf-8")
    stored = json.loads(text)
    for cell in stored["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    printed = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert len(printed) >= 4
    assert "record" not in stored["metadata"]


SPAN = re.compile(r"`(?:[\w./]+/)?posebench ([a-z][^`\n]*)`")
LINE = re.compile(r"(?:^|[\s&/])posebench ([a-z][^#|&>;\n]*)")


def written_commands(text: str) -> Iterator[str]:
    """What a page asks its readers to type, in sentences and in blocks."""
    yield from SPAN.findall(text)
    for block in re.findall(r"^```(?:sh|yaml|text)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from LINE.findall(block.replace("\\\n", " "))


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)  # fmt: skip
def test_every_written_command_and_option_exists(page: Path) -> None:
    """All pages, also those whose commands take too long to run here. A command that is only named,
    without what it needs, is fine."""
    group: Any = typer.main.get_command(app)
    for text in written_commands(page.read_text(encoding="utf-8")):
        words = shlex.split(re.split(r" [|&>]|; |\.\.\.", text)[0], comments=True)
        command = group
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        assert not hasattr(command, "commands") or not words, f"{page}: no command {text!r}"
        try:
            command.make_context("posebench", list(words))
        except Exception as error:  # noqa: BLE001  typer raises those of its own copy of click
            kind = type(error).__name__
            named = kind in ("Exit", "MissingParameter", "NoArgsIsHelpError")
            if kind == "BadOptionUsage":  # an option without its value, as the last word
                named = getattr(error, "option_name", None) == words[-1]
            if not named:
                pytest.fail(f"{page}: {text!r}: {kind} {error}")
