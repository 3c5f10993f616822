"""Training: resuming to the bit, refusing what does not fit, and learning at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.metrics import pmd
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.checkpoint import NAME
from posebench.benchmark.training.loop import Progress, initial_network, train
from posebench.benchmark.training.optimisers import make_optimisers, set_rates
from posebench.benchmark.training.recipe import Recipe
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, VictimSpec
from posebench.victims import VICTIMS, PoseMAE, PoseTransferNetwork
from tests.tiny_training import same_weights, tiny


class Killed(Exception):
    """Raised from the report callback, in place of a kill."""


pytestmark = pytest.mark.usefixtures("one_thread", "meshes_made_once")


@pytest.mark.parametrize(
    ("victim", "adversarial"),
    [
        ("npt", None),
        ("gct-mp", None),  # has parameters without gradient
        ("posemae", Adversarial(sor=True, random_start=0.5, after=0.5)),  # draws masks
        ("npt", Adversarial("noise", after=0.5)),
    ],
)
def test_interrupted_run_resumes_to_the_bit(
    victim: str, adversarial: Adversarial | None, tmp_path: Path
) -> None:
    recipe = tiny(victim, adversarial=adversarial)
    whole = train(recipe, tmp_path / "whole")
    network, curve = whole.network, whole.curve
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]

    def kill(progress: Progress) -> None:
        if progress.step in stops:
            stops.remove(progress.step)
            raise Killed

    # Reports come before checkpoints, so the last checkpoint is one step older than the kill.
    stops, seen = [2, 5], []
    for stop in (2, 5):
        with pytest.raises(Killed):
            train(recipe, tmp_path / "parts", report=kill, checkpoint_seconds=0.0)
        header = json.loads(_metadata(tmp_path / "parts" / NAME)["checkpoint"])
        seen.append(header["step"])
        assert header["step"] == stop - 1
    resumed = train(recipe, tmp_path / "parts")
    assert resumed.curve == curve
    assert same_weights(resumed.network, network)
    assert not same_weights(network, initial_network(recipe))
    again = train(recipe, tmp_path / "parts")
    assert again.curve == curve, "a finished run has nothing to do"
    assert same_weights(again.network, network)
    assert [p.name for p in (tmp_path / "parts").iterdir()] == [NAME]


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"steps": 7}, "steps: 6 there, 7 here"),
        ({"victim": "npt-mp"}, "victim: 'npt' there, 'npt-mp' here"),
    ],
)
def test_checkpoint_of_another_run_is_refused_and_kept(
    changes: dict[str, Any], part: str, tmp_path: Path, finished: Path
) -> None:
    (tmp_path / NAME).write_bytes(finished.read_bytes())
    with pytest.raises(InputError, match=part):
        train(tiny("npt", **changes), tmp_path)
    assert (tmp_path / NAME).read_bytes() == finished.read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a finished run of tiny("npt")."""
    folder = tmp_path_factory.mktemp("finished")
    train(tiny("npt"), folder)
    return folder / NAME


@pytest.mark.parametrize(
    "damage",
    ["empty", "cut", "no header", "header list", "header short", "tensors gone", "slots gone"],
)
def test_damaged_checkpoint_is_refused_and_kept(
    damage: str, tmp_path: Path, finished: Path
) -> None:
    raw, tensors, header = finished.read_bytes(), load_file(finished), _metadata(finished)
    card = json.loads(header["checkpoint"])
    weights = {k: v for k, v in tensors.items() if not k.startswith("optimiser.")}
    half = {k: v for k, v in tensors.items() if "stages" not in k}
    broken = {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "no header": save(tensors),
        "header list": save(tensors, metadata={"checkpoint": "[1]"}),
        "header short": save(
            tensors, metadata={"checkpoint": json.dumps({"recipe": card["recipe"], "step": 1})}
        ),
        "tensors gone": save(half, metadata=header),
        "slots gone": save(weights, metadata=header),
    }[damage]
    (tmp_path / NAME).write_bytes(broken)
    with pytest.raises(InputError, match=NAME):
        train(tiny("npt"), tmp_path)
    assert (tmp_path / NAME).read_bytes() == broken


def test_loss_that_explodes_is_an_error_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    recipe = tiny("npt", matrix_rate=1e30, rate=1e30, warmup=0)
    with pytest.raises(InputError, match="training loss became"):
        train(recipe, tmp_path, checkpoint_seconds=0.0)
    tensors = load_file(tmp_path / NAME)
    assert float(json.loads(_metadata(tmp_path / NAME)["checkpoint"])["curve"][-1][1]) > 0
    assert any(k.startswith("weights.") for k in tensors)


