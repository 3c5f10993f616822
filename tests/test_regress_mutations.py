"""Known faults turn a gate on real weights red, each by the rows that should; new seeds do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posebench.attacks import fgm, iterative, space
from posebench.benchmark.gate import compare as regress
from posebench.benchmark.gate import faults as mutations
from posebench.benchmark.gate.compare import Finding, check_gate, update_baseline
from posebench.benchmark.gate.config import Gate, Rules, read_gate
from posebench.benchmark.gate.faults import MUTATIONS, flipped_gradient, mutated
from posebench.benchmark.gate.victims import load_gate_victim, network_of
from posebench.interfaces import Victim

pytestmark = pytest.mark.usefixtures("one_thread")

GATE = """
baseline_seeds = 3

[defaults]
victim = "npt-mp"
weights = "WEIGHTS"
size = "tiny"
pairs = 6

[[cell]]
attack = "fgm"
eps = 0.01

[[cell]]
attack = "ifgm"
iterations = 2
eps = 0.02

[[cell]]
attack = "apgd"
iterations = 3
eps = 0.02

[[cell]]
attack = "noise"

[[cell]]
attack = "fgm"
defense = "sor"
"""
WEIGHTS = Path("victims/weights/npt-mp-small.safetensors")
NAME = "npt-mp (npt-mp-small)"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Gate:
    """The shipped network on small meshes, with its baseline."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "gate.toml").write_text(GATE.replace("WEIGHTS", str(WEIGHTS.resolve())))
    made = read_gate(folder / "gate.toml")
    update_baseline(made)
    return made


def verdicts(findings: list[Finding]) -> dict[str, str]:
    """Row -> verdict of what is red."""
    return {f"{f.name}, {f.quantity}".removeprefix(NAME): f.verdict for f in findings if f.red}


EXPECTED = {
    "half-step": {
        ": fgm 0.01, attacked PMD": "attack weaker",
        ": ifgm 0.02 x2, attacked PMD": "attack weaker",
    },
    "flipped-gradient": {
        ": fgm 0.01, attacked PMD": "attack weaker",
        ": ifgm 0.02 x2, attacked PMD": "attack weaker",
        ": apgd 0.02 x3, attacked PMD": "attack weaker",
    },
    "no-sor": {
        " behind sor: fgm 0.08 oblivious, attacked PMD": "defence weaker",
        " behind sor, kept points": "defence changed",
    },
    "budget-low": {": fgm 0.01, attacked PMD": "attack weaker"},
    "budget-high": {
        ": fgm 0.01, budget": "over budget",
        ": noise 0.08, budget": "over budget",
        " behind sor: fgm 0.08 oblivious, budget": "over budget",
    },
    "perturbed-weights": {", clean PMD": "victim worse"},
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_fault_turns_the_gate_red_for_its_own_reason(gate: Gate, name: str) -> None:
    with mutated(name):
        red = verdicts(check_gate(gate))
    assert EXPECTED[name].items() <= red.items(), red
    if name in ("no-sor", "budget-high"):
        allowed = {*EXPECTED[name].values(), "defence changed", "defence weaker"}
        assert set(red.values()) <= allowed, red


def test_a_fault_is_over_when_its_block_is() -> None:
    names = [(module.steepest, module.pose_gradient) for module in mutations.GRADIENT_ATTACKS]
    for name in MUTATIONS:
        with mutated(name):
            pass
    assert names == [(m.steepest, m.pose_gradient) for m in mutations.GRADIENT_ATTACKS]
    assert regress.load_gate_victim is load_gate_victim


@pytest.mark.parametrize(
    ("module", "row"),
    [(fgm, ": fgm 0.01"), (iterative, ": ifgm 0.02 x2"), (space, ": apgd 0.02 x3")],
)
def test_a_fault_in_one_attack_is_found_in_that_attack(
    gate: Gate, module: object, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "pose_gradient", flipped_gradient)
    red = verdicts(check_gate(gate))
    attacked = {name for name in red if not name.startswith(" behind")}
    assert attacked == {f"{row}, attacked PMD"}


def scaled(victim: Victim) -> None:
    network = network_of(victim)
    assert network is not None
    for parameter in network.parameters():
        parameter.data *= 1.05


def pushed(victim: Victim) -> None:
    network = network_of(victim)
    assert network is not None
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        draws = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.05 * parameter.detach().std(correction=0) * draws


@pytest.mark.parametrize("change", [scaled, pushed])
def test_weights_off_by_five_per_cent_in_other_ways_are_found_too(
    gate: Gate, change: Callable[[Victim], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*given: object) -> Victim:
        victim = load_gate_victim(*given)  # type: ignore[arg-type]
        change(victim)
        return victim

    monkeypatch.setattr(regress, "load_gate_victim", load)
    assert "victim worse" in verdicts(check_gate(gate)).values()


def test_unchanged_reruns_with_new_seeds_stay_green(gate: Gate) -> None:
    (cell,) = (each for each in gate.cells if each.evaluation.attack == "noise")
    noise = replace(cell, evaluation=replace(cell.evaluation, samples=4))
    rules = Rules(baseline_seeds=10)
    only = Gate((noise,), gate.folder / "noise.json", gate.folder, rules)
    update_baseline(only)
    found = [check_gate(only, offset=offset) for offset in range(10)]
    assert [verdicts(each) for each in found] == [{}] * 10
    ratios = {each[0].change.ratio for each in found if each[0].change is not None}
    assert len(ratios) == 10, "every run takes seeds of its own"
