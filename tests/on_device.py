"""Training and attacks on the simulated device: on it alone, and without waiting for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from posebench.attacks import ATTACKS, make_attack
from posebench.benchmark.data.body import Body, load_body
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.harness import Execution as Where
from posebench.benchmark.evaluation.harness import evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.training import streams
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.loop import begin, initial_network, train
from posebench.benchmark.training.optimisers import set_rates
from posebench.benchmark.training.pairs import training_pairs
from posebench.benchmark.training.recipe import Recipe, adversarial_part
from posebench.benchmark.training.state import HowToTrain
from posebench.benchmark.training.step import training_step
from posebench.defenses import DEFENSES
from posebench.interfaces import Budget
from posebench.rng import generator_for
from tests.simulated_device import NAME, DeviceError, Simulation, simulated
from tests.tiny_training import same_weights, tiny
from tests.toys import made_defense

pytestmark = pytest.mark.usefixtures("one_thread")

VICTIMS = ("npt", "npt-mp", "gct", "gct-mp", "posemae", "corenet", "ffptnet")
"""MAPConNet is 3D-CoreNet's code, and deformation transfer has no training."""

KINDS: dict[str, dict[str, object]] = {
    "clean": {},
    "clean, surface points": {"surface": 0.5},
    "fgm": {"adversarial": Adversarial("fgm", after=0.0)},
    "fgm, SOR": {"adversarial": Adversarial("fgm", after=0.0, sor=True, clean_share=0.0)},
    "noise": {"adversarial": Adversarial("noise", after=0.0)},
    "pgd": {"adversarial": Adversarial("pgd", iterations=2, after=0.0, random_start=0.5)},
    "threat, fresh poses": {
        "adversarial": adversarial_part("npt", threat="point-5cm", after=0.0),
        "fresh_poses": 0.5,
    },
    "threat, mixed": {
        "adversarial": adversarial_part(
            "npt", threat="point-5cm", attack="pgd", clean_share=0.25, after=0.0, mixed=True
        )
    },
    "threat, vertex-adam, TRADES": {
        "adversarial": adversarial_part(
            "npt", threat="point-2cm", attack="vertex-adam", after=0.0, consistency=6.0
        )
    },
}

KERNELS = {
    "npt": 590,
    "npt-mp": 600,
    "gct": 890,
    "gct-mp": 710,
    "posemae": 830,
    "corenet": 2345,
    "ffptnet": 945,
}
"""Most kernels in a clean step: 5 % above what was counted. Lower them when steps get leaner."""

ATTACKED = {
    "fgm": 1.6,
    "fgm, SOR": 1.6,
    "pgd": 2.75,
    "threat, fresh poses": 3.2,
    "threat, mixed": 9.0,
    "threat, vertex-adam, TRADES": 4.0,
}
"""The most that a step of the kind may launch, in clean steps."""

DRAWS = 90
"""Kernels for surface points, SOR or noise on top."""


@pytest.fixture
def device() -> Iterator[Simulation]:
    with simulated() as simulation:
        yield simulation


