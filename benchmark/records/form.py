"""The JSON form of a record: flat where its type is nested, so that old paths stay.

``attack_settings`` stands beside ``attack`` and ``clean_pmd`` beside ``pmd``, because paths are
hashes of that form. ``LEVELS`` says once what is lifted out of which level of a cell; decoding,
encoding, messages and the JSON schema follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from posebench.benchmark.records.codec import Place, decoded, dotted
from posebench.benchmark.records.json_files import Problem, shortly
from posebench.benchmark.records.types import AttackCell, Cell, Json, Metrics, Record

SCHEMA = "posebench/record/1"
"""What a record's JSON calls its form."""

LEVELS: dict[str, dict[str, str]] = {
    "attack": {
        "name": "attack",
        "settings": "attack_settings",
        "eps": "eps",
        "unit": "eps_unit",
        "norm": "norm",
        "version": "attack_version",
        "metric": "metric",
    },
    "defense": {"name": "defense", "settings": "defense_settings"},
    "weights": {
        "size": "size",
        "training": "training",
        "recipe": "recipe",
        "network": "network",
        "sha256": "weights_sha256",
    },
    "access": {"kind": "access", "surrogate_sha256": "surrogate_sha256"},
}
"""Level of a cell -> its field -> the JSON cell's key."""

ADDED = {
    "attack_version": 1,
    "metric": "pmd",
    "surrogate_sha256": None,
    "precision": "float32",
}
"""Keys that a JSON cell has only where they differ from this: older cells keep their hashes."""

UNDER_ATTACK = ("noise_pmd", "norms", "radius", "intervals", "effort")
OPTIONAL = ("effort",)
"""Those of them that not every attacked cell has."""

RATES = (
    "asr@tau", "asr_rel@2", "asr_rel@10", "clean_fail", "robust_rate", "gain_over_noise",
)  # fmt: skip
WHOLE = ("trivial", "kept", "clean_kept")
"""Keys of the JSON metrics that are neither a metric nor of the attack alone."""

COUNTED = ("forwards", "backwards")
"""Keys that every JSON cost has."""

WARM = " warm from eps "


def record_from_json(content: object) -> tuple[Record | None, list[Problem]]:
    """A record from its JSON form, or what is wrong with it."""
    if not isinstance(content, dict):
        return None, [Problem("file", f"not a JSON object but {shortly(content)}")]
    problems = []
    for key, value in (("schema", SCHEMA), ("source", "measured")):
        if key not in content:
            problems.append(Problem(key, "is missing"))
        elif content[key] != value:
            problems.append(Problem(key, f'must be "{value}", not {shortly(content[key])}'))
    rest = {key: value for key, value in content.items() if key not in ("schema", "source")}
    if isinstance(rest.get("cell"), dict):
        attacked = rest["cell"].get("attack") is not None
        rest["cell"] = nested_cell(rest["cell"])
        if isinstance(rest.get("metrics"), dict):
            rest["metrics"] = _nested_metrics(rest["metrics"], attacked=attacked)
    record, found = decoded(Record, rest, json_place)
    named = {each.field for each in found}
    absent = [each for each in _absent(content) if each.field not in named]
    return (None if absent else record), [*problems, *absent, *found]


def _absent(content: Json) -> list[Problem]:
    """Keys that a type has a value for, and a file must not leave to it."""
    cell, cost = content.get("cell"), content.get("cost")
    lifted = [key for keys in LEVELS.values() for key in keys.values() if key not in ADDED]
    found = []
    for name, part, keys in (("cell", cell, lifted), ("cost", cost, COUNTED)):
        if isinstance(part, dict):
            found += [f"{name}.{key}" for key in keys if key not in part]
    return [Problem(field, "is missing") for field in found]


def record_to_json(record: Record) -> Json:
    """A record's JSON form; undefined numbers are null."""
    return {
        "schema": SCHEMA,
        "cell": cell_to_json(record.cell),
        "metrics": _flat_metrics(record.metrics),
        "flags": list(record.flags),
        "cost": {k: v for k, v in plain(record.cost).items() if v is not None},
        "environment": plain(record.environment),
        "source": "measured",
    }


