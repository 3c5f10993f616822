"""Ctrl-C and SIGTERM: at once where nothing is lost, after the step where something would be."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StopSignals:
    """Handles both signals while it is installed.

    They raise KeyboardInterrupt, but inside :meth:`deferred`, where whoever works asks now and then
    whether one came. There no number of signals breaks in: SIGQUIT (Ctrl-Backslash) does.
    """

    def __init__(self) -> None:
        self.asked = False
        self.deferring = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals inside; other threads than the main one cannot and do not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._take) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """Keep signals inside; gives the question whether one came.

        Raises:
            KeyboardInterrupt: afterwards if one came; at once if one came before and was lost, as
                some libraries lose an exception that is raised while they are being imported.
        """
        if self.asked:
            raise KeyboardInterrupt
        self.deferring = True
        try:
            yield lambda: self.asked
        finally:
            self.deferring = False
        if self.asked:
            raise KeyboardInterrupt

    def _take(self, number: int, frame: object) -> None:
        again, self.asked = self.asked, True
        if not (self.deferring or again):  # a second one must not break into the first one's end
            raise KeyboardInterrupt


def this_command() -> str:
    """The command line that runs, to be pasted into a shell."""
    words = sys.argv[1:]
    world = os.environ.get("LOCAL_WORLD_SIZE", "1")
    start = ["posebench"]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        start = ["torchrun", "--nproc-per-node", world, "-m", "posebench.benchmark.cli.app"]
    return shlex.join([*start, *words])
