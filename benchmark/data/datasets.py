"""Which data sets there are, and the one way to their tasks: by name.

A task is named ``DATASET/SPLIT``; its first part is the key in ``DATASETS``.
"""

from __future__ import annotations

from posebench.benchmark.data.anny import Anny
from posebench.benchmark.data.layouts import LAYOUTS
from posebench.benchmark.data.licensed import DfaustPairs, FolderPairs
from posebench.benchmark.data.own import Own
from posebench.benchmark.data.task import Dataset, PairTask, Progress, TaskName
from posebench.registry import Registry, unknown

DATASETS: Registry[Dataset] = Registry("data set", "datasets")
DATASETS.register("anny", Anny())
for _name in LAYOUTS:
    DATASETS.register(_name, FolderPairs(_name))
DATASETS.register("dfaust", DfaustPairs())
DATASETS.register("own", Own())


def dataset_of(task: str) -> Dataset:
    """The data set that a task is of.

    Raises:
        InputError: no data set of this name.
    """
    key = task.partition("/")[0]
    if "/" not in task or key not in DATASETS:
        raise unknown("task", task, (*task_names(), *task_families()))
    return DATASETS[key]


def parse_task(task: str) -> TaskName:
    """What a task's name says; reads no data.

    Raises:
        InputError: no such task.
    """
    return dataset_of(task).parse(task)


def load_task(
    task: str, *, samples: int, vertices: int | None = None, progress: Progress | None = None
) -> PairTask:
    """The first ``samples`` pairs of a task; more samples extend the same list.

    ``vertices`` is the level of detail, None the data set's own or usual one (1,700 for ``anny``).
    ``progress`` follows the first reading of a folder of mesh files.

    Raises:
        InputError: no such task, samples outside 1..4096, no such level, or data that are missing.
    """
    return dataset_of(task).load(task, samples=samples, vertices=vertices, progress=progress)


def task_vertices(task: str, wanted: int, *, samples: int, progress: Progress | None = None) -> int:
    """Vertices of a task's meshes: those wanted, unless its data set has a count of its own.

    Raises:
        InputError: as :func:`load_task`.
    """
    if not dataset_of(task).own_vertices:
        parse_task(task)
        return wanted
    return load_task(task, samples=samples, progress=progress).vertices


def task_names(*, on_disk: bool | None = None) -> tuple[str, ...]:
    """Tasks without a level in their name: on data that a user must have, on others, or all."""
    found = [each for each in DATASETS.values() if on_disk in (None, each.on_disk)]
    return tuple(name for dataset in found for name in dataset.tasks())


def task_families() -> tuple[str, ...]:
    """Names with a level left open, such as "anny/scan@LEVEL"."""
    return tuple(name for dataset in DATASETS.values() for name in dataset.families())
