"""What a command says when memory runs out: options that it has."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from posebench.errors import InputError, out_of_memory

P = ParamSpec("P")


def when_memory_runs_out(advice: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Decorate a command so that it ends in one line, with this advice."""

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @wraps(command)
        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                command(*args, **kwargs)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                raise InputError(f"out of memory; try {advice}") from error

        call.__dict__["advice"] = advice
        return call

    return decorate
