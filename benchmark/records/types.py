"""What a record is: one measured cell, typed. Its JSON form is ``records.codec``'s business.

Nothing here imports torch: records are read, checked and tabled without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from posebench.benchmark.records.show import record_html, record_text
from posebench.benchmark.stats.bootstrap import Summary
from posebench.fields import STRICT, Count, Interval, Least, Matches, Most, Name, Number, Sha256
from posebench.norms import AccessKind, Norm, Precision, Unit

Json: TypeAlias = dict[str, Any]
"""A JSON object whose keys are not ours to know: a recipe, a network's constructor arguments."""


@dataclass(frozen=True)
class Weights:
    """Where a victim's weights came from."""

    __pydantic_config__ = STRICT

    size: Name | None = None
    """Registry key such as "compact"; None for a width that is none of them."""
    training: Name = "given"
    """clean, adversarial, noise, imported or given."""
    recipe: Json | None = None
    """Of the run that made the weights; None where unknown."""
    network: Json | None = None
    """Constructor arguments of a built-in network; None for others."""
    sha256: Sha256 | None = None
    """Of the weights file; None for a victim that has none."""

    @property
    def regime(self) -> str:
        """Where training pairs came from, "protocol" or "open"."""
        return str((self.recipe or {}).get("regime", "protocol"))


@dataclass(frozen=True)
class AttackCell:
    """The attack of a cell."""

    __pydantic_config__ = STRICT

    name: Name
    """Registry name."""
    settings: Name
    """repr of the attack, which rebuilds it."""
    eps: Annotated[float, Least(0)]
    """Budget, in ``unit``."""
    unit: Unit
    """See posebench.interfaces.Budget."""
    norm: Norm
    """Of the budget."""
    version: Count = 1
    """Of the attack's algorithm: results of two versions never stand in one column."""
    metric: Literal["pmd", "pmd_aligned", "displacement"] = "pmd"
    """What the attack is judged by: rates and the noise baseline are of this metric. displacement
    from the clean output, where the pairs have no truth: rates that need one are undefined."""
    warm_from: float | None = None
    """eps of the cell before in its sweep, whose pose is kept where this one found no worse."""


@dataclass(frozen=True)
class DefenseCell:
    """The defence of a cell."""

    __pydantic_config__ = STRICT

    name: Name
    """Registry name."""
    settings: Name
    """repr of the defence, which rebuilds it."""


@dataclass(frozen=True)
class Access:
    """What the attack sees; ``str`` gives the words of tables and file names."""

    __pydantic_config__ = STRICT

    kind: AccessKind = "oblivious"
    """oblivious: the bare victim. adaptive: with its defence. straight-through: with its defence,
    whose gradient is taken as the identity's. transfer: a surrogate."""
    surrogate: Name | None = None
    """Victim name of the surrogate."""
    surrogate_sha256: Sha256 | None = None
    """Of the surrogate's weights file; None for one that has none."""

    def __str__(self) -> str:
        return self.kind if self.surrogate is None else f"{self.kind} from {self.surrogate}"


@dataclass(frozen=True)
class Cell:
    """What was measured. A record's path follows from its cell alone."""

    __pydantic_config__ = STRICT

    task: Name
    """Data set and split, such as anny/seen; own/ and a hash for a user's own pairs."""
    samples: Count
    """Test pairs."""
    vertices: Count
    """Of each mesh; of own pairs of the largest identity."""
    fingerprint: Sha256 | None
    """sha256 of what the pairs are; it follows from task, samples and vertices."""
    victim: Name
    """Registry name of the network."""
    weights: Weights
    """Where its weights came from."""
    attack: AttackCell | None
    """None for a clean cell."""
    defense: DefenseCell | None
    """None for an undefended one."""
    access: Access
    """What the attack sees."""
    wrappers: tuple[str, ...]
    """Around the victim, outermost first."""
    seed: int
    """Of attack, noise baseline and defences."""
    draws: Count
    """Outputs that each number is a mean over; 1 unless something is random."""
    precision: Precision = "float32"
    """Of what the attack sees. What is measured is float32's; PMD in bf16 stands beside it."""


@dataclass(frozen=True)
class Reached:
    """Size of the perturbations in one norm, metres; shares of points for dropped and added."""

    __pydantic_config__ = STRICT

    mean: float
    """Over pairs."""
    max: float
    """Over pairs."""
    per_sample: tuple[float, ...]
    """One value a pair."""


