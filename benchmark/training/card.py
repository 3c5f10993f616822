"""The card of trained weights: how they came about and what they are worth."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from posebench.attacks import FGM, PGD, attack_name
from posebench.benchmark.data.anny import TASKS
from posebench.benchmark.data.body import body_fingerprint
from posebench.benchmark.evaluation.harness import Execution, evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.benchmark.records.flags import TRAINED_FACTOR
from posebench.benchmark.records.form import plain
from posebench.benchmark.records.types import Environment
from posebench.benchmark.training.loop import Trained
from posebench.benchmark.training.recipe import Recipe, flat_recipe
from posebench.interfaces import Attack, Budget
from posebench.victims import SIZES, PoseTransferNetwork

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

PAIRS = {
    None: "16 identities x 400 poses",
    "protocol": "16 identities x 400 poses",
    "open": "open regime: blends of 16 identities, poses and points drawn anew at every step",
}
"""What a recipe's regime trains on; None on cards older than regimes."""

OVERFITTED = 2.0
"""PGD against its own best during training by this factor is catastrophic overfitting."""


def make_card(
    trained: Trained, recipe: Recipe, log: list[dict[str, Any]], made: Environment
) -> dict[str, Any]:
    """How the weights came about."""
    first = 0 if recipe.start is None else recipe.clean_steps
    card: dict[str, Any] = {
        "training": training_name(recipe),
        "recipe": asdict(recipe),
        "steps_done": trained.step,
        "samples_seen": (trained.step - first) * recipe.batch,
        "curve": [[step, loss] for step, loss in trained.curve],
        "data": body_fingerprint(),
        "environment": plain(made),
        "licence": "Apache-2.0",
    }
    if recipe.adversarial is not None:
        card["catastrophic_overfitting"] = overfitted(log)
    return card


def measured(
    network: PoseTransferNetwork,
    recipe: Recipe,
    *,
    device: str,
    bar: rich.progress.Progress,
    deadline: float = math.inf,
) -> dict[str, Any]:
    """What the weights are worth on every split and, if adversarially trained, under attack.

    With a deadline (of ``time.monotonic``) a quarter of the pairs is taken, and after it has
    passed nothing more is begun; the first split is always evaluated.
    """
    part = 1 if deadline == math.inf else 4
    found: dict[str, Any] = {"splits": {}}
    jobs: list[tuple[str, Attack | None, int]] = [(task, None, CARD_SAMPLES) for task in TASKS]
    if recipe.adversarial is not None:
        found["attacked"] = {}
        jobs += [("anny/seen", attack, CARD_ATTACK_SAMPLES) for attack in CARD_ATTACKS]
    jobs = [(task, attack, max(1, samples // part)) for task, attack, samples in jobs]
    shown = bar.add_task("evaluating", total=sum(samples for *_, samples in jobs))
    for task, attack, samples in jobs:
        if found["splits"] and time.monotonic() > deadline:
            break
        given = Evaluation(
            network, (attack,), task=task, samples=samples, vertices=SIZES[recipe.size].vertices
        )
        how = Execution(device=device, progress=lambda done: bar.advance(shown, done))
        (record,) = evaluate_all(given, how)
        metrics = record.metrics
        if attack is not None:
            name = f"{attack_name(attack)} {attack.budget.eps:g}"
            found["attacked"][name] = {"settings": repr(attack), "pmd": plain(metrics.pmd)}
            continue
        found["splits"][task] = {
            "clean_pmd": plain(metrics.clean_pmd),
            "trivial": metrics.trivial,
            "under_trained": "under-trained" in record.flags,
            "fingerprint": record.cell.fingerprint,
        }
    return found


def training_name(recipe: Recipe) -> str:
    """The training's name in tables: clean, adversarial, or noise for the augmentation baseline."""
    if recipe.adversarial is None or recipe.adversarial.clean_share == 1:
        return "clean"
    return "noise" if recipe.adversarial.attack == "noise" else "adversarial"


def card_text(victim: str, card: dict[str, Any]) -> str:
    """The card as Markdown."""
    where = card["environment"]
    recipe = ", ".join(f"{key} {value}" for key, value in flat_recipe(card["recipe"]).items())
    steps = card["recipe"]["steps"]
    stopped = "" if card["steps_done"] == steps else f" Stopped after step {card['steps_done']}."
    pairs = len(card["splits"]["anny/seen"]["clean_pmd"]["per_sample"])
    lines = [
        f"# {victim}, {card['recipe']['size']}, {card['training']} training",
        "",
        f"- Recipe: {recipe}; {card['samples_seen']:,} pairs seen.{stopped}",
        f"- Data: embedded body {card['data'][:16]}..., {PAIRS[card['recipe'].get('regime')]}.",
        f"- Made at commit {where['commit']}{' with changes' if where['dirty'] else ''} on "
        f"{where['device_name']} ({where['device']}, {where['threads']} threads), torch "
        f"{where['torch']}.",
        f"- Licence: {card['licence']}.",
        "",
        f"Clean PMD x1e-4 on {pairs} pairs of new identities, whole meshes:",
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
    if card.get("attacked"):
        pairs = len(next(iter(card["attacked"].values()))["pmd"]["per_sample"])
        pmds = ", ".join(
            f"{name} {found['pmd']['mean'] * 1e4:.1f}" for name, found in card["attacked"].items()
        )
        lines += ["", f"Attacked PMD x1e-4, {pairs} pairs of anny/seen: {pmds}."]
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


def overfitted(rows: list[dict[str, Any]]) -> bool:
    """Catastrophic overfitting: PGD at the end far above its best during the run."""
    seen = [row["pgd"] for row in rows if row["pgd"] is not None]
    return bool(seen) and seen[-1] > OVERFITTED * min(seen)
