"""The contract of a test task: numbered pairs, their shuffles fixed, and what no skill answers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from posebench.cloud import Clouds
from posebench.interfaces import Batch
from posebench.shapes import Int


@runtime_checkable
class PairTask(Protocol):
    """Test pairs 0..len-1; ``fingerprint`` is a sha256 of what they are.

    Pose sources have no padding; ``keeps_count`` says whether they have as many points as
    identities, ``distorted`` whether they are something else than the meshes of training.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def keeps_count(self) -> bool: ...

    @property
    def distorted(self) -> bool: ...

    def __len__(self) -> int: ...

    def batch(self, ids: Int[Tensor, "b"]) -> Batch: ...

    def trivial_outputs(self, ids: Int[Tensor, "b"]) -> dict[str, Clouds]: ...
