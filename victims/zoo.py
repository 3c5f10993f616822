"""The registry of victims: name -> network class."""

from __future__ import annotations

from posebench.registry import Registry
from posebench.victims.gct import GCTransformer, GCTransformerMaxPool
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.npt import NPT, NPTMaxPool
from posebench.victims.posemae import PoseMAE

VICTIMS: Registry[type[PoseTransferNetwork]] = Registry("victim", "victims", needs=("spec",))
VICTIMS.register("npt-mp", NPTMaxPool)
VICTIMS.register("npt", NPT)
VICTIMS.register("gct", GCTransformer)
VICTIMS.register("gct-mp", GCTransformerMaxPool)
VICTIMS.register("posemae", PoseMAE)
