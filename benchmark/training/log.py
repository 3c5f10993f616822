"""The log of a training run: one JSON line per report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from posebench.benchmark.training.progress import Progress
from posebench.errors import InputError
from posebench.files import write_atomically


class TrainingLog:
    """One JSON line per report; lines that a resumed run makes again are replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Progress] = []
        if path.is_file():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                self.rows = [Progress(**json.loads(line)) for line in lines]
                [row.step + row.loss for row in self.rows]
            except (OSError, ValueError, TypeError) as error:
                raise InputError(f"{path} is damaged ({error}); delete it") from error

    def add(self, progress: Progress) -> None:
        """Append a report."""
        self.rows = [row for row in self.rows if row.step < progress.step]
        self.rows.append(progress)
        text = "".join(json.dumps(asdict(row), allow_nan=False) + "\n" for row in self.rows)
        write_atomically(self.path, text)
