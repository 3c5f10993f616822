"""One ``posebench check``: settings to subjects to findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from posebench.attacks.gradient import network_of
from posebench.benchmark.checks.findings import CheckCell, Finding, write_check
from posebench.benchmark.checks.subject import Subject, TrainingAttack
from posebench.benchmark.checks.suite import CHECKS, run_checks
from posebench.benchmark.data.datasets import load_task, task_vertices
from posebench.benchmark.data.task import PairTask, check_truth
from posebench.benchmark.evaluation.devices import resolve_device
from posebench.benchmark.evaluation.settings import (
    NONE,
    EvaluationSettings,
    checked,
    surrogate_for,
)
from posebench.benchmark.evaluation.sources import (
    Source,
    adversarial_part,
    find_networks,
    load_surrogate,
)
from posebench.benchmark.records.environment import environment
from posebench.benchmark.records.types import Weights
from posebench.errors import InputError
from posebench.files import check_writable
from posebench.interfaces import Budget, Victim
from posebench.norms import Norm
from posebench.threats import HEADLINE, threat_of
from posebench.victims import SIZES
from posebench.victims.wrappers import any_count

if TYPE_CHECKING:
    from rich.progress import Progress

STEPS = 50
"""Gradient steps of APGD and PGD unless settings say otherwise."""

MARKS = {True: "[bold red]raised[/]", False: "ok", None: "[dim]-[/]"}


@dataclass(frozen=True)
class CheckSettings:
    """The options of ``posebench check``.

    Attributes:
        evaluation: what is checked, at one eps. Its surrogate is for transfer; the checks choose
            attacks and accesses themselves.
        device: "auto" or one of torch's.
        out: folder of the findings; None writes none.
    """

    evaluation: EvaluationSettings
    device: str = "auto"
    out: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """Settings made ready: what all networks of one command share."""

    asked: EvaluationSettings
    pairs: PairTask
    surrogate: Victim
    surrogate_name: str
    device: str


def check_weights(settings: CheckSettings, bar: Progress) -> bool:
    """Check a given weights file or all shipped ones; print and write findings; any flag raised?

    Raises:
        InputError: bad settings, found before the first forward.
    """
    prepared = prepare(settings)
    asked = prepared.asked
    sources = find_networks(asked.victim, asked.weights, asked.size, asked.regime)
    if settings.out is not None:
        check_writable(settings.out)
    raised = False
    for source in sources:
        subject = subject_of(prepared, source)
        job = bar.add_task(source.label, total=len(CHECKS))
        findings = []
        for finding in run_checks(subject):
            findings.append(finding)
            bar.advance(job)
        print_findings(source.label, asked, findings)
        raised |= any(finding.raised for finding in findings)
        if settings.out is not None:
            write_findings(settings.out, prepared, source, findings)
    return raised


def prepare(settings: CheckSettings) -> Prepared:
    """Everything but the victims, loaded.

    Raises:
        InputError: settings that cannot be, or that checks cannot use.
    """
    asked = settings.evaluation
    if asked.samples < 2:
        raise InputError(f"checks need at least 2 pairs, got {asked.samples}")
    if len(asked.eps) != 1:
        raise InputError(f"checks are made at one eps, got {len(asked.eps)}")
    steps = STEPS if asked.iterations is None else asked.iterations
    name = asked.surrogate or surrogate_for(asked.victim)
    asked = checked(replace(asked, attack="apgd", iterations=steps, surrogate=None))
    budget = Budget(asked.eps[0], cast(Norm, asked.norm))
    if asked.objective not in (None, "pmd", "aligned"):
        raise InputError(f"checks judge by pmd or aligned, not by {asked.objective}")
    if budget.is_share or budget.norm == "smooth" or budget.eps == 0:
        raise InputError("checks need a budget that is a ball, of a radius above 0")
    device = resolve_device(settings.device)
    vertices = task_vertices(asked.task, SIZES[asked.size].vertices, samples=asked.samples)
    pairs = load_task(asked.task, samples=asked.samples, vertices=vertices)
    check_truth(pairs, "checks")
    surrogate = load_surrogate(name, asked.size)
    if not pairs.keeps_count:
        surrogate = surrogate.any_count()
    return Prepared(asked, pairs, moved(surrogate.victim, device), name, device)


def moved(victim: Victim, device: str) -> Victim:
    """A victim whose network is on a device, in float32."""
    network = network_of(victim)
    if network is not None:
        network.to(device, torch.float32)
    return victim


def subject_of(prepared: Prepared, source: Source) -> Subject:
    """One network as checks look at it."""
    asked, pairs = prepared.asked, prepared.pairs
    victim: Victim = source.network if pairs.keeps_count else any_count(source.network)
    # One pair at a time: attacks on a random defence need it, and memory stays small.
    ids = torch.arange(asked.samples).split(1)
    return Subject(
        victim=moved(victim, prepared.device),
        batches=[pairs.batch(each).to(prepared.device) for each in ids],
        budget=Budget(asked.eps[0], cast(Norm, asked.norm)),
        defense=asked.made_defense(),
        surrogate=prepared.surrogate,
        trained_against=trained_against(source.weights),
        iterations=asked.iterations or STEPS,
        objective=asked.objective or "pmd",
        seed=asked.seed,
    )


def trained_against(weights: Weights) -> TrainingAttack | None:
    """The attack of the adversarial part of the recipe behind some weights, if known."""
    part = adversarial_part(weights.recipe) or {}
    name, eps, steps = (part.get(key) for key in ("attack", "eps", "iterations"))
    if not isinstance(name, str) or not isinstance(eps, (int, float)):
        return None
    steps = steps if isinstance(steps, int) else None
    if part.get("threat") is None:
        return TrainingAttack(name, float(eps), steps)
    # Threat models of training cap the vertices; n-fgm is FGM from noise, and is FGM outside.
    return TrainingAttack("fgm" if name == "n-fgm" else name, float(eps), steps, "l2_vertex")


def write_findings(
    folder: Path, prepared: Prepared, source: Source, findings: Sequence[Finding]
) -> None:
    """One file of findings; its name says victim, size, training and defence."""
    asked, weights, defense = prepared.asked, source.weights, prepared.asked.made_defense()
    cell = CheckCell(
        victim=asked.victim,
        training=weights.training,
        weights_sha256=weights.sha256,
        defense=None if defense is None else asked.defense,
        defense_settings=None if defense is None else repr(defense),
        surrogate=prepared.surrogate_name,
        task=prepared.pairs.name,
        fingerprint=prepared.pairs.fingerprint,
        samples=asked.samples,
        eps=asked.eps[0],
        norm=cast(Literal["l2", "linf", "l2_vertex"], asked.norm),
        iterations=asked.iterations or STEPS,
        seed=asked.seed,
        objective="aligned" if asked.objective == "aligned" else "pmd",
    )
    end = "" if defense is None else f"-{asked.defense}"
    metric = "pmd_aligned" if cell.objective == "aligned" else "pmd"
    threat = threat_of(Budget(asked.eps[0], cast(Norm, asked.norm)), metric)
    end += f"-{threat.name}" if threat is not None and threat.name in HEADLINE else ""
    file = f"{asked.victim}-{asked.size}-{weights.training}{end}.json"
    write_check(folder / file, cell, findings, environment(prepared.device))


def print_findings(label: str, asked: EvaluationSettings, findings: Sequence[Finding]) -> None:
    """One line per check."""
    defended = "" if asked.defense == NONE else f" behind {asked.defense}"
    title = f"{label}{defended}, eps {asked.eps[0]:g} {asked.norm}, {asked.samples} pairs"
    table = Table(box=box.SIMPLE_HEAD, title=title)
    for name in ("", "flag", "", "what was found"):
        table.add_column(name, overflow="fold", no_wrap=name == "flag")
    for finding in findings:
        mark = MARKS[finding.raised]
        table.add_row(str(finding.number), finding.flag, mark, finding.detail)
    console = Console()
    console.print(table)
    flags = [finding.flag for finding in findings if finding.raised]
    console.print(f"raised: {', '.join(flags) or 'none'} (docs/flags.md)")
