"""Progress within a batch, by the network's own calls: short runs have one batch alone, and would
say how long they take when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posebench.attacks import FGM, Noise
from posebench.attacks.gradient import network_of
from posebench.benchmark.evaluation.measure import NOISE_DRAWS
from posebench.benchmark.evaluation.plan import Evaluation
from posebench.interfaces import Attack

WITH_GRADIENT = 3
"""Cost of a call whose gradient is taken, in plain ones."""

MOST = 0.95
"""Share of a batch that its calls can count for: how many there will be is an estimate."""

Advance = Callable[[float], None]


def expected_calls(attack: Attack | None) -> int | None:
    """Calls of the network for one batch and attack, plain ones; None where nobody knows.

    One for the clean poses, the attack's steps and its library's look at the end, noise, and one
    for the attacked poses. Attacks without a number of steps decide themselves when to stop, but
    for FGM, which takes one.
    """
    if attack is None:
        return 1
    steps = getattr(attack, "iterations", 1 if isinstance(attack, (FGM, Noise)) else None)
    if not isinstance(steps, int):
        return None
    return 1 + WITH_GRADIENT * steps * int(getattr(attack, "restarts", 1)) + 1 + NOISE_DRAWS + 1


@dataclass
class Within:
    """Advances a bar by shares of a batch.

    Attributes:
        advance: of the bar, in pairs, once for each attack.
        expected: calls for a batch and one attack, as plain ones.
        pairs: of a batch; the last one may have fewer.
        attacks: on each batch.
        left: pairs of the whole run that no batch is over for, once for each attack.
        done: calls of this batch and attack so far, as plain ones.
        told: pairs of this batch and attack that the bar has been advanced by.
    """

    advance: Advance
    expected: float
    pairs: int
    attacks: int
    left: int
    done: float = 0.0
    told: float = 0.0

    def called(self, *_: object) -> None:
        """The network has answered a call."""
        self.done += WITH_GRADIENT if torch.is_grad_enabled() else 1
        pairs = min(self.pairs, -(-self.left // self.attacks))
        share = pairs * min(self.done / self.expected, MOST)
        self.advance(share - self.told)
        self.told = share

    def finished(self, pairs: int) -> None:
        """An attack on a batch is over."""
        self.advance(pairs - self.told)
        self.left -= pairs
        self.done = self.told = 0.0


@contextmanager
def within_batches(
    given: Evaluation, pairs: int, advance: Advance
) -> Iterator[Callable[[int], None]]:
    """What to call after each batch of ``pairs`` and attack; the bar moves in between if it can."""
    network, calls = network_of(given.victim), [expected_calls(each) for each in given.attacks]
    known = [each for each in calls if each is not None]
    if network is None or len(known) < len(calls):
        yield advance
        return
    expected, left = sum(known) / len(known), given.samples * len(calls)
    inside = Within(advance, expected, pairs, len(calls), left)
    hook = network.register_forward_hook(inside.called)
    try:
        yield inside.finished
    finally:
        hook.remove()
