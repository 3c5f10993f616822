"""The leaderboard page's table of all results: one flat row per record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posebench.benchmark.records.form import attack_settings
from posebench.benchmark.records.store import cell_path
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports.markdown import UNIT
from posebench.benchmark.reports.page_json import Numbers, numbers
from posebench.benchmark.reports.repeat import repeat_command
from posebench.benchmark.reports.shipped import victim_label, weights_names


@dataclass(frozen=True)
class Row:
    """A record as its row shows it; PMD x1e-4, undefined numbers NaN.

    Attributes:
        victim: what :func:`victim_label` makes of name and weights.
        noise, success, doubled: of attacked cells.
        command: what repeats it; None where the command line cannot.
        settings: what rebuilds the attack.
        weights, weights_name: sha256, and the file's name where it is shipped.
        record: its file below leaderboards/records; the end of its name is the row's permalink.
        source: "measured", as records say of themselves.
    """

    task: str
    victim: str
    training: str
    attack: str | None
    eps: float | None
    eps_unit: str | None
    norm: str | None
    defense: str | None
    access: str
    samples: int
    seed: int
    clean: Numbers
    pmd: Numbers
    pmd_worst: float
    noise: float | None
    success: float | None
    doubled: float | None
    flags: tuple[str, ...]
    command: str | None
    settings: str | None
    weights: str | None
    weights_name: str | None
    fingerprint: str | None
    commit: str | None
    dirty: bool | None
    device: str
    record: str
    source: str = "measured"


def cells(records: Sequence[Record], swept: Sequence[Sequence[Record]]) -> list[Row]:
    """A row per record, in the order of results.csv; ``swept``: the sweeps among them."""
    chains = {id(record): chain for chain in swept for record in chain}
    return [row_of(record, chains.get(id(record))) for record in records]


def row_of(record: Record, chain: Sequence[Record] | None) -> Row:
    """One record's row; ``chain`` is the sweep that it belongs to."""
    cell, metrics, where = record.cell, record.metrics, record.environment
    attack, under, weights = cell.attack, metrics.attack, cell.weights
    return Row(
        task=cell.task,
        victim=victim_label(cell),
        training=weights.training,
        attack=None if attack is None else attack.name,
        eps=None if attack is None else attack.eps,
        eps_unit=None if attack is None else attack.unit,
        norm=None if attack is None else attack.norm,
        defense=None if cell.defense is None else cell.defense.name,
        access=str(cell.access),
        samples=cell.samples,
        seed=cell.seed,
        clean=numbers(metrics.clean_pmd),
        pmd=numbers(metrics.pmd),
        pmd_worst=metrics.pmd.worst * UNIT,
        noise=None if under is None else under.noise_pmd.mean * UNIT,
        success=None if under is None else under.rates["asr@tau"],
        doubled=None if under is None else under.rates["asr_rel@2"],
        flags=record.flags,
        command=repeat_command(record, chain),
        settings=None if attack is None else attack_settings(attack),
        weights=weights.sha256,
        weights_name=None if weights.sha256 is None else weights_names().get(weights.sha256),
        fingerprint=cell.fingerprint,
        commit=where.commit,
        dirty=where.dirty,
        device=where.device,
        record=cell_path(Path(), cell).as_posix(),
    )
