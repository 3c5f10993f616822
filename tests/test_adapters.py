"""Attacks of torchattacks, Foolbox and ART: the same numbers as ours, no side effects, misuse."""

from __future__ import annotations

import itertools
import math
import random
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

import posebench
from posebench.attacks import CW, EOT, FGM, PGD, attack_name, make_attack, run_attack
from posebench.attacks.adapters import (
    ARTAttack,
    FoolboxAttack,
    ForeignAttack,
    TorchattacksAttack,
    as_classifier,
)
from posebench.attacks.counting import counting
from posebench.attacks.minimum import minimum_eps
from posebench.benchmark.audit.rebuild import rebuild_attack
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.evaluation.metrics import perturbation_norms
from posebench.benchmark.reports.peers import PEERS
from posebench.benchmark.runs.grid_file import read_grids
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.interfaces import Batch, Budget, Victim
from posebench.objective import aligned, pmd
from posebench.rng import generator_for
from posebench.threats import THREATS
from tests.toys import Counting, Toy, random_batch, random_points, small

pytestmark = [
    # Foolbox 3.3.4 imports gaussian_filter from where scipy 2 will not have it any more.
    pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning"),
    # ART 1.20.1 hands tensors to numpy.array, where PyTorch lacks numpy 2's keyword copy.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning:art"),
    pytest.mark.usefixtures("one_thread"),
]

Make = type[ForeignAttack]
L2_PGD: list[tuple[Make, str, dict[str, Any]]] = [
    (TorchattacksAttack, "PGDL2", {"steps": 20, "random_start": False}),
    (FoolboxAttack, "L2PGD", {"steps": 20, "rel_stepsize": 0.125, "random_start": False}),
    (ARTAttack, "ProjectedGradientDescent", {"max_iter": 20, "num_random_init": 0}),
]
RANDOM: list[tuple[Make, str, dict[str, Any]]] = [
    (TorchattacksAttack, "PGDL2", {"steps": 3}),
    (FoolboxAttack, "L2PGD", {"steps": 3}),
    (ARTAttack, "ProjectedGradientDescent", {"max_iter": 3, "num_random_init": 2}),
]


def needed(make: Make, *settings: Any, **others: Any) -> ForeignAttack:
    """The attack, or a skipped test where its library, an optional extra, is not installed."""
    pytest.importorskip(make.package, reason=f"needs {make.package}, an optional extra")
    return make(*settings, **others)


def curved(dtype: torch.dtype = torch.float64) -> tuple[Victim, Batch]:
    """tanh of a linear map of the pose, with two samples that start at a PMD of about 5e-4."""
    matrix = torch.randn(60, 60, generator=generator_for(3)).to(dtype) / 8

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        moved = torch.tanh(pose.points.flatten(1) @ matrix).unflatten(1, (-1, 3))
        return identity.replace(identity.points + moved)

    batch = random_batch((20, 20), dtype=dtype)
    output = answer(batch.pose, batch.identity)
    noise = 0.02 / 0.3 * random_points(2, 20, seed=9, dtype=dtype)
    return Toy(answer), replace(batch, target=output.replace(output.points + noise))


def case(name: str) -> tuple[Victim, Batch]:
    """A victim with two samples; npt-mp's second one is padded."""
    if name == "curved":
        return curved()
    return small(name), random_batch((20, 13) if name == "npt-mp" else (20, 20))


def reached(victim: Victim, batch: Batch, pose: Clouds) -> Tensor:
    return pmd(victim(pose, batch.identity), batch.target).detach()


# ---- the same numbers


