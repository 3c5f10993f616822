"""Reliability checks: can a robustness number of this victim be believed?

Numbered after docs/flags.md, which goes back to the checklist of Carlini et al. (arXiv 1902.06705),
AutoAttack's flags (arXiv 2003.01690) and the indicators of attack failure of Pintor et al. (arXiv
2106.09947), here for a generative victim whose failure is a large PMD. A raised flag says that a
number may be wrong, not that the victim is bad. Check 11 tests the checks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from posebench.benchmark.checks.findings import Finding
from posebench.benchmark.checks.of_attacks import (
    budget_kept,
    converged,
    defense_attacked,
    enough_draws,
    grows_with_eps,
    large_budget_wins,
    same_as_foolbox,
    stronger_is_stronger,
    white_box_wins,
)
from posebench.benchmark.checks.of_training import holds_beyond_training
from posebench.benchmark.checks.of_victims import (
    batch_free,
    evaluated_as_stored,
    gradient_right,
    repeatable,
)
from posebench.benchmark.checks.self_test import self_test
from posebench.benchmark.checks.subject import Subject
from posebench.errors import InputError

Check = Callable[[Subject], tuple[bool | None, str]]


def checks_find_faults(subject: Subject) -> tuple[bool | None, str]:
    """11: each broken victim raises its flags, the plain one beside them none."""
    return self_test(run_checks, tuple(number for number in CHECKS if number != 11))


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
    15: ("seen-in-training", holds_beyond_training),
}

VICTIM_FLAGS = frozenset(CHECKS[number][0] for number in (7, 8, 13, 14))
"""Flags that speak of the victim alone, whatever it is attacked with."""


def run_checks(subject: Subject, numbers: Iterable[int] = CHECKS) -> Iterator[Finding]:
    """The findings on one victim, as they come.

    Where the victim gives no gradient, check 7 says so and checks that need one do not apply.

    Raises:
        InputError: for a budget of zero, or one that is not a distance.
    """
    if subject.budget.is_share or subject.budget.norm == "smooth" or subject.budget.eps == 0:
        raise InputError("checks need a budget that is a ball, of a radius above 0")
    for number in numbers:
        flag, check = CHECKS[number]
        try:
            raised, detail = check(subject)
        except InputError as error:
            raised, detail = True if number == 7 else None, str(error)
        yield Finding(number, flag, raised, detail)
