"""From recipe to weights, card, learning curve and log in one folder; or many folders in a row."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from posebench.attacks import FGM, PGD
from posebench.benchmark.anny import TASKS
from posebench.benchmark.body import body_fingerprint
from posebench.benchmark.checkpoint import stored_recipe
from posebench.benchmark.distributed import average_over_ranks, process_group, rank_and_world
from posebench.benchmark.harness import TRAINED_FACTOR, evaluate
from posebench.benchmark.recipes import TrainingRun
from posebench.benchmark.record import environment
from posebench.benchmark.runs import resolve_device
from posebench.benchmark.training import Progress, Recipe, Trained, seconds_per_step, train
from posebench.errors import InputError
from posebench.files import check_writable, write_atomically
from posebench.interfaces import Attack, Budget
from posebench.victims import SIZES, PoseTransferNetwork, load_victim, write_weights
from posebench.victims.weights import weights_fingerprint

if TYPE_CHECKING:
    import rich.progress

TARGET_PMD = 5e-4
"""Clean PMD on anny/seen that shipped weights aim at, square metres."""

CARD_SAMPLES = 64
"""Test pairs per split on a card."""

CARD_ATTACKS: tuple[Attack, ...] = (
    FGM(Budget(0.02)),
    FGM(Budget(0.08)),
    PGD(Budget(0.02), start=0.0),
    PGD(Budget(0.08), start=0.0),
)
"""What adversarially trained weights are tried with; FGM alone would flatter them."""

CARD_ATTACK_SAMPLES = 32
"""Pairs of anny/seen per attack on a card."""

OVERFITTED = 2.0
"""PGD against its own best during training by this factor is catastrophic overfitting."""

TRAINING_TIME = 0.85
"""Share of a budget that steps are planned for; the rest is for slow moments and the card."""

UNITS = {"s": 1, "m": 60, "h": 3600}

WEIGHTS, CARD, LOG = "weights.safetensors", "card.md", "log.jsonl"


@dataclass(frozen=True)
class TrainOptions:
    """How to train, as opposed to what: none of this is part of a recipe.

    Attributes:
        device: "auto" or a torch device.
        threads: of the CPU; 0 leaves torch's choice.
        compiled: run the network through torch.compile.
        budget: seconds for everything asked for; None for as long as it takes.
    """

    device: str = "auto"
    threads: int = 0
    compiled: bool = False
    budget: float | None = None


def train_runs(
    runs: list[TrainingRun], out: Path, options: TrainOptions, bar: rich.progress.Progress
) -> list[Path]:
    """Train or resume one run after another, each in its folder below ``out``.

    A budget is dealt evenly over the runs that are not finished. Returns the weights' paths.
    """
    began, paths = time.monotonic(), []
    for number, run in enumerate(runs):
        share = None
        if options.budget is not None:
            left = options.budget - (time.monotonic() - began)
            share = max(left, 0.0) / (len(runs) - number)
        start = None if run.start is None else out / run.start / WEIGHTS
        path = train_one(run.recipe, out / run.name, start, replace(options, budget=share), bar)
        paths.append(path)
    return paths


def train_one(
    recipe: Recipe,
    folder: Path,
    start: Path | None,
    options: TrainOptions,
    bar: rich.progress.Progress,
) -> Path:
    """Train or resume, evaluate on every split, write weights, card and log.

    With a budget the number of steps is chosen so that they fit, from the measured time of a
    step; a run that is resumed keeps its number. Weights are written even if time runs out.
    Returns the weights' path.
    """
    began = time.monotonic()
    if options.threads < 0:
        raise InputError(f"threads must be 0 or more, got {options.threads}")
    if options.threads:
        torch.set_num_threads(options.threads)
    check_writable(folder)
    network = None
    if start is not None:
        network, _ = load_victim(recipe.victim, weights=start)
        if network.width != SIZES[recipe.size].width:
            raise InputError(f"weights {start}: of width {network.width}, not of {recipe.size}")
        recipe = replace(recipe, start=weights_fingerprint(start))
    path = folder / WEIGHTS
    with process_group(resolve_device(options.device)) as device:
        deadline = math.inf
        if options.budget is not None:
            deadline = began + options.budget * TRAINING_TIME
            recipe = planned(recipe, folder, deadline, device, compiled=options.compiled)
        made = environment(device)  # now: the tree may change while it trains
        job = bar.add_task(folder.name, total=recipe.steps)
        log = TrainingLog(folder / LOG)

        def report(progress: Progress) -> None:
            log.add(progress)
            text = f"{folder.name} loss {progress.loss * 1e4:.1f}e-4"
            if progress.attacked_loss:
                text += f", attacked {progress.attacked_loss * 1e4:.1f}e-4"
            text += f", {progress.samples_per_second:.0f}/s"
            bar.update(job, completed=progress.step, description=text)

        trained = train(
            recipe,
            folder,
            start=network,
            device=device,
            compile_network=options.compiled,
            report=report,
            deadline=deadline,
        )
        if rank_and_world()[0]:
            return path
        card = make_card(trained, recipe, log.rows, made, device=device, bar=bar)
        write_weights(path, trained.network, card)
        write_atomically(folder / CARD, card_text(recipe.victim, card))
        bar.console.print(f"weights {path}, card {folder / CARD}", soft_wrap=True)
    return path


def planned(
    recipe: Recipe, folder: Path, deadline: float, device: str, *, compiled: bool
) -> Recipe:
    """The recipe with as many steps as fit before the deadline, or as its checkpoint has."""
    if (stored := stored_recipe(folder)) is not None:
        return replace(recipe, steps=int(stored["steps"]))
    step = torch.tensor(seconds_per_step(recipe, device, compiled=compiled))
    average_over_ranks([step])  # all processes must plan the same
    fitting = int((deadline - time.monotonic()) / float(step))
    if fitting < 1:
        raise InputError(f"the budget ends before the first step of {folder.name}")
    return replace(recipe, steps=min(recipe.steps, fitting))


def seconds_of(text: str) -> float:
    """'90s', '25m', '1.5h' or plain seconds to seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"budget must be a time such as 90s, 25m or 2h, got {text!r}")
    return seconds


