"""Victims: the four networks, wrappers, weights."""

from __future__ import annotations

from posebench.victims.gct import GCTransformer, GCTransformerMaxPool
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.npt import NPT, NPTMaxPool
from posebench.victims.posemae import PoseMAE
from posebench.victims.released import import_released
from posebench.victims.sizes import SIZES, Size
from posebench.victims.weights import load_victim, read_weights, write_weights
from posebench.victims.wrappers import Defended, EqualPoints
from posebench.victims.zoo import VICTIMS

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
    "load_victim",
    "read_weights",
    "write_weights",
]
