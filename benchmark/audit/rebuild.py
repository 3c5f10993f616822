"""Attacks and defences from their repr: what ``cell.attack_settings`` of a record says.

The text is a stranger's, so it is parsed, never evaluated: calls of registered classes and of
``Budget`` with constants as named arguments, nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from posebench.attacks import attack_name, maker_of
from posebench.attacks.adapters import Named
from posebench.defenses import DEFENSES
from posebench.errors import InputError
from posebench.interfaces import Attack, Budget, Defense
from posebench.objective import OBJECTIVES
from posebench.registry import unknown

LONGEST = 2000
"""Characters of a repr; Python's parser may fail on deep nesting in a longer one."""


def rebuild_attack(name: str, settings: str) -> Attack:
    """The attack that a record's settings describe.

    Raises:
        InputError: unknown attack, settings of another class, or anything but constants in them.
    """
    wanted = maker_of(name)
    foreign = wanted.made if isinstance(wanted, Named) else None
    made: Attack = _rebuild(settings, "attack_settings", {"Budget": Budget}, foreign or wanted)
    if foreign and attack_name(made) != name:  # all of a library's attacks have one class of ours
        raise InputError(f"cell.attack is {name!r}, cell.attack_settings are {attack_name(made)!r}")
    objective = getattr(made, "objective", "pmd")
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    return made


def rebuild_defense(name: str, settings: str) -> Defense:
    """The defence that a record's settings describe; errors as :func:`rebuild_attack`."""
    made: Defense = _rebuild(settings, "defense_settings", {}, DEFENSES[name])
    return made


def _rebuild(
    text: str, field: str, known: Mapping[str, Callable[..., Any]], wanted: Callable[..., Any]
) -> Any:
    name = getattr(wanted, "__name__", "")
    classes = {**known, name: wanted}
    try:
        if len(text) > LONGEST:
            raise ValueError("it is too long")
        tree = ast.parse(text, mode="eval").body
        if not (isinstance(tree, ast.Call) and ast.unparse(tree.func) == name):
            raise ValueError(f"it is no {name}(...)")
        return _value(tree, classes)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise InputError(f"cell.{field} {text[:80]!r} cannot be rebuilt: {error}") from error


def _value(node: ast.expr, classes: Mapping[str, Callable[..., Any]]) -> Any:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name not in classes or node.args or any(word.arg is None for word in node.keywords):
            raise ValueError(f"{ast.unparse(node)[:60]} is no class of ours with named arguments")
        return classes[name](**{str(k.arg): _value(k.value, classes) for k in node.keywords})
    return ast.literal_eval(node)
