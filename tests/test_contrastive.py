"""MAPConNet's published losses against the released ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.training.contrastive import (
    Contrast,
    Losses,
    labelled_losses,
    unlabelled_losses,
)
from posebench.victims import import_released
from posebench.victims.mapconnet import MAPConNet
from posebench.victims.transport import matched
from tests.parity_rule import reference, stored_state

DATA = reference("mapconnet_w8")
RELATIVE = 2e-7
"""The released edge targets are rounded to float32; all else agrees to 1e-12."""


def network() -> MAPConNet:
    made = import_released("mapconnet", stored_state(DATA))
    assert isinstance(made, MAPConNet)
    return made


def points(name: str) -> Tensor:
    return torch.from_numpy(DATA[name]).transpose(1, 2).contiguous()


def near(found: Tensor, key: str, share: float = 1e-12) -> None:
    np.testing.assert_allclose(float(found.detach()), float(DATA[key]), rtol=share)


def all_near(found: Losses | Contrast, prefix: str, suffix: str = "") -> None:
    contrast = found.contrast if isinstance(found, Losses) else found
    near(contrast.mesh, f"{prefix}mesh_loss{suffix}")
    near(contrast.point, f"{prefix}point_loss{suffix}")
    if isinstance(found, Losses):
        near(found.reconstruction, f"{prefix}rec_loss{suffix}")
        near(found.edge, f"{prefix}edge_loss{suffix}", RELATIVE)


def test_best_matches_are_the_released_ones() -> None:
    made = network()
    features = [made.features(points(name)) for name in ("identity", "pose")]
    found = matched(*made.matchable(features[0], features[1]))
    np.testing.assert_array_equal(found.numpy(), DATA["mid/match_argmax"])


def test_losses_with_the_truth() -> None:
    faces = torch.from_numpy(DATA["loss/identity_faces"])
    target = torch.from_numpy(DATA["gt"])
    found = labelled_losses(network(), points("pose"), points("identity"), target, faces)
    all_near(found, "loss/labelled/")


def test_losses_without_the_truth() -> None:
    faces = torch.from_numpy(DATA["loss/pose_faces"])
    given = points("pose"), points("loss/pose2"), points("identity")
    cross, leg, self_ = unlabelled_losses(network(), *given, faces)
    all_near(cross, "loss/unlabelled/", "_cc")
    all_near(leg, "loss/unlabelled/", "_fp")
    all_near(self_, "loss/unlabelled/", "_sc")


def test_the_detour_gives_its_second_leg_no_gradient_to_the_first() -> None:
    made, given = network(), [points("pose"), points("loss/pose2"), points("identity")]
    given[2].requires_grad_(True)
    faces = torch.from_numpy(DATA["loss/pose_faces"])
    cross, leg, self_ = unlabelled_losses(made, *given, faces)
    (of_leg,) = torch.autograd.grad(leg.mesh + leg.point, given[2], retain_graph=True)
    assert bool(of_leg.any())
    (found,) = torch.autograd.grad(cross.total + self_.total, given[2], allow_unused=True)
    assert found is None
