"""FF-PTNet: parity with the released network, its gates, its start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posebench.benchmark.training.loop import initial_network, train
from posebench.cloud import Clouds
from posebench.victims import VICTIMS, import_released
from tests.parity_rule import reference, stored_state
from tests.tiny_training import tiny
from tests.toys import random_points

DATA = reference("ffptnet_w128")


def near(value: torch.Tensor, expected: np.ndarray, share: float) -> None:  # type: ignore[type-arg]
    atol = share * float(np.abs(expected).max())
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_parity_with_released_network(dtype: torch.dtype, share: float) -> None:
    state = {k: v.to(dtype) for k, v in stored_state(DATA).items()}
    network = import_released("ffptnet", state)
    pose, identity = (
        torch.from_numpy(DATA[k]).to(dtype).transpose(1, 2).contiguous().requires_grad_(True)
        for k in ("pose", "identity")
    )
    output = network(Clouds.dense(pose), Clouds.dense(identity)).points
    torch.autograd.backward((output - torch.from_numpy(DATA["gt"]).to(dtype)).square().mean())
    near(output, DATA["out_f64"], share)
    assert pose.grad is not None
    assert identity.grad is not None
    near(pose.grad.transpose(1, 2), DATA["dmse_dpose_f64"], 10 * share)
    near(identity.grad.transpose(1, 2), DATA["dmse_didentity_f64"], 10 * share)
    if dtype == torch.float64:
        found = sorted(
            float(p.grad.norm()) if p.grad is not None else 0.0 for p in network.parameters()
        )
        np.testing.assert_allclose(
            found, sorted(DATA["param_grad_norms_f64"]), rtol=1e-9, atol=1e-12
        )


def test_closed_gates_hide_the_pose() -> None:
    network = import_released("ffptnet", stored_state(DATA)).double()
    for name, parameter in network.named_parameters():
        if name.endswith(".gate"):
            torch.nn.init.zeros_(parameter)
    pose, identity = (torch.from_numpy(DATA[k]).transpose(1, 2) for k in ("pose", "identity"))
    near(network.transfer(pose, identity), DATA["zero_gate_out_f64"], 1e-10)
    near(network.transfer(pose.flip(0) * 3 - 1, identity), DATA["zero_gate_out_f64"], 1e-10)


def test_parameter_count_at_published_width() -> None:
    with torch.device("meta"):
        network = VICTIMS["ffptnet"]()
    assert sum(p.numel() for p in network.parameters()) == 9_371_023


def test_training_opens_the_gates(tmp_path: Path) -> None:
    """All gates start at zero, where the pose has no gradient; three steps and it has one."""
    recipe = tiny("ffptnet", steps=3, warmup=1)
    pose, identity = (random_points(1, 40, seed=k, dtype=torch.float32) for k in (0, 1))
    for network, seen in (
        (initial_network(recipe), False),
        (train(recipe, tmp_path).network, True),
    ):
        points = pose.clone().requires_grad_(True)
        (grad,) = torch.autograd.grad(network.transfer(points, identity).square().sum(), points)
        assert bool(grad.any()) == seen
