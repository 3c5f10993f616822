"""The published JSON schemas (draft 2020-12), generated from the types that decode the files.

``python -m posebench.benchmark.audit.schemas`` writes them. What a schema cannot say, such as that
aggregates follow from their values, ``posebench validate`` checks.
"""

from __future__ import annotations

import json
from pathlib import Path

from posebench.benchmark import records
from posebench.benchmark.checks.findings import CheckRecord
from posebench.benchmark.evaluation.cost import Costs
from posebench.benchmark.evaluation.parts_record import PartsRecord
from posebench.benchmark.records.schema import DRAFT, record_schema, schema_of
from posebench.benchmark.records.studies import FloorStudy
from posebench.benchmark.records.types import Json
from posebench.files import write_atomically

FOLDER = Path(records.__file__).parent / "schemas"
"""Where the published files stand."""


def published() -> dict[str, Json]:
    """Name of a file in ``FOLDER`` -> its schema."""
    kinds: dict[str, type] = {
        "check": CheckRecord,
        "costs": Costs,
        "floor": FloorStudy,
        "parts": PartsRecord,
    }
    made = {
        name: {"$schema": DRAFT, "$id": f"urn:posebench:{name}:1", **schema_of(kind)}
        for name, kind in kinds.items()
    }
    return {
        f"{name}.schema.json": each for name, each in {"record": record_schema(), **made}.items()
    }


def schema_text(schema: Json) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    for name, schema in published().items():
        write_atomically(FOLDER / name, schema_text(schema))
