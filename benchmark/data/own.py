"""Data set ``own``: the pairs of a user's own files, named by ``--pairs`` or POSEBENCH_PAIRS.

``own/pairs`` are whatever is named at the moment. What is measured on them is recorded under
``own/`` and the beginning of their fingerprint, so that no two data sets share a table and equal
ones do, whatever their files are called.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict

from posebench.benchmark.data.own_files import OwnFiles, opened
from posebench.benchmark.data.own_pairs import OwnPairs
from posebench.benchmark.data.task import Progress, TaskName, check_samples
from posebench.benchmark.records.codec import decode
from posebench.errors import InputError
from posebench.registry import unknown

PAIRS_VARIABLE = "POSEBENCH_PAIRS"
PRESENT = "own/pairs"
RECORDED = re.compile(r"own/[0-9a-f]{12}")


class Own:
    """See :class:`~posebench.benchmark.data.task.Dataset`."""

    on_disk = True
    own_vertices = True

    def tasks(self) -> tuple[str, ...]:
        return (PRESENT,)

    def families(self) -> tuple[str, ...]:
        return ()

    def parse(self, name: str) -> TaskName:
        if name != PRESENT and not RECORDED.fullmatch(name):
            raise unknown("task", name, self.tasks())
        return TaskName(name, distorted=True, trivial=name)

    def load(
        self,
        name: str,
        *,
        samples: int,
        vertices: int | None = None,
        progress: Progress | None = None,
    ) -> OwnPairs:
        self.parse(name)
        check_samples(samples)
        files = named_files(name)
        pairs = opened(files).pairs
        if name not in (PRESENT, pairs.name):
            raise InputError(
                f"{name} are other pairs than those of {files.path}, {pairs.name}: name the same "
                "files, with the units, axes and crop that they were measured with (as columns of "
                "the CSV, docs/own-data.md)"
            )
        if samples > len(pairs):
            raise InputError(
                f"{files.path} has {len(pairs)} pairs, got {samples} samples: ask for fewer"
            )
        found = pairs.first(samples)
        if vertices not in (None, found.vertices):
            raise InputError(f"{name} has {found.vertices} vertices, not {vertices}")
        return found


def named_files(task: str = PRESENT) -> OwnFiles:
    """What ``--pairs`` or POSEBENCH_PAIRS names: a path, or JSON with the options that go with it.

    Raises:
        InputError: nothing, or JSON that is no ``OwnFiles``.
    """
    text = os.environ.get(PAIRS_VARIABLE, "")
    if not text:
        raise InputError(
            f"{task} are pairs of somebody's own files: name them with --pairs or in "
            f"{PAIRS_VARIABLE} (docs/own-data.md)"
        )
    if not text.startswith("{"):
        return OwnFiles(text)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{PAIRS_VARIABLE}: {error}") from error
    return decode(OwnFiles, content, PAIRS_VARIABLE)


def name_files(files: OwnFiles) -> None:
    """Make these files ``own/pairs`` of this process and of those that it starts."""
    os.environ[PAIRS_VARIABLE] = json.dumps(asdict(files))
