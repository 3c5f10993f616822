"""The YAML header of a card, which model hubs read: licence, tags and results as data.

    python -m posebench.benchmark.training.card_header victims/weights

renews the headers of the cards beside weights from what the weights' own files say.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from posebench.benchmark.records.types import Json
from posebench.files import write_atomically
from posebench.victims import read_weights

FENCE = "---"

TAGS = ("3d", "mesh", "point-cloud", "pose-transfer", "adversarial-robustness")

TASK = {"type": "pose-transfer", "name": "3D pose transfer"}


def card_header(victim: str, card: Json) -> str:
    """The header with its fences; ``card`` as ``Card.as_json`` gives it.

    Values are written as JSON, which is YAML, so that no name can break out of its line.
    """
    recipe = card["recipe"]
    name = "-".join((victim, recipe["size"], card["training"]))
    lines = [
        FENCE,
        f"license: {json.dumps(card['licence'].lower())}",
        "library_name: posebench",
        f"tags: {json.dumps([*TAGS, victim])}",
        "model-index:",
        f"- name: {json.dumps(name)}",
        "  results:",
    ]
    for task, split in sorted(card["splits"].items()):
        lines += _result(task, "clean", "pmd", split["clean_pmd"])
    for attack, found in sorted(card.get("attacked", {}).items()):
        lines += _result("anny/seen", attack, found.get("metric", "pmd"), found["pmd"])
    return "\n".join([*lines, FENCE, ""])


def _result(task: str, attack: str, metric: str, found: Json) -> list[str]:
    """One number: what of, on what, and how many pairs it is the mean of."""
    data = {"type": task.partition("/")[0], "name": task}
    number = {
        "type": metric,
        "name": f"{metric} x1e-4, {attack}, {len(found['per_sample'])} pairs",
        "value": round(found["mean"] * 1e4, 2),
    }
    return [
        f"  - task: {json.dumps(TASK)}",
        f"    dataset: {json.dumps(data)}",
        f"    metrics: [{json.dumps(number)}]",
    ]


def without_header(text: str) -> str:
    """A card's Markdown alone."""
    if not text.startswith(f"{FENCE}\n"):
        return text
    return text.split(f"\n{FENCE}\n", 1)[1]


def renew(folder: Path) -> list[Path]:
    """Give the card beside each weights file in a folder its header; those that changed."""
    changed = []
    for path in sorted(folder.glob("*.safetensors")):
        stored = read_weights(path)
        card = path.with_suffix(".md")
        if stored is None or not card.is_file():
            continue
        before = card.read_text(encoding="utf-8")
        after = card_header(stored["victim"], stored["card"]) + without_header(before)
        if after != before:
            write_atomically(card, after)
            changed.append(card)
    return changed


if __name__ == "__main__":
    for each in renew(Path(sys.argv[1])):
        sys.stdout.write(f"{each}\n")
