"""Reliability checks: can a robustness number of this victim be believed?

Numbered after docs/flags.md, which goes back to the checklist of Carlini et al. (arXiv 1902.06705),
AutoAttack's flags (arXiv 2003.01690) and the indicators of attack failure of Pintor et al. (arXiv
2106.09947), here for a generative victim whose failure is a large PMD. A raised flag says that a
number may be wrong, not that the victim is bad. Check 11 tests the checks themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posebench.benchmark.checks.of_attacks import (
    budget_kept,
    converged,
    defense_attacked,
    enough_draws,
    grows_with_eps,
    large_budget_wins,
    other_attack,
    same_as_foolbox,
    stronger_is_stronger,
    white_box_wins,
)
from posebench.benchmark.checks.of_victims import (
    batch_free,
    evaluated_as_stored,
    gradient_right,
    repeatable,
)
from posebench.benchmark.checks.subject import Subject
from posebench.cloud import Clouds
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.interfaces import Batch, Budget
from posebench.module_victim import from_module
from posebench.rng import generator_for
from posebench.victims.broken import Constant, Detached, Mixing, Noisy, Ordered, Quantised

SCHEMA = "posebench-check/1"

Check = Callable[[Subject], tuple[bool | None, str]]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        number: of the check.
        flag: that it raises, a heading of docs/flags.md.
        raised: None where the check does not apply.
        detail: figures, one line.
    """

    number: int
    flag: str
    raised: bool | None
    detail: str


def checks_find_faults(subject: Subject) -> tuple[bool | None, str]:
    """11: each of the broken victims raises its flags, the plain one beside them none."""
    return self_test()


CHECKS: dict[int, tuple[str, Check]] = {
    1: ("over-budget", budget_kept),
    2: ("falls-with-eps", grows_with_eps),
    3: ("survives-anything", large_budget_wins),
    4: ("stronger-is-weaker", stronger_is_stronger),
    5: ("not-converged", converged),
    6: ("masking-suspected", white_box_wins),
    7: ("gradient-wrong", gradient_right),
    8: ("stochastic", repeatable),
    9: ("too-few-draws", enough_draws),
    10: ("defence-not-attacked", defense_attacked),
    11: ("checks-blind", checks_find_faults),
    12: ("differs-from-foolbox", same_as_foolbox),
    13: ("batch-dependent", batch_free),
    14: ("not-as-stored", evaluated_as_stored),
    15: ("seen-in-training", other_attack),
}

VICTIM_FLAGS = frozenset(CHECKS[number][0] for number in (7, 8, 13, 14))
"""Flags that speak of the victim alone, whatever it is attacked with."""

BROKEN: dict[type, tuple[int, ...]] = {
    Detached: (7,),
    Quantised: (6, 7),
    Noisy: (8,),
    Constant: (7,),
    Mixing: (13,),
    Ordered: (13,),
}
"""Broken victim -> the checks that must see it."""


def run_checks(subject: Subject, numbers: tuple[int, ...] = tuple(CHECKS)) -> Iterator[Finding]:
    """The findings on one victim, as they come.

    Where the victim gives no gradient, check 7 says so and checks that need one do not apply.

    Raises:
        InputError: for a budget of zero, or one that is not a distance.
    """
    if subject.budget.counts_points or subject.budget.eps == 0:
        raise InputError("checks need a budget that is a distance above 0")
    for number in numbers:
        flag, check = CHECKS[number]
        try:
            raised, detail = check(subject)
        except InputError as error:
            raised, detail = True if number == 7 else None, str(error)
        yield Finding(number, flag, raised, detail)


def plain(pose: Tensor, identity: Tensor) -> Tensor:
    """A smooth victim without tricks: identity + tanh(2 pose), point by point."""
    return identity + torch.tanh(2 * pose)


def plain_batch(pairs: int = 4, points: int = 24) -> Batch:
    """Pairs on which ``plain`` is off by 5 cm RMS, in float32."""
    pose, identity, off = (
        0.3 * torch.randn((pairs, points, 3), generator=generator_for(0, "plain", name))
        for name in ("pose", "identity", "off")
    )
    clouds = [Clouds.dense(each) for each in (pose, identity, plain(pose, identity) + off / 6)]
    faces = torch.zeros((pairs, 1, 3), dtype=torch.int64)
    return Batch(clouds[0], clouds[1], clouds[2], faces, torch.arange(pairs))


def self_test() -> tuple[bool, str]:
    """Whether the checks fail to tell the broken victims from the plain one, and which."""
    victim = from_module(plain, name="plain")
    subject = Subject(victim, [plain_batch()], Budget(0.01), iterations=20)
    others = tuple(number for number in CHECKS if number != 11)
    alarms = [f"plain raises {f.flag}" for f in run_checks(subject, others) if f.raised]
    for broken, numbers in BROKEN.items():
        wrapped = replace(subject, victim=broken(victim), found={})
        alarms += [
            f"{broken.__name__.lower()} does not raise {finding.flag}"
            for finding in run_checks(wrapped, numbers)
            if not finding.raised
        ]
    return bool(alarms), "; ".join(
        alarms
    ) or f"{len(BROKEN)} broken victims found, no alarm on a plain one"


def write_check(
    path: Path, cell: dict[str, Any], findings: list[Finding], environment: dict[str, Any]
) -> None:
    """Write one victim's findings as JSON, atomically; ``cell`` says what was checked and how."""
    content = {
        "schema": SCHEMA,
        "cell": cell,
        "findings": [asdict(finding) for finding in findings],
        "environment": environment,
    }
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text)


def read_checks(folder: Path) -> dict[tuple[str | None, str | None], list[str]]:
    """(weights sha256, defence) -> raised flags, from the check files of a folder.

    Raises:
        InputError: naming a file that is not a check.
    """
    found: dict[tuple[str | None, str | None], list[str]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise InputError(f"{path}: schema {content['schema']!r}, expected {SCHEMA!r}")
            cell = content["cell"]
            raised = [str(f["flag"]) for f in content["findings"] if f["raised"] is True]
            found[cell["weights_sha256"], cell["defense"]] = raised
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not a check that 'posebench check' wrote: {error}"
            ) from error
    return found
