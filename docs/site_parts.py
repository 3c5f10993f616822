"""What the site needs beyond Sphinx: links to files of the repository, help pages, notebooks."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints
from unittest import mock

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SHARED = re.compile(r"^( +)(\w+(?:, \w+)*), (\w+):(?= )")
FRONT = (
    '<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">Docs</a>'
)


def link_files(app: Sphinx, doctree: nodes.document) -> None:
    """A linked file that is no page goes to the site as it is; a linked folder becomes text."""
    here = Path(app.srcdir, app.env.docname).parent
    for node in list(doctree.findall(download_reference)):
        target = (here / node["reftarget"]).resolve()
        linked_files(app)[str(target.relative_to(Path(app.srcdir).resolve()))] = str(target)
        node.replace_self(nodes.reference("", "", *node.children, refuri=node["reftarget"]))
    for node in list(doctree.findall(pending_xref)):
        if node.get("reftype") == "myst" and (here / node["reftarget"]).is_dir():
            node.replace_self(node.children)


def linked_files(app: Sphinx) -> dict[str, str]:
    """Path on the site -> file, kept with the pages that were read before."""
    return vars(app.env).setdefault("linked_files", {})


def copy_files(app: Sphinx, error: Exception | None) -> None:
    """The linked files, and a front page that leads to the start."""
    if error is not None or app.builder.format != "html":
        return
    for name, source in linked_files(app).items():
        target = Path(app.outdir, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    Path(app.outdir, "index.html").write_text(FRONT, encoding="utf-8")


class Commands(SphinxDirective):
    """A section with the help page of every command of the command line."""

    def run(self) -> list[nodes.Node]:
        import typer.main

        from posebench.benchmark.cli.app import app

        return [
            self.section(*each) for each in commands(typer.main.get_command(app), ["posebench"])
        ]

    def section(self, words: list[str], text: str) -> nodes.section:
        """One help page, as a terminal shows it."""
        name = " ".join(words)
        section = nodes.section(ids=[nodes.make_id(name)], names=[name])
        section += nodes.title(text=name)
        section += nodes.literal_block(text, text, language="text")
        return section


def commands(command: Any, words: list[str]) -> list[tuple[list[str], str]]:
    """Words and help text of a command and of all below it."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}):
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
            command.main(["--help"], prog_name=" ".join(words))
    pages = [(words, text.getvalue().strip())]
    for name, each in getattr(command, "commands", {}).items():
        pages += commands(each, [*words, name])
    return pages


def one_name_a_line(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """``a, b: text`` of a docstring's list describes two fields, which Sphinx takes for one."""
    found = []
    for line in lines:
        shared = SHARED.match(line)
        if shared:
            space, first, last = shared.groups()
            found += [f"{space}{each}: See ``{last}``." for each in first.split(", ")]
            line = f"{space}{last}:{line[shared.end() :]}"
        found.append(line)
    lines[:] = found


def plain_types(app: Sphinx) -> None:
    """Fields of records without the bounds that only their decoder reads."""
    from posebench.benchmark.records import types

    for each in vars(types).values():
        if is_dataclass(each) and isinstance(each, type):
            each.__annotations__ = each.__init__.__annotations__ = get_type_hints(each)


class NotebookParser(MystParser):
    """A notebook as a page: its Markdown, its code, and the outputs that are stored as text."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        super().parse(notebook_markdown(json.loads(inputstring)), document)


def notebook_markdown(notebook: dict[str, Any]) -> str:
    """The Markdown of a notebook."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", plain_types)
    app.connect("doctree-read", link_files, priority=400)  # before downloads are collected
    app.connect("build-finished", copy_files)
    app.connect("autodoc-process-docstring", one_name_a_line, priority=400)  # before napoleon
    app.add_directive("posebench-commands", Commands)
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": False}
