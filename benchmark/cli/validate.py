"""``posebench validate``: are these files what posebench writes, unchanged?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli.progress import progress_bar

EXAMPLES = """
Examples:

- posebench validate leaderboards/records

- posebench validate runs/anny-seen/npt-compact-clean/fgm-0.08-rms-l2-0123456789.json
"""


def validate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Records or check files, or folders.")
    ],
) -> None:
    """Name every field of a record that is missing, wrong or contradicts another one.

    Asked are the JSON Schema, whether aggregates, rates, flags and norms follow from the per-sample
    values and the budget, and whether pairs, weights and the file's name are those of the cell.
    Exit code 1 if a file is not valid. A record that was forged as a whole is found by 'posebench
    verify', which runs it again.
    """
    from posebench.benchmark.audit.validate import file_problems, json_files

    files = json_files(paths)
    with progress_bar("files", quiet=len(files) < 20) as bar:
        found = {path: file_problems(path) for path in bar.track(files, description="validating")}
    for path, problems in found.items():
        for problem in problems:
            typer.echo(f"{path}: {problem}")
    wrong = sum(bool(problems) for problems in found.values())
    files_text = "1 file" if len(files) == 1 else f"{len(files)} files"
    typer.echo(f"{files_text}, {f'{wrong} not' if wrong else 'all'} valid")
    if wrong:
        raise typer.Exit(1)
