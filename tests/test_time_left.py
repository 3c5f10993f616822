"""How long a progress bar says that it will take."""

from __future__ import annotations

from rich.progress import Progress

from posebench.benchmark.cli.time_left import TimeLeft


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
