"""3D-CoreNet and MAPConNet: parity with the released networks, transport, spectral norm."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from posebench.benchmark.checks.of_victims import batch_free
from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.training.loop import train
from posebench.cloud import Clouds
from posebench.interfaces import Budget
from posebench.rng import generator_for
from posebench.victims import VICTIMS, import_released, transport
from posebench.victims.blocks import point_weights
from posebench.victims.corenet import CoreNet
from posebench.victims.elain import SpectralLinear
from posebench.victims.released_names import renamed
from tests.parity_rule import reference, stored_state
from tests.tiny_training import tiny
from tests.toys import random_points, small

CLOSE = 1e-10
"""Of outputs, absolute; of gradients, a tenth of the share of their maximum."""


def clouds(data: dict[str, np.ndarray], name: str) -> Tensor:  # type: ignore[type-arg]
    return torch.from_numpy(data[name]).transpose(1, 2).contiguous()


def near(value: Tensor | None, expected: np.ndarray, share: float) -> None:  # type: ignore[type-arg]
    assert value is not None
    atol = share * float(np.abs(expected).max())
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=0, atol=atol)


NAMES = {"corenet": "corenet_w8", "mapconnet": "mapconnet_w8"}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NAMES)
def test_parity_with_released_network(name: str, mode: str) -> None:
    data = reference(NAMES[name])
    network = import_released(name, stored_state(data)).train(mode == "train")
    pose, identity = (clouds(data, k).requires_grad_(True) for k in ("pose", "identity"))
    output = network(Clouds.dense(pose), Clouds.dense(identity)).points
    torch.autograd.backward((output - torch.from_numpy(data["gt"])).square().mean())
    prefix = "train_" if mode == "train" else ""
    near(output, data[f"{prefix}out_f64"], CLOSE)
    assert pose.grad is not None
    assert identity.grad is not None
    near(pose.grad.transpose(1, 2), data[f"{prefix}dmse_dpose_f64"], 10 * CLOSE)
    if mode == "eval":
        near(identity.grad.transpose(1, 2), data["dmse_didentity_f64"], 10 * CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_gradients_match(name: str) -> None:
    """Through sigma too; biases in front of an instance norm have none in exact arithmetic."""
    data = reference(NAMES[name])
    network = import_released(name, stored_state(data))
    output = network.transfer(clouds(data, "pose"), clouds(data, "identity"))
    torch.autograd.backward((output - torch.from_numpy(data["gt"])).square().mean())
    found = [0.0 if p.grad is None else float(p.grad.norm()) for p in network.parameters()]
    expected = data["param_grad_norms_f64"]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_forward_moves_the_spectral_vectors_as_released(name: str) -> None:
    data = reference(NAMES[name])
    network = import_released(name, stored_state(data)).train()
    network.transfer(clouds(data, "pose"), clouds(data, "identity"))
    after = {k.removeprefix("train_after/"): v for k, v in data.items() if "train_after" in k}
    state = {k: torch.from_numpy(v) for k, v in after.items()}
    for key, value in renamed(state, network.released_names).items():
        near(network.get_buffer(key), value.numpy(), CLOSE)


def test_settled_vectors_are_the_first_singular_ones() -> None:
    network = small("corenet")
    for part in network.modules():
        if isinstance(part, SpectralLinear):
            torch.nn.init.orthogonal_(part.weight)
            part.weight.data[0] *= 3  # a gap behind the first singular value
            part.settle()
            sigma = part.u @ part.weight.detach() @ part.v
            assert float(sigma) == pytest.approx(3.0, abs=1e-6)


def test_averaged_weights_come_with_their_own_spectral_vectors(tmp_path: Path) -> None:
    """The network that training ends with is the one its weights and vectors define."""
    trained = train(tiny("corenet", steps=3), tmp_path).network
    again = copy.deepcopy(trained)
    again.settle()
    pose, identity = (random_points(1, 40, seed=k, dtype=torch.float32) for k in (0, 1))
    with torch.no_grad():
        found, expected = (n.transfer(pose, identity) for n in (trained, again))
    assert float((found - expected).abs().max()) < 1e-3 * float(expected.abs().max())


# ---- transport


def unit_features(count: int, seed: int) -> Tensor:
    raw = torch.randn(2, count, 8, generator=generator_for(seed, "features")).double()
    return (raw / raw.norm(dim=2, keepdim=True)).requires_grad_(True)


def test_blocks_of_the_transport_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, gradients and gradients of gradients, with padding on both sides."""
    rows, columns = unit_features(50, 0), unit_features(31, 1)
    points = random_points(2, 31).requires_grad_(True)
    masses = [
        point_weights(torch.arange(n) < torch.tensor([n, n - 7])[:, None], torch.float64)
        for n in (50, 31)
    ]
    weights = random_points(2, 50, seed=5)

    def figures() -> list[Tensor]:
        found = transport.carried(rows, columns, points, *masses)
        inputs = (rows, columns, points)
        first = torch.autograd.grad((weights * found).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        return [found, *first, *second]

    whole = figures()
    monkeypatch.setattr(transport, "EXPLICIT", 0)
    monkeypatch.setattr(transport, "BLOCK", 2 * 31 * 7)
    for found, expected in zip(figures(), whole, strict=True):
        near(found, expected.detach().numpy(), 1e-11)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in torch.utils._pytree.tree_leaves(out):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.untyped_storage().nbytes() // 4)
        return out


def test_no_matrix_of_all_pairs_at_27000_points() -> None:
    """Forward and gradient on tensors without data; the whole matrix has 7.3e8 numbers."""
    rows, columns, points = (
        torch.empty(1, 27_000, c, device="meta", requires_grad=True) for c in (256, 256, 3)
    )
    with Largest() as largest:
        found = transport.carried(rows, columns, points)
        torch.autograd.grad(found.sum(), (rows, columns, points))
    assert 0 < largest.numbers <= transport.BLOCK


# ---- symmetries


@pytest.mark.parametrize("name", NAMES)
def test_the_identitys_order_matters_and_the_poses_does_not(name: str) -> None:
    """The network's kernel-3 layer reads neighbours along the list; the warp does not."""
    network = small(name, spread=0.3)
    pose, identity = random_points(1, 40), random_points(1, 30, seed=1)
    plain = network.transfer(pose, identity)
    turned = network.transfer(pose[:, torch.randperm(40, generator=generator_for(0))], identity)
    torch.testing.assert_close(turned, plain)
    order = torch.randperm(30, generator=generator_for(1))
    change = (network.transfer(pose, identity[:, order]) - plain[:, order]).norm()
    assert change > 0.1 * plain.norm()
    assert network.spec.order == "identity"
    assert isinstance(network, CoreNet)
    p, i, shuffled = (network.features(x) for x in (pose, identity, identity[:, order]))
    warp = network.warp(i, p, pose)
    torch.testing.assert_close(network.warp(shuffled, p, pose), warp[:, order])
    torch.testing.assert_close(network.warp(i, network.features(pose + 1), pose + 1), warp + 1)
    torch.testing.assert_close(network.transfer(pose, identity + 1), plain)


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_left_out(name: str) -> None:
    network = small(name, spread=0.3)
    pose, identity = random_points(2, 40), random_points(2, 30, seed=1)
    masks = [torch.arange(n) < torch.tensor([n, n - 9])[:, None] for n in (40, 30)]
    clouds = [Clouds.padded(x, m) for x, m in zip((pose, identity), masks, strict=True)]
    found = network(*clouds).points
    alone = network.transfer(pose[1:, :31], identity[1:, :21])
    torch.testing.assert_close(found[1:, :21], alone)
    assert bool((found[1, 21:] == 0).all())


def test_check_13_sees_the_identitys_order() -> None:
    batch = load_task("anny/seen", samples=1, vertices=800).batch(torch.tensor([0]))
    raised = {}
    for name in ("corenet", "mapconnet", "npt-mp"):
        network = small(name, spread=0.3).float().eval()
        raised[name], _ = batch_free(Subject(network, [batch], Budget(0.08)))
    assert raised == {"corenet": True, "mapconnet": True, "npt-mp": False}


@pytest.mark.parametrize(
    ("name", "parameters"), [("corenet", 24_461_447), ("mapconnet", 23_773_319)]
)
def test_parameter_counts_at_published_width(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = VICTIMS[name]()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(b.numel() for b in network.buffers()) == 10_752
