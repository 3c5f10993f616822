"""Victims: parity with the reference networks, parameter counts, symmetries, capacity."""

from __future__ import annotations

from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.rng import generator_for
from posebench.victims import (
    NPT,
    VICTIMS,
    EqualPoints,
    PoseMAE,
    PoseTransferNetwork,
    import_released,
)
from posebench.victims.blocks import instance_norm, point_weights
from tests.parity_rule import reference, released_state
from tests.toys import NETWORKS, small

REFERENCES = {"npt": "npt_w32", "npt-mp": "nptmp_w32", "gct": "cgp_w32", "gct-mp": "mpcgp_w32"}
CARRIERS = ("corenet", "mapconnet")
"""Victims that carry the pose's points over, so that its place and size reach the output."""
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def random_clouds(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Clouds:
    points = torch.randn(*shape, 3, generator=generator_for(seed, "points"), dtype=dtype)
    return Clouds.dense(0.3 * points)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", REFERENCES)
def test_parity_with_released_network(name: str, dtype: torch.dtype) -> None:
    data = reference(REFERENCES[name])
    suffix = "f64" if dtype == torch.float64 else "f32"
    network = import_released(name, {k: v.to(dtype) for k, v in released_state(data).items()})
    pose = torch.from_numpy(data["pose"]).to(dtype).transpose(1, 2).contiguous()
    pose.requires_grad_(True)
    identity = torch.from_numpy(data["identity"]).to(dtype).transpose(1, 2).contiguous()
    identity.requires_grad_(True)
    output = network(Clouds.dense(pose), Clouds.dense(identity)).points
    loss = (output - torch.from_numpy(data["gt"]).to(dtype)).square().mean()
    torch.autograd.backward(loss)
    tolerance = TOLERANCE[dtype]

    def close(value: Tensor | None, key: str) -> None:
        assert value is not None
        np.testing.assert_allclose(value.detach().numpy(), data[key], rtol=0, atol=tolerance)

    close(output, f"out_{suffix}")
    close(pose.grad.transpose(1, 2), f"dmse_dpose_{suffix}")  # type: ignore[union-attr]
    close(identity.grad.transpose(1, 2), "dmse_didentity_f64")  # type: ignore[union-attr]
    assert float(loss.detach()) == pytest.approx(float(data[f"mse_{suffix}"]), abs=tolerance)


@pytest.mark.parametrize("name", REFERENCES)
def test_parameter_gradients_match(name: str) -> None:
    data = reference(REFERENCES[name])
    state = {k: v.double() for k, v in released_state(data).items()}
    network = import_released(name, state)
    pose, identity = (
        Clouds.dense(torch.from_numpy(data[k]).double().transpose(1, 2))
        for k in ("pose", "identity")
    )
    output = network(pose, identity).points
    torch.autograd.backward((output - torch.from_numpy(data["gt"])).square().mean())
    total = sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None)
    # The stored norms are of gradients that two backward passes had accumulated, at
    # least one of them in float32: twice ours, to 1e-7.
    assert 4 * total == pytest.approx(float((data["param_grad_norms_f64"] ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("npt", 6_054_941), ("npt-mp", 6_054_941), ("gct", 12_009_351), ("posemae", 10_158_470)],
)
def test_parameter_counts_at_published_width(name: str, parameters: int) -> None:
    network = VICTIMS[name]()
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("attention", ["channel", "spatial"])
def test_posemae_ablations_have_equal_parameters(attention: str) -> None:
    network = PoseMAE(64, scales=1, mask_ratio=0.0, attention=attention)  # type: ignore[arg-type]
    expected = sum(p.numel() for p in PoseMAE(64).parameters())
    assert sum(p.numel() for p in network.parameters()) == expected


def test_posemae_channel_attention_against_plain_formula() -> None:
    """Eq. 1 and 2 written out with the code tiled over all points, logits averaged."""
    network = small("posemae")
    attend = network.get_submodule("attentions.0")
    code, identity = torch.randn(2, 1, 16).double(), torch.randn(2, 9, 16).double()
    tiled = code.expand(-1, 9, -1)
    q, k, v = (
        getattr(attend, n)(x) for n, x in (("query", tiled), ("key", identity), ("value", tiled))
    )
    a = torch.softmax(torch.einsum("bnc,bnd->bcd", q, k) / 9, dim=-1)
    expected = tiled + attend.gamma * torch.einsum("bcd,bnd->bnc", a, v)
    torch.testing.assert_close(attend(code, identity).expand(-1, 9, -1), expected)


@pytest.mark.parametrize("name", [n for n in NETWORKS if VICTIMS[n].spec.order == "free"])
def test_order_of_both_clouds_together_does_not_matter(name: str) -> None:
    network = small(name)
    pose = random_clouds(2, 40, dtype=torch.float64)
    identity = random_clouds(2, 40, seed=1, dtype=torch.float64)
    order = torch.randperm(40, generator=generator_for(0))
    shuffled = network(
        pose.replace(pose.points[:, order]), identity.replace(identity.points[:, order])
    )
    torch.testing.assert_close(shuffled.points, network(pose, identity).points[:, order])


@pytest.mark.parametrize("name", ["npt-mp", "gct-mp", "posemae"])
def test_pooled_victims_ignore_pose_order_and_padding(name: str) -> None:
    network = small(name)
    pose = random_clouds(2, 40, dtype=torch.float64)
    identity = random_clouds(2, 30, seed=1, dtype=torch.float64)
    plain = network(pose, identity).points
    order = torch.randperm(40, generator=generator_for(0))
    torch.testing.assert_close(network(pose.replace(pose.points[:, order]), identity).points, plain)
    padded = torch.cat([pose.points, torch.zeros(2, 7, 3).double()], dim=1)
    mask = torch.cat([pose.mask, torch.zeros(2, 7, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(network(Clouds.padded(padded, mask), identity).points, plain)


@pytest.mark.parametrize("name", ["npt-mp", "gct-mp", "posemae"])
def test_padded_identity_equals_unpadded(name: str) -> None:
    network = small(name)
    pose = random_clouds(2, 40, dtype=torch.float64)
    identity = random_clouds(2, 30, seed=1, dtype=torch.float64)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 21:] = False
    cut = network(pose, Clouds.padded(identity.points, mask)).points
    short = network(pose.select(slice(1, 2)), Clouds.dense(identity.points[1:, :21])).points
    torch.testing.assert_close(cut[1:, :21], short)
    assert bool((cut[1, 21:] == 0).all())


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in CARRIERS])
def test_pose_translation_and_scale_are_invisible(name: str) -> None:
    """Instance norm after the first layer removes both, so attacks cannot use them either."""
    network = small(name)
    pose = random_clouds(1, 64, dtype=torch.float64)
    identity = random_clouds(1, 64, seed=1, dtype=torch.float64)
    plain = network(pose, identity).points
    torch.testing.assert_close(network(pose.replace(pose.points + 1), identity).points, plain)
    scaled = network(pose.replace(2 * pose.points), identity).points
    assert (scaled - plain).norm() < 0.02 * plain.norm(), "only the norm's epsilon may show"
    other = network(random_clouds(1, 64, seed=5, dtype=torch.float64), identity).points
    assert (other - plain).abs().max() > 1e-3, "the pose must matter at all"


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_composition_does_not_matter(name: str) -> None:
    network = small(name)
    pose = random_clouds(3, 40, dtype=torch.float64)
    identity = random_clouds(3, 40, seed=1, dtype=torch.float64)
    alone = network(pose.select(slice(1, 2)), identity.select(slice(1, 2))).points
    torch.testing.assert_close(network(pose, identity).points[1:2], alone)


def test_equal_points_repeats_evenly_and_keeps_full_clouds() -> None:
    network = small("npt")
    pose = random_clouds(2, 40, dtype=torch.float64)
    identity = random_clouds(2, 40, seed=1, dtype=torch.float64)
    wrapped = EqualPoints(network)
    torch.testing.assert_close(wrapped(pose, identity).points, network(pose, identity).points)
    mask = pose.mask.clone()
    mask[:, 20:] = False
    doubled = pose.points[:, :20].repeat_interleave(2, dim=1)
    expected = network(Clouds.dense(doubled), identity).points
    torch.testing.assert_close(wrapped(Clouds.padded(pose.points, mask), identity).points, expected)


@pytest.mark.parametrize("name", ["npt", "gct"])
def test_index_pairing_victims_say_how_to_take_other_counts(name: str) -> None:
    with pytest.raises(InputError, match="EqualPoints"):
        small(name)(
            random_clouds(1, 30, dtype=torch.float64), random_clouds(1, 40, dtype=torch.float64)
        )


@pytest.mark.parametrize(
    "settings", [{"scales": 0}, {"mask_ratio": 1.0}, {"attention": "global"}, {"logits": "max"}]
)
def test_posemae_refuses_unknown_settings(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would complain first
    with pytest.raises(InputError, match=next(iter(settings))):
        PoseMAE(16, **settings)  # type: ignore[arg-type]


def test_posemae_masks_only_in_train_mode_and_by_generator() -> None:
    network = small("posemae").train()
    pose = random_clouds(1, 64, dtype=torch.float64)
    first, again, other = (
        network(pose, pose, generator=generator_for(seed)).points for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    network.eval()
    assert torch.equal(network(pose, pose).points, network(pose, pose).points)


@pytest.mark.parametrize("padded", [False, True])
def test_second_derivatives_of_the_norm_are_right(padded: bool) -> None:
    mask = torch.arange(7) < torch.tensor([7, 5])[:, None]
    weights = point_weights(mask, torch.float64) if padded else None
    x = torch.randn(2, 7, 3, generator=generator_for(0)).double().requires_grad_(True)
    assert torch.autograd.gradgradcheck(lambda each: instance_norm(each, weights), x)


@pytest.mark.parametrize("name", NETWORKS)
def test_second_derivatives_of_victims_are_right(name: str) -> None:
    """Along a line, against central differences of the gradient; attacks of others may use them."""
    network = small(name, spread=0.2).requires_grad_(False)
    pose = random_clouds(1, 24, dtype=torch.float64)
    identity = random_clouds(1, 24, seed=1, dtype=torch.float64)
    direction = random_clouds(1, 24, seed=2, dtype=torch.float64).points

    def slope(points: Tensor, graph: bool = False) -> Tensor:
        points = points.detach().requires_grad_(True)
        value = network(pose.replace(points), identity).points.square().sum()
        (found,) = torch.autograd.grad(value, points, create_graph=graph)
        if not graph:
            return found
        (found,) = torch.autograd.grad((found * direction).sum(), points)
        return found

    step = 1e-5
    ends = [slope(pose.points + sign * step * direction) for sign in (1, -1)]
    measured = (ends[0] - ends[1]) / (2 * step)
    with sdpa_kernel(SDPBackend.MATH):  # other kernels of attention refuse second derivatives
        found = slope(pose.points, graph=True)
    assert float((found - measured).norm() / measured.norm()) < 1e-4


def test_networks_without_masks_or_generator_need_not_name_them() -> None:
    class Plain(PoseTransferNetwork):
        spec = replace(NPT.spec, name="plain", point_counts="free")

        def transfer(self, pose: Tensor, identity: Tensor) -> Tensor:
            return identity + pose.mean(dim=1, keepdim=True)

    class Promises(Plain):
        spec = replace(Plain.spec, name="promises", masks=True)

    network, cloud = Plain(8), random_clouds(1, 9)
    expected = cloud.points + cloud.points.mean(dim=1, keepdim=True)
    assert torch.equal(network(cloud, cloud, generator=generator_for(0)).points, expected)
    found = network.transferred(cloud.points, cloud.points, generator=generator_for(0))
    assert torch.equal(found, expected)
    with pytest.raises(InputError, match=r"promises.*has no pose_mask"):
        Promises(8)
    with pytest.raises(TypeError, match="does not define transfer"):
        type("Empty", (PoseTransferNetwork,), {"spec": Plain.spec})(8).transfer()
