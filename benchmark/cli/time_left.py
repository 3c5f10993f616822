"""The column of a progress bar that says how long it will take, from the first piece of work on."""

from __future__ import annotations

import math

from rich.progress import ProgressColumn, Task
from rich.text import Text


class TimeLeft(ProgressColumn):
    """Seconds left at the pace since the task began, or until its field ``ends``.

    Rich's own column waits for a second piece of work, and forgets pieces older than half a
    minute: short runs and slow ones never showed a time. ``ends`` is in seconds from the report
    that set it; a task that goes on says in its field ``first`` what was done before.
    """

    max_refresh = 0.5

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[int, tuple[tuple[float, float | None], float]] = {}

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds; dashes while nothing is known."""
        left = self.seconds(task)
        if left is None:
            return Text("-:--:--", style="progress.remaining")
        minutes, seconds = divmod(math.ceil(left), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"{hours:d}:{minutes:02d}:{seconds:02d}", style="progress.remaining")

    def seconds(self, task: Task) -> float | None:
        """Seconds left, counted down between two pieces of work; None while unknown."""
        now, given = task.get_time(), task.fields.get("ends")
        state = (task.completed, given)
        if task.id not in self._ends or self._ends[task.id][0] != state:
            done = task.completed - task.fields.get("first", 0)
            if given is None and (task.remaining is None or done <= 0):
                self._ends.pop(task.id, None)
                return None
            if given is None:
                given = (task.elapsed or 0.0) * (task.remaining or 0.0) / done
            self._ends[task.id] = state, now + given
        return max(0.0, self._ends[task.id][1] - now)
