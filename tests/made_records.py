"""Records as ``evaluate`` makes them, from given numbers; shared by the tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from posebench.attacks import FGM, make_attack
from posebench.benchmark.evaluation.table import aggregate
from posebench.benchmark.records.codec import decode
from posebench.benchmark.records.flags import flags_of
from posebench.benchmark.records.form import nested_cell
from posebench.benchmark.records.types import Cell, Cost, Environment, Record
from posebench.interfaces import Budget

WHERE = Environment(
    commit="abc0" * 10, dirty=False, posebench="0.1.0", python="3.11.7", torch="2.13.0",
    numpy="2.4.6", device="cpu", device_name="x86_64", dtype="float32", threads=1,
)  # fmt: skip

CELL = {
    "task": "anny/seen", "vertices": 800, "fingerprint": None, "victim": "npt", "size": "tiny",
    "training": "clean", "recipe": None, "network": None, "weights_sha256": None,
    "attack": "fgm", "attack_settings": None, "eps": 0.08, "eps_unit": "rms", "norm": "l2",
    "defense": None, "defense_settings": None, "access": "oblivious", "wrappers": [], "seed": 0,
    "draws": 1,
}  # fmt: skip


def made(
    *, pmd: tuple[float, ...] = (2e-3, 4e-3), flags: tuple[str, ...] = (), **cell: Any
) -> Record:
    """A record as ``evaluate`` makes it; ``flags`` are raised by what does not need any skill.

    ``cell`` are changes to the JSON form of its cell.
    """
    settings: dict[str, Any] = {**CELL, "samples": len(pmd), **cell}
    attacked = settings["attack"] is not None
    if settings["attack"] == "fgm":
        settings["attack_settings"] = repr(FGM(Budget(settings["eps"], settings["norm"])))
    elif attacked and settings["attack_settings"] is None:
        settings["attack_settings"] = repr(make_attack(settings["attack"], Budget(settings["eps"])))
    elif not attacked:
        settings |= dict.fromkeys(("attack_settings", "eps", "eps_unit", "norm"))
    if settings["defense"] == "sor" and settings["defense_settings"] is None:
        settings["defense_settings"] = "SOR()"
    ones, found = np.ones(len(pmd)), np.array(pmd)
    before = 1e-3 * ones if attacked else found
    clean = {"pmd": before, "msvd": 3 * before, "pmd_uncentred": 1e-3 * ones}
    clean["edge_error"] = 0.1 * ones
    judged = settings.get("metric", "pmd")
    clean[judged] = before
    easiest = float(np.nanmean(before)) * (1.5 if flags else 6)
    trivial = {"copy-pose": easiest, "copy-identity": 9 * easiest, "mean-mesh": 5 * easiest}
    others = {} if settings["defense"] is None else {"clean_kept": ones}
    under, norms = None, {}
    if attacked:
        eps = settings["eps"]
        radius = eps * math.sqrt(3 * settings["vertices"])
        under = {"pmd": found, "msvd": 3 * found, "pmd_uncentred": found, "edge_error": 0.1 * ones}
        under[judged] = found
        norms = {"rms": eps * ones, "l2": radius * ones, "linf": eps * ones}
        norms["l2_vertex"] = eps * ones
        allowed = eps if settings["norm"] == "l2_vertex" else radius
        others |= {"noise_pmd": np.minimum(1.5e-3, 0.75 * found), "radius": allowed * ones}
        others |= {} if settings["defense"] is None else {"kept": ones}
    trivial = {name: value * ones for name, value in trivial.items()}
    metrics = aggregate(clean, trivial, under, norms, others, metric=judged)
    flagged = flags_of(metrics, distorted="@" in str(settings["task"]))
    made_cell = decode(Cell, nested_cell(settings), "made")
    return Record(made_cell, metrics, flagged, Cost(1, 1), WHERE)
