"""Per-sample values of one cell as they come, and what a record keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from posebench.benchmark.records.types import Cost, Effort, Metrics, Reached, UnderAttack
from posebench.benchmark.stats.bootstrap import Column, summarise
from posebench.benchmark.stats.success import success_intervals, success_rates
from posebench.interfaces import AttackResult


@dataclass
class Table:
    """Columns that grow batch by batch; each value is a tensor (B,).

    Attributes:
        clean: metrics on unattacked poses, with the defence on.
        attacked: the same under the attack.
        trivial: PMD of answers that need no skill.
        norms: sizes of the perturbation.
        others: noise_pmd, radius, kept and clean_kept.
        effort: gradients and late_gain of an attack that stops by itself.
        forwards, backwards: what the attack asked, over all samples.
        fitted: gradients that fitting a universal perturbation took; None for other attacks.
    """

    clean: dict[str, list[Tensor]] = field(default_factory=dict)
    attacked: dict[str, list[Tensor]] = field(default_factory=dict)
    trivial: dict[str, list[Tensor]] = field(default_factory=dict)
    norms: dict[str, list[Tensor]] = field(default_factory=dict)
    others: dict[str, list[Tensor]] = field(default_factory=dict)
    effort: dict[str, list[Tensor]] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0
    fitted: int | None = None

    def count(self, result: AttackResult, samples: int) -> None:
        """Add what an attack on one batch asked of what it saw."""
        self.forwards += result.forwards * samples
        self.backwards += result.backwards * samples

    def cost(self, samples: int) -> Cost:
        """Forwards and backwards per sample, rounded up, and what fitting took once."""
        return Cost(-(-self.forwards // samples), -(-self.backwards // samples), self.fitted)

    def sort(self, ids: Tensor) -> None:
        """Bring the values, which came as those of pairs ``ids``, into the pairs' order."""
        rows = ids.argsort()
        for group in (
            self.clean, self.attacked, self.trivial, self.norms, self.others, self.effort
        ):  # fmt: skip
            for name, parts in group.items():
                group[name] = [torch.cat(parts)[rows]]

    def add(self, **groups: Mapping[str, Tensor]) -> None:
        """Append one batch's values to the groups that are named."""
        for group, values in groups.items():
            for name, value in values.items():
                column = getattr(self, group).setdefault(name, [])
                column.append(value.detach().double().cpu())


def aggregate(
    clean: Mapping[str, Column],
    trivial: Mapping[str, Column],
    attacked: Mapping[str, Column] | None = None,
    norms: Mapping[str, Column] | None = None,
    others: Mapping[str, Column] | None = None,
    effort: Effort | None = None,
    metric: str = "pmd",
) -> Metrics:
    """Per-sample values (n,) to what a record stores; ``attacked`` None for a clean cell.

    ``metric`` is what the attack is judged by.
    """
    others = others or {}
    summaries = {name: summarise(values) for name, values in clean.items()}
    means = {name: float(others[name].mean()) for name in ("kept", "clean_kept") if name in others}
    under = None
    if attacked is not None:
        before = clean["pmd" if metric == "displacement" else metric]
        columns = before, attacked[metric], others["noise_pmd"]
        under = UnderAttack(
            noise_pmd=summarise(others["noise_pmd"]),
            norms={name: _reached(values) for name, values in (norms or {}).items()},
            radius=float(others["radius"].mean()),
            rates=success_rates(*columns),
            intervals=success_intervals(*columns),
            effort=effort,
        )
    return Metrics(
        clean=summaries,
        attacked={name: summarise(values) for name, values in (attacked or clean).items()},
        trivial={name: float(values.mean()) for name, values in trivial.items()},
        attack=under,
        **means,
    )


def metrics_of(table: Table, metric: str = "pmd") -> Metrics:
    """What a record keeps of a full table; ``metric`` is what its attack is judged by."""
    effort = None
    if table.effort:
        spent = _columns(table.effort)
        gradients = tuple(int(count) for count in spent["gradients"])
        effort = Effort(gradients, tuple(spent["late_gain"].tolist()))
    return aggregate(
        clean=_columns(table.clean),
        trivial=_columns(table.trivial),
        attacked=_columns(table.attacked) if table.attacked else None,
        norms=_columns(table.norms),
        others=_columns(table.others),
        effort=effort,
        metric=metric,
    )


def _columns(group: Mapping[str, list[Tensor]]) -> dict[str, Column]:
    return {name: torch.cat(parts).numpy() for name, parts in group.items()}


def _reached(values: Column) -> Reached:
    return Reached(float(values.mean()), float(np.max(values)), tuple(values.tolist()))
