"""Training inside a time budget: by a clock that the tests turn, in seconds of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress as Silent

from posebench.benchmark.cli import train as command
from posebench.benchmark.data.anny import TASKS
from posebench.benchmark.records.types import Record
from posebench.benchmark.training import card, session
from posebench.benchmark.training import run as train_run
from posebench.benchmark.training.adversarial import Adversarial
from posebench.benchmark.training.checkpoint import NAME
from posebench.benchmark.training.loop import Deferred, Trained, initial_network, train, undisturbed
from posebench.benchmark.training.optimisers import make_optimisers, set_rates
from posebench.benchmark.training.recipe import Recipe
from posebench.benchmark.training.recipe_file import TrainingRun, read_recipes
from posebench.benchmark.training.run import TrainOptions, train_one, train_runs
from posebench.benchmark.training.session import Interrupted
from posebench.benchmark.training.step import training_step
from posebench.benchmark.training.time_budget import DECAY, clean_time, dealt, seconds_of
from posebench.errors import InputError
from posebench.victims import PoseTransferNetwork
from tests.tiny_training import same_weights, tiny

pytestmark = pytest.mark.usefixtures("one_thread", "meshes_made_once")


class Clock:
    """Time that passes by training steps alone: ``cost`` says how long one takes."""

    def __init__(self, cost: Callable[[int, bool], float]) -> None:
        self.now, self.cost = 1000.0, cost
        self.steps = {False: 0, True: 0}

    def monotonic(self) -> float:
        return self.now

    def step(
        self,
        network: PoseTransferNetwork,
        optimisers: list[torch.optim.Optimizer],
        recipe: Recipe,
        step: int,
        *rest: Any,
    ) -> torch.Tensor:
        adversarial = recipe.adversarial is not None and step >= recipe.clean_steps
        self.now += self.cost(step, adversarial)
        self.steps[adversarial] += 1
        if not optimisers[0].state:  # checkpoints hold some
            return training_step(network, optimisers, recipe, step, *rest)
        return torch.zeros(3)


def paced(
    recipe: Recipe,
    folder: Path,
    seconds: float,
    cost: Callable[[int, bool], float],
    monkeypatch: pytest.MonkeyPatch,
    deferred: Deferred = undisturbed,
) -> tuple[Trained, Clock]:
    clock = Clock(cost)
    with monkeypatch.context() as patch:
        patch.setattr(session, "time", clock)
        patch.setattr(session, "training_step", clock.step)
        deadline = clock.now + seconds
        trained = train(replace(recipe, decay=DECAY), folder, deadline=deadline, deferred=deferred)
    return trained, clock


@pytest.mark.parametrize("speed", ["even", "slow start", "noisy", "slowing down"])
@pytest.mark.parametrize("adversarial", [False, True])
def test_a_part_ends_with_its_time_and_its_rates_at_zero(
    speed: str, adversarial: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost(step: int, attacked: bool) -> float:
        each = 0.15 if attacked else 0.1
        if speed == "slow start":
            return 5.0 if step < 2 else each
        if speed == "noisy":
            return each * (1 + 0.5 * math.sin(2.4 * step))
        return each * (1.3 if speed == "slowing down" and step > 400 else 1)

    recipe = tiny("npt", steps=10**6, adversarial=Adversarial(after=0.5) if adversarial else None)
    trained, clock = paced(recipe, tmp_path, 150.0, cost, monkeypatch)
    assert 0.9 * 150 <= trained.seconds <= 150.2
    assert trained.step == sum(clock.steps.values())
    if speed == "slowing down":  # by 30 %: the deadline comes before the last step
        assert 0.9 * trained.recipe.steps < trained.step
        return
    assert trained.step == trained.recipe.steps
    assert trained.recipe.clean_steps == clock.steps[False]
    if adversarial and speed != "slow start":  # estimated: 4/3 of a clean step; here: 3/2
        assert clock.steps[True] == pytest.approx(clock.steps[False], rel=0.25)
    for last in (trained.recipe.clean_steps, trained.recipe.steps):
        rates = []
        for step in (last - 1, last - last // 100):
            optimisers = make_optimisers(trained.network, trained.recipe)
            set_rates(optimisers, trained.recipe, step)
            rates.append(optimisers[0].param_groups[0]["lr"])
        assert rates[0] < 1e-3 * recipe.matrix_rate
        assert rates[1] < 2e-2 * recipe.matrix_rate


def test_ample_time_trains_the_recipe_as_long_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny("npt", steps=60, adversarial=Adversarial(after=0.5))
    trained, clock = paced(recipe, tmp_path, 1e6, lambda *_: 0.1, monkeypatch)
    assert trained.recipe == replace(recipe, decay=DECAY)
    assert clock.steps == {False: 30, True: 30}


def test_what_the_clock_chose_repeats_the_run_without_a_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(lambda *_: 0.0)

    def step(*arguments: Any) -> torch.Tensor:
        clock.now += 0.02
        return training_step(*arguments)

    recipe = tiny("npt", steps=10**6, decay=DECAY, adversarial=Adversarial(after=0.5))
    with monkeypatch.context() as patch:
        patch.setattr(session, "training_step", step)
        patch.setattr(session, "time", clock)
        trained = train(recipe, tmp_path / "paced", deadline=clock.now + 3)
    assert 30 < trained.recipe.steps < 200
    again = train(trained.recipe, tmp_path / "again")
    assert same_weights(again.network, trained.network)


def test_an_interrupted_run_keeps_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny("npt", steps=10**6, adversarial=Adversarial(after=0.5))
    asks = iter([False] * 300 + [True])

    @contextmanager
    def deferred() -> Iterator[Callable[[], bool]]:
        yield lambda: next(asks)

    with pytest.raises(Interrupted, match=r"step 301 of \d+ is saved"):
        paced(recipe, tmp_path, 60.0, lambda *_: 0.1, monkeypatch, deferred)
    header = json.loads(_metadata(tmp_path / NAME)["checkpoint"])
    trained, clock = paced(recipe, tmp_path, 60.0, lambda *_: 0.1, monkeypatch)
    assert (header["step"], header["chosen"]) == (301, 1)  # in the adversarial part
    clean = round(header["recipe"]["steps"] * header["recipe"]["adversarial"]["after"])
    assert 200 < trained.recipe.clean_steps == clean < 301
    assert trained.recipe.steps == trained.step < 1000
    assert sum(clock.steps.values()) == trained.step - 301
    with pytest.raises(InputError, match=r"decay: 0.25 there, 1.0 here"):
        train(recipe, tmp_path)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def test_the_clean_part_gets_the_time_that_its_steps_take() -> None:
    def share(**adversarial: object) -> float:
        return clean_time(tiny("npt", adversarial=Adversarial(**adversarial)))  # type: ignore[arg-type]

    assert clean_time(tiny("npt")) == 1
    assert share(clean_share=0.0) == pytest.approx(1 / (1 + 5 / 3))
    assert share(clean_share=0.5) == pytest.approx(1 / (1 + 4 / 3))
    assert share(attack="noise") == pytest.approx(1 / 2)
    assert share(attack="pgd", iterations=3, clean_share=0.0) == pytest.approx(1 / 4)
    assert share(after=0.0) == 0
    assert clean_time(tiny("npt", adversarial=Adversarial(), start="0" * 64)) == 0


# ---- many runs


def test_early_runs_get_their_share_and_the_last_go_without() -> None:
    assert dealt(100.0, [1.0, 1.0]) == 50
    assert dealt(100.0, [3.0, 1.0]) == 75
    assert dealt(100.0, [1.0]) == 100
    assert dealt(25.0, [1.0, 1.0, 1.0, 1.0]) == 12.5  # for two: ten seconds are the least
    assert dealt(25.0, [1.0, 1.0, 8.0]) == 12.5
    assert dealt(5.0, [1.0, 1.0]) == 5
    assert dealt(-3.0, [1.0, 1.0]) == 0


def test_a_budget_is_dealt_and_kept_over_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, given = Clock(lambda *_: 0.0), {}

    def one(
        recipe: Recipe, folder: Path, start: object, options: TrainOptions, bar: object
    ) -> Path:
        assert options.budget is not None
        given[folder.name] = options.budget
        clock.now += 0.0 if folder.name == "finished" else 1.1 * options.budget  # a bit too slow
        return folder

    monkeypatch.setattr(train_run, "time", clock)
    monkeypatch.setattr(train_run, "train_one", one)
    names = ("finished", "a", "b", "c", "d")
    runs = [TrainingRun(name, tiny("npt"), share=2.0 if name == "a" else 1.0) for name in names]
    train_runs(runs, tmp_path, TrainOptions(budget=100.0), Silent(disable=True))
    assert given["a"] == pytest.approx(40)  # of 100 seconds, that the finished one did not use
    assert given["b"] == pytest.approx((100 - 44) / 3)
    assert clock.now <= 1000 + 1.1 * 100
    given.clear()
    clock.now = 1000.0
    train_runs(runs[1:], tmp_path, TrainOptions(budget=24.0), Silent(disable=True))
    assert list(given) == ["a"], "too little time for four"


def test_the_accelerator_recipe_goes_from_what_matters_most() -> None:
    runs = read_recipes("accelerator")
    for size in ("compact", "paper"):
        for victim in ("npt", "npt-mp", "gct", "posemae"):
            found = [r for r in runs if (r.recipe.size, r.recipe.victim) == (size, victim)]
            assert [r.recipe.adversarial is not None for r in found] == [False, True]
            assert found[1].start == found[0].name
            assert all(r.recipe.batch >= 64 for r in found)
    sizes = [run.recipe.size for run in runs]
    assert sizes == sorted(sizes), "compact before paper"


# ---- the card within what time is left


def test_a_card_takes_the_pairs_that_its_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(lambda *_: 0.0)
    asked: list[tuple[str, str, int]] = []

    def evaluate_all(given: Any, how: object) -> list[Any]:
        (attack,) = given.attacks
        forwards = 1 if attack is None else 4 + 3 * getattr(attack, "iterations", 1)
        clock.now += 0.1 * forwards * given.samples
        asked.append((given.task, type(attack).__name__, given.samples))
        return [object.__new__(Record)]  # of which nothing is asked here

    def add(found: card.Measured, record: object, task: str, attack: object) -> None:
        found.attacked = found.attacked or {}
        kept: dict[str, Any] = found.splits if attack is None else found.attacked  # type: ignore[assignment]
        kept[f"{task} {attack}"] = record

    monkeypatch.setattr(card, "time", clock)
    monkeypatch.setattr(card, "evaluate_all", evaluate_all)
    monkeypatch.setattr(card.Measured, "add", add)
    recipe = tiny("npt", adversarial=Adversarial())

    def found(seconds: float) -> card.Measured:
        asked.clear()
        clock.now = 1000.0
        return card.measured(
            initial_network(recipe), recipe, device="cpu", bar=Silent(disable=True),
            deadline=1000 + seconds,
        )  # fmt: skip

    for seconds in (3.0, 10.0, 40.0, 200.0):
        result = found(seconds)
        assert clock.now <= 1000 + seconds
        assert len(result.splits) == len(TASKS)
    assert len(found(200.0).attacked or {}) == 4
    nothing = found(0.0)
    assert list(nothing.splits) == ["anny/seen None"]
    assert not nothing.attacked
    found(math.inf)
    assert [samples for *_, samples in asked] == [64] * len(TASKS) + [32] * 4


def test_a_budget_that_is_over_before_the_first_step(tmp_path: Path) -> None:
    options = TrainOptions(device="cpu", budget=1e-9)
    with pytest.raises(InputError, match="budget ends before the first step"):
        train_one(tiny("npt"), tmp_path / "out", None, options, Silent(disable=True))


def test_a_command_s_budget_begins_before_it_loads_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loading torch takes seconds of it."""
    clock = Clock(lambda *_: 0.0)
    seen: list[TrainOptions] = []

    def loading(text: str) -> float:
        clock.now += 4.0
        return seconds_of(text)

    monkeypatch.setattr(command, "time", clock, raising=False)
    monkeypatch.setattr("posebench.benchmark.training.time_budget.seconds_of", loading)
    monkeypatch.setattr(command, "train_asked", lambda asked, options, bar: seen.append(options))
    command.train(victim="npt", budget="3m")
    assert [options.budget for options in seen] == [176.0]


def test_times_are_read_with_their_unit() -> None:
    assert [seconds_of(t) for t in ("90", "90s", "25m", "1.5h")] == [90, 90, 1500, 5400]
    for text in ("", "m", "-3m", "nan", "inf", "ten"):
        with pytest.raises(InputError, match="such as 90s, 25m or 2h"):
            seconds_of(text)