@dataclass(frozen=True)
class Effort:
    """How long an attack went on, and what the end of it still brought."""

    __pydantic_config__ = STRICT

    gradients: tuple[Count, ...]
    """Spent on each pair."""
    late_gain: tuple[float, ...]
    """Relative growth of the metric over the last third of them, one value a pair."""


@dataclass(frozen=True)
class UnderAttack:
    """What only an attacked cell has."""

    __pydantic_config__ = STRICT

    noise_pmd: Summary
    """The attack's metric under random noise of the budget's size, the worst of a few draws."""
    norms: dict[str, Reached]
    """Name of a norm -> what the attack reached in it."""
    radius: Annotated[float, Least(0)]
    """Mean radius of the budget over pairs."""
    rates: dict[str, Number]
    """Attack success, see stats.success: asr@tau, asr_rel@2, asr_rel@10, clean_fail, ..."""
    intervals: dict[str, Interval]
    """95 % bootstrap intervals of the rates over pairs."""
    effort: Effort | None = None
    """Of an attack that decides itself when to stop; None for others."""


@dataclass(frozen=True)
class Metrics:
    """What was found. Squared errors in square metres, one value a pair."""

    __pydantic_config__ = STRICT

    clean: dict[str, Summary]
    """Metric -> its values on unattacked poses, with the defence on."""
    attacked: dict[str, Summary]
    """Metric -> its values under the attack; those of ``clean`` where there is none."""
    trivial: dict[str, Annotated[float, Least(0)]]
    """Mean PMD of answers that need no skill; which there are depends on the data. At least one,
    none where the pairs have no truth."""
    attack: UnderAttack | None = None
    """None for a clean cell."""
    kept: Annotated[float, Least(0), Most(1)] | None = None
    """Mean share of attacked points that the defence keeps; None without a defence."""
    clean_kept: Annotated[float, Least(0), Most(1)] | None = None
    """Mean share of clean points that the defence keeps; None without a defence."""

    @property
    def summaries(self) -> dict[str, Summary]:
        """Every summary under its name in the JSON form: pmd, clean_pmd, noise_pmd, ..."""
        found = {f"clean_{name}": each for name, each in self.clean.items()} | self.attacked
        return found if self.attack is None else {**found, "noise_pmd": self.attack.noise_pmd}

    @property
    def truth(self) -> bool:
        """Whether the pairs have one: without it there is no PMD of any of them."""
        return not all(math.isnan(value) for value in self.clean["pmd"].per_sample)

    @property
    def pmd(self) -> Summary:
        """PMD under the attack."""
        return self.attacked["pmd"]

    @property
    def clean_pmd(self) -> Summary:
        """PMD on unattacked poses."""
        return self.clean["pmd"]


@dataclass(frozen=True)
class Cost:
    """What the attack cost, per sample, counted by the library."""

    __pydantic_config__ = STRICT

    forwards: Annotated[int, Least(0)] = 0
    """Calls of the victim."""
    backwards: Annotated[int, Least(0)] = 0
    """Gradients to the pose."""
    fit_backwards: Annotated[int, Least(0)] | None = None
    """Gradients that fitting a universal perturbation took in all; None for other attacks."""


@dataclass(frozen=True)
class Environment:
    """Where it was measured."""

    __pydantic_config__ = STRICT

    commit: Annotated[str, Matches("^[0-9a-f]{40}$")] | None
    """Of the source tree; None for an installed wheel."""
    dirty: bool | None
    """Whether the tree held changes."""
    posebench: Name
    """Version."""
    python: Name
    """Version."""
    torch: Name
    """Version."""
    numpy: Name
    """Version."""
    device: Name
    """Of torch."""
    device_name: Name
    """The processor's or the accelerator's model."""
    dtype: Name
    """Of the arithmetic."""
    threads: Count
    """Of the CPU."""


@dataclass(frozen=True)
class Record:
    """One measured cell of the benchmark."""

    __pydantic_config__ = STRICT

    cell: Cell
    """What was measured; the file's name holds its hash."""
    metrics: Metrics
    """What was found."""
    flags: tuple[Annotated[str, Matches("^[a-z0-9-]+$")], ...]
    """Reasons to doubt a number: docs/flags.md."""
    cost: Cost
    """Per sample."""
    environment: Environment
    """Where it was measured."""

    def __str__(self) -> str:
        return record_text(self)

    def _repr_html_(self) -> str:
        return record_html(self)
