"""The card of trained weights as Markdown."""

from __future__ import annotations

from posebench.benchmark.records.flags import TRAINED_FACTOR
from posebench.benchmark.records.types import Json
from posebench.benchmark.training.card_header import card_header
from posebench.benchmark.training.recipe import flat_recipe
from posebench.benchmark.training.slope import slope_of

AIMS = {"npt": 2.5e-4, "gct": 2.5e-4, "npt-mp": 4e-4, "posemae": 4e-4}
"""Clean PMD on anny/seen that cleanly trained weights of the protocol aim at, square metres."""

OPEN_AIM = 8e-4
"""The same of the open regime, on each of ``OPEN_SPLITS``."""

OPEN_SPLITS = tuple(
    f"anny/{name}" for name in ("seen", "unseen", "unseen-bent", "wide", "natural", "tpose")
)

METRIC_WORDS = {
    "pmd": "Attacked PMD",
    "pmd_aligned": "Attacked error after the best translation, no point moved by more metres,",
}
"""Metric of an attack on a card -> how the card names it."""

TRIVIAL = ("copy-pose", "copy-identity", "mean-mesh")
"""Trivial answers, in the order of a card's columns; a file's header has them in its own."""

PAIRS = {
    None: "16 identities x 400 poses",
    "protocol": "16 identities x 400 poses",
    "open": "open regime: blends of 16 identities, poses and points drawn anew at every step",
}
"""What a recipe's regime trains on; None on cards older than regimes."""


def card_text(victim: str, card: Json) -> str:
    """The card, as ``Card.as_json`` gives it, as Markdown below a YAML header."""
    lines = [*_origin(victim, card), *_splits(card), *_attacked(card), *_aim(victim, card)]
    lines += [
        "",
        "Learning curve (step: training loss x1e-4):",
        "",
        ", ".join(
            f"{s}: {v * 1e4:.1f}" for s, v in card["curve"][:: max(1, len(card["curve"]) // 20)]
        ),
        *_outlook(card),
        "",
    ]
    return card_header(victim, card) + "\n".join(lines)


def _aim(victim: str, card: Json) -> list[str]:
    """Where clean weights miss what they aim at."""
    if card["training"] != "clean":
        return []
    aims = dict.fromkeys(OPEN_SPLITS, OPEN_AIM)
    if card["recipe"].get("regime", "protocol") == "protocol":
        aims = {"anny/seen": AIMS[victim]} if victim in AIMS else {}
    missed = [
        f"{task} (at most {aim * 1e4:g}e-4)"
        for task, aim in aims.items()
        if task in card["splits"] and card["splits"][task]["clean_pmd"]["mean"] > aim
    ]
    return ["", f"Aims not reached: {', '.join(missed)}."] if missed else []


def _outlook(card: Json) -> list[str]:
    """What twice the steps would bring; a run that began with trained weights has no slope."""
    recipe = card["recipe"]
    if recipe.get("start") is not None:
        return []
    first = round(recipe["steps"] * (recipe.get("adversarial") or {"after": 0.0})["after"])
    slope = slope_of(card["curve"], first, recipe["steps"], recipe.get("decay", 1.0))
    if slope is None:
        return []
    return [
        "",
        f"While the rate stood, the loss fell as steps^-{slope.exponent:.2f} ({slope.entries} "
        f"entries of the curve): twice the steps would bring {slope.doubled:.2f} of the loss.",
    ]


def _origin(victim: str, card: Json) -> list[str]:
    where = card["environment"]
    recipe = ", ".join(f"{key} {value}" for key, value in flat_recipe(card["recipe"]).items())
    steps = card["recipe"]["steps"]
    stopped = "" if card["steps_done"] == steps else f" Stopped after step {card['steps_done']}."
    pairs, fresh = PAIRS[card["recipe"].get("regime")], card["recipe"].get("fresh_poses")
    if fresh:
        pairs += f", {fresh:.0%} of the pairs in poses drawn anew from the same ranges"
    return [
        f"# {victim}, {card['recipe']['size']}, {card['training']} training",
        "",
        f"- Recipe: {recipe}; {card['samples_seen']:,} pairs seen.{stopped}",
        f"- Data: embedded body {card['data'][:16]}..., {pairs}.",
        f"- Made at commit {where['commit']}{' with changes' if where['dirty'] else ''} on "
        f"{where['device_name']} ({where['device']}, {where['threads']} threads), torch "
        f"{where['torch']}.",
        f"- Licence: {card['licence']}.",
    ]


def _splits(card: Json) -> list[str]:
    lines = [
        "",
        "Clean PMD x1e-4 on pairs of new identities, whole meshes:",
        "",
        f"| split | pairs | PMD [95 %] | {' | '.join(TRIVIAL)} | |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, split in card["splits"].items():
        low, high = split["clean_pmd"]["ci95"]
        trivial = " | ".join(f"{v * 1e4:.1f}" for v in map(split["trivial"].get, TRIVIAL))
        note = "under-trained" if split["under_trained"] else ""
        mean, pairs = split["clean_pmd"]["mean"], len(split["clean_pmd"]["per_sample"])
        value = f"{mean * 1e4:.2f} [{low * 1e4:.2f}, {high * 1e4:.2f}]"
        lines.append(f"| {task} | {pairs} | {value} | {trivial} | {note} |")
    if any(split["under_trained"] for split in card["splits"].values()):
        factor = f"{TRAINED_FACTOR:g}"
        lines += ["", f"Under-trained: some trivial answer is less than {factor} times as far off."]
    return lines


def _attacked(card: Json) -> list[str]:
    if not card.get("attacked"):
        return []
    lines = []
    for metric, words in METRIC_WORDS.items():
        pmds = ", ".join(
            f"{name} {found['pmd']['mean'] * 1e4:.1f} ({len(found['pmd']['per_sample'])} pairs)"
            for name, found in card["attacked"].items()
            if found.get("metric", "pmd") == metric
        )
        if pmds:
            lines += ["", f"{words} x1e-4 on anny/seen: {pmds}."]
    if card["catastrophic_overfitting"]:
        lines += ["", "Catastrophic overfitting: PGD grew during training, see the log."]
    return lines
