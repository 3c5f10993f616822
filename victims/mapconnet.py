"""MAPConNet (Sun et al., ICCV 2023, arXiv 2304.13819): 3D-CoreNet's body, trained with less.

Written from the published description and checked against the released network (commit 8879c4f,
the last one under the MIT licence; 23,773,319 parameters at width 1024). The network is 3D-CoreNet
with one change: half of the identity's feature channels, the identity channels, modulate the
decoder; the other half, the pose channels, reach the output through the warp alone. Order
dependence and blindness are 3D-CoreNet's.

Our weights are trained with supervision, like all others here. The published self-supervised
losses are in ``benchmark.training.contrastive``.
"""

from __future__ import annotations

from posebench.interfaces import VictimSpec
from posebench.victims.corenet import CoreNet


class MAPConNet(CoreNet):
    """See the module's text."""

    spec = VictimSpec(
        name="mapconnet",
        title="MAPConNet",
        paper="arXiv 2304.13819",
        stochastic=False,
        point_counts="free",
        masks=True,
        order="identity",
        way="by learnt correspondence",
        code="justin941208/MAPConNet, MIT at 8879c4f, GPL-3.0 since",
    )
    side_share = 2
