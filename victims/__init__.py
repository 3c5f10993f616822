"""Victims: networks, wrappers, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench.victims.sizes import SIZES, Size
from posebench.victims.zoo import VICTIMS

if TYPE_CHECKING:
    from posebench.victims.gct import GCTransformer, GCTransformerMaxPool
    from posebench.victims.network import PoseTransferNetwork
    from posebench.victims.npt import NPT, NPTMaxPool
    from posebench.victims.posemae import PoseMAE
    from posebench.victims.released import import_released
    from posebench.victims.weights import (
        load_network,
        load_victim,
        read_weights,
        write_weights,
    )
    from posebench.victims.wrappers import Defended, EqualPoints
else:
    from posebench.lazy import lazily

    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Defended": "posebench.victims.wrappers",
            "EqualPoints": "posebench.victims.wrappers",
            "GCTransformer": "posebench.victims.gct",
            "GCTransformerMaxPool": "posebench.victims.gct",
            "NPT": "posebench.victims.npt",
            "NPTMaxPool": "posebench.victims.npt",
            "PoseMAE": "posebench.victims.posemae",
            "PoseTransferNetwork": "posebench.victims.network",
            "import_released": "posebench.victims.released",
            "load_network": "posebench.victims.weights",
            "load_victim": "posebench.victims.weights",
            "read_weights": "posebench.victims.weights",
            "write_weights": "posebench.victims.weights",
        },
    )

__all__ = [
    "NPT",
    "SIZES",
    "VICTIMS",
    "Defended",
    "EqualPoints",
    "GCTransformer",
    "GCTransformerMaxPool",
    "NPTMaxPool",
    "PoseMAE",
    "PoseTransferNetwork",
    "Size",
    "import_released",
    "load_network",
    "load_victim",
    "read_weights",
    "write_weights",
]
