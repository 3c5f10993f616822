"""Which networks a name stands for: shipped weights, a file, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.records.types import Json, Weights
from posebench.victims import SIZES, VICTIMS, PoseTransferNetwork, load_network, read_weights
from posebench.victims.weights import TRAININGS as SHIPPED_TRAININGS
from posebench.victims.weights import shipped_path, weights_fingerprint

TRAININGS = (*SHIPPED_TRAININGS, "noise")
"""What a card may call the training of its weights; see ``training.card``."""


@dataclass(frozen=True)
class Source:
    """A network and where its weights came from."""

    network: PoseTransferNetwork
    weights: Weights

    @property
    def label(self) -> str:
        """What it is called in progress bars and plots."""
        return f"{self.network.spec.title}, {self.weights.training} training"


def find_networks(
    victim: str, weights: Path | None, size: str, regime: str = "protocol"
) -> list[Source]:
    """The networks to evaluate: a given file, or all shipped trainings of the victim."""
    if victim not in VICTIMS:
        VICTIMS[victim]  # raises with a suggestion
    if weights is not None:
        return [with_source(*load_network(victim, weights=weights))]
    return [
        with_source(*load_network(victim, size=size, training=training, regime=regime))
        for training in SHIPPED_TRAININGS
        if training == "clean"
        or shipped_path(victim, size, training=training, regime=regime).is_file()
    ]


def with_source(network: PoseTransferNetwork, path: Path) -> Source:
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
    settings = Weights(
        size=sizes[0] if sizes else None,
        training=training,
        recipe=recipe,
        network=network.settings(),
        sha256=weights_fingerprint(path),
    )
    return Source(network, settings)


def load_surrogate(victim: str, size: str) -> Surrogate:
    """The shipped, cleanly trained network of that name, to make transfer attacks on."""
    network, path = load_network(victim, size=size)
    return Surrogate(network, weights_fingerprint(path))


def adversarial_part(recipe: Json | None) -> Json | None:
    """The adversarial part of the recipe behind some weights, None if there is or was none."""
    part: Any = (recipe or {}).get("adversarial")
    return part if isinstance(part, dict) else None
