"""Reliability checks: broken victims raise their flags, plain ones none; the command."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from typer.testing import CliRunner

from posebench.attacks import APGD, EOT, FGM
from posebench.benchmark.checks import of_victims
from posebench.benchmark.checks.findings import (
    CheckCell,
    Checked,
    Finding,
    checks_table,
    read_checks,
    write_check,
)
from posebench.benchmark.checks.run import trained_against
from posebench.benchmark.checks.self_test import broken, plain, plain_batch, plain_subject
from posebench.benchmark.checks.subject import Subject, TrainingAttack, joined
from posebench.benchmark.checks.suite import CHECKS, checks_find_faults, run_checks
from posebench.benchmark.cli.app import app
from posebench.benchmark.records.types import Weights
from posebench.cloud import Clouds
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Budget, Victim, VictimSpec
from posebench.module_victim import from_module
from posebench.victims.broken import Quantised
from tests.made_records import WHERE, made

# Foolbox imports scipy's old names.
pytestmark = pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")

PLAIN = from_module(plain, name="plain")
SUBJECT = Subject(PLAIN, plain_subject().batches, Budget(0.01), iterations=20)
"""Pairs one by one, as the command has them."""


def raised(subject: Subject, *numbers: int) -> dict[int, bool | None]:
    return {finding.number: finding.raised for finding in run_checks(subject, numbers)}


def test_the_self_test_passes_and_notices_a_blind_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks_find_faults(SUBJECT)[0] is False
    monkeypatch.setitem(CHECKS, 8, ("stochastic", lambda subject: (False, "blind")))
    blind, text = checks_find_faults(SUBJECT)
    assert blind
    assert text == "noisy does not raise stochastic"


def test_every_flag_has_a_paragraph_and_every_broken_victim_a_check() -> None:
    page = Path("docs/flags.md").read_text()
    headings = re.findall(r"^## (\d+) (\S+)$", page, re.MULTILINE)
    named = {number: flag for number, (flag, _) in CHECKS.items()}
    assert {int(number): flag for number, flag in headings} == named
    victims = broken(plain_subject())
    paragraphs = page.split("\n## ")[1:]
    (own,) = (each for each in paragraphs if each.startswith("11 "))
    assert all(name in own for name in victims)
    for paragraph in paragraphs:
        assert all(word in paragraph for word in ("**Raised if**", "**Means**", "**Do**"))


def test_a_misleading_gradient_raises_the_flags_of_attacks() -> None:
    """The output follows the pose, the gradient points the other way."""

    def backwards(pose: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        true = plain(pose, identity)
        return (2 * true).detach() - true

    victim = from_module(backwards, name="backwards")
    found = raised(replace(SUBJECT, victim=victim), 4, 6, 7)
    assert found == {4: True, 6: True, 7: True}


@pytest.mark.parametrize("name", ["mixing", "ordered"])
def test_a_victim_that_looks_at_its_batch_or_at_the_order_is_found(name: str) -> None:
    """Though every batch that the checks are given holds one pair."""
    victim, _ = broken(plain_subject())[name]
    assert raised(replace(SUBJECT, victim=victim), 13) == {13: True}
    assert raised(SUBJECT, 13) == {13: False}


def test_pairs_are_joined_in_smaller_batches_where_memory_runs_out() -> None:
    """With the same finding; where two pairs do not fit, none."""
    largest = 2

    def small(pose: Tensor, identity: Tensor) -> Tensor:
        if len(pose) > largest:
            torch.empty(2**60)  # refused by the allocator itself
        return plain(pose, identity)

    victim = from_module(small, name="small")
    assert raised(replace(SUBJECT, victim=victim), 13) == {13: False}
    mixing, _ = broken(plain_subject())["mixing"]
    assert raised(replace(SUBJECT, victim=type(mixing)(victim)), 13) == {13: True}
    largest = 1
    (finding,) = run_checks(replace(SUBJECT, victim=victim), (13,))
    assert (finding.raised, finding.detail) == (None, "too little memory for two pairs at once")


def test_want_of_memory_is_not_taken_for_a_victim_that_knows_no_float64() -> None:
    def large(pose: Tensor, identity: Tensor) -> Tensor:
        if pose.dtype == torch.float64:
            torch.empty(2**60)
        return plain(pose, identity)

    with pytest.raises(RuntimeError, match="memory"):
        raised(replace(SUBJECT, victim=from_module(large, name="large")), 7)


def test_the_order_of_a_pose_with_points_of_its_own_number_counts_too() -> None:
    def first(pose: Tensor, identity: Tensor) -> Tensor:
        return identity + 0.01 * pose[:, :1]

    def middle(pose: Tensor, identity: Tensor) -> Tensor:
        return identity + pose.mean(dim=1, keepdim=True)

    fewer = [b.with_pose(Clouds.dense(b.pose.points[:, :11])) for b in SUBJECT.batches]
    for function, wanted in ((first, True), (middle, False)):
        victim = from_module(function, name="free", point_counts="free")
        assert raised(replace(SUBJECT, victim=victim, batches=fewer), 13) == {13: wanted}


def test_joined_batches_are_padded_to_the_longest() -> None:
    short, long = (SUBJECT.batches[0], SUBJECT.batches[1])
    short = short.with_pose(Clouds.dense(short.pose.points[:, :7]))
    both = joined([short, long])
    assert both.pose.counts.tolist() == [7, 24]
    assert not both.pose.full
    assert torch.equal(both.pose.points[0, :7], short.pose.points[0])
    assert torch.equal(both.target.points[1], long.target.points[0])
    assert both.sample_ids.tolist() == [0, 1]


def test_what_a_file_cannot_hold_is_not_evaluated_as_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Digits beyond float32; and a file that is not what was written."""

    def fine(pose: Tensor, identity: Tensor) -> Tensor:
        return plain(pose, identity) + 0.01 * torch.sin(1e12 * pose)

    assert raised(SUBJECT, 14) == {14: False}
    wide = [of_victims.doubled(batch) for batch in SUBJECT.batches]
    victim = from_module(fine, name="fine")
    assert raised(replace(SUBJECT, victim=victim, batches=wide), 14) == {14: True}

    def rounded(path: Path, points: Tensor) -> None:
        np.save(path, (points.numpy() * 1e4).round().astype(np.float32) / 1e4)

    monkeypatch.setattr(of_victims, "store", rounded)
    assert raised(replace(SUBJECT), 14) == {14: True}


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

    subject = replace(SUBJECT, defense=Rounded(), iterations=5)
    (finding,) = run_checks(subject, (10,))
    assert finding.raised is False
    assert "straight-through" in finding.detail
    blind = replace(SUBJECT, victim=Quantised(PLAIN))
    assert raised(blind, 7) == {7: True}


