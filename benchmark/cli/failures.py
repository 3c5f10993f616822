"""How a command ends when something is wrong: one line on stderr, never a traceback."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import typer

from posebench.errors import InputError, out_of_memory

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT."""


class Stopped(Exception):
    """A command that was interrupted and knows what to say of it; empty for nothing."""


@contextmanager
def one_line() -> Iterator[None]:
    """Bad input, a missing package and lack of memory end with code 2, Ctrl-C with 130."""
    try:
        yield
    except InputError as error:
        fail(" ".join(str(error).splitlines()))
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("posebench"):
            raise
        fail(f"this needs {error.name}: pip install {error.name}")
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        fail("out of memory; this needs a machine or device with more")
    except Stopped as stop:
        interrupted(str(stop))
    except KeyboardInterrupt:
        interrupted()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C, without a word
            interrupted()
        raise


def fail(reason: str) -> None:
    """Say what is wrong and leave."""
    typer.echo(f"posebench: error: {reason}", err=True)
    sys.exit(2)


def interrupted(words: str = "interrupted") -> None:
    """Say so and leave."""
    if words:
        typer.echo(f"posebench: {words}", err=True)
    sys.exit(INTERRUPTED)


class Output(io.FileIO):
    """A standard stream that its reader may close early, and whose disk may be full.

    After ``| head`` has what it wants, the rest is dropped in silence: the command goes on, and
    its exit code is its own. Any other failure is the user's to know, once.
    """

    def __init__(self, stream: io.TextIOWrapper, silent: bool) -> None:
        super().__init__(stream.fileno(), "w", closefd=False)
        self.silent, self.lost = silent, False

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        if self.lost:
            return size
        try:
            return super().write(data)
        except OSError as error:
            self.lost = True
            if self.silent or isinstance(error, BrokenPipeError):
                return size
            raise InputError(f"cannot write to standard output: {error.strerror}") from error


def tolerant(stream: Any, *, silent: bool = False) -> Any:
    """The same stream on an :class:`Output`; streams that are no files stay what they are."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if not isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(Output(stream, silent)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Standard output and standard error on :class:`Output`."""
    out, err = tolerant(sys.stdout), tolerant(sys.stderr, silent=True)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            for stream in (out, err):
                if stream is not None:
                    stream.flush()
