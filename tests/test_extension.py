"""Cells on more pairs go on from records on fewer, and end as if made at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from posebench.attacks import FGM, PGD, PTEnsemble, Universal, VertexAdam, convergence
from posebench.benchmark.evaluation import harness
from posebench.benchmark.evaluation.extension import known_pairs, most_known
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.records.store import read_record, record_path, record_text, write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.runs.sweep import alike
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.defenses import SOR
from posebench.errors import InputError
from posebench.interfaces import Attack, Budget
from posebench.threats import THREATS

NEAR = THREATS["point-2cm"]
ATTACKS: dict[str, Attack] = {
    "fgm": FGM(Budget(0.05)),
    "vertex-adam": VertexAdam(NEAR.budget, iterations=3, objective=NEAR.objective),
    "pt-ensemble": PTEnsemble(NEAR.budget, most=12, objective=NEAR.objective),
}


@pytest.fixture(scope="module", autouse=True)
def single_thread(one_thread: None) -> None:
    """For the whole module."""


@pytest.fixture(scope="module")
def given() -> Evaluation:
    network = initial_network(Recipe("npt-mp", size="tiny")).eval()
    return Evaluation(network, (FGM(Budget(0.05)),), samples=3, vertices=800)


def committed(record: Record) -> Record:
    """As made from a clean checkout."""
    return replace(record, environment=replace(record.environment, dirty=False))


def made(given: Evaluation, known: Record | None = None) -> Record:
    (record,) = evaluate_all(given, Execution(2, known=known))
    return committed(record)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_extended_record_is_the_whole_one_and_its_first_pairs_are_not_attacked_again(
    name: str, given: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = replace(given, attacks=(ATTACKS[name],), samples=5)
    whole, short = made(given), made(replace(given, samples=2))
    short = read_record(write_record(tmp_path, short))  # as it comes from a file
    attack: Callable[..., object] = harness.run_attack
    asked = []

    def counting(*words: object, **more: object) -> object:
        asked.append(len(words[2]))  # type: ignore[arg-type]
        return attack(*words, **more)

    monkeypatch.setattr(harness, "run_attack", counting)
    assert most_known(given, [short], "cpu") is short
    longer = made(given, short)
    assert asked == [2, 1]
    assert record_text(replace(longer, cost=whole.cost)) == record_text(whole)
    assert abs(longer.cost.backwards - whole.cost.backwards) <= 1  # each is rounded up
    with pytest.raises(InputError, match="another cell, or of one that starts anew"):
        made(given, whole)


def test_a_higher_limit_takes_over_the_pairs_that_stopped_by_themselves(
    given: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convergence, "LEAST", 20)
    monkeypatch.setattr(convergence, "ENOUGH", 1e-4)  # an untrained network hardly hears its pose
    budget, objective = NEAR.budget, NEAR.objective
    low, high = (
        replace(given, attacks=(PTEnsemble(budget, objective, most),), samples=4)
        for most in (40, 120)
    )

    def alone(given: Evaluation, known: Record | None = None) -> Record:
        (record,) = evaluate_all(given, Execution(1, known=known))
        return committed(record)

    short, whole = alone(low), alone(high)
    assert short.metrics.attack is not None
    assert short.metrics.attack.effort is not None
    spent = short.metrics.attack.effort.gradients
    settled = [pair for pair, count in enumerate(spent) if count < 40]
    assert 0 < len(settled) < 4, f"the test shows nothing: {spent}"
    assert known_pairs(high, short, "cpu") == settled
    assert known_pairs(low, short, "cpu") == known_pairs(low, whole, "cpu") == []
    longer = alone(high, short)
    assert record_text(replace(longer, cost=whole.cost)) == record_text(whole)
    assert abs(longer.cost.backwards - whole.cost.backwards) <= 1
    more = replace(high, samples=5)
    assert known_pairs(more, short, "cpu") == settled
    assert known_pairs(more, whole, "cpu") == [0, 1, 2, 3]
    assert most_known(more, [short, whole], "cpu") is whole
    assert known_pairs(replace(high, samples=3), whole, "cpu") == []


def test_only_the_same_cell_on_fewer_pairs_counts(given: Evaluation) -> None:
    short, shorter = (made(replace(given, samples=samples)) for samples in (2, 1))
    assert most_known(given, [shorter, short], "cpu") == short
    assert most_known(given, [], "cpu") is None
    columns = {k: v for k, v in short.metrics.attacked.items() if k != "pmd_aligned"}
    less = replace(short.metrics, attacked=columns)
    others = {
        "device": most_known(given, [short], "cuda:0"),
        "changes in the tree": most_known(
            given, [replace(short, environment=replace(short.environment, dirty=True))], "cpu"
        ),
        "another torch": most_known(
            given, [replace(short, environment=replace(short.environment, torch="0.1"))], "cpu"
        ),
        "a metric less": most_known(given, [replace(short, metrics=less)], "cpu"),
        "as many pairs": most_known(replace(given, samples=2), [short], "cpu"),
        "seed": most_known(replace(given, seed=1), [short], "cpu"),
        "mesh": most_known(replace(given, vertices=1700), [short], "cpu"),
        "attack": most_known(replace(given, attacks=(FGM(Budget(0.06)),)), [short], "cpu"),
        "clean": most_known(replace(given, attacks=(None,)), [short], "cpu"),
    }
    assert others == dict.fromkeys(others)
    for anew in (
        replace(given, attacks=(FGM(Budget(0.01)), FGM(Budget(0.05)))),
        replace(given, attacks=(Universal(Budget(0.05), iterations=1),)),
        replace(given, defense=SOR()),
    ):
        first = evaluate_all(replace(anew, samples=2), Execution(2))[-1]
        assert most_known(anew, [committed(first)], "cpu") is None


def test_sweeps_look_at_records_of_the_same_name(given: Evaluation, tmp_path: Path) -> None:
    short = made(replace(given, samples=1))
    assert alike(given, tmp_path) == []
    write_record(tmp_path, short)
    write_record(tmp_path, made(replace(given, samples=1, attacks=(PGD(Budget(0.05), 1),))))
    record_path(tmp_path, made(given)).write_text("not yet whole", encoding="utf-8")
    assert [record_text(each) for each in alike(given, tmp_path)] == [record_text(short)]