class TrainingLog:
    """One JSON line per report; lines that a resumed run makes again are replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.rows = [json.loads(line) for line in lines]

    def add(self, progress: Progress) -> None:
        """Append a report."""
        self.rows = [row for row in self.rows if row["step"] < progress.step]
        self.rows.append(asdict(progress))
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows)
        write_atomically(self.path, text)


def overfitted(rows: list[dict[str, Any]]) -> bool:
    """Catastrophic overfitting: PGD at the end far above its best during the run."""
    seen = [row["pgd"] for row in rows if row["pgd"] is not None]
    return bool(seen) and seen[-1] > OVERFITTED * min(seen)


def make_card(
    trained: Trained,
    recipe: Recipe,
    log: list[dict[str, Any]],
    made: dict[str, Any],
    *,
    device: str,
    bar: rich.progress.Progress,
) -> dict[str, Any]:
    """How the weights came about and what they are worth on every split."""
    network = trained.network
    splits = {}
    job = bar.add_task("evaluating", total=CARD_SAMPLES * len(TASKS))
    for task in TASKS:
        record = evaluate(
            network,
            task=task,
            samples=CARD_SAMPLES,
            vertices=SIZES[recipe.size].vertices,
            device=device,
            progress=lambda done: bar.advance(job, done),
        )
        metrics = record["metrics"]
        splits[task] = {
            "clean_pmd": metrics["clean_pmd"],
            "trivial": metrics["trivial"],
            "under_trained": "under-trained" in record["flags"],
            "fingerprint": record["cell"]["fingerprint"],
        }
    first = 0 if recipe.start is None else recipe.clean_steps
    card: dict[str, Any] = {
        "training": training_name(recipe),
        "recipe": asdict(recipe),
        "steps_done": trained.step,
        "samples_seen": (trained.step - first) * recipe.batch,
        "curve": [[step, loss] for step, loss in trained.curve],
        "data": body_fingerprint(),
        "splits": splits,
        "environment": made,
        "licence": "Apache-2.0",
    }
    if recipe.adversarial is not None:
        card["attacked"] = attacked_pmd(network, recipe, device=device, bar=bar)
        card["catastrophic_overfitting"] = overfitted(log)
    return card


def training_name(recipe: Recipe) -> str:
    """The training's name in tables: clean, adversarial, or noise for the augmentation baseline."""
    if recipe.adversarial is None or recipe.adversarial.clean_share == 1:
        return "clean"
    return "noise" if recipe.adversarial.attack == "noise" else "adversarial"


