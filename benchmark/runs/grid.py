"""Grids of cells: what a sweep runs; ``grid_file`` reads them from TOML.

A grid is the product of its lists. What does not apply is left out, so that nothing runs twice:
without an attack neither eps, norm, iterations nor access count, without a defence "adaptive" and
"straight-through" see what "oblivious" does, and the attacks ``drop``, ``add`` and ``transfer``
keep their own norm and access. What applies to no cell of its grid at all is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

from posebench.attacks import Setting
from posebench.benchmark.data.names import USUAL_SAMPLES
from posebench.benchmark.evaluation.settings import NONE, OWN_NORM, EvaluationSettings, eps_values
from posebench.errors import InputError
from posebench.norms import AccessKind
from posebench.registry import unknown
from posebench.victims import VICTIMS, load_network, read_weights
from posebench.victims.weights import TRAININGS, shipped_path, shipped_victims

SHIPPED = "shipped"
"""As weights: those that come with the library; "shipped:PATTERN" is a file's name among them."""


@dataclass(frozen=True)
class Grid:
    """One ``[[grid]]``; None and () are what the file leaves out.

    Attributes:
        victims: registry names, "shipped" for ``shipped_victims``; (): those of the weights files.
        weights: "shipped", "shipped:PATTERN", paths, or patterns of paths.
        trainings: of "shipped", keys of ``TRAININGS``; (): all that are shipped.
        eps: one or more budgets that belong together, as ``eps_values`` reads them.
        settings: sets of other arguments of the attack, each a cell.
        surrogate: whose weights transferred attacks are made on, as ``victims``.

    The rest as in ``EvaluationSettings``.
    """

    victims: tuple[str, ...] = ()
    weights: tuple[str, ...] = (SHIPPED,)
    trainings: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("anny/seen",)
    attacks: tuple[str, ...] = ("fgm",)
    eps: tuple[str, ...] = ()
    eps_unit: str | None = None
    norm: tuple[str, ...] = ()
    objective: str | None = None
    settings: tuple[tuple[tuple[str, Setting], ...], ...] = ()
    threats: tuple[str, ...] = ()
    iterations: int | None = None
    defenses: tuple[str, ...] = ("none",)
    access: tuple[str, ...] = ()
    surrogate: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    samples: int = USUAL_SAMPLES
    size: str = "compact"
    vertices: int | None = None
    precision: str = "float32"


KEYS_OF_ATTACKS = (
    "eps", "eps_unit", "norm", "objective", "threats", "iterations", "settings", "access",
    "surrogate",
)  # fmt: skip


def grid_settings(grid: Grid) -> list[EvaluationSettings]:
    """What to run, one weights file each, in the order of the grid's lists; nothing twice.

    Raises:
        InputError: a part of the grid that applies to no cell, weights that are not there, or an
            eps that is none.
    """
    check_used(grid)
    found: dict[EvaluationSettings, None] = {}
    for victim, path in grid_weights(grid):
        for settings in combinations(grid):
            found.setdefault(replace(settings, victim=victim, weights=path))
    return list(found)


def combinations(grid: Grid) -> Iterator[EvaluationSettings]:
    """The product of a grid's lists, the victim left open."""
    axes = (
        grid.tasks,
        grid.attacks,
        grid.norm or (None,),
        grid.eps or ("0.08",),
        grid.threats or (None,),
        grid.defenses,
        grid.access or (None,),
        grid.seeds,
        grid.settings or ((),),
        listed(grid.surrogate, grid.size) or (None,),
    )
    for task, attack, norm, eps, threat, defense, access, seed, settings, surrogate in product(
        *axes
    ):
        if attack == NONE or (defense == NONE and access != "transfer"):
            access = None
        if attack == "transfer":
            access = None  # its own, which brings a surrogate
        transfers = access == "transfer" or attack == "transfer"
        yield EvaluationSettings(
            victim="",
            attack=attack,
            eps=(0.0,) if attack == NONE else eps_values(eps),
            eps_unit=(attack != NONE and grid.eps_unit) or "rms",
            norm=None if attack in (NONE, *OWN_NORM) else norm,
            objective=None if attack == NONE else grid.objective,
            threat=None if attack == NONE else threat,
            iterations=None if attack == NONE else grid.iterations,
            settings=() if attack == NONE else settings,
            defense=defense,
            access=access,
            surrogate=surrogate if transfers else None,
            task=task,
            samples=grid.samples,
            size=grid.size,
            vertices=grid.vertices,
            seed=seed,
            precision=grid.precision,
        )


