"""The training engine's own arithmetic: networks, Muon and the averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from posebench.benchmark.training.averaging import DECAY, WeightAverage
from posebench.benchmark.training.muon import MOMENTUM, StackedMuon, orthogonalised
from posebench.rng import generator_for
from posebench.victims import VICTIMS, PoseTransferNetwork, attention, blocks
from posebench.victims.attention import EXPLICIT_POINTS, attend
from posebench.victims.blocks import instance_norm
from posebench.victims.gct import SpatialAttention
from posebench.victims.modulation import Modulation, modulate
from tests.benchmarks.former import Former


def draws(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator_for(seed, "engine"), dtype=dtype)


def network_of(name: str, width: int) -> PoseTransferNetwork:
    """A network whose attention and biases are switched on."""
    network = VICTIMS[name](width)
    for number, parameter in enumerate(network.parameters()):
        parameter.data = 0.2 * draws(*parameter.shape, seed=number, dtype=torch.float32)
    return network


def gradients(network: nn.Module, *, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """Output on fixed clouds in train mode, and all parameters' gradients joined."""
    dtype = next(network.parameters()).dtype
    pose, identity = 0.4 * draws(2, 40, 3, dtype=dtype), 0.4 * draws(2, 40, 3, seed=1, dtype=dtype)
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = network.transfer(pose, identity, generator=generator_for(0))  # type: ignore[operator]
    torch.autograd.backward(output.square().mean())
    found = [
        torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten().clone()
        for p in network.parameters()
    ]
    return output.detach(), torch.cat(found)


