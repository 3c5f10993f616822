"""The command that makes a record again, from its cell."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import Any

import numpy as np

from posebench.attacks import ATTACKS, make_attack
from posebench.benchmark.data.datasets import dataset_of
from posebench.benchmark.records.store import Record
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims import SIZES
from posebench.victims.weights import shipped_path, weights_fingerprint

WARM = re.compile(r" warm from eps (\S+)$")

UNKNOWN_WEIGHTS = "WEIGHTS"
"""Stands in a command for weights that are not shipped."""


def sweeps(records: list[Record]) -> list[list[Record]]:
    """Records that one ``posebench run --eps low:high:count`` made, by growing eps.

    A swept record's settings say which budget its poses started from, so chains can be told from
    single cells; chains of fewer than three budgets are no curve and left out.
    """
    first: list[Record] = []
    later: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record["cell"]["attack"] is None:
            continue
        warm = WARM.search(str(record["cell"]["attack_settings"]))
        if warm is None:
            first.append(record)
        else:
            later.setdefault((_family(record), warm[1]), []).append(record)
    found = []
    for record in first:
        chain = [record]
        while following := later.get((_family(record), f"{chain[-1]['cell']['eps']:g}")):
            chain.append(min(following, key=lambda each: float(each["cell"]["eps"])))
        if len(chain) > 2:
            found.append(chain)
    return found


def _family(record: Record) -> str:
    """Everything that the records of one sweep share, as text."""
    cell = record["cell"]
    settings = WARM.sub("", str(cell["attack_settings"]))
    settings = re.sub(r"\beps=[^,)]+", "eps", settings, count=1)
    same = {key: value for key, value in cell.items() if key not in ("eps", "attack_settings")}
    return repr((sorted(same.items(), key=lambda item: item[0]), settings))


def repeat_command(record: Record, chain: list[Record] | None = None) -> str | None:
    """``posebench run ...`` that makes a record again, as one of its sweep if ``chain`` is given.

    None where the command line cannot: an attack or defence with settings of its own, other
    weights than a registered victim's, or a sweep whose steps are not even.
    """
    cell = record["cell"]
    words = ["posebench", "run", "--victim", str(cell["victim"])]
    weights = weights_names().get(str(cell["weights_sha256"]))
    words += ["--weights", f"victims/weights/{weights}" if weights else UNKNOWN_WEIGHTS]
    attack = ["--attack", "none"] if cell["attack"] is None else _attack_words(cell, chain)
    defense = _defense_words(cell)
    size = _size(cell)
    if attack is None or defense is None or size is None or cell["weights_sha256"] is None:
        return None
    words += [*attack, *defense, "--task", str(cell["task"]), "--samples", str(cell["samples"])]
    if size != "compact":
        words += ["--size", size]
    if cell["seed"]:
        words += ["--seed", str(cell["seed"])]
    return shlex.join(words)


def _attack_words(cell: dict[str, Any], chain: list[Record] | None) -> list[str] | None:
    settings = str(cell["attack_settings"])
    if (WARM.search(settings) is not None and chain is None) or cell["attack"] not in ATTACKS:
        return None
    settings = WARM.sub("", settings)
    budget = Budget(cell["eps"], cell["norm"], cell["eps_unit"])
    words = ["--attack", str(cell["attack"])]
    steps = re.search(r"\biterations=(\d+)", settings)
    counts = [None, int(steps[1])] if steps else [None]
    for iterations in counts:
        try:
            same = repr(make_attack(cell["attack"], budget, iterations)) == settings
        except InputError:
            same = False
        if same:
            words += ["--iterations", str(iterations)] if iterations is not None else []
            break
    else:
        return None
    eps = f"{cell['eps']:.12g}" if chain is None else _eps_words(chain)
    if eps is None:
        return None
    words += ["--eps", eps]
    if cell["eps_unit"] != "rms":
        words += ["--eps-unit", str(cell["eps_unit"])]
    if cell["norm"] not in ("l2", cell["attack"]):
        words += ["--norm", str(cell["norm"])]
    access, _, surrogate = str(cell["access"]).partition(" from ")
    if surrogate:
        words += [*([] if cell["attack"] == "transfer" else ["--access", access])]
        words += ["--surrogate", surrogate]
    elif access != "oblivious":
        words += ["--access", access]
    return words


def _eps_words(chain: list[Record]) -> str | None:
    eps = [float(record["cell"]["eps"]) for record in chain]
    even = np.linspace(eps[0], eps[-1], len(eps))
    return f"{eps[0]:g}:{eps[-1]:g}:{len(eps)}" if np.allclose(eps, even, atol=1e-12) else None


def _defense_words(cell: dict[str, Any]) -> list[str] | None:
    if cell["defense"] is None:
        return []
    if cell["defense"] not in DEFENSES:
        return None
    usual = repr(DEFENSES[cell["defense"]]()) == cell["defense_settings"]
    return ["--defense", str(cell["defense"])] if usual else None


def _size(cell: dict[str, Any]) -> str | None:
    """The value of ``--size`` that gives this many vertices."""
    try:
        if dataset_of(cell["task"]).own_vertices:
            return "compact"
    except InputError:  # of a plug-in that is not installed here
        return None
    fits = [name for name, size in SIZES.items() if size.vertices == cell["vertices"]]
    return fits[0] if fits else None


@lru_cache
def weights_names() -> dict[str, str]:
    """sha256 -> file name of every shipped weights file."""
    folder = shipped_path("npt", "compact").parent
    return {weights_fingerprint(path): path.name for path in sorted(folder.glob("*.safetensors"))}
