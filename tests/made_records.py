"""Records as ``evaluate`` makes them, from given numbers; shared by the tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from posebench.attacks import FGM, make_attack
from posebench.benchmark.evaluation.harness import aggregate, flags_of
from posebench.benchmark.records.store import CELL_KEYS, Record, make_record
from posebench.interfaces import Budget

WHERE = {
    "commit": "abc0" * 10, "dirty": False, "posebench": "0.1.0", "python": "3.11.7",
    "torch": "2.13.0", "numpy": "2.4.6", "device": "cpu", "device_name": "x86_64", "threads": 1,
    "dtype": "float32",
}  # fmt: skip


def made(
    *, pmd: tuple[float, ...] = (2e-3, 4e-3), flags: tuple[str, ...] = (), **cell: Any
) -> Record:
    """A record as ``evaluate`` makes it; ``flags`` are raised by what does not need any skill."""
    settings: dict[str, Any] = dict.fromkeys(CELL_KEYS)
    settings |= {
        "task": "anny/seen", "samples": len(pmd), "vertices": 800, "victim": "npt",
        "size": "tiny", "training": "clean", "attack": "fgm", "eps": 0.08, "eps_unit": "rms",
        "norm": "l2", "access": "oblivious", "wrappers": [], "seed": 0, "draws": 1,
    }  # fmt: skip
    settings |= cell
    attacked = settings["attack"] is not None
    if settings["attack"] == "fgm":
        settings["attack_settings"] = repr(FGM(Budget(settings["eps"])))
    elif attacked and settings["attack_settings"] is None:
        settings["attack_settings"] = repr(make_attack(settings["attack"], Budget(settings["eps"])))
    elif not attacked:
        settings |= dict.fromkeys(("attack_settings", "eps", "eps_unit", "norm"))
    if settings["defense"] == "sor" and settings["defense_settings"] is None:
        settings["defense_settings"] = "SOR()"
    ones = np.ones(len(pmd))
    values = {"clean_pmd": 1e-3 * ones, "clean_msvd": 3e-3 * ones}
    values |= {"clean_pmd_uncentred": 1e-3 * ones, "clean_edge_error": 0.1 * ones}
    if attacked:
        radius = settings["eps"] * math.sqrt(3 * settings["vertices"])
        values |= {
            "pmd": np.array(pmd), "msvd": 3 * np.array(pmd),
            "noise_pmd": np.minimum(1.5e-3, 0.75 * np.array(pmd)), "radius": radius * ones,
            "norm.rms": settings["eps"] * ones, "norm.l2": radius * ones,
            "norm.linf": settings["eps"] * ones, "norm.l2_vertex": settings["eps"] * ones,
        }  # fmt: skip
        values |= {"pmd_uncentred": np.array(pmd), "edge_error": 0.1 * ones}
    else:
        values |= {"clean_pmd": np.array(pmd), "clean_msvd": 3 * np.array(pmd)}
    easiest = float(np.nanmean(values["clean_pmd"])) * (1.5 if flags else 6)
    baselines = {"copy-pose": easiest, "copy-identity": 9 * easiest, "mean-mesh": 5 * easiest}
    values |= {f"trivial.{name}": value * ones for name, value in baselines.items()}
    if settings["defense"] is not None:
        values |= {"kept": ones, "clean_kept": ones} if attacked else {"clean_kept": ones}
    metrics = aggregate(values, attacked=attacked)
    distorted = "@" in str(settings["task"])
    return make_record(
        settings,
        metrics,
        flags_of(metrics, distorted=distorted),
        {"forwards": 1, "backwards": 1},
        WHERE,
    )
