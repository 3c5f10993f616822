"""Records run again: what holds, what does not, settings rebuilt without running code."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from posebench.attacks import ATTACKS, make_attack
from posebench.benchmark.audit.rebuild import rebuild_attack, rebuild_defense
from posebench.benchmark.audit.verify import compared, read_record, rerun_of, run_again
from posebench.benchmark.cli.app import app
from posebench.benchmark.cli.progress import progress_bar
from posebench.benchmark.records.store import Record, record_text, write_record
from posebench.benchmark.runs.run import RunSettings, run_cells
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims.weights import shipped_path

RECORDS = Path(__file__).resolve().parent.parent / "leaderboards" / "records"
COMMITTED = sorted(RECORDS.glob("anny-seen/npt-mp-compact-clean/fgm-0.08-rms-l2-sor-adaptive-*"))[0]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("drop", "add")])
def test_attacks_are_rebuilt_from_their_repr(name: str) -> None:
    made = make_attack(name, Budget(0.02, "linf"))
    assert rebuild_attack(name, repr(made)) == made
    if hasattr(made, "iterations"):
        made = make_attack(name, Budget(0.5, unit="total"), 3)
        assert rebuild_attack(name, repr(made)) == made


@pytest.mark.parametrize("name", list(DEFENSES))
def test_defences_are_rebuilt_from_their_repr(name: str) -> None:
    made = DEFENSES[name]()
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
    assert found["clean_pmd"].recorded == pytest.approx(
        sum(record["metrics"]["clean_pmd"]["per_sample"][:2]) / 2
    )
    assert {"gain_over_noise", "cost.forwards", "norms.rms"} <= found.keys()
    assert "radius" not in found, "stored as a mean over all pairs"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """One cell of two pairs, through the command's own path; transfer, so a surrogate too."""
    settings = RunSettings(
        victim="npt-mp", weights=None, attack="fgm", eps=[0.05], iterations=None, eps_unit="rms",
        norm=None, defense="none", access="transfer", surrogate="posemae",
        task="anny/unseen", samples=2, batch_size=1, size="compact", seed=3, device="cpu",
        out=tmp_path_factory.mktemp("runs"),
    )  # fmt: skip
    with progress_bar("pairs", quiet=True) as bar:
        yield run_cells(settings, bar)[0].record


def test_a_second_run_on_this_machine_is_bit_equal(fresh: Record) -> None:
    threads = torch.get_num_threads()
    found = run_again(rerun_of(fresh, device="cpu"), batch_size=1)
    assert torch.get_num_threads() == threads
    assert [each.field for each in found if each.off or not each.holds] == []
    assert {"radius", "trivial.copy-pose"} <= {each.field for each in found}


def test_a_forged_record_does_not_hold(fresh: Record) -> None:
    """Consistent in itself, so validate cannot know: half of the attacked error."""
    forged = copy.deepcopy(fresh)
    for name in ("pmd", "msvd"):
        summary = forged["metrics"][name]
        for key in ("mean", "median", "p95", "worst"):
            summary[key] /= 2
        for key in ("ci95", "per_sample"):
            summary[key] = [value / 2 for value in summary[key]]
    failed = {each.field for each in compared(forged, fresh) if not each.holds}
    assert {"pmd", "msvd"} <= failed
    assert "clean_pmd" not in failed
    forged["cost"]["backwards"] += 1
    assert "cost.backwards" in {e.field for e in compared(forged, fresh) if not e.holds}


def test_the_command_says_whether_it_holds(fresh: Record, tmp_path: Path) -> None:
    path = write_record(tmp_path, fresh)
    done = CliRunner().invoke(app, ["verify", str(path), "--device", "cpu", "--samples", "1"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("holds: ")
    forged = copy.deepcopy(fresh)
    forged["cell"]["seed"] += 1  # other noise
    forged["cost"]["forwards"] += 1
    path = write_record(tmp_path / "forged", forged)
    done = CliRunner().invoke(app, ["verify", str(path), "--device", "cpu", "--samples", "1"])
    assert done.exit_code == 1
    assert "does not hold: " in done.stdout.splitlines()[-1]
    assert "cost.forwards" in done.stdout.splitlines()[-1]


def test_what_cannot_be_run_again_is_refused(fresh: Record, tmp_path: Path) -> None:
    def refused(change: dict[str, object], part: str, *words: str) -> None:
        record = {**fresh, "cell": {**fresh["cell"], **change}}
        path = tmp_path / "record.json"
        path.write_text(record_text(record), encoding="utf-8")
        done = CliRunner().invoke(app, ["verify", str(path), *words])
        assert isinstance(done.exception, InputError), done.output
        assert part in str(done.exception)

    settings = fresh["cell"]["attack_settings"]
    refused({"attack_settings": f"{settings} warm from eps 0.04"}, "sweep again")
    refused({"weights_sha256": "0" * 64}, "pass --weights FILE")
    refused({"weights_sha256": None}, "pass --weights FILE")
    refused({"fingerprint": "0" * 64}, "cell.fingerprint")
    refused({"attack_settings": settings.replace("mse", "nothing")}, "nothing")
    refused({}, "samples must be 1..2", "--samples", "3")
    refused({"eps": -1}, "cell.eps")
    other = shipped_path("npt-mp", "compact", adversarial=True)
    refused({}, "has sha256", "--weights", str(other))
