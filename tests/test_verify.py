"""Records run again: what holds, what does not, settings rebuilt without running code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from posebench.attacks import ATTACKS, make_attack
from posebench.benchmark.audit.compared import compared
from posebench.benchmark.audit.rebuild import rebuild_attack, rebuild_defense
from posebench.benchmark.audit.verify import rerun_of, run_again
from posebench.benchmark.cli.app import app
from posebench.benchmark.cli.progress import progress_bar
from posebench.benchmark.evaluation.settings import EvaluationSettings
from posebench.benchmark.records.store import read_record, write_record
from posebench.benchmark.records.types import Cell, Cost, Record
from posebench.benchmark.runs.run import RunSettings, run_cells
from posebench.benchmark.stats.bootstrap import Column, summarise
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims.weights import shipped_path
from tests.made_records import made
from tests.toys import made_defense

RECORDS = Path(__file__).resolve().parent.parent / "leaderboards" / "records"
COMMITTED = sorted(RECORDS.glob("anny-seen/npt-mp-compact-clean/fgm-0.08-rms-l2-sor-adaptive-*"))[0]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("drop", "add")])
def test_attacks_are_rebuilt_from_their_repr(name: str) -> None:
    own = name in ("drop", "add", "sparse")
    made = make_attack(name, Budget(0.02, name if own else "linf"))
    assert rebuild_attack(name, repr(made)) == made
    if hasattr(made, "iterations") and not own:
        made = make_attack(name, Budget(0.5, unit="total"), 3)
        assert rebuild_attack(name, repr(made)) == made


@pytest.mark.parametrize("name", list(DEFENSES))
def test_defences_are_rebuilt_from_their_repr(name: str) -> None:
    made = made_defense(name)
    assert repr(rebuild_defense(name, repr(made))) == repr(made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FGM",
        "FGM()",
        "PGD(budget=Budget(eps=0.1))",
        "FGM(Budget(eps=0.1))",
        "FGM(budget=__import__('os').system('true'))",
        "FGM(budget=open('x'))",
        "FGM(budget=Budget(eps=0.1), **{})",
        "FGM(budget=Budget(eps=-1))",
        "FGM(budget=Budget(eps=[x for x in (1,)]))",
        "FGM(" * 400,
        "FGM(budget=" + "(" * 1500,
        "FGM(budget=" + "-" * 1900 + "1)",
        "FGM(budget=Budget(eps=0.1), nothing=1)",
    ],
)
def test_settings_that_are_no_repr_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        rebuild_attack("fgm", text)


def test_a_committed_record_holds() -> None:
    record = read_record(COMMITTED)
    found = {each.field: each for each in run_again(rerun_of(record, samples=2, device="cpu"))}
    assert all(each.holds for each in found.values()), found
    assert found["pmd"].off < 1e-3
    expected = sum(record.metrics.clean_pmd.per_sample[:2]) / 2
    assert found["clean_pmd"].recorded == pytest.approx(expected)
    assert {"gain_over_noise", "cost.forwards", "norms.rms"} <= found.keys()
    assert "radius" not in found, "stored as a mean over all pairs"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """One cell of two pairs, through the command's own path; transfer, so a surrogate too."""
    asked = EvaluationSettings(
        victim="npt-mp", attack="fgm", eps=(0.05,), access="transfer", surrogate="posemae",
        task="anny/unseen", samples=2, seed=3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("runs")
    settings = RunSettings(asked, batch_size=1, device="cpu", out=folder)
    with progress_bar("pairs", quiet=True) as bar:
        yield run_cells(settings, bar)[0].record


def test_a_second_run_on_this_machine_is_bit_equal(fresh: Record) -> None:
    threads = torch.get_num_threads()
    found = run_again(rerun_of(fresh, device="cpu"), batch_size=1)
    assert torch.get_num_threads() == threads
    assert [each.field for each in found if each.off or not each.holds] == []
    assert {"radius", "trivial.copy-pose"} <= {each.field for each in found}


def with_attacked(record: Record, change: Any) -> Record:
    """The record with other attacked values, consistent in itself: validate cannot know."""
    changed = {
        name: summarise(change(each.values)) for name, each in record.metrics.attacked.items()
    }
    return replace(record, metrics=replace(record.metrics, attacked=changed))


def failed(record: Record, now: Record, *, iterative: bool) -> set[str]:
    found = compared(record, now, iterative=iterative)
    return {each.field for each in found if not each.holds}


@pytest.mark.parametrize("factor", [0.8, 1.25, 0.98])
def test_values_of_one_step_that_are_scaled_do_not_hold(fresh: Record, factor: float) -> None:
    forged = with_attacked(fresh, lambda values: factor * values)
    wrong = failed(forged, fresh, iterative=False)
    assert {"pmd", "msvd", "pmd_uncentred", "edge_error", "gain_over_noise"} <= wrong
    assert not {"clean_pmd", "noise_pmd", "norms.rms", "clean_fail"} & (wrong - {"clean_fail"})
    cost = replace(fresh.cost, backwards=fresh.cost.backwards + 1)
    assert failed(replace(fresh, cost=cost), fresh, iterative=False) == {"cost.backwards"}


def test_clean_values_and_noise_must_agree_under_every_attack(fresh: Record) -> None:
    metrics, under = fresh.metrics, fresh.metrics.attack
    assert under is not None
    one_pair = metrics.clean_pmd.values * [1, 1.002]
    clean = {**metrics.clean, "pmd": summarise(one_pair)}
    forged = replace(fresh, metrics=replace(metrics, clean=clean))
    assert "clean_pmd" in failed(forged, fresh, iterative=True)
    noise = replace(under, noise_pmd=summarise(0.8 * under.noise_pmd.values))
    forged = replace(fresh, metrics=replace(metrics, attack=noise))
    assert "noise_pmd" in failed(forged, fresh, iterative=True)


def rounded_otherwise(rng: np.random.Generator, spread: float) -> Any:
    """What another processor makes of an iterative attack: every pair off, none on purpose."""
    return lambda values: values * np.exp(spread * rng.standard_normal(len(values)))


ITERATED = made(attack="pgd", pmd=tuple(np.linspace(2e-3, 9e-3, 16)))


def test_iterated_values_may_scatter_but_not_shift() -> None:
    """Of 200 honest runs at most ALPHA and a little fail; scaled by 0.8 all do."""
    rng = np.random.default_rng(0)
    honest = scaled = 0
    for _ in range(200):
        again = with_attacked(ITERATED, rounded_otherwise(rng, 0.1))
        honest += bool(failed(ITERATED, again, iterative=True))
        forged = with_attacked(ITERATED, lambda values: 0.8 * values)
        scaled += "pmd" in failed(forged, again, iterative=True)
    assert honest <= 8
    assert scaled == 200


def test_a_pair_that_is_far_off_or_undefined_does_not_hold() -> None:
    def first(factor: float) -> Any:
        def change(values: Column) -> Column:
            return values * [factor, *([1.0] * (len(values) - 1))]

        return change

    assert "pmd" not in failed(ITERATED, with_attacked(ITERATED, first(0.5)), iterative=True)
    for factor in (0.2, 5.0, float("nan")):
        again = with_attacked(ITERATED, first(factor))
        assert "pmd" in failed(ITERATED, again, iterative=True)


(PGD,) = (RECORDS / "anny-seen/npt-mp-compact-clean").glob("pgd-0.08-rms-l2-*.json")


def test_an_iterated_record_of_another_processor_holds_and_scaled_does_not() -> None:
    """With two threads in place of one; PGD's single pairs are off by per cents."""
    record = read_record(PGD)
    torch.set_num_threads(2)
    try:
        found = run_again(rerun_of(record, samples=6, device="cpu"))
        assert [each.field for each in found if not each.holds] == []
        forged = with_attacked(record, lambda values: 0.8 * values)
        again = run_again(rerun_of(forged, samples=6, device="cpu"))
    finally:
        torch.set_num_threads(1)
    assert "pmd" in [each.field for each in again if not each.holds]


def test_the_command_says_whether_it_holds(fresh: Record, tmp_path: Path) -> None:
    path = write_record(tmp_path, fresh)
    done = CliRunner().invoke(app, ["verify", str(path), "--device", "cpu", "--samples", "1"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("holds: ")
    forged = replace(
        fresh,
        cell=replace(fresh.cell, seed=fresh.cell.seed + 1),  # other noise
        cost=Cost(fresh.cost.forwards + 1, fresh.cost.backwards),
    )
    path = write_record(tmp_path / "forged", forged)
    done = CliRunner().invoke(app, ["verify", str(path), "--device", "cpu", "--samples", "1"])
    assert done.exit_code == 1
    assert "does not hold: " in done.stdout.splitlines()[-1]
    assert "cost.forwards" in done.stdout.splitlines()[-1]


def test_what_cannot_be_run_again_is_refused(fresh: Record, tmp_path: Path) -> None:
    def refused(change: Record, part: str, *words: str) -> None:
        path = write_record(tmp_path, change)
        done = CliRunner().invoke(app, ["verify", str(path), *words])
        assert isinstance(done.exception, InputError), done.output
        assert part in str(done.exception)

    cell = fresh.cell
    assert cell.attack is not None

    def with_cell(**changes: Any) -> Record:
        changed: Cell = replace(cell, **changes)
        return replace(fresh, cell=changed)

    settings = cell.attack.settings.replace("mse", "nothing")
    refused(with_cell(attack=replace(cell.attack, warm_from=0.04)), "sweep again")
    refused(with_cell(attack=replace(cell.attack, version=99)), "version")
    refused(with_cell(attack=replace(cell.attack, settings=settings)), "nothing")
    for sha256 in ("0" * 64, None):
        weights = replace(cell.weights, sha256=sha256)
        refused(with_cell(weights=weights), "pass --weights FILE")
    unknown = replace(cell.access, surrogate_sha256="0" * 64)
    refused(with_cell(access=unknown), "surrogate 'posemae' with sha256")
    refused(with_cell(fingerprint="0" * 64), "cell.fingerprint")
    refused(fresh, "samples must be 1..2", "--samples", "3")
    refused(with_cell(attack=replace(cell.attack, eps=-1.0)), "cell.eps")
    other = shipped_path("npt-mp", "compact", training="adversarial")
    refused(fresh, "has sha256", "--weights", str(other))