def cell_to_json(cell: Cell) -> Json:
    """A cell's JSON form, whose hash is its record's name."""
    flat: Json = {}
    for field in fields(cell):
        value = getattr(cell, field.name)
        keys = LEVELS.get(field.name)
        if keys is None:
            flat[field.name] = plain(value)
        else:
            flat |= {key: plain(getattr(value, name, None)) for name, key in keys.items()}
    flat["access"] = str(cell.access)
    if cell.attack is None:
        flat |= {key: ADDED[key] for key in ("attack_version", "metric")}
    else:
        flat["attack_settings"] = attack_settings(cell.attack)
    return {key: value for key, value in flat.items() if key not in ADDED or value != ADDED[key]}


def attack_settings(attack: AttackCell) -> str:
    """What rebuilds the attack, and where the poses of one in a sweep started."""
    warm = "" if attack.warm_from is None else f"{WARM}{attack.warm_from:g}"
    return attack.settings + warm


def plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON has them; NaN and infinity become null."""
    if value is None or isinstance(value, (str, int)):  # first, because most values are
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return value


def nested_cell(flat: Json) -> Json:
    """A JSON cell with its levels, as :class:`Cell` decodes it."""
    cell = {**ADDED, **flat}
    lifted = [key for keys in LEVELS.values() for key in keys.values()]
    nested: Json = {key: value for key, value in cell.items() if key not in lifted}
    for level, keys in LEVELS.items():
        nested[level] = {name: cell[key] for name, key in keys.items() if key in cell}
    for level in ("attack", "defense"):
        others = [key for name, key in LEVELS[level].items() if name != "name"]
        if level in flat and flat[level] is None:
            nested[level] = None
            # What is there without its attack stays where it is, as a field that is not known.
            nested |= {k: flat[k] for k in others if flat.get(k) is not None and k not in ADDED}
    if isinstance(nested["attack"], dict) and isinstance(nested["attack"].get("settings"), str):
        settings, warm, eps = nested["attack"]["settings"].rpartition(WARM)
        if warm:
            nested["attack"] |= {"settings": settings, "warm_from": _number(eps)}
    if isinstance(flat.get("access"), str):
        kind, _, surrogate = flat["access"].partition(" from ")
        nested["access"] |= {"kind": kind, "surrogate": surrogate or None}
    return nested


def _nested_metrics(flat: Json, *, attacked: bool) -> Json:
    nested: Json = {"clean": {}, "attacked": {}}
    under: Json = {"rates": {}}
    for key, value in flat.items():
        if key in WHOLE:
            nested[key] = value
        elif key in UNDER_ATTACK or key in RATES:
            (under["rates"] if key in RATES else under)[key] = value
        elif key.startswith("clean_"):
            nested["clean"][key.removeprefix("clean_")] = value
        else:
            nested["attacked"][key] = value
    if attacked or under != {"rates": {}}:
        nested["attack"] = under
    return nested


def _flat_metrics(metrics: Metrics) -> Json:
    flat = {key: plain(getattr(metrics, key)) for key in WHOLE}
    flat = {key: value for key, value in flat.items() if value is not None}
    flat |= {f"clean_{name}": plain(each) for name, each in metrics.clean.items()}
    flat |= {name: plain(each) for name, each in metrics.attacked.items()}
    if metrics.attack is not None:
        under = {key: plain(getattr(metrics.attack, key)) for key in UNDER_ATTACK}
        flat |= {key: value for key, value in under.items() if value is not None}
        flat |= plain(metrics.attack.rates)
    return flat


def json_place(path: Place) -> str:
    """Where the JSON form has what the types have at ``path``: metrics.pmd.per_sample[3]."""
    parts = list(path)
    if parts[:1] == ["cell"] and len(parts) > 2 and parts[1] in LEVELS:
        parts[1:3] = [LEVELS[str(parts[1])].get(str(parts[2]), "access")]
    elif parts[:2] == ["metrics", "clean"] and len(parts) > 2:
        parts[1:3] = [f"clean_{parts[2]}"]
    elif parts[:2] in (["metrics", "attacked"], ["metrics", "attack"]) and len(parts) > 2:
        del parts[1]
        if parts[1] == "rates" and len(parts) > 2:
            del parts[1]
    return dotted(tuple(parts))


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
