"""The documentation site: its pages, links and code, and the notebooks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from posebench.attacks import ATTACKS
from posebench.benchmark.cli.app import app, main

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
        for name in set(__import__(package, fromlist=["__all__"]).__all__) - {"__version__"}:
            assert f"{name}</span>" in text or f"{name}<" in text, f"{package}.{name}"


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