@pytest.mark.parametrize("name", ["npt", "npt-mp", "curved"])
@pytest.mark.parametrize(("make", "attack", "settings"), L2_PGD)
def test_l2_pgd_of_four_libraries_agrees(
    make: Make, attack: str, settings: dict[str, Any], name: str
) -> None:
    """Ours keeps its best iterate, theirs return the last: so the last ones are compared."""
    foreign = needed(make, Budget(0.05), attack, settings)
    victim, batch = case(name)
    counting = Counting(victim, [])
    run_attack(PGD(Budget(0.05), start=0.0, objective="pmd"), counting, batch)
    ours = reached(victim, batch, batch.pose.replace(counting.seen[-2]))  # the library's is last
    assert (ours > 1.05 * reached(victim, batch, batch.pose)).all()
    theirs = reached(victim, batch, run_attack(foreign, victim, batch).pose)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    if make is not ARTAttack:  # which computes in float32
        torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("make", "attack", "settings", "norm"),
    [
        (FoolboxAttack, "L2FastGradientAttack", {"random_start": False}, "l2"),
        (ARTAttack, "FastGradientMethod", {}, "l2"),
        (FoolboxAttack, "LinfFastGradientAttack", {"random_start": False}, "linf"),
        (ARTAttack, "FastGradientMethod", {}, "linf"),
        (TorchattacksAttack, "FGSM", {}, "linf"),
    ],
)
def test_fgm_of_four_libraries_agrees(
    make: Make, attack: str, settings: dict[str, Any], norm: Any
) -> None:
    foreign = needed(make, Budget(0.05, norm), attack, settings)
    for name in ("npt-mp", "curved"):
        victim, batch = case(name)
        ours = run_attack(FGM(Budget(0.05, norm), objective="pmd"), victim, batch)
        theirs = run_attack(foreign, victim, batch)
        assert (theirs.forwards, theirs.backwards) == (1, 1)
        expected = reached(victim, batch, ours.pose)
        torch.testing.assert_close(reached(victim, batch, theirs.pose), expected, rtol=0, atol=1e-5)


def test_smallest_steps_agree_with_foolbox() -> None:
    """Three searches with nothing in common but the victim: none is the truth, so 3 %."""
    settings = {"binary_search_steps": 6, "steps": 100, "stepsize": 1e-3}
    foreign = needed(FoolboxAttack, Budget(0.05), "L2CarliniWagnerAttack", settings)
    victim, batch = curved()
    found = foreign(victim, batch).pose
    assert (reached(victim, batch, found) > foreign.tau).all()
    theirs = perturbation_norms(batch.pose, found)["rms"]
    *_, ours = CW(Budget(0.05)).smallest(victim, batch)
    torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0)
    bisected = minimum_eps(
        lambda eps: PGD(Budget(eps), objective="pmd"), victim, batch, largest=0.05
    )
    torch.testing.assert_close(bisected, theirs, rtol=0.03, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("make", "attack", "settings", "norm"),
    [
        (FoolboxAttack, "LinfPGD", {"steps": 5, "rel_stepsize": 0.5}, "linf"),
        (FoolboxAttack, "L2DeepFoolAttack", {}, "l2"),
        (FoolboxAttack, "L2FMNAttack", {"steps": 20}, "l2"),
        (TorchattacksAttack, "APGD", {"steps": 5}, "l2"),
        (TorchattacksAttack, "APGD", {"steps": 5}, "linf"),
        (TorchattacksAttack, "MIFGSM", {"steps": 5}, "linf"),
        (TorchattacksAttack, "SPSA", {"max_batch_size": 16, "nb_sample": 32}, "linf"),
        (TorchattacksAttack, "CW", {"steps": 40, "lr": 1e-3}, "l2"),
        (TorchattacksAttack, "DeepFool", {"steps": 5}, "l2"),
        (ARTAttack, "AutoProjectedGradientDescent", {"max_iter": 5, "nb_random_init": 1}, "l2"),
        (ARTAttack, "DeepFool", {"max_iter": 5}, "l2"),
    ],
)
def test_attacks_of_many_kinds_find_more_pmd_within_the_budget(
    make: Make, attack: str, settings: dict[str, Any], norm: Any, dtype: torch.dtype
) -> None:
    """Also those that call the model with many rows, a part of the batch, or without gradients."""
    budget = Budget(0.01, norm)
    foreign = needed(make, budget, attack, settings)
    victim, batch = curved(dtype)
    counting = Counting(victim, [])
    result = run_attack(foreign, counting, batch, generator=generator_for(0))
    assert (reached(victim, batch, result.pose) > 1.2 * reached(victim, batch, batch.pose)).all()
    lengths = perturbation_norms(batch.pose, result.pose)[norm]
    assert (lengths <= budget.radius(batch.pose.mask) * (1 + 1e-9)).all()
    assert result.pose.points.dtype == dtype
    calls = sum(len(points) for points in counting.seen) - len(batch)  # the library's own look
    assert calls <= 2 * result.forwards <= calls + 1, "the mean, rounded up"


def test_a_decision_attack_needs_no_gradient() -> None:
    foreign = needed(FoolboxAttack, Budget(0.05), "BoundaryAttack", {"steps": 40})
    victim, batch = curved()
    deaf = Toy(lambda pose, identity: victim(pose.detach(), identity).detach())
    found = run_attack(foreign, deaf, batch, generator=generator_for(0))
    assert found.backwards == 0 < found.forwards
    assert (reached(victim, batch, found.pose) > foreign.tau).all()