@pytest.mark.parametrize("victim", ["npt", "posemae"])
def test_loss_goes_down(victim: str, tmp_path: Path) -> None:
    trained = train(tiny(victim, steps=60, batch=4, warmup=5), tmp_path)
    losses = [loss for _, loss in trained.curve]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_seed_decides_the_weights(tmp_path: Path) -> None:
    networks = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        networks[name] = train(tiny("npt", steps=2, seed=seed), tmp_path / name).network
    assert same_weights(networks["a"], networks["b"])
    assert not same_weights(networks["a"], networks["c"])


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train(tiny("npt", steps=1), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": "tinny"},
        {"victim": "nptt"},
        {"steps": 0},
        {"batch": -1},
        {"points": 1, "pose_points": 1},
        {"points": 801, "pose_points": 801},
        {"pose_points": 65},
        {"rate": float("nan")},
        {"matrix_rate": 0.0},
        {"rate": float("inf")},
        {"rate": -0.1},
        {"warmup": -1},
        {"pose_points": None},
    ],
)
def test_recipe_refuses_bad_values(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        tiny("npt", **changes)


def test_posemae_can_overfit_eight_pairs() -> None:
    """PMD below 1e-4 square metres (1 cm RMS) on 8 pairs: 64 fixed vertices of 800-vertex meshes.

    Width 64, one scale, nothing masked, so that train and eval mode see the same points; float32;
    the project's optimisers and rate schedule. PMD is taken in eval mode on the training pairs.
    """
    recipe = Recipe(
        "posemae", size="tiny", steps=450, points=64, pose_points=64, warmup=20,
        matrix_rate=0.02, rate=0.003, bf16=False,
    )  # fmt: skip
    whole = load_task("anny/seen", samples=8, vertices=800).batch(torch.arange(8))
    pose, identity, target = (
        Clouds.dense(cloud.points[:, :64]) for cloud in (whole.pose, whole.identity, whole.target)
    )
    batch = Batch(pose, identity, target, whole.faces, whole.sample_ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # noqa: TID251
        network = PoseMAE(64, scales=1, mask_ratio=0.0).train()
    optimisers = make_optimisers(network, recipe)
    for step in range(recipe.steps):
        set_rates(optimisers, recipe, step)
        output = network(pose, identity).points
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward((output - target.points).square().mean())
        for optimiser in optimisers:
            optimiser.step()
    with torch.no_grad():
        reached = pmd(network.eval()(pose, identity), batch)
    trivial = pmd(identity, batch)
    assert float(trivial.mean()) > 1e-2
    assert float(reached.mean()) < 1e-4


class Shift(PoseTransferNetwork):
    """The pose, moved by three learnt numbers: nothing for Muon to step."""

    spec = VictimSpec("shift", "Shift", "nowhere", False, "equal", False)

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.by = torch.nn.Parameter(torch.ones(3))

    def transfer(self, pose: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return pose + self.by


def test_without_muon_adam_steps_every_parameter_at_its_rate(tmp_path: Path) -> None:
    recipe = tiny("npt", muon=False, rate=0.004, warmup=0)
    network = initial_network(recipe)
    (adam,) = make_optimisers(network, recipe)
    assert isinstance(adam, torch.optim.Adam)
    held = {id(each) for group in adam.param_groups for each in group["params"]}
    assert held == {id(each) for each in network.parameters()}
    set_rates([adam], recipe, 0)
    assert adam.param_groups[0]["lr"] == 0.004
    told: list[Progress] = []
    train(recipe, tmp_path, report=told.append)
    times = [each.cpu_seconds for each in told]
    assert times == sorted(times)
    assert times[-1] > 0


def test_a_network_without_matrices_trains_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VICTIMS._entries, "shift", Shift)
    recipe = tiny("shift", rate=0.05)
    whole = train(recipe, tmp_path / "whole")
    assert whole.curve[-1][1] < 0.9 * whole.curve[0][1]

    def kill(progress: Progress) -> None:
        if progress.step == 4:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, tmp_path / "parts", report=kill, checkpoint_seconds=0.0)
    assert same_weights(train(recipe, tmp_path / "parts").network, whole.network)