@dataclass(frozen=True)
class Guarded:
    """Right inside a ball of ``radius`` metres RMS around the poses it knows, plain outside."""

    clean: Tensor
    radius: float
    spec: VictimSpec = PLAIN.spec

    def __call__(
        self, pose: Clouds, identity: Clouds, *, generator: Generator | None = None
    ) -> Clouds:
        away = (pose.points[:, None] - self.clean).square().mean(dim=(2, 3)).sqrt()
        nearest, index = away.min(dim=1)
        output = PLAIN(pose, identity)
        right = PLAIN(Clouds.dense(self.clean[index]), identity).points
        inside = (nearest <= self.radius * (1 + 1e-5))[:, None, None]
        return output.replace(torch.where(inside, right + 0 * output.points, output.points))


def test_weights_whose_robustness_ends_with_their_training_are_found() -> None:
    """Sound ones are not, whichever attack trained them; masked ones only against their own."""
    for name, steps in (("fgm", None), ("pgd", 5)):
        trained = TrainingAttack(name, 0.01, steps)
        assert raised(replace(SUBJECT, trained_against=trained), 15) == {15: False}
    masked, _ = broken(plain_subject())["first-step-masked"]
    by_fgm = replace(SUBJECT, victim=masked, trained_against=TrainingAttack("fgm", 0.01))
    assert raised(by_fgm, 15) == {15: True}
    by_pgd = replace(by_fgm, trained_against=TrainingAttack("pgd", 0.01, 5))
    assert raised(by_pgd, 15) == {15: False}
    assert raised(SUBJECT, 15) == {15: None}


def test_robustness_that_ends_at_the_eps_of_training_is_found() -> None:
    clean = torch.cat([batch.pose.points for batch in SUBJECT.batches])
    exact = [
        replace(b, target=Clouds.dense(plain(b.pose.points, b.identity.points) + 1e-3))
        for b in SUBJECT.batches
    ]
    trained = TrainingAttack("noise", 0.05)
    subject = replace(SUBJECT, batches=exact, trained_against=trained, iterations=2)
    guarded = replace(subject, victim=Guarded(clean, 0.05))
    assert raised(guarded, 15) == {15: True}
    wide = replace(subject, victim=Guarded(clean, 0.2))
    assert raised(wide, 15) == {15: False}


def test_the_attack_of_training_comes_from_the_recipe_of_the_weights() -> None:
    part = {"attack": "pgd", "eps": 0.05, "iterations": 7, "clean_share": 0.5}
    found = trained_against(Weights(recipe={"adversarial": part}))
    assert found == TrainingAttack("pgd", 0.05, 7)
    for recipe in (None, {}, {"adversarial": None}, {"adversarial": {"attack": 3, "eps": 1}}):
        assert trained_against(Weights(recipe=recipe)) is None


def test_two_surrogates_of_one_architecture_are_not_taken_for_each_other() -> None:
    """Their reprs are equal: nothing in them says which weights are inside."""
    surrogates = []
    for seed in (1, 2):
        layer = torch.nn.Linear(3, 3)
        draws = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))
        layer.load_state_dict({"weight": draws, "bias": torch.zeros(3)})
        module = torch.nn.Module()
        module.layer = layer
        module.forward = lambda pose, identity, layer=layer: identity + layer(pose)  # type: ignore[method-assign]
        surrogates.append(from_module(module, name="twin"))
    assert repr(surrogates[0]) == repr(surrogates[1])
    found = [SUBJECT.attacked(APGD(Budget(0.01), iterations=3), each)[1] for each in surrogates]
    assert not torch.equal(*found)