# ---- the classifier


def test_classifier_is_monotone_in_pmd_and_takes_rows_of_one_sample() -> None:
    victim, both = case("npt-mp")
    batch = both.select(slice(1, 2))  # the padded one
    real = batch.pose.mask[0]
    clean = batch.pose.points[0, real]
    low, high = float(clean.min()) - 1, float(clean.max()) + 1
    points = clean + 0.1 * random_points(7, 13, seed=4)
    many = batch.select(torch.zeros(7, dtype=torch.int64))
    moved = torch.zeros_like(many.pose.points)
    moved[:, real] = points
    values = reached(victim, many, many.pose.replace(moved))
    tau = float(values.sort().values[3:5].mean())
    model = as_classifier(victim, batch, low=low, high=high, tau=tau)
    box = torch.cat([model.scaled(each) for each in points])
    assert box.shape == (7, 3, 13, 1)
    assert 0 <= box.min() <= box.max() <= 1
    torch.testing.assert_close(model.metres(box[:1] - box[1:2]), points[0] - points[1])
    logits = model(box).detach()
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], values / tau - 1)
    assert logits.argmax(dim=1).tolist() == (values > tau).long().tolist()
    loss = nn.functional.cross_entropy(logits, torch.zeros(7).long(), reduction="none")
    assert loss.argsort().tolist() == values.argsort().tolist()
    torch.testing.assert_close(model(box[3:5]).detach(), logits[3:5])


def test_a_stochastic_victim_is_shown_by_its_mean_loss() -> None:
    """The mean of the PMDs, not the PMD of a mean: outputs that are off by turns do not cancel."""
    _, batch = curved()
    batch = batch.select(slice(0, 1))
    sizes = itertools.cycle([0.1, -0.2])

    def answer(pose: Clouds, identity: Clouds) -> Clouds:
        shift = torch.zeros_like(batch.target.points)
        shift[:, :10] = next(sizes)
        return batch.target.replace(batch.target.points + shift + 0 * pose.points)

    with counting(EOT(Toy(answer), draws=4)) as (shown, calls):
        model = as_classifier(shown, batch, low=-9.0, high=9.0, tau=1e-3)
    first, second = model(torch.full((1, 3, 20, 1), 0.5)).tolist()[0]
    alone = [reached(Toy(answer), batch, batch.pose).item() for _ in range(2)]
    assert second - first == pytest.approx(sum(alone) / 2 / 1e-3 - 1)
    assert calls.forwards == 4, "a draw is a call"


# ---- side effects


