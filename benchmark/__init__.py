"""Everything that trains and measures: body, tasks, training, harness, records, tables."""

from __future__ import annotations

from posebench.defenses import DEFENSES

# Here, since defences lie below the data that this one needs: docs/design/014-filters.md.
DEFENSES.register(
    "snap",
    "posebench.benchmark.data.snap:SnapToBody",
    "each point is put on the surface of a body fitted to the cloud",
)