@pytest.fixture
def few_meshes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four in the place of 6,400."""

    def made(body: Body) -> Tensor:
        return torch.stack([body.rest[:2], 1.1 * body.rest[:2]], dim=1)

    monkeypatch.setattr(streams, "training_meshes", made)


# ---- the simulation itself


def test_meetings_of_two_devices_raise_and_numbers_may_meet(device: Simulation) -> None:
    here, there = torch.ones(3), torch.ones(3, device=NAME)
    for meeting in (
        lambda: here + there,
        lambda: torch.cat([there, here]),
        lambda: here[there.long()],
        lambda: torch.rand(3, device=NAME, generator=torch.Generator()),
        lambda: torch.rand(3, generator=torch.Generator(device=NAME)),
        lambda: there.numpy(),
    ):
        with pytest.raises((DeviceError, TypeError)):
            meeting()
    assert (there + torch.tensor(2.0)).cpu().tolist() == [3, 3, 3]
    assert there.device == torch.device(NAME, 0)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: float(x.sum()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: torch.zeros(3).copy_(x),
        lambda x: x.copy_(torch.zeros(3)),
        lambda x: torch.zeros(3).to(NAME),
        lambda x: torch.tensor([1.0, 2.0], device=NAME),
        lambda x: x[torch.tensor([0, 1])],
    ],
)
def test_whatever_waits_is_counted(wait: object, device: Simulation) -> None:
    values = torch.ones(3, device=NAME)
    device.reset()
    (values + 1).sum()
    torch.zeros(3).to(NAME, non_blocking=True)
    assert (device.waits, device.uploads, device.kernels) == (0, 1, 3)
    wait(values)  # type: ignore[operator]
    assert device.waits >= 1


def test_gradients_are_the_cpus(device: Simulation) -> None:
    weight = torch.linspace(-1, 1, 12).reshape(3, 4)
    grads = []
    for place in ("cpu", NAME):
        leaf = weight.to(place).requires_grad_(True)
        loss = torch.relu(torch.ones(2, 3, device=place) @ leaf).square().sum()
        (grad,) = torch.autograd.grad(loss, leaf)
        grads.append(grad.cpu())
    assert torch.equal(*grads)


# ---- training


@pytest.mark.parametrize(
    ("victim", "kind"),
    [
        ("npt", "pgd"),
        ("npt-mp", "clean, surface points"),
        ("gct", "clean"),
        ("gct-mp", "noise"),
        ("posemae", "fgm, SOR"),
        ("corenet", "fgm"),
        ("ffptnet", "pgd"),
    ],
)
def test_every_victim_trains_on_the_device_alone(
    victim: str, kind: str, device: Simulation, few_meshes: None, tmp_path: Path
) -> None:
    """With reports, looks and checkpoints; single steps of all kinds stand below."""
    reports: list[object] = []
    recipe = tiny(victim, steps=2, **KINDS[kind])
    trained = train(recipe, tmp_path, how=HowToTrain(NAME), report=reports.append)
    assert len(reports) == 2
    assert all(p.device.type == NAME for p in trained.network.parameters())
    assert all(bool(p.isfinite().all()) for p in trained.network.parameters())


def test_the_device_trains_what_the_cpu_trains(
    device: Simulation, few_meshes: None, tmp_path: Path
) -> None:
    """In float32 and clean, so that all arithmetic is the same; both draw on the CPU here."""
    recipe = tiny("npt", bf16=False)
    curves = [train(recipe, tmp_path / d, how=HowToTrain(d)).curve for d in ("cpu", NAME)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize(("first", "second"), [("cpu", NAME), (NAME, "cpu")])
def test_a_run_goes_on_on_another_kind_of_device(
    first: str, second: str, device: Simulation, few_meshes: None, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(progress: object) -> None:
        if progress.step == 3:  # type: ignore[attr-defined]
            raise Stop

    recipe = tiny("npt", steps=4)
    networks = []
    for name in ("a", "b"):
        with pytest.raises(Stop):
            train(
                recipe, tmp_path / name, how=HowToTrain(first), report=stop, checkpoint_seconds=0.0
            )
        trained = train(recipe, tmp_path / name, how=HowToTrain(second))
        assert [step for step, _ in trained.curve] == [1, 2, 3, 4]
        networks.append(trained.network)
    assert same_weights(*networks), "the fresh stream follows from seed and step"
    whole = train(recipe, tmp_path / "whole", how=HowToTrain(first))
    assert whole.curve[:2] == trained.curve[:2]
    assert whole.curve[2:] != trained.curve[2:]


def counted_step(recipe: Recipe, device: Simulation) -> None:
    """The second step of a run, counted alone."""
    state = begin(recipe, None, HowToTrain(NAME))
    body = load_body(800, device=NAME)
    meshes = torch.stack([body.rest[:2], 1.1 * body.rest[:2]], dim=1)
    pairs = training_pairs(recipe, meshes, body, state.generator)
    for step in range(2):
        device.reset()
        set_rates(state.optimisers, recipe, step)
        state.sums += training_step(
            state.network, state.optimisers, recipe, step, next(pairs), state.generator
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_training_step_never_waits_and_launches_no_more_than_it_did(
    victim: str, kind: str, device: Simulation
) -> None:
    counted_step(tiny(victim, batch=8, **KINDS[kind]), device)
    assert device.waits == 0, device.where
    draws = kind in ("noise", "pgd")  # each sample's own, made on the CPU
    assert device.uploads == draws, device.where
    assert device.kernels <= KERNELS[victim] * ATTACKED.get(kind, 1.0) + DRAWS


# ---- attacks and defences


@pytest.mark.parametrize("name", ["fgm", "ifgm", "mifgm", "pgd", "apgd", "vertex-adam", "cw"])
def test_an_iteration_of_a_gradient_attack_never_waits(name: str, device: Simulation) -> None:
    """Twice as many iterations wait no more often; what begins and ends the attack may."""
    network = initial_network(tiny("npt")).eval().to(NAME)
    batch = load_task("anny/seen", samples=2, vertices=800).batch(torch.arange(2)).to(NAME)
    waits = []
    for iterations in (2, 4):
        attack = make_attack(name, Budget(0.05), None if name == "fgm" else iterations)
        device.reset()
        attack(network, batch, generator=generator_for(0, "attack", device=NAME))
        waits.append((device.waits, device.uploads))
    assert waits[0] == waits[1], device.where
    if name in ("fgm", "ifgm", "mifgm"):
        assert waits[0] == (0, 0), device.where


COMPOSED = ("transfer", "universal", "pt-ensemble")
"""Attacks of attacks that are here anyway, on a surrogate, on other pairs, or several of them."""


@pytest.mark.parametrize(
    ("attack", "defense"),
    [
        *((name, None) for name in [None, *ATTACKS] if name not in COMPOSED),
        *(("fgm", name) for name in DEFENSES),
    ],
)
def test_every_attack_and_defence_runs_on_the_device_alone(
    attack: str | None, defense: str | None, device: Simulation
) -> None:
    network = initial_network(tiny("npt-mp")).eval().to(NAME)
    made = None
    if attack is not None:
        norm = attack if attack in ("drop", "add", "sparse") else "l2"
        made = make_attack(attack, Budget(0.05, norm))  # type: ignore[arg-type]
        for setting in ("iterations", "queries", "restarts", "looks"):
            if hasattr(made, setting):
                made = replace(made, **{setting: 2})  # type: ignore[type-var]
    guard = None
    if defense is not None:
        guard = made_defense(defense, votes=2, draws=2, groups=2, steps=2)
    given = Evaluation(
        network,
        (made,),
        guard,
        task="anny/seen",
        samples=1,
        vertices=800,
    )
    (record,) = evaluate_all(given, Where(device=NAME))
    assert len(record.metrics.pmd.per_sample) == 1