class Network(nn.Module):
    """Dropout and batch norm would show if the mode were wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(3, 3, 1)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, pose: Tensor, identity: Tensor) -> Tensor:
        code = self.drop(self.norm(self.layer(pose))).amax(dim=2, keepdim=True)
        output: Tensor = identity * (1 + code)
        return output


def global_state() -> tuple[bytes, object, object]:
    numpy_state = np.random.get_state()  # noqa: NPY002 what is tested
    return bytes(torch.get_rng_state().tolist()), str(numpy_state), random.getstate()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("make", "attack", "settings"), RANDOM)
def test_victim_and_global_randomness_are_left_alone(
    make: Make,
    attack: str,
    settings: dict[str, Any],
    fails: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # beartype picks the items it checks by Python's global generator.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    foreign = needed(make, Budget(0.05), attack, settings)
    network = Network().double().train()
    network.norm.eval()
    network.layer.weight.requires_grad_(False)
    bias = network.layer.get_parameter("bias")
    bias.grad = torch.ones_like(bias)
    victim = posebench.from_module(network, layout="b3n")
    batch = random_batch((20, 20))
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    before = global_state()
    if fails:
        calls = iter([None, None])
        monkeypatch.setattr(
            network.drop, "forward", lambda x: x if next(calls, 1) is None else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            run_attack(foreign, victim, batch, generator=generator_for(1))
    else:
        run_attack(foreign, victim, batch, generator=generator_for(1))
    assert global_state() == before
    assert network.training
    assert network.drop.training
    assert not network.norm.training
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True]
    assert torch.equal(bias.grad, torch.ones(3).double())
    assert network.norm.weight.grad is None
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("make", "attack", "settings"), RANDOM)
def test_results_depend_on_the_generator_and_the_sample_alone(
    make: Make, attack: str, settings: dict[str, Any]
) -> None:
    foreign = needed(make, Budget(0.05), attack, settings)
    victim, batch = case("npt-mp")

    def run(part: Batch, seed: int) -> Tensor:
        return run_attack(foreign, victim, part, generator=generator_for(seed)).pose.points

    first = run(batch, 1)
    torch.rand(3), np.random.rand(3)  # noqa: NPY002 what must not matter
    assert torch.equal(run(batch, 1), first)
    torch.testing.assert_close(run(batch.select(slice(1, 2)), 1), first[1:], rtol=0, atol=1e-6)
    assert not torch.allclose(run(batch, 2), first, rtol=0, atol=1e-4)
    assert torch.equal(first[1, 13:], batch.pose.points[1, 13:]), "padding stays"


def test_calls_of_the_victim_are_counted() -> None:
    foreign = needed(FoolboxAttack, Budget(0.05), "L2PGD", {"steps": 7})
    victim, batch = curved()
    counting = Counting(victim, [])
    result = run_attack(foreign, counting, batch)
    assert (result.forwards, result.backwards) == (7, 7)
    assert len(counting.seen) == 7 * len(batch) + 1, "the library looks once, at all samples"


def test_no_budget_is_the_clean_pose_without_a_call() -> None:
    victim, batch = curved()
    counting = Counting(victim, [])
    result = run_attack(FoolboxAttack(Budget(0.0), "L2PGD"), counting, batch)
    assert torch.equal(result.pose.points, batch.pose.points)
    assert (result.forwards, result.backwards) == (0, 0)


def test_evaluate_takes_a_foreign_attack_like_any_other() -> None:
    foreign = needed(FoolboxAttack, Budget(0.02), "L2PGD", {"steps": 2, "rel_stepsize": 0.5})
    network = Network().eval()
    victim = posebench.from_module(network, layout="b3n")
    record = evaluate(victim, attack=foreign, samples=2, vertices=800)
    made = record.cell.attack
    assert made is not None
    assert made.name == attack_name(foreign) == "foolbox:L2PGD"
    names = {"FoolboxAttack": FoolboxAttack, "Budget": Budget}
    assert eval(made.settings, names) == foreign, "a repr that rebuilds it"
    assert record.metrics.attack.norms["rms"].max == pytest.approx(0.02, rel=1e-5)
    assert record.metrics.pmd.mean > record.metrics.clean_pmd.mean
    assert record.cost.backwards == 2


def test_the_documented_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """As printed, but for the number of steps."""
    for package in ("foolbox", "torchattacks", "art"):
        pytest.importorskip(package, reason=f"needs {package}, an optional extra")
    text = (Path(__file__).resolve().parent.parent / "docs" / "attacks.md").read_text("utf-8")
    code = text.split("## Other libraries", 1)[1].split("```python", 1)[1].split("```", 1)[0]
    exec(code.replace(": 20", ": 5"), {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in lines] == [
        "foolbox:L2PGD",
        "torchattacks:PGDL2",
        "art:ProjectedGradientDescent",
    ]
    clean = evaluate(posebench.load_victim("npt"), samples=2).metrics.clean_pmd.mean
    assert all(float(value) > 1.5 * clean for _, value in lines)


# ---- threat models


def test_a_cap_a_vertex_holds_while_they_climb() -> None:
    """They know no such cap and step as far as the Linf ball goes; what the victim meets keeps it,
    and so the last pose that it met is the one that the library's own projection leaves."""
    budget = Budget(0.05, "l2_vertex")
    settings = {"steps": 4, "rel_stepsize": 1.0}
    foreign = needed(FoolboxAttack, budget, "LinfPGD", settings)
    for victim, batch in (curved(), case("npt-mp")):
        counting = Counting(victim, [])
        result = run_attack(foreign, counting, batch, generator=generator_for(0))
        clean = batch.pose.points
        for row in range(len(batch)):
            seen = counting.seen[row * 4 : row * 4 + 4]
            reached = torch.cat([(pose - clean[row]).norm(dim=2) for pose in seen])
            assert reached.max() <= 0.05 * (1 + 1e-5)
            assert reached[1:].amax(dim=1).min() >= 0.05 * (1 - 1e-5), "and steps reach it"
        assert perturbation_norms(batch.pose, result.pose)["l2_vertex"].max() <= 0.05
        assert (result.loss > pmd(victim(batch.pose, batch.identity), batch.target)).all()
    with pytest.raises(InputError, match="the budget is in l2_vertex and shown in linf"):
        run_attack(FoolboxAttack(budget, "L2PGD"), *curved())


