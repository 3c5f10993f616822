"""What ``posebench check`` found on each victim, as a Markdown table for docs/flags.md."""

from __future__ import annotations

import json
from pathlib import Path

SHOWN = {4: "stronger attacks, per pair", 5: "more effort, mean PMD", 6: "without its gradient"}
"""Checks whose figures are worth a column even where nothing is raised."""


def checks_table(folder: Path) -> list[str]:
    """One row per check file, in the order of their names; the files as ``read_checks`` allows."""
    head = ["victim", "training", "defence", "eps", "pairs", "raised", *SHOWN.values()]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        cell, findings = content["cell"], {f["number"]: f for f in content["findings"]}
        raised = ", ".join(f["flag"] for f in findings.values() if f["raised"])
        details = [findings[number]["detail"] if number in findings else "-" for number in SHOWN]
        row = [cell["victim"], cell["training"], cell["defense"] or "none", f"{cell['eps']:g}"]
        lines.append(f"| {' | '.join([*row, str(cell['samples']), raised or 'none', *details])} |")
    return lines
