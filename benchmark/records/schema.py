"""JSON schemas generated from types; ``audit.schemas`` writes the published ones.

A record's is made flat as its JSON form is (``records.form``), and says of an attacked cell what
an unattacked one must not have. What a schema cannot say is checked by ``posebench validate``.
"""

from __future__ import annotations

from typing import Any

from posebench.benchmark.records.form import (
    ADDED,
    COUNTED,
    LEVELS,
    OPTIONAL,
    RATES,
    SCHEMA,
    UNDER_ATTACK,
)
from posebench.benchmark.records.types import (
    Json,
    Record,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"

ACCESS = {
    "type": "string",
    "description": "What the attack sees.",
    "pattern": "^(oblivious|adaptive|straight-through|transfer from .+)$",
}


def record_schema() -> Json:
    """The JSON schema (draft 2020-12) of a record's file."""
    made = schema_of(Record)
    definitions = made.pop("$defs")
    cell = _flat_cell(definitions)
    metrics, needed = _flat_metrics(definitions)
    for name in (
        "Cell",
        "Metrics",
        "UnderAttack",
        "AttackCell",
        "DefenseCell",
        "Weights",
        "Access",
    ):
        definitions.pop(name, None)
    made["properties"] |= {
        "schema": {"const": SCHEMA},
        "source": {"const": "measured"},
        "cell": cell,
        "metrics": metrics,
    }
    definitions["Cost"]["required"] = [*COUNTED]
    made["required"] = ["schema", *made["required"], "source"]
    return {
        "$schema": DRAFT,
        "$id": "urn:posebench:record:1",
        **made,
        "allOf": [
            _only_with(
                "attack",
                [k for k in LEVELS["attack"].values() if k not in ADDED],
                needed,
                [*OPTIONAL],
            ),
            _only_with("defense", [*LEVELS["defense"].values()], ["clean_kept"], ["kept"]),
        ],
        "$defs": definitions,
    }


def schema_of(kind: type[Any]) -> Json:
    """pydantic's schema of a type, without the titles that it makes up."""
    from pydantic import TypeAdapter

    made: Json = _untitled(TypeAdapter(kind).json_schema())
    return made


def _untitled(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(each) for name, each in part.items()}
        if key == "properties"
        else _untitled(part)
        for key, part in schema.items()
        if key != "title"
    }


def _flat_cell(definitions: Json) -> Json:
    cell: Json = definitions["Cell"]
    found: Json = {}
    required: list[str] = []
    kinds = {"attack": "AttackCell", "defense": "DefenseCell", "weights": "Weights"}
    for name, field in cell["properties"].items():
        if name == "access":
            found |= {"access": ACCESS}
            sha: Json = definitions["Access"]["properties"]["surrogate_sha256"]
            found |= {"surrogate_sha256": sha}
        elif name in kinds:
            for inner, key in LEVELS[name].items():
                part: Json = dict(definitions[kinds[name]]["properties"][inner])
                part.pop("default", None)
                found[key] = part if name == "weights" or key in ADDED else _nullable(part)
                required += [] if key in ADDED else [key]
        else:
            found[name] = field
        if name not in kinds and name not in ADDED:
            required.append(name)
    return {**cell, "properties": found, "required": required}


def _flat_metrics(definitions: Json) -> tuple[Json, list[str]]:
    metrics: Json = definitions["Metrics"]
    summary = {"$ref": "#/$defs/Summary"}
    under: Json = definitions["UnderAttack"]["properties"]
    rates = {
        name: {**under["rates"]["additionalProperties"], "description": "stats.success"}
        for name in RATES
    }
    properties = {
        "clean_pmd": summary,
        "pmd": summary,
        "trivial": metrics["properties"]["trivial"],
        "kept": metrics["properties"]["kept"],
        "clean_kept": metrics["properties"]["clean_kept"],
        **{name: under[name] for name in UNDER_ATTACK},
        **rates,
    }
    made = {
        "description": f"{metrics['description']} Further metrics are summaries.",
        "type": "object",
        "required": ["clean_pmd", "pmd", "trivial"],
        "properties": properties,
        "additionalProperties": summary,
    }
    return made, [*(name for name in UNDER_ATTACK if name not in OPTIONAL), *rates]


def _nullable(field: Json) -> Json:
    description = {"description": field.pop("description")} if "description" in field else {}
    return {**description, "anyOf": [field, {"type": "null"}]}


def _only_with(
    key: str, beside: list[str], needed: list[str], allowed: list[str] | None = None
) -> Json:
    """What a cell with an attack, or a defence, must have, and one without must not."""
    others = [name for name in beside if name != key]
    there = {"properties": {key: {"type": "string"}}, "required": [key]}
    some = {"properties": {name: {"type": ["string", "number"]} for name in others}}
    none = {"properties": {name: {"type": "null"} for name in others}}
    refused = {name: False for name in [*needed, *(allowed or [])]}
    return {
        "if": {"properties": {"cell": there}},
        "then": {"properties": {"cell": some, "metrics": {"required": needed}}},
        "else": {"properties": {"cell": none, "metrics": {"properties": refused}}},
    }
