"""Names of results, refused before any work where they cannot be written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from posebench.errors import InputError
from posebench.files import check_writable
from posebench.registry import unknown

PICTURES = (".png", ".pdf")


def check_picture(path: Path) -> None:
    """Refuse a picture that is neither PNG nor PDF, or that cannot be written.

    Raises:
        InputError: saying which of the two.
    """
    check_results([(path, PICTURES)])


def check_results(
    results: Iterable[tuple[Path | None, tuple[str, ...]]], read: Iterable[Path] = ()
) -> None:
    """Refuse results, each with the endings it may have; those that are None are not wanted.

    Raises:
        InputError: another ending, a folder's name, a folder that cannot be written, or the name
            of a file that the command reads or has as another result.
    """
    taken = {os.path.realpath(path) for path in read}
    for path, endings in results:
        if path is None:
            continue
        if path.suffix.lower() not in endings:
            raise unknown("file ending", path.suffix.lower(), endings)
        if os.path.realpath(path) in taken:
            raise InputError(f"{path} would replace another file of this command; rename it")
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder")
        taken.add(os.path.realpath(path))
        check_writable(path.parent)