def test_the_objective_decides_what_the_cross_entropy_grows_with() -> None:
    victim, both = curved()
    batch = both.select(slice(0, 1))
    model = as_classifier(victim, batch, low=-9.0, high=9.0, tau=1e-3, objective="aligned")
    first, second = model(model.scaled(batch.pose.points[0])).tolist()[0]
    expected = aligned(victim(batch.pose, batch.identity), batch.target).item()
    assert second - first == pytest.approx(expected / 1e-3 - 1)
    foreign = needed(FoolboxAttack, Budget(0.05), "L2PGD", {"steps": 3}, objective="aligned")
    result = run_attack(foreign, victim, both, generator=generator_for(0))
    found = aligned(victim(result.pose, both.identity), both.target)
    torch.testing.assert_close(result.loss, found.detach())


def test_a_threshold_of_each_pair_lets_success_seekers_climb() -> None:
    """Every pair is above this tau already, so torchattacks' APGD leaves it; then it climbs."""
    foreign = needed(TorchattacksAttack, Budget(0.05), "APGD", {"steps": 5}, tau=1e-5)
    victim, batch = curved()
    clean = reached(victim, batch, batch.pose)
    left = run_attack(foreign, victim, batch, generator=generator_for(0))
    assert torch.equal(left.pose.points, batch.pose.points)
    climbed = run_attack(replace(foreign, tau_rel=1.01), victim, batch, generator=generator_for(0))
    assert (climbed.loss > 1.3 * clean).all()
    assert (climbed.backwards, climbed.forwards) == (6, 8), "the threshold's look is counted"


# ---- names


PGD_NAMES = [
    (FoolboxAttack, "L2PGD", {"steps": 7, "rel_stepsize": 0.5}),
    (TorchattacksAttack, "PGDL2", {"steps": 7, "alpha": 0.5}),
    (ARTAttack, "ProjectedGradientDescent", {"max_iter": 7, "eps_step": 0.5}),
]


@pytest.mark.parametrize(("make", "cls", "settings"), PGD_NAMES)
def test_they_are_made_and_rebuilt_by_name(make: Make, cls: str, settings: dict[str, Any]) -> None:
    expected = needed(make, Budget(0.05), cls, settings, tau_rel=2.0, objective="aligned")
    name = f"{make.package}:{cls}"
    made = make_attack(name, Budget(0.05), 7, "aligned", {"step": 0.5, "tau_rel": 2.0})
    assert made == expected
    assert attack_name(made) == name
    assert rebuild_attack(name, repr(made)) == made
    with pytest.raises(InputError, match=r"cell\.attack is"):
        rebuild_attack(f"{make.package}:Other", repr(made))


