"""Names of budgets, of what attacks see and of arithmetic.

Nothing here imports torch, so that files are read without it.
"""

from __future__ import annotations

from typing import Literal

DistanceNorm = Literal["l2", "linf", "l2_vertex"]
Norm = Literal["l2", "linf", "l2_vertex", "sparse", "smooth", "drop", "add"]
Unit = Literal["rms", "total", "release"]
AccessKind = Literal["oblivious", "adaptive", "straight-through", "transfer"]
Precision = Literal["float32", "bf16"]

RELEASE_POINTS = 1024
"""The point count that the paper's released script puts into its radius, whatever the mesh."""
