"""How long a progress bar says that it will take."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from posebench.attacks import PGD, PTEnsemble
from posebench.benchmark.cli.time_left import TimeLeft
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.runs.within import expected_calls, within_batches
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.interfaces import Budget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_is_told_after_the_first_piece_of_work_and_counted_down() -> None:
    clock, column = Clock(), TimeLeft()
    bar = Progress(column, get_time=clock, disable=True)
    job = bar.add_task("pairs", total=4)

    def shown() -> str:
        clock.now += 1  # rich renders again only after a while
        return str(column(bar.tasks[0]))

    assert shown() == "-:--:--"
    clock.now = 60.0  # longer than rich remembers
    bar.advance(job)
    assert shown() == "0:03:03"  # 61 s each at that moment
    assert shown() == "0:03:02"
    bar.reset(job)
    assert shown() == "-:--:--"
    clock.now += 9
    bar.advance(job)
    assert shown() == "0:00:33"


def test_what_was_done_before_does_not_count_and_a_known_end_wins() -> None:
    clock, column = Clock(), TimeLeft()
    bar = Progress(column, get_time=clock, disable=True)
    job = bar.add_task("cells", total=100, completed=90, first=90)
    clock.now = 10.0
    bar.update(job, completed=91)
    assert str(column(bar.tasks[0])) == "0:01:30"
    clock.now = 20.0
    bar.update(job, completed=92, ends=5.0)
    assert str(column(bar.tasks[0])) == "0:00:05"
    clock.now = 23.0
    assert str(column(bar.tasks[0])) == "0:00:02"


@pytest.mark.usefixtures("one_thread")
def test_a_bar_moves_inside_a_single_batch_and_ends_where_it_must() -> None:
    """PGD of 4 steps is 18 plain calls; the bar is told after each of the network's."""
    attack, network = PGD(Budget(0.02), iterations=4), initial_network(Recipe("npt", size="tiny"))
    assert expected_calls(attack) == 18
    attacks = (attack, PGD(Budget(0.04), iterations=4))
    given = Evaluation(network.eval(), attacks, samples=3, vertices=800)
    moved: list[float] = []
    with within_batches(given, 2, moved.append) as done:
        evaluate_all(given, Execution(2, progress=done))
    assert sum(moved) == pytest.approx(3 * 2)
    assert len(moved) > 20
    assert 0 < moved[0] <= 2 * 3 / 18
    assert max(sum(moved[: n + 1]) for n in range(len(moved))) <= 6 + 1e-9
    assert expected_calls(PTEnsemble(Budget(0.02))) is None
    assert not network._forward_hooks
