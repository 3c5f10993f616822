"""FF-PTNet: dual-side feature fusion pose transfer (arXiv 2305.14951).

Written from the published description and checked against the released network (9,371,023
parameters at width 1024): same outputs and gradients. The pose is pooled into one code; three
blocks move the identity's points, each modulated from both sides: by the identity's xyz and by
[code, xyz], mixed by two learnt gates per modulation. Four things a reader should know:

* Gates start at 0, as released: a fresh network does not see the pose at all, and its first step
  moves the gates alone. Attacks on such a network measure nothing.
* A gate is any number, not a share in 0..1; one is of the scales, the other of the shifts.
* The release divides every mesh by half of its own largest box side. Here meshes stay in metres
  and are centred alone, as the protocol has it for all networks. The pose's norm makes its size
  invisible either way.
* Its AdamW and its edge term on squared lengths are not ours; recipes are alike for all networks.

The code is the same at all vertices, so its part of a modulation is computed once a cloud, and both
sides' xyz parts are one layer: the same function at a fraction of the arithmetic.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from posebench.interfaces import VictimSpec
from posebench.shapes import Bool, Float
from posebench.victims.blocks import (
    Head,
    PointEncoder,
    apply_linear,
    code_linear,
    instance_norm,
    point_weights,
    pooled_code,
)
from posebench.victims.linear import linear, points_together
from posebench.victims.network import PoseTransferNetwork
from posebench.victims.released_names import counted


class Fused(nn.Module):
    """gate * of_pose([code, xyz]) + (1 - gate) * of_identity(xyz), per vertex and channel."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.of_identity = nn.Linear(3, width)
        self.of_pose = nn.Linear(code + 3, width)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(
        self, code: Float[Tensor, "b 1 w"], identity: Float[Tensor, "b n 3"]
    ) -> Float[Tensor, "b n c"]:
        of_code, of_xyz = self.of_pose.weight.tensor_split([-3], dim=1)
        weight = torch.lerp(self.of_identity.weight, of_xyz, self.gate)
        pooled = code_linear(code, of_code, self.of_pose.bias)
        constant = self.gate * pooled + (1 - self.gate) * self.of_identity.bias
        return linear(identity, weight, None) + constant


class FusedNorm(nn.Module):
    """ReLU of instance norm times a fused scale plus a fused shift."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.scale = Fused(width, code)
        self.shift = Fused(width, code)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        code: Float[Tensor, "b 1 w"],
        identity: Float[Tensor, "b n 3"],
        weights: Float[Tensor, "b n 1"] | None,
    ) -> Float[Tensor, "b n c"]:
        normed = instance_norm(x, weights)
        scale, shift = self.scale(code, identity), self.shift(code, identity)
        return torch.relu(normed * scale + shift).to(x.dtype)


class FusedStage(nn.Module):
    """Two modulated layers; the sum of both layers' outputs, without a skip of the input."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.modulate_first, self.first = FusedNorm(width, code), nn.Linear(width, width)
        self.modulate_second, self.second = FusedNorm(width, code), nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        code: Float[Tensor, "b 1 w"],
        identity: Float[Tensor, "b n 3"],
        weights: Float[Tensor, "b n 1"] | None,
    ) -> Float[Tensor, "b n c"]:
        once = apply_linear(self.first, self.modulate_first(x, code, identity, weights))
        twice = apply_linear(self.second, self.modulate_second(once, code, identity, weights))
        return once + twice


class FFPTNet(PoseTransferNetwork):
    """Widths of the decoder go up and down again: 256, 1024, 256."""

    spec = VictimSpec(
        name="ffptnet",
        title="FF-PTNet",
        paper="arXiv 2305.14951",
        stochastic=False,
        point_counts="free",
        masks=True,
        way="pooled",
        code="YikiDragon/FF-PTNet, MIT",
    )
    released_names = (
        (r"^encoder\.conv(\d)\.", counted("encoder.layers.")),
        (r"^decoder\.conv4\.", "head."),
        (r"^decoder\.conv(\d)\.", counted("projections.")),
        (r"^decoder\.ffadainres(\d)\.", counted("stages.")),
        (r"\.conv1\.", ".first."),
        (r"\.conv2\.", ".second."),
        (r"\.ffadain1\.", ".modulate_first."),
        (r"\.ffadain2\.", ".modulate_second."),
        (r"\.alpha$", ".scale.gate"),
        (r"\.beta$", ".shift.gate"),
        (r"\.conv_id1\.", ".shift.of_identity."),
        (r"\.conv_id2\.", ".scale.of_identity."),
        (r"\.conv_po1\.", ".shift.of_pose."),
        (r"\.conv_po2\.", ".scale.of_pose."),
    )
    released_width = "encoder.layers.2.weight"

    def __init__(self, width: int = 1024) -> None:
        super().__init__(width)
        self.encoder = PointEncoder(width, (max(1, width // 16), max(1, width // 8)))
        widths = (width // 4, width, width // 4)
        sizes = (3, *widths)
        self.projections = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.stages = nn.ModuleList(FusedStage(w, width) for w in widths)
        self.head = Head(widths[-1])

    def transfer(
        self,
        pose: Float[Tensor, "b m 3"],
        identity: Float[Tensor, "b n 3"],
        pose_mask: Bool[Tensor, "b m"] | None = None,
        identity_mask: Bool[Tensor, "b n"] | None = None,
        generator: Generator | None = None,
    ) -> Float[Tensor, "b n 3"]:
        weights = point_weights(identity_mask, identity.dtype)
        code = pooled_code(self.encoder, points_together(pose), pose_mask)
        x = identity = points_together(identity)
        for project, stage in zip(self.projections, self.stages, strict=True):
            x = stage(apply_linear(project, x), code, identity, weights)
        coordinates: Tensor = self.head(x)
        return coordinates
