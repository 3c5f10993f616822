"""Reliability checks: broken victims raise their flags, plain ones none; the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator
from typer.testing import CliRunner

from posebench.attacks import EOT, FGM
from posebench.benchmark.checks.findings import checks_table
from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.checks.suite import (
    BROKEN,
    CHECKS,
    plain,
    plain_batch,
    read_checks,
    run_checks,
    self_test,
    write_check,
)
from posebench.benchmark.cli.app import app
from posebench.benchmark.reports.build import with_check_flags
from posebench.cloud import Clouds
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Budget, Victim, VictimSpec
from posebench.module_victim import from_module
from posebench.victims.broken import Quantised
from tests.made_records import made

# Foolbox imports scipy's old names.
pytestmark = pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")

PLAIN = from_module(plain, name="plain")
SUBJECT = Subject(PLAIN, [plain_batch()], Budget(0.01), iterations=20)


def raised(subject: Subject, *numbers: int) -> dict[int, bool | None]:
    return {finding.number: finding.raised for finding in run_checks(subject, numbers)}


def test_the_self_test_passes_and_notices_a_blind_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_test()[0] is False
    monkeypatch.setitem(CHECKS, 8, ("stochastic", lambda subject: (False, "blind")))
    blind, text = self_test()
    assert blind
    assert text == "noisy does not raise stochastic"


def test_every_flag_has_a_paragraph_and_every_broken_victim_a_check() -> None:
    page = Path("docs/flags.md").read_text()
    headings = re.findall(r"^## (\d+) (\S+)$", page, re.MULTILINE)
    named = {number: flag for number, (flag, _) in CHECKS.items()}
    assert {int(number): flag for number, flag in headings} == named
    assert len(BROKEN) == 6
    for paragraph in page.split("\n## ")[1:]:
        assert all(word in paragraph for word in ("**Raised if**", "**Means**", "**Do**"))


def test_a_misleading_gradient_raises_the_flags_of_attacks() -> None:
    """The output follows the pose, the gradient points the other way."""

    def backwards(pose: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        true = plain(pose, identity)
        return (2 * true).detach() - true

    victim = from_module(backwards, name="backwards")
    found = raised(replace(SUBJECT, victim=victim, found={}), 4, 6, 7)
    assert found == {4: True, 6: True, 7: True}


def test_a_victim_that_looks_at_its_batch_or_at_the_order_is_found() -> None:
    def batched(pose: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        return plain(pose, identity) + 0.01 * pose.mean(dim=(0, 1), keepdim=True)

    def ordered(pose: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        return plain(pose, identity) + 0.01 * pose[:, :1]

    for function in (batched, ordered):
        victim = from_module(function, name="bad")
        assert raised(replace(SUBJECT, victim=victim, found={}), 13) == {13: True}
    assert raised(SUBJECT, 13) == {13: False}


def test_an_unchanging_victim_survives_anything() -> None:
    def saturated(pose: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        return identity + 0.02 * torch.tanh(pose)

    victim = from_module(saturated, name="saturated")
    batch = plain_batch()
    target = Clouds.dense(saturated(batch.pose.points, batch.identity.points))
    subject = Subject(victim, [replace(batch, target=target)], Budget(0.01), iterations=5)
    assert raised(subject, 3) == {3: True}


@pytest.mark.parametrize("name", ["smooth", "sor"])
def test_defended_victims_are_checked_through_and_around_the_defence(name: str) -> None:
    batch = plain_batch(points=40)
    parts = [batch.select(slice(i, i + 1)) for i in range(2)]
    subject = Subject(PLAIN, parts, Budget(0.01), defense=DEFENSES[name](), iterations=4)
    found = raised(subject, 8, 9, 10)
    assert found[8] is (name == "smooth")
    assert (found[9] is None) == (name == "sor")
    assert isinstance(found[10], bool)
    assert isinstance(subject.seen, EOT) == (name == "smooth")


def test_a_defence_that_breaks_the_gradient_is_found() -> None:
    """Rounding in front of the victim: attacks through it see nothing, those around it everything.

    Straight through helps here, so the flag is not raised, and the oblivious number is the worst.
    """

    class Rounded:
        def __call__(self, pose: Clouds, *, generator: Generator | None = None) -> Clouds:
            return pose.replace((pose.points / 0.002).round() * 0.002)

    subject = replace(SUBJECT, defense=Rounded(), iterations=5, found={})
    (finding,) = run_checks(subject, (10,))
    assert finding.raised is False
    assert "straight-through" in finding.detail
    blind = replace(SUBJECT, victim=Quantised(PLAIN), found={})
    assert raised(blind, 7) == {7: True}


def test_training_against_the_checked_attack_is_said() -> None:
    assert raised(replace(SUBJECT, trained_against=("apgd", 0.1)), 15) == {15: True}
    assert raised(replace(SUBJECT, trained_against=("fgm", 0.1)), 15) == {15: False}


@pytest.mark.parametrize("budget", [Budget(0.0), Budget(0.1, "drop")])
def test_checks_refuse_budgets_without_a_distance(budget: Budget) -> None:
    with pytest.raises(InputError, match="distance above 0"):
        next(run_checks(replace(SUBJECT, budget=budget)))


def test_over_budget_and_attacks_are_shared_between_checks() -> None:
    calls = []

    class Counted:
        spec: VictimSpec = PLAIN.spec

        def __call__(
            self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
        ) -> Clouds:
            calls.append(1)
            return PLAIN(pose, identity)

    victim: Victim = Counted()
    subject = replace(SUBJECT, victim=victim, found={})
    assert raised(subject, 1) == {1: False}
    before = len(calls)
    assert raised(subject, 1) == {1: False}
    assert len(calls) == before
    assert repr(FGM(Budget(0.01))) in subject.found


def test_findings_are_written_read_and_shown_beside_their_weights(tmp_path: Path) -> None:
    findings = list(run_checks(replace(SUBJECT, trained_against=("apgd", 0.1)), (8, 15)))
    cell = {"weights_sha256": "0" * 64, "defense": None}
    write_check(tmp_path / "one.json", cell, findings, {"commit": "x"})
    flags = read_checks(tmp_path)
    key = ("0" * 64, None)
    assert flags == {key: ["seen-in-training"]}
    shown = {"victim": "npt", "training": "clean", "defense": None, "eps": 0.1, "samples": 4}
    write_check(tmp_path / "one.json", cell | shown, findings, {"commit": "x"})
    (row,) = checks_table(tmp_path)[2:]
    assert row == "| npt | clean | none | 0.1 | 4 | seen-in-training | - | - | - |"
    mine, other = made(weights_sha256="0" * 64), made(weights_sha256="1" * 64)
    clean = {**mine, "cell": {**mine["cell"], "attack": None}}
    flags[key].append("batch-dependent")
    flagged = with_check_flags([mine, other, clean], flags)
    assert flagged[0]["flags"] == [*mine["flags"], "seen-in-training", "batch-dependent"]
    assert flagged[1] == other
    assert flagged[2]["flags"] == [*mine["flags"], "batch-dependent"], "nothing about attacks"
    (tmp_path / "one.json").write_text(json.dumps({"schema": "other"}))
    with pytest.raises(InputError, match=r"one\.json"):
        read_checks(tmp_path)


def test_the_command_prints_writes_and_exits_with_one_when_raised(tmp_path: Path) -> None:
    words = "check --victim npt-mp --samples 2 --iterations 1 --size tiny"
    refused = CliRunner().invoke(app, words.split())
    assert refused.exit_code != 0  # no weights of that size are shipped
    for bad, text in (
        ("--eps nan", "finite number"),
        ("--samples 1", "at least 2 pairs"),
        ("--iterations 0", "at least 1"),
        ("--norm drop --eps 0.1", "distance above 0"),
        ("--defense nothing", "unknown defence"),
    ):
        result = CliRunner().invoke(app, ["check", "--victim", "npt-mp", *bad.split()])
        assert isinstance(result.exception, InputError)
        assert text in str(result.exception)
