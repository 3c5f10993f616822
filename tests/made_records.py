"""Records as ``evaluate`` makes them, from given numbers; shared by the tests."""

from __future__ import annotations

import math
from typing import Any

from posebench.attacks import FGM
from posebench.benchmark.record import CELL_KEYS, Record, make_record
from posebench.interfaces import Budget

WHERE = {"commit": "abc", "dirty": False, "device": "cpu"}


def summary(*values: float) -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {
        "mean": mean,
        "ci95": [mean - 1e-5, mean + 1e-5],
        "median": mean,
        "p95": max(values),
        "worst": max(values),
        "per_sample": list(values),
    }


def made(
    *, pmd: tuple[float, ...] = (2e-3, 4e-3), flags: tuple[str, ...] = (), **cell: Any
) -> Record:
    """A record as ``evaluate`` makes it."""
    settings: dict[str, Any] = dict.fromkeys(CELL_KEYS)
    settings |= {
        "task": "anny/seen", "samples": len(pmd), "vertices": 800, "victim": "npt",
        "size": "tiny", "training": "clean", "attack": "fgm", "eps": 0.08, "eps_unit": "rms",
        "norm": "l2", "access": "oblivious", "wrappers": [], "seed": 0, "draws": 1,
    }  # fmt: skip
    settings |= cell
    if settings["attack"] == "fgm":
        settings["attack_settings"] = repr(FGM(Budget(settings["eps"])))
    metrics = {
        "clean_pmd": summary(*(1e-3 for _ in pmd)),
        "pmd": summary(*pmd),
        "noise_pmd": summary(*(1.5e-3 for _ in pmd)),
        "asr@tau": math.nan,
        "clean_fail": 1.0,
        "trivial": {"copy-pose": 0.006, "copy-identity": 0.09, "mean-mesh": 0.03},
    }
    return make_record(settings, metrics, list(flags), {"forwards": 1, "backwards": 1}, WHERE)