def attacked_pmd(
    network: PoseTransferNetwork, recipe: Recipe, *, device: str, bar: rich.progress.Progress
) -> dict[str, Any]:
    """PMD under every attack of ``CARD_ATTACKS`` on whole meshes of new identities."""
    job = bar.add_task("attacking", total=CARD_ATTACK_SAMPLES * len(CARD_ATTACKS))
    found = {}
    for attack in CARD_ATTACKS:
        record = evaluate(
            network,
            attack=attack,
            samples=CARD_ATTACK_SAMPLES,
            vertices=SIZES[recipe.size].vertices,
            device=device,
            progress=lambda done: bar.advance(job, done),
        )
        name = f"{type(attack).__name__.lower()} {attack.budget.eps:g}"
        found[name] = {"settings": repr(attack), "pmd": record["metrics"]["pmd"]}
    return found


def card_text(victim: str, card: dict[str, Any]) -> str:
    """The card as Markdown."""
    where = card["environment"]
    recipe = ", ".join(f"{key} {value}" for key, value in flat_recipe(card["recipe"]).items())
    steps = card["recipe"]["steps"]
    stopped = "" if card["steps_done"] == steps else f" Stopped after step {card['steps_done']}."
    lines = [
        f"# {victim}, {card['recipe']['size']}, {card['training']} training",
        "",
        f"- Recipe: {recipe}; {card['samples_seen']:,} pairs seen.{stopped}",
        f"- Data: embedded body {card['data'][:16]}..., 16 identities x 400 poses.",
        f"- Made at commit {where['commit']}{' with changes' if where['dirty'] else ''} on "
        f"{where['device_name']} ({where['device']}, {where['threads']} threads), torch "
        f"{where['torch']}.",
        f"- Licence: {card['licence']}.",
        "",
        f"Clean PMD x1e-4 on {CARD_SAMPLES} pairs of new identities, whole meshes:",
        "",
        "| split | PMD [95 %] | copy-pose | copy-identity | mean-mesh | |",
        "|---|---|---|---|---|---|",
    ]
    for task, split in card["splits"].items():
        low, high = split["clean_pmd"]["ci95"]
        trivial = " | ".join(f"{v * 1e4:.1f}" for v in split["trivial"].values())
        note = "under-trained" if split["under_trained"] else ""
        mean = split["clean_pmd"]["mean"]
        value = f"{mean * 1e4:.2f} [{low * 1e4:.2f}, {high * 1e4:.2f}]"
        lines.append(f"| {task} | {value} | {trivial} | {note} |")
    if "attacked" in card:
        pmds = ", ".join(
            f"{name} {found['pmd']['mean'] * 1e4:.1f}" for name, found in card["attacked"].items()
        )
        lines += ["", f"Attacked PMD x1e-4, {CARD_ATTACK_SAMPLES} pairs of anny/seen: {pmds}."]
        if card["catastrophic_overfitting"]:
            lines += ["", "Catastrophic overfitting: PGD grew during training, see the log."]
    seen = card["splits"]["anny/seen"]["clean_pmd"]["mean"]
    if seen > TARGET_PMD:
        lines += ["", f"Aim not reached: at most {TARGET_PMD * 1e4:g}e-4 on anny/seen."]
    lines += [
        "",
        f"Under-trained: does not beat every trivial answer by a factor of {TRAINED_FACTOR:g}.",
        "",
        "Learning curve (step: training loss x1e-4):",
        "",
        ", ".join(
            f"{s}: {v * 1e4:.1f}" for s, v in card["curve"][:: max(1, len(card["curve"]) // 20)]
        ),
        "",
    ]
    return "\n".join(lines)


def flat_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe's settings in one level, unset ones left out."""
    inner = recipe.get("adversarial") or {}
    flat = {**{k: v for k, v in recipe.items() if k != "adversarial"}, **inner}
    return {key: value for key, value in flat.items() if value is not None}
