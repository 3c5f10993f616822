"""The registry of victims: name -> network class, and the line that ``posebench list`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench.registry import Registry

if TYPE_CHECKING:
    from posebench.victims.network import PoseTransferNetwork

VICTIMS: Registry[type[PoseTransferNetwork]] = Registry("victim", "victims", needs=("spec",))
VICTIMS.register(
    "npt-mp", "posebench.victims.npt:NPTMaxPool", "NPT-MP (arXiv 2003.07254): any point counts"
)
VICTIMS.register("npt", "posebench.victims.npt:NPT", "NPT (arXiv 2003.07254): equal point counts")
VICTIMS.register(
    "gct",
    "posebench.victims.gct:GCTransformer",
    "GC-Transformer (arXiv 2112.07374): equal point counts",
)
VICTIMS.register(
    "gct-mp",
    "posebench.victims.gct:GCTransformerMaxPool",
    "GC-Transformer-MP (arXiv 2112.07374): any point counts",
)
VICTIMS.register(
    "posemae",
    "posebench.victims.posemae:PoseMAE",
    "3D-PoseMAE (arXiv 2404.02242): any point counts",
)
VICTIMS.register(
    "corenet",
    "posebench.victims.corenet:CoreNet",
    "3D-CoreNet (arXiv 2109.15025): any point counts, order of the identity matters",
)
VICTIMS.register(
    "mapconnet",
    "posebench.victims.mapconnet:MAPConNet",
    "MAPConNet (arXiv 2304.13819): any point counts, order of the identity matters",
)
VICTIMS.register(
    "ffptnet", "posebench.victims.ffptnet:FFPTNet", "FF-PTNet (arXiv 2305.14951): any point counts"
)
VICTIMS.register(
    "dt",
    "posebench.victims.deformation_transfer:DeformationTransfer",
    "DT (SIGGRAPH 2004): any point counts, true correspondence needed",
)
