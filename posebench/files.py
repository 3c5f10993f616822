"""Writing files so that a reader sees the old one or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from posebench.errors import InputError


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write beside the target and rename.

    Raises:
        InputError: if the folder cannot be made or written, naming it and the reason.
    """
    try:
        _write(path, data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(path: Path, raw: bytes) -> None:
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        temporary = ""
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to tell a user; ``path`` is the one that was asked for, not one that we made up."""
    return InputError(f"cannot write {path}: {error.strerror or error}; choose another folder")


def check_writable(folder: Path) -> None:
    """Raise InputError now if a file cannot be written into the folder, before long work.

    A folder that is not there yet is not made: the nearest one above it is probed.
    """
    nearest = folder
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    probe = nearest / f".posebench-{os.getpid()}"
    try:
        _write(probe, b"")
        probe.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error