def listed(names: tuple[str, ...], size: str) -> tuple[str, ...]:
    """Registry names, those in the place of "shipped" included; see :class:`Grid`."""
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(shipped_victims(size) if name == SHIPPED else [name])
    return tuple(found)


def check_used(grid: Grid) -> None:
    """Raise InputError for a given key or access that no cell of the grid would heed."""
    attacked = [attack for attack in grid.attacks if attack != "none"]
    for key in KEYS_OF_ATTACKS:
        if not attacked and getattr(grid, key) not in (None, ()):
            raise InputError(f"{key} needs an attack, and the grid has none")
    normed = [attack for attack in attacked if attack not in OWN_NORM]
    if attacked and grid.norm and not normed:
        raise InputError(f"attacks {', '.join(OWN_NORM)} have their own norm: leave norm out")
    defended = any(defense != "none" for defense in grid.defenses)
    for access in grid.access:
        if access not in get_args(AccessKind):
            raise unknown("access", access, get_args(AccessKind))
        if access in ("adaptive", "straight-through") and not defended:
            raise InputError(f"access {access!r} needs a defence, and the grid has none")
    transfers = "transfer" in grid.access or "transfer" in attacked
    if grid.surrogate and not transfers:
        raise InputError("surrogate needs access 'transfer' or attack 'transfer'")
    for training in grid.trainings:
        if training not in TRAININGS:
            raise unknown("training", training, TRAININGS)
    if grid.trainings and SHIPPED not in grid.weights:
        raise InputError(f"trainings choose among weights = {SHIPPED!r}; files are what they are")


def grid_weights(grid: Grid) -> list[tuple[str, Path]]:
    """(victim, weights file), in the order of the grid's weights, files of a pattern by name.

    Files of victims that the grid does not list are left out.

    Raises:
        InputError: an entry without any file for the grid's victims.
    """
    victims = listed(grid.victims, grid.size)
    for victim in victims:
        VICTIMS[victim]  # raises with a suggestion
    found: dict[tuple[str, Path], None] = {}
    for entry in grid.weights:
        if entry == SHIPPED:
            chosen = _shipped(grid, victims)
        else:
            paths = _matching(entry)
            chosen = [(victim_of(path, victims), path) for path in paths]
            chosen = [each for each in chosen if each[0] in (victims or (each[0],))]
            if not chosen:
                of = f" of {', '.join(victims)}" if victims and paths else ""
                raise InputError(f"weights {entry!r}: no such file{of}")
        found |= dict.fromkeys(chosen)
    return list(found)


def _shipped(grid: Grid, victims: tuple[str, ...]) -> list[tuple[str, Path]]:
    if not victims:
        raise InputError("name the victims whose shipped weights are wanted: victims = [...]")
    found = []
    for victim in victims:
        for training in grid.trainings or TRAININGS:
            path = shipped_path(victim, grid.size, training=training)
            if training != "clean" and not grid.trainings and not path.is_file():
                continue
            if not path.is_file():
                load_network(victim, size=grid.size, training=training)  # says what to do
            found.append((victim, path))
    return found


def _matching(entry: str) -> list[Path]:
    """The files that a path, a pattern or "shipped:PATTERN" names."""
    start, pattern = Path(), entry
    if entry.startswith(f"{SHIPPED}:"):
        start = shipped_path("", "").parent
        pattern = f"{entry.removeprefix(f'{SHIPPED}:')}.safetensors"
    elif Path(entry).anchor:
        start = Path(Path(entry).anchor)
        pattern = str(Path(entry).relative_to(start))
    try:
        return sorted(path for path in start.glob(pattern) if path.is_file())
    except ValueError as error:
        raise InputError(f"weights {entry!r}: {error}") from error


def victim_of(path: Path, victims: tuple[str, ...]) -> str:
    """The victim that a weights file names; one from elsewhere must be the only one listed.

    Raises:
        InputError: a file that names none, among several victims or without any.
    """
    header = read_weights(path) if path.suffix == ".safetensors" else None
    if header is not None and isinstance(header.get("victim"), str):
        return str(header["victim"])
    if len(victims) != 1:
        raise InputError(f"weights {path} do not say whose they are: list one victim alone")
    return victims[0]