@pytest.mark.parametrize("budget", [Budget(0.0), Budget(0.1, "drop")])
def test_checks_refuse_budgets_without_a_distance(budget: Budget) -> None:
    with pytest.raises(InputError, match="a ball, of a radius above 0"):
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
    subject = replace(SUBJECT, victim=victim)
    assert raised(subject, 1) == {1: False}
    before = len(calls)
    assert raised(subject, 1) == {1: False}
    assert len(calls) == before
    assert (repr(FGM(Budget(0.01), objective="pmd")), 0) in subject.found
    assert replace(subject, seed=1).found == {}


CELL = CheckCell(
    victim="npt", training="clean", weights_sha256="0" * 64, defense=None, defense_settings=None,
    surrogate="gct", task="anny/seen", fingerprint=None, samples=4, eps=0.1, norm="l2",
    iterations=20, seed=0,
)  # fmt: skip


def test_findings_are_written_read_and_shown(tmp_path: Path) -> None:
    findings = [
        Finding(8, "stochastic", False, "no"),
        Finding(15, "seen-in-training", True, "fgm 1.0, others 9.0"),
    ]
    write_check(tmp_path / "one.json", CELL, findings, WHERE)
    assert read_checks(tmp_path) == {Checked("0" * 64, None, "l2", "pmd"): ["seen-in-training"]}
    (row,) = checks_table(tmp_path)[2:]
    assert row == "| npt | clean | none | 0.1 l2 | 4 | seen-in-training | - | - | - |"
    content = json.loads((tmp_path / "one.json").read_text())
    for key, value in (("schema", "other"), ("cell", {}), ("findings", [{"number": 1}])):
        (tmp_path / "one.json").write_text(json.dumps(content | {key: value}))
        with pytest.raises(InputError, match=rf"one\.json: {key}"):
            read_checks(tmp_path)


def test_flags_of_checks_stand_beside_records_of_their_weights() -> None:
    """Those that speak of attacks only beside attacks of the same norm and metric."""
    from posebench.benchmark.reports.build import with_check_flags

    raised = ["seen-in-training", "batch-dependent"]
    flags = {Checked("0" * 64, None, "l2", "pmd"): raised}
    mine, other = made(weights_sha256="0" * 64), made(weights_sha256="1" * 64)
    clean = made(weights_sha256="0" * 64, attack=None)
    aligned = made(weights_sha256="0" * 64, metric="pmd_aligned")
    several = [mine, other, clean, aligned]
    found = [set(each.flags) for each in with_check_flags(several, flags)]
    assert found[0] == {*mine.flags, "seen-in-training", "batch-dependent"}
    assert found[1] == {*other.flags}
    assert found[2] == {*clean.flags, "batch-dependent"}
    assert found[3] == {*aligned.flags, "batch-dependent"}


@pytest.fixture
def fake_checks(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """One quick check in the place of all; whether it raises follows the dictionary."""
    answer = {"raised": True}
    for number in list(CHECKS):
        monkeypatch.delitem(CHECKS, number)
    monkeypatch.setitem(CHECKS, 7, ("gradient-wrong", lambda subject: (answer["raised"], "x 1")))
    return answer


def test_the_command_prints_writes_and_exits_with_one_when_raised(
    tmp_path: Path, fake_checks: dict[str, bool]
) -> None:
    words = ["check", "--victim", "npt-mp", "--samples", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    assert "raised: gradient-wrong (docs/flags.md)" in done.output
    names = {path.name for path in tmp_path.glob("*.json")}
    trainings = ("clean", "adversarial", "robust")
    assert names == {f"npt-mp-compact-{training}.json" for training in trainings}
    assert list(read_checks(tmp_path).values()) == [["gradient-wrong"]] * 3
    fake_checks["raised"] = False
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "raised: none" in done.output
    assert list(read_checks(tmp_path).values()) == [[]] * 3


def test_the_command_runs_a_real_check_on_shipped_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Number 13, on one batch of both pairs."""
    for number in set(CHECKS) - {13}:
        monkeypatch.delitem(CHECKS, number)
    words = ["check", "--victim", "npt-mp", "--samples", "2", "--defense", "sor"]
    done = CliRunner().invoke(app, words)
    assert "among 2 pairs" in " ".join(done.output.split())
    assert done.exit_code == ("raised: batch-dependent" in done.output)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("--eps nan", "finite number"),
        ("--samples 1", "at least 2 pairs"),
        ("--iterations 0", "at least 1"),
        ("--norm drop --eps 0.1", "a ball, of a radius above 0"),
        ("--defense nothing", "unknown defence"),
        ("--size tiny", "no weights"),
        ("--task smpl-npt/seen --data nowhere", "nowhere"),
    ],
)
def test_the_command_refuses_what_cannot_be_checked(bad: str, text: str) -> None:
    result = CliRunner().invoke(app, ["check", "--victim", "npt-mp", *bad.split()])
    assert isinstance(result.exception, InputError)
    assert text in str(result.exception)
