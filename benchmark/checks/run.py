"""One ``posebench check``: settings to subjects to findings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from posebench.benchmark.checks.subject import Subject
from posebench.benchmark.checks.suite import CHECKS, Finding, run_checks, write_check
from posebench.benchmark.data.datasets import load_task, task_vertices
from posebench.benchmark.evaluation.cells import VictimSource
from posebench.benchmark.records.environment import environment
from posebench.benchmark.runs.run import find_networks, resolve_device
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.files import check_writable
from posebench.interfaces import Budget, Victim
from posebench.norms import Norm
from posebench.registry import unknown
from posebench.victims import SIZES, load_victim
from posebench.victims.wrappers import any_count

if TYPE_CHECKING:
    from rich.progress import Progress

MARKS = {True: "[bold red]raised[/]", False: "ok", None: "[dim]-[/]"}


@dataclass(frozen=True)
class CheckSettings:
    """The options of ``posebench check``, as given."""

    victim: str
    weights: Path | None
    eps: float
    norm: str
    defense: str
    surrogate: str | None
    task: str
    samples: int
    iterations: int
    size: str
    seed: int
    device: str
    out: Path | None


def check_weights(settings: CheckSettings, bar: Progress) -> bool:
    """Check a given weights file or all shipped ones; print and write findings; any flag raised?

    Raises:
        InputError: bad settings, found before the first forward.
    """
    if settings.size not in SIZES:
        raise unknown("size", settings.size, SIZES)
    if settings.samples < 2:
        raise InputError(f"checks need at least 2 pairs, got {settings.samples}")
    if settings.iterations < 1:
        raise InputError(f"iterations must be at least 1, got {settings.iterations}")
    budget = Budget(settings.eps, cast(Norm, settings.norm))
    if budget.counts_points or budget.eps == 0:
        raise InputError("checks need a budget that is a distance above 0")
    defense = None if settings.defense == "none" else DEFENSES[settings.defense]()
    device = resolve_device(settings.device)
    name = settings.surrogate or ("gct" if settings.victim != "gct" else "npt")
    surrogate: Victim = load_victim(name, size=settings.size)[0].to(device)
    usual = SIZES[settings.size].vertices
    vertices = task_vertices(settings.task, usual, samples=settings.samples)
    pairs = load_task(settings.task, samples=settings.samples, vertices=vertices)
    if not pairs.keeps_count:
        surrogate = any_count(surrogate)
    networks = find_networks(settings.victim, settings.weights, settings.size)
    if settings.out is not None:
        check_writable(settings.out)
    # One pair at a time: attacks on a random defence need it, and memory stays small.
    batches = [pairs.batch(ids).to(device) for ids in torch.arange(settings.samples).split(1)]
    raised = False
    for network, source in networks:
        victim: Victim = network.to(device, torch.float32)
        if not pairs.keeps_count:
            victim = any_count(victim)
        subject = Subject(
            victim=victim,
            batches=batches,
            budget=budget,
            defense=defense,
            surrogate=surrogate,
            trained_against=trained_against(source),
            iterations=settings.iterations,
            seed=settings.seed,
        )
        label = f"{network.spec.title}, {source.training} training"
        job = bar.add_task(label, total=len(CHECKS))
        findings = []
        for finding in run_checks(subject):
            findings.append(finding)
            bar.advance(job)
        print_findings(label, settings, findings)
        raised |= any(finding.raised for finding in findings)
        if settings.out is not None:
            cell = {
                "victim": settings.victim,
                "training": source.training,
                "weights_sha256": source.weights_sha256,
                "defense": None if defense is None else settings.defense,
                "defense_settings": None if defense is None else repr(defense),
                "surrogate": name,
                "task": settings.task,
                "fingerprint": pairs.fingerprint,
                "samples": settings.samples,
                "eps": settings.eps,
                "norm": settings.norm,
                "iterations": settings.iterations,
                "seed": settings.seed,
            }
            end = "" if defense is None else f"-{settings.defense}"
            file = f"{settings.victim}-{settings.size}-{source.training}{end}.json"
            write_check(settings.out / file, cell, findings, environment(device))
    return raised


def trained_against(source: VictimSource) -> tuple[str, float] | None:
    """Attack and eps of the adversarial part of the recipe behind some weights, if known."""
    part: Any = (source.recipe or {}).get("adversarial")
    if not isinstance(part, dict) or not isinstance(part.get("attack"), str):
        return None
    eps = part.get("eps")
    return (part["attack"], float(eps)) if isinstance(eps, (int, float)) else None


def print_findings(label: str, settings: CheckSettings, findings: list[Finding]) -> None:
    """One line per check."""
    defended = "" if settings.defense == "none" else f" behind {settings.defense}"
    title = f"{label}{defended}, eps {settings.eps:g} {settings.norm}, {settings.samples} pairs"
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