@pytest.mark.parametrize(
    ("name", "settings", "part"),
    [
        ("fulbox:L2PGD", {}, "unknown library of attacks 'fulbox': did you mean 'foolbox'?"),
        ("foolbox:L2PDG", {}, "did you mean 'L2PGD'?"),
        ("foolbox:L2PGD", {"stepsss": 3}, "did you mean 'steps'?"),
        ("foolbox:L2PGD", {"budget": 3}, "takes no budget"),
        ("fgm", {"step": 0.1}, "attack 'fgm' takes no step"),
        ("vertex-adam", {"step": "far"}, "attack 'vertex-adam' refuses its settings"),
        ("vertex-adam", {"iterations": 3}, "iterations is given twice"),
    ],
)
def test_names_and_settings_that_are_not_known(
    name: str, settings: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("foolbox", reason="needs foolbox, an optional extra")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would complain first
    iterations = 5 if "iterations" in settings else None
    with pytest.raises(InputError, match=re.escape(part)) as caught:
        make_attack(name, Budget(0.05), iterations, settings=settings)
    assert "\n" not in str(caught.value)


def peers_of_the_sweep() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Every peer of ``sweep peers`` with its threat model and one of its settings."""
    found = {}
    for grid in read_grids("peers"):
        for name, threat in itertools.product(grid.attacks, grid.threats):
            if ":" in name:
                found[name, threat] = dict(grid.settings[0])
    return [(name, threat, name.partition(":")[0], each) for (name, threat), each in found.items()]


@pytest.mark.parametrize(("name", "threat", "package", "settings"), peers_of_the_sweep())
def test_iterations_of_the_peers_are_gradients(
    name: str, threat: str, package: str, settings: dict[str, Any]
) -> None:
    """What the table of docs/attacks.md compares at: torchattacks' APGD takes one more."""
    pytest.importorskip(package, reason=f"needs {package}, an optional extra")
    model = THREATS[threat]
    made = make_attack(name, model.budget, 4, model.objective, settings)
    result = run_attack(made, *curved(), generator=generator_for(0))
    assert result.backwards == 4 + (name == "torchattacks:APGD")
    assert any(name in peer.names for peer in PEERS)


# ---- misuse


@pytest.mark.parametrize(
    ("make", "module", "part"),
    [
        (FoolboxAttack, "foolbox", "foolbox: pip install foolbox"),
        (TorchattacksAttack, "torchattacks", "pip install --no-deps torchattacks"),
        (ARTAttack, "art", "pip install adversarial-robustness-toolbox packaging"),
    ],
)
def test_a_missing_library_is_named(
    make: Make, module: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=part) as caught:
        run_attack(make(Budget(0.05), "PGD"), *curved())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "name", "settings", "norm", "part"),
    [
        (FoolboxAttack, "L2PDG", {}, "l2", "did you mean 'L2PGD'"),
        (FoolboxAttack, "L2PGD", {"step": 3}, "l2", "did you mean 'steps'"),
        (FoolboxAttack, "LinfPGD", {}, "l2", "works in linf, the budget is in l2"),
        (TorchattacksAttack, "PGDL2", {}, "linf", "works in l2, the budget is in linf"),
        (TorchattacksAttack, "MIFGSM", {}, "l2", "works in linf, the budget is in l2"),
        (ARTAttack, "BasicIterativeMethod", {}, "l2", "works in linf, the budget is in l2"),
    ],
)
def test_attacks_that_do_not_fit_are_refused(
    make: Make, name: str, settings: dict[str, Any], norm: Any, part: str
) -> None:
    attack = needed(make, Budget(0.05, norm), name, settings)
    with pytest.raises(InputError, match=part):
        run_attack(attack, *curved())


def test_settings_that_the_budget_gives_are_refused() -> None:
    with pytest.raises(InputError, match="eps comes from the budget"):
        TorchattacksAttack(Budget(0.05), "PGDL2", {"eps": 1.0})
    with pytest.raises(InputError, match="summary_writer writes files"):
        ARTAttack(Budget(0.05), "ProjectedGradientDescent", {"summary_writer": "here"})
    for norm in ("smooth", "drop", "add"):
        with pytest.raises(InputError, match=f"not '{norm}'"):
            FoolboxAttack(Budget(0.05, cast(Any, norm)), "L2PGD")


def test_a_classifier_that_makes_no_sense_is_refused() -> None:
    victim, batch = curved()
    one = batch.select(slice(0, 1))
    with pytest.raises(InputError, match="one sample, got 2"):
        as_classifier(victim, batch, low=0.0, high=1.0)
    with pytest.raises(InputError, match="low < high"):
        as_classifier(victim, one, low=1.0, high=1.0)
    with pytest.raises(InputError, match="tau must be"):
        as_classifier(victim, one, low=0.0, high=1.0, tau=math.nan)
    deaf = Toy(lambda pose, identity: identity)
    with pytest.raises(InputError, match="gives no gradient"):
        as_classifier(deaf, one, low=-9.0, high=9.0)(torch.rand(1, 3, 20, 1, requires_grad=True))


# ---- the other way round


def test_our_attacks_run_on_any_function() -> None:
    """A function of two tensors with its own closed form: output = pose, so M grows with |d|."""
    _, batch = curved()
    batch = replace(batch, target=batch.target.replace(batch.pose.points * 0.5))

    def function(pose: Tensor, identity: Tensor) -> Tensor:
        return pose

    attack = PGD(Budget(0.05), start=0.0)
    result = run_attack(attack, posebench.from_module(function), batch)
    apart = 0.5 * batch.pose.points.flatten(1).norm(dim=1)
    torch.testing.assert_close(result.loss, (apart + 0.05 * math.sqrt(60)).square() / 60)


def test_a_function_may_be_any_callable() -> None:
    class Bound:
        def answer(self, pose: Tensor, identity: Tensor) -> Tensor:
            return identity + pose.mean(dim=1, keepdim=True) * torch.tensor([1.0, 0, 0])

    victim = posebench.from_module(Bound().answer, point_counts="free")
    batch = random_batch((20, 20), points=8, dtype=torch.float32)
    result = run_attack(PGD(Budget(0.05)), victim, batch, generator=Generator().manual_seed(0))
    assert (result.loss > pmd(victim(batch.pose, batch.identity), batch.target)).all()