@pytest.mark.parametrize("composed", [True, False])
@pytest.mark.parametrize("name", ["npt", "npt-mp", "gct", "posemae"])
def test_networks_equal_their_former_formulation(
    name: str, composed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With matrices that follow each other multiplied first, and without."""
    monkeypatch.setattr(blocks, "composing_pays", lambda *_: composed)
    network = network_of(name, 20).double().train()
    output, gradient = gradients(network)
    former, former_gradient = gradients(Former(network).train())
    torch.testing.assert_close(output, former, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, former_gradient, rtol=1e-8, atol=1e-12)


def test_a_frozen_attention_needs_no_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal outputs and gradients to both clouds."""
    network = network_of("gct", 20).double().eval().requires_grad_(False)
    found = []
    for composed in (True, False):
        if not composed:
            monkeypatch.setattr(SpatialAttention, "composing_pays", lambda *_: False)
        clouds = [0.4 * draws(2, 40, 3, seed=s) for s in range(2)]
        leaves = [each.requires_grad_(True) for each in clouds]
        output = network.transfer(*leaves)
        found.append([output, *torch.autograd.grad(output.square().sum(), leaves)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["npt", "npt-mp", "gct", "gct-mp", "posemae"])
@pytest.mark.parametrize("width", [18, 64])  # 18 and 21 channels are filled up for bf16
def test_bf16_step_is_near_float32_and_ends_in_float32(name: str, width: int) -> None:
    network = network_of(name, width).train()
    exact, gradient = gradients(network)
    output, rounded = gradients(network, bf16=True)
    assert output.dtype == torch.float32
    assert len(torch.unique(output)) > 0.9 * output.numel(), "bf16 outputs would coincide"
    assert (output - exact).abs().mean() < 0.1 * exact.std()
    assert torch.cosine_similarity(rounded, gradient, dim=0) > 0.9


def test_second_derivatives() -> None:
    x, identity = draws(2, 5, 4).requires_grad_(True), draws(2, 5, 3, seed=1).requires_grad_(True)
    layer = Modulation(4).double()
    torch.autograd.gradcheck(layer, (x, identity))
    torch.autograd.gradgradcheck(layer, (x, identity))
    code = draws(2, 1, 4, seed=2).requires_grad_(True)
    torch.autograd.gradgradcheck(layer, (code, identity))
    weights = torch.tensor([[0.25] * 4 + [0.0], [0.2] * 5]).double()[..., None]
    torch.autograd.gradgradcheck(instance_norm, (x,))
    torch.autograd.gradgradcheck(lambda x: instance_norm(x, weights), (x,))


@pytest.mark.parametrize("wanted", ["identity", "weight", "bias"])
def test_modulation_gradients_of_parameters(wanted: str) -> None:
    values = {
        "x": draws(2, 7, 4), "identity": draws(2, 7, 3, seed=1), "weight": draws(8, 3, seed=2),
        "bias": draws(8, seed=3),
    }  # fmt: skip
    values[wanted].requires_grad_(True)
    layer = Modulation(4).double()
    expected = torch.autograd.grad(modulate(**values).square().sum(), values[wanted])[0]
    layer.affine.weight.data, layer.affine.bias.data = values["weight"], values["bias"]
    output = layer(values["x"], values["identity"])
    asked = {"weight": layer.affine.weight, "bias": layer.affine.bias}.get(wanted, values[wanted])
    found = torch.autograd.grad(output.square().sum(), asked)[0]
    torch.testing.assert_close(found, expected)


def test_attention_of_few_and_of_many_points_is_the_same() -> None:
    queries, keys, values = (draws(1, EXPLICIT_POINTS + 1, 4, seed=s) for s in range(3))
    keep = torch.ones(1, EXPLICIT_POINTS + 1, dtype=torch.bool)
    keep[0, -1] = False
    few = attend(queries[:, :-1], keys[:, :-1], values[:, :-1])
    torch.testing.assert_close(attend(queries, keys, values, keep)[:, :-1], few)
    padded = attend(queries[:, :9], keys[:, :9], values[:, :9], keep[:, -9:])[:, :8]
    torch.testing.assert_close(padded, attend(queries[:, :8], keys[:, :8], values[:, :8]))


@pytest.mark.parametrize("kept", [True, False])
def test_attention_in_blocks_has_the_gradients_of_the_whole_map(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those inputs that want one, whether the map is kept or made again."""
    inputs = [draws(2, 31, 4, seed=s) for s in range(3)]
    keep = torch.arange(31)[None] < torch.tensor([[31], [20]])
    found = []
    for points in (10**6, 1):
        monkeypatch.setattr(attention, "EXPLICIT_POINTS", points)
        monkeypatch.setattr(attention, "KEPT", 10**6 * kept)
        monkeypatch.setattr(attention, "BLOCK", 7 * 2 * 31)
        for wanted in ((0, 1, 2), (0, 2), (1,)):
            leaves = [x.clone().requires_grad_(i in wanted) for i, x in enumerate(inputs)]
            output = attend(leaves[0], leaves[1], leaves[2], keep)
            chosen = [leaves[i] for i in wanted]
            found += [output, *torch.autograd.grad(output.sin().sum(), chosen, create_graph=False)]
    half = len(found) // 2
    for one, other in zip(found[:half], found[half:], strict=True):
        torch.testing.assert_close(one, other)
    leaf = inputs[0].clone().requires_grad_(True)
    output = attend(leaf, inputs[1], inputs[2])
    (gradient,) = torch.autograd.grad(output.sin().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())


def spectrum(shape: tuple[int, int], smallest: float) -> Tensor:
    """A matrix whose singular values fall from 1 to ``smallest`` evenly in the exponent."""
    u, _, v = torch.linalg.svd(draws(*shape, dtype=torch.float32), full_matrices=False)
    values = torch.logspace(0, torch.tensor(smallest).log10().item(), min(shape))
    return u @ torch.diag(values) @ v


@pytest.mark.parametrize("shape", [(64, 64), (65, 131), (131, 65)])
@pytest.mark.parametrize("smallest", [0.5, 1e-2, 1e-3])
def test_stacked_muon_steps_as_torch_does(shape: tuple[int, int], smallest: float) -> None:
    """Three steps of a stack of two; on the CPUs tried the weights were equal to the bit."""
    ours, theirs = ([nn.Parameter(torch.zeros(shape)) for _ in range(2)] for _ in range(2))
    stacked = StackedMuon(ours, lr=0.1)
    single = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0)
    for turn in range(3):
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            a.grad = spectrum(shape, smallest).roll(turn + 3 * number, 0)
            b.grad = a.grad.clone()
        stacked.step()
        single.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


def test_orthogonalised_brings_singular_values_near_one_and_leaves_zero() -> None:
    stack = torch.stack([spectrum((64, 40), 0.1), torch.zeros(64, 40)])
    ours = orthogonalised(stack).float()
    values = torch.linalg.svdvals(ours[0])
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert bool((ours[1] == 0).all()), "no gradient, no step"


def test_muon_steps_by_momentum_and_shape_and_leaves_matrices_without_gradient() -> None:
    tall, square, idle = (nn.Parameter(torch.zeros(s)) for s in ((32, 8), (8, 8), (8, 8)))
    optimiser = StackedMuon([tall, square, idle], lr=0.1)
    first = {p: draws(*p.shape, dtype=torch.float32) for p in (tall, square)}
    for p, gradient in first.items():
        p.grad = gradient
    optimiser.step()
    for p in first:
        expected = -0.1 * max(1, p.shape[0] / p.shape[1]) ** 0.5
        step = expected * orthogonalised(p.grad[None])[0].float()  # type: ignore[index]
        torch.testing.assert_close(p.detach(), step, rtol=0, atol=0.005)
        torch.testing.assert_close(optimiser.state[p]["momentum_buffer"], (1 - MOMENTUM) * first[p])
    assert bool((idle == 0).all())
    assert idle not in optimiser.state


def test_weight_average_is_the_mean_it_says() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.zero_()
    average, expected = WeightAverage(layer), 0.0
    for step in range(1, 5):
        layer.weight.data.fill_(float(step))
        average.update()
        decay = min(DECAY, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    resumed = WeightAverage(layer)
    resumed.load_state_dict({k: v.clone() for k, v in average.state_dict().items()})
    for each in (average, resumed):
        layer.weight.data.fill_(9.0)
        each.update()
        each.copy_to_network()
        decay = 6 / 15
        assert layer.weight.item() == pytest.approx(decay * expected + (1 - decay) * 9)
    average.restart()
    assert average.steps == 0
    layer.weight.data.zero_()
    average.copy_to_network()
    assert layer.weight.item() == pytest.approx(decay * expected + (1 - decay) * 9)


def test_weight_average_forgets_at_a_limit() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.zero_()
    average = WeightAverage(layer)
    average.steps = 100_000
    layer.weight.data.fill_(1.0)
    average.update()
    average.copy_to_network()
    assert layer.weight.item() == pytest.approx(1 - DECAY)
