"""Records: one JSON file per cell, the only source of every table.

A record's file name is derived from its cell, so a cell that runs again replaces its file. It
holds nothing that changes between two runs on the same machine and commit, wall time included,
so equal runs give equal files; see docs/design/002-records.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from posebench import __version__
from posebench.errors import InputError
from posebench.files import write_atomically

SCHEMA = "posebench/record/1"
KEYS = ("schema", "cell", "metrics", "flags", "cost", "environment", "source")
CELL_KEYS = (
    "task", "samples", "fingerprint", "vertices", "victim", "size", "training", "recipe",
    "network", "weights_sha256",
    "attack", "attack_settings", "eps", "eps_unit", "norm", "defense", "defense_settings",
    "access", "wrappers", "seed", "draws",
)  # fmt: skip

GENERATED = ("leaderboards", "docs", "README.md")
"""Top-level names that making records and tables writes to."""

Record = dict[str, Any]


def make_record(
    cell: dict[str, Any],
    metrics: dict[str, Any],
    flags: list[str],
    cost: dict[str, int],
    where: dict[str, Any],
) -> Record:
    """A measured record; undefined numbers (NaN) become null."""
    record = {
        "schema": SCHEMA,
        "cell": cell,
        "metrics": metrics,
        "flags": flags,
        "cost": cost,
        "environment": where,
        "source": "measured",
    }
    result: Record = _without_nan(record)
    return result


def check_record(record: object, where: str) -> None:
    """Raise InputError naming the first field that is missing, wrong or contradicts others."""
    # Both build on the harness, which builds on this module.
    from posebench.benchmark.records.consistency import contradictions
    from posebench.benchmark.records.schema import schema_problems

    problem = next(iter(schema_problems(record)), None)
    if problem is None:
        assert isinstance(record, dict)
        if record["schema"] != SCHEMA:
            raise InputError(f"{where}: schema: must be {SCHEMA!r}, not {record['schema']!r}")
        problem = next(contradictions(record), None)
    if problem is not None:
        raise InputError(f"{where}: {problem}")


def record_text(record: Record) -> str:
    """Canonical JSON: sorted keys, no NaN."""
    return json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"


def record_path(folder: Path, record: Record) -> Path:
    """Where a record goes, from its cell alone."""
    return cell_path(folder, record["cell"])


def cell_path(folder: Path, cell: dict[str, Any]) -> Path:
    """Where the record of a cell goes."""
    cell = _without_nan(cell)  # as the record has it
    digest = hashlib.sha256(json.dumps(cell, sort_keys=True).encode()).hexdigest()[:10]
    victim = "-".join(str(cell[k]) for k in ("victim", "size", "training") if cell[k])
    attack = "clean"
    if cell["attack"]:
        attack = f"{cell['attack']}-{cell['eps']:g}-{cell['eps_unit']}-{cell['norm']}"
    if cell["defense"]:
        attack += f"-{cell['defense']}-{cell['access']}"
    return folder / str(cell["task"]).replace("/", "-") / victim / f"{attack}-{digest}.json"


def write_record(folder: Path, record: Record) -> Path:
    """Write a record atomically; returns its path."""
    path = record_path(folder, record)
    write_atomically(path, record_text(record))
    return path


def read_records(folder: Path) -> list[Record]:
    """All records below a folder, in the order of their paths, each checked."""
    from posebench.benchmark.records.schema import read_json  # the library alone does not need it

    records = []
    for path in sorted(folder.rglob("*.json")):
        record = read_json(path)
        check_record(record, str(path))
        records.append(record)
    return records


@lru_cache(maxsize=1)
def commit() -> tuple[str | None, bool | None]:
    """Commit of the source tree and whether it has changes; (None, None) for a wheel.

    What is generated from records (``GENERATED``) does not count as a change.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD")
        others = [f":(exclude){name}" for name in GENERATED]
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head.strip(), bool(changed.strip())


def environment(device: str) -> dict[str, Any]:
    """Commit, versions and device of this process."""
    import torch

    head, dirty = commit()
    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else processor()
    return {
        "commit": head,
        "dirty": dirty,
        "posebench": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "device": device,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "dtype": "float32",
    }


@lru_cache
def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model where Linux tells it, else its architecture.

    Iterative attacks magnify rounding, so that their values differ between models.
    """
    try:
        found = re.search(r"^model name\s*:\s*(\S.*?)\s*$", info.read_text("utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        found = None
    machine = platform.machine() or "unknown"
    return f"{machine}, {found[1]}" if found else machine


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *words], check=True, capture_output=True, text=True
    ).stdout


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
