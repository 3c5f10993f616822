"""The progress bar of long commands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress_bar(unit: str, *, quiet: bool) -> Iterator[Progress]:
    """A progress bar on stderr, so that stdout stays clean."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
    )

    from posebench.benchmark.cli.time_left import TimeLeft

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeLeft(),
    )
    console = Console(stderr=True)
    # A log file would get an empty line; of many processes only the first draws.
    hidden = quiet or not console.is_terminal or os.environ.get("RANK", "0") != "0"
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        yield bar
