"""One ``posebench run``: settings to cells to records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from posebench.attacks import ATTACKS, make_attack
from posebench.benchmark.data.anny import parse_task
from posebench.benchmark.data.dataset_pairs import load_dataset_task
from posebench.benchmark.data.datasets import DATASET_TASKS
from posebench.benchmark.evaluation.access import seen_by_attack
from posebench.benchmark.evaluation.cells import VictimSource
from posebench.benchmark.evaluation.devices import resolve_device
from posebench.benchmark.evaluation.harness import evaluate_sweep
from posebench.benchmark.evaluation.memory import halving
from posebench.benchmark.records.store import Record, write_record
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.files import check_writable
from posebench.interfaces import Attack, Budget, Norm, Unit
from posebench.registry import unknown
from posebench.victims import SIZES, VICTIMS, PoseTransferNetwork, load_victim, read_weights
from posebench.victims.weights import shipped_path, weights_fingerprint

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


TRAININGS = ("clean", "adversarial", "noise")
"""What a card may call the training of its weights; see ``card.training_name``."""


@dataclass(frozen=True)
class RunSettings:
    """The options of ``posebench run``, as given."""

    victim: str
    weights: Path | None
    attack: str
    eps: Sequence[float]
    iterations: int | None
    eps_unit: str
    norm: str | None
    defense: str
    access: str | None
    surrogate: str | None
    task: str
    samples: int
    batch_size: int
    size: str
    seed: int
    device: str
    out: Path


@dataclass(frozen=True)
class CellResult:
    """A record, where it was written and how long it took (a sweep's time shared evenly)."""

    record: Record
    path: Path
    seconds: float


def run_cells(settings: RunSettings, bar: Progress) -> list[CellResult]:
    """Evaluate the victim's clean weights and, where shipped, its adversarially trained ones.

    Everything that can be wrong with the settings is found before the first forward.
    """
    settings = with_defaults(settings)
    attacks, options = evaluation_arguments(settings)
    device = resolve_device(settings.device)
    networks = find_networks(settings.victim, settings.weights, settings.size)
    seen_by_attack(  # refuses bad access
        networks[0][0], options["defense"], options["access"], options["surrogate"]
    )
    check_writable(settings.out)
    if settings.task in DATASET_TASKS:
        job = bar.add_task("reading meshes", total=None)
        data = load_dataset_task(
            settings.task, samples=settings.samples, progress=partial(bar.advance, job)
        )
        options["vertices"] = data.vertices
    results = []
    for network, source in networks:
        label = f"{network.spec.title}, {source.training} training"
        job = bar.add_task(label, total=settings.samples * len(attacks))
        started = time.monotonic()
        evaluate = partial(
            evaluate_on,
            device,
            network,
            attacks,
            source=source,
            progress=partial(bar.advance, job),
            **options,
        )
        size = min(settings.batch_size, settings.samples)
        records = halving(partial(afresh, bar, job, evaluate), size)
        seconds = (time.monotonic() - started) / len(records)
        results += [CellResult(r, write_record(settings.out, r), seconds) for r in records]
    return results


def afresh(
    bar: Progress, job: TaskID, evaluate: Callable[..., list[Record]], batch_size: int
) -> list[Record]:
    """``evaluate(batch_size=batch_size)`` with its progress from zero."""
    bar.reset(job)
    return evaluate(batch_size=batch_size)


def evaluation_arguments(settings: RunSettings) -> tuple[list[Attack | None], dict[str, Any]]:
    """Attacks, and the options that ``evaluate_sweep`` and ``plan_evaluation`` share.

    The vertices are those of the size, which a data set's own replace.

    Raises:
        InputError: any setting that cannot be, but the weights and what an access lacks.
    """
    if settings.size not in SIZES:
        raise unknown("size", settings.size, SIZES)
    if settings.task not in DATASET_TASKS:
        parse_task(settings.task)
    unit, norm = cast(Unit, settings.eps_unit), cast(Norm, settings.norm)
    budgets = [Budget(eps, norm, unit) for eps in settings.eps]
    attacks: list[Attack | None] = [None]
    if settings.attack == "none" and settings.iterations is not None:
        raise InputError("--iterations needs an attack")
    if settings.defense == "none" and settings.access == "adaptive":
        raise InputError("access 'adaptive' needs a defence: without one there is only one access")
    if settings.attack != "none":
        attacks = [make_attack(settings.attack, b, settings.iterations) for b in budgets]
    surrogate = None
    if settings.surrogate is not None:
        surrogate = load_victim(settings.surrogate, size=settings.size)[0]
    return attacks, {
        "defense": None if settings.defense == "none" else DEFENSES[settings.defense](),
        "task": settings.task,
        "access": settings.access or "oblivious",
        "surrogate": surrogate,
        "samples": settings.samples,
        "vertices": SIZES[settings.size].vertices,
        "seed": settings.seed,
    }


def evaluate_on(
    device: str, network: PoseTransferNetwork, attacks: list[Attack | None], **options: Any
) -> list[Record]:
    """``evaluate_sweep`` with the victim and its surrogate on a device."""
    if options["surrogate"] is not None:
        options["surrogate"] = options["surrogate"].to(device)
    network = network.to(device, torch.float32)
    return evaluate_sweep(network, attacks, device=device, **options)


def with_defaults(settings: RunSettings) -> RunSettings:
    """Norm, access and surrogate filled in where they follow from the attack's name."""
    name, access, surrogate = settings.attack, settings.access, settings.surrogate
    norm = settings.norm or (name if name in ("drop", "add") else "l2")
    if name == "transfer":
        access = access or "transfer"
        surrogate = surrogate or ("gct" if settings.victim != "gct" else "npt")
    return replace(settings, norm=norm, access=access, surrogate=surrogate)


def sweeps_of(results: list[CellResult]) -> dict[str, list[Record]]:
    """Training -> its records in the order of their eps."""
    found: dict[str, list[Record]] = {}
    for result in results:
        cell = result.record["cell"]
        found.setdefault(f"{cell['victim']}, {cell['training']} training", []).append(result.record)
    return found


def find_networks(
    victim: str, weights: Path | None, size: str
) -> list[tuple[PoseTransferNetwork, VictimSource]]:
    """The networks to evaluate: a given file, or all shipped trainings of the victim."""
    if victim not in VICTIMS:
        VICTIMS[victim]  # raises with a suggestion
    if weights is not None:
        return [with_source(*load_victim(victim, weights=weights))]
    found = [with_source(*load_victim(victim, size=size))]
    if shipped_path(victim, size, adversarial=True).is_file():
        found.append(with_source(*load_victim(victim, size=size, adversarial=True)))
    return found


def with_source(
    network: PoseTransferNetwork, path: Path
) -> tuple[PoseTransferNetwork, VictimSource]:
    """A network and where its weights came from: its size by its width, the rest as a card tells.

    A card is a stranger's text, and the training becomes part of a file name: an unknown one
    reads "given".
    """
    header = read_weights(path) if path.suffix == ".safetensors" else None
    training, recipe = "imported", None
    if header is not None:
        card = header.get("card")
        card = card if isinstance(card, dict) else {}
        training = card.get("training", "given")
        training = training if training in TRAININGS else "given"
        recipe = card["recipe"] if isinstance(card.get("recipe"), dict) else None
    sizes = [name for name, size in SIZES.items() if size.width == network.width]
    return network, VictimSource(
        size=sizes[0] if sizes else None,
        training=training,
        recipe=recipe,
        network=network.settings(),
        weights_sha256=weights_fingerprint(path),
    )


def draw_picture(
    victims: list[str], attack: str, eps: float, *, task: str, sample: int, size: str, out: Path
) -> None:
    """One row of panels per victim and training whose weights are shipped."""
    from posebench.benchmark.reports.pictures import draw_rows, sample_panels

    if size not in SIZES:
        raise unknown("size", size, SIZES)
    if sample < 0:
        raise InputError(f"sample must be 0 or more, got {sample}")
    if out.suffix not in (".png", ".pdf"):
        raise InputError(f"{out}: must end in .png or .pdf")
    made = ATTACKS[attack](Budget(eps))
    check_writable(out.parent)
    rows = []
    for name in victims:
        for adversarial in (False, True):
            if adversarial and not shipped_path(name, size, adversarial=True).is_file():
                continue
            network, _ = load_victim(name, size=size, adversarial=adversarial)
            vertices = SIZES[size].vertices
            panels = sample_panels(network, made, task=task, sample=sample, vertices=vertices)
            training = "adversarially trained" if adversarial else "cleanly trained"
            rows.append((f"{network.spec.title}\n{training}", panels))
    draw_rows(rows, out)
