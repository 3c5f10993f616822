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
SUMMARY_KEYS = ("mean", "ci95", "median", "p95", "worst", "per_sample")

CELL_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("task", "victim", "training", "access"), str),
    **dict.fromkeys(("samples", "vertices", "seed", "draws"), int),
    **dict.fromkeys(("size", "attack", "eps_unit", "norm", "defense"), (str, type(None))),
    **dict.fromkeys(("network", "recipe"), (dict, type(None))),
    "eps": (int, float, type(None)),
}
"""What tables rely on."""

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
    check_record(result, "record")
    return result


def check_record(record: object, where: str) -> None:
    """Raise InputError naming the field that is missing or of the wrong type."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: not a JSON object")
    for key in KEYS:
        if key not in record:
            raise InputError(f"{where}: field {key!r} is missing")
    if record["schema"] != SCHEMA:
        raise InputError(f"{where}: schema {record['schema']!r}, expected {SCHEMA!r}")
    for key in ("cell", "metrics", "flags", "cost", "environment"):
        if not isinstance(record[key], list if key == "flags" else dict):
            raise InputError(f"{where}: field {key!r} is of the wrong type")
    for key in CELL_KEYS:
        if key not in record["cell"]:
            raise InputError(f"{where}: field 'cell.{key}' is missing")
    for key, kinds in CELL_KINDS.items():
        value = record["cell"][key]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise InputError(f"{where}: field 'cell.{key}' cannot be {value!r}")
    if not all(isinstance(flag, str) for flag in record["flags"]):
        raise InputError(f"{where}: field 'flags' must hold names")
    for key in ("commit", "device"):
        if key not in record["environment"]:
            raise InputError(f"{where}: field 'environment.{key}' is missing")
    trivial = record["metrics"].get("trivial")
    if not isinstance(trivial, dict) or not all(map(_is_number, trivial.values())):
        raise InputError(f"{where}: field 'metrics.trivial' is missing or of the wrong type")
    for name in ("pmd", "clean_pmd"):
        summary = record["metrics"].get(name)
        _check_summary(summary, record["cell"]["samples"], f"{where}: field 'metrics.{name}'")
    if record["source"] not in ("measured", "reported"):
        raise InputError(f"{where}: source must be 'measured' or 'reported'")


def _check_summary(summary: Any, samples: int, where: str) -> None:
    """Refuse a summary that is incomplete, of wrong types, or not of its own per-sample values."""
    if not isinstance(summary, dict) or any(key not in summary for key in SUMMARY_KEYS):
        raise InputError(f"{where} is missing or incomplete")
    values, ends = summary["per_sample"], summary["ci95"]
    if not isinstance(values, list) or not isinstance(ends, list) or len(ends) != 2:
        raise InputError(f"{where}: per_sample and ci95 must be lists, ci95 of two")
    if len(values) != samples:
        raise InputError(f"{where}: per_sample has {len(values)} values for {samples} samples")
    single = [summary[key] for key in ("mean", "median", "p95", "worst")]
    for value in (*values, *ends, *single):
        if value is not None and not _is_number(value):
            raise InputError(f"{where} holds {value!r}, not a number")
    if summary["mean"] is not None and None not in values:
        mean = math.fsum(values) / samples
        if not math.isclose(summary["mean"], mean, rel_tol=1e-9, abs_tol=1e-15):
            raise InputError(f"{where}: mean {summary['mean']} is not that of its values, {mean}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
    records = []
    for path in sorted(folder.rglob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not readable as JSON ({error})") from error
        check_record(record, str(path))
        records.append(record)
    return records


@lru_cache(maxsize=1)
def commit() -> tuple[str | None, bool | None]:
    """Commit of the source tree and whether it has changes; (None, None) for a wheel.

    What is generated from records (``GENERATED``) does not count as a change.
    """
    root = Path(__file__).resolve().parent.parent
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
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else platform.machine()
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
