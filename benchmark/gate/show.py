"""What ``posebench regress`` shows: a table in the terminal, Markdown for a job's summary."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from posebench.benchmark.gate.compare import Finding

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

HEAD = ("", "baseline", "now", "ratio", "p", "")
CAPTION = (
    "PMD x1e-4, geometric mean over pairs; ratio with 95 % interval; p of no change for the worse, "
    "Holm-adjusted over all rows"
)


def cells_of(finding: Finding) -> tuple[str, ...]:
    """A finding as texts in the order of HEAD."""
    if finding.change is None:
        shares = (f"{100 * value:.1f} %" for value in (finding.before, finding.after))
        return (f"{finding.name}: {finding.quantity}", *shares, "", "", finding.verdict)
    low, high = finding.change.interval
    name = finding.name if finding.quantity == "attacked PMD" else f"{finding.name}: clean"
    p = "" if finding.p is None else "<1e-4" if finding.p < 1e-4 else f"{finding.p:.2g}"
    return (
        name,
        *(f"{value * 1e4:.1f}" for value in (finding.before, finding.after)),
        f"{finding.change.ratio:.3f} [{low:.3f}, {high:.3f}]",
        p,
        finding.verdict,
    )


def conclusion(findings: list[Finding]) -> str:
    """One line: red or green, why."""
    red = [finding for finding in findings if finding.red]
    if red:
        words = ", ".join(dict.fromkeys(finding.verdict for finding in red))
        return f"red: {words} ({len(red)} of {len(findings)} rows)"
    said = dict.fromkeys(f.verdict for f in findings if f.verdict != "ok")
    return f"green: nothing worse in {len(findings)} rows" + "".join(f"; {word}" for word in said)


def notes_of(findings: list[Finding]) -> list[str]:
    """What else changed, each once, with the first row and the number of rows it belongs to."""
    notes: dict[str, list[str]] = {}
    for finding in findings:
        if finding.note:
            notes.setdefault(finding.note, []).append(finding.name)
    return [f"{note} ({len(names)} rows, first {names[0]})" for note, names in notes.items()]


def rich_table(findings: list[Finding]) -> Table:
    """Rows in the order of the findings, red ones in red."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, caption=CAPTION, caption_justify="left")
    for number, name in enumerate(HEAD):
        figures = 0 < number < 5
        table.add_column(
            name, justify="right" if figures else "left", overflow="fold", no_wrap=figures
        )
    for finding in findings:
        style = "bold red" if finding.red else None if finding.verdict == "ok" else "green"
        table.add_row(*cells_of(finding), style=style)
    return table


def print_findings(findings: list[Finding], console: Console | None = None) -> None:
    """The table, what else changed, and the conclusion."""
    from rich.console import Console

    console = console or Console()
    console.print(rich_table(findings))
    for note in notes_of(findings):
        console.print(note, markup=False, highlight=False)
    console.print(conclusion(findings), markup=False, highlight=False)


def plain_text(findings: list[Finding], width: int = 110) -> str:
    """The same without colours, for a test's failure."""
    from rich.console import Console

    out = io.StringIO()
    print_findings(findings, Console(file=out, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def markdown(findings: list[Finding]) -> str:
    """The same as Markdown, red rows first."""
    lines = [f"## Attack success: {conclusion(findings)}", ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for finding in sorted(findings, key=lambda each: not each.red):
        texts = [text.replace("|", "\\|") for text in cells_of(finding)]
        if finding.red:
            texts[-1] = f"**{texts[-1]}**"
        lines.append(f"| {' | '.join(texts)} |")
    lines += ["", f"{CAPTION}."]
    return "\n".join([*lines, *(f"- {note}" for note in notes_of(findings))]) + "\n"
