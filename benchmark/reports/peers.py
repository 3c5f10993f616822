"""Our attacks beside those of other libraries: the table of docs/attacks.md, from ``sweep peers``.

Its records have a folder of their own: most are of steps that only serve to find a peer's best.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from posebench.attacks import ATTACKS
from posebench.benchmark.records.store import read_records
from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.markdown import NOTHING, UNIT, table
from posebench.benchmark.stats.bootstrap import ratio_interval
from posebench.interfaces import Budget
from posebench.threats import THREATS, threat_of

GRADIENTS = (100, 500)
"""A pair, at most, counted."""

OURS = ("pt-ensemble", "vertex-adam", "apgd", "cube-apgd")

VERSIONS = {name: int(getattr(ATTACKS[name], "version", 1)) for name in OURS}
"""Of ours, the present ones: others are of other attacks."""

TRIES = 3
"""Settings that each peer is tried at; the best counts."""

COMMAND = "posebench sweep peers --out leaderboards/peers && posebench report"


@dataclass(frozen=True)
class Peer:
    """An attack of another library.

    Attributes:
        title: of its column.
        names: of its classes, for a ball in L2 and in Linf.
        tried: what is tried, by its name in a record's settings.
        norms: of the budgets that it is tried in; () for all.
    """

    title: str
    names: tuple[str, ...]
    tried: str
    norms: tuple[str, ...] = ()


PEERS = (
    Peer("torchattacks PGD", ("torchattacks:PGDL2", "torchattacks:PGD"), "alpha"),
    Peer("torchattacks APGD", ("torchattacks:APGD",), "rho"),
    Peer("Foolbox PGD", ("foolbox:L2PGD", "foolbox:LinfPGD"), "rel_stepsize"),
    Peer("Foolbox Adam PGD", ("foolbox:L2AdamPGD", "foolbox:LinfAdamPGD"), "rel_stepsize"),
    Peer("Foolbox DDN", ("foolbox:DDNAttack",), "tau_rel", norms=("l2",)),
    Peer("ART Auto-PGD", ("art:AutoProjectedGradientDescent",), "eps_step"),
)


@dataclass(frozen=True, order=True)
class Row:
    """What the records of one row share."""

    victim: str
    size: str
    training: str
    threat: int
    gradients: int
    samples: int
    weights: str

    @property
    def words(self) -> tuple[str, str, str]:
        """Network, threat model and gradients."""
        network = f"{self.victim} {self.size}, {self.training}"
        return network, tuple(THREATS)[self.threat], str(self.gradients)


def read_peers(folder: Path) -> list[Record]:
    """The records below a folder; none where there is no such folder.

    Raises:
        InputError: one that is not valid.
    """
    return read_records(folder) if folder.is_dir() else []


def peers_table(records: Iterable[Record]) -> list[str]:
    """A row for each network, threat model and number of gradients, and on which of them ours is
    not ahead; without any record of a peer, how to make them."""
    rows = {row: found for row, found in rows_of(records).items() if any_peer(found)}
    if not rows:
        return [f"Not measured yet: `{COMMAND}` makes the records and this table."]
    heads = [*OURS, *(peer.title for peer in PEERS)]
    head = ["network", "threat model", "gradients", "pairs", *heads, "ours / best peer"]
    lines = [line(row, found) for row, found in sorted(rows.items())]
    return [*table(head, lines), "", *verdict(rows)]


def rows_of(records: Iterable[Record]) -> dict[Row, dict[str, list[Record]]]:
    """Row -> column -> records: attacks in a threat model that spent at most its gradients."""
    rows: dict[Row, dict[str, list[Record]]] = {}
    for record in records:
        cell, attack = record.cell, record.cell.attack
        limit = next((most for most in GRADIENTS if record.cost.backwards <= most), None)
        column = None if attack is None else column_of(attack)
        if attack is None or column is None or limit is None:
            continue
        threat = threat_of(Budget(attack.eps, attack.norm, attack.unit), attack.metric)
        plain = cell.defense is None and cell.task == "anny/seen" and cell.seed == 0
        if threat is None or not plain or cell.access.kind != "oblivious":
            continue
        weights = cell.weights
        row = Row(
            cell.victim,
            weights.size or NOTHING,
            weights.training,
            list(THREATS).index(threat.name),
            limit,
            cell.samples,
            weights.sha256 or "",
        )
        rows.setdefault(row, {}).setdefault(column, []).append(record)
    return rows


def column_of(attack: AttackCell) -> str | None:
    """The column that an attack belongs into; None for others."""
    if attack.name in OURS:
        return attack.name if attack.version == VERSIONS[attack.name] else None
    return next((peer.title for peer in PEERS if attack.name in peer.names), None)


def any_peer(found: Mapping[str, list[Record]]) -> bool:
    """Whether a row has a peer, and not only attacks of ours."""
    return any(peer.title in found for peer in PEERS)


def mean_of(record: Record) -> float:
    """What a record is judged by, square metres."""
    assert record.cell.attack is not None
    return record.metrics.attacked[record.cell.attack.metric].mean


def best(found: Mapping[str, list[Record]], columns: Iterable[str]) -> tuple[str, Record] | None:
    """The column and record of the largest mean; None without any."""
    there = [(column, record) for column in columns for record in found.get(column, ())]
    return max(there, key=lambda each: mean_of(each[1]), default=None)


def peers_of(row: Row) -> list[Peer]:
    """Those that are tried in a row's threat model."""
    norm = list(THREATS.values())[row.threat].budget.norm
    return [peer for peer in PEERS if norm in (peer.norms or (norm,))]


def ratio_of(row: Row, found: Mapping[str, list[Record]]) -> tuple[float, float, float] | None:
    """Best of ours over best peer, with its interval over pairs; None if a record is missing."""
    peers = peers_of(row)
    ours, theirs = best(found, OURS), best(found, [peer.title for peer in peers])
    complete = all(len(found.get(peer.title, ())) >= TRIES for peer in peers)
    if ours is None or theirs is None or not complete:
        return None
    metric = list(THREATS.values())[row.threat].metric
    values = (each[1].metrics.attacked[metric].values for each in (ours, theirs))
    return ratio_interval(*values)


def line(row: Row, found: Mapping[str, list[Record]]) -> list[str]:
    """The cells of a row; the best peer and the best of ours are bold."""
    leaders = [best(found, OURS), best(found, [peer.title for peer in PEERS])]
    bold = {leader[0] for leader in leaders if leader is not None}
    tried = {peer.title: peer.tried for peer in PEERS}
    cells = []
    for column in (*OURS, *tried):
        chosen = best(found, [column])
        if chosen is None:
            cells.append(NOTHING)
            continue
        text = f"{mean_of(chosen[1]) * UNIT:.1f}"
        text = f"**{text}**" if column in bold else text
        if column in tried:
            text += f" ({setting_of(chosen[1], tried[column])})"
        cells.append(text)
    ratio = ratio_of(row, found)
    shown = NOTHING if ratio is None else "{:.3f} [{:.3f}, {:.3f}]".format(*ratio)
    return [*row.words, str(row.samples), *cells, shown]


def setting_of(record: Record, name: str) -> str:
    """The value of a setting, from an attack's repr."""
    assert record.cell.attack is not None
    found = re.search(rf"\b{name}'?[:=] ?([-+.\de]+)", record.cell.attack.settings)
    return NOTHING if found is None else found[1]


def verdict(rows: Mapping[Row, Mapping[str, list[Record]]]) -> list[str]:
    """On which rows ours is not ahead, in words."""
    behind, unsure, judged = [], [], 0
    for row, found in sorted(rows.items()):
        ratio = ratio_of(row, found)
        theirs = best(found, [peer.title for peer in PEERS])
        if ratio is None or theirs is None:
            continue
        judged += 1
        network, threat, gradients = row.words
        words = f"{network}, {threat}, {gradients} gradients ({ratio[0]:.3f}, {theirs[0]})"
        if ratio[0] <= 1:
            behind.append(words)
        elif ratio[1] <= 1:
            unsure.append(words)
    said = f"Ours is ahead on {judged - len(behind)} of {judged} rows."
    if behind:
        said += f" Not ahead: {'; '.join(behind)}."
    if unsure:
        said += f" Ahead by less than these pairs can tell: {'; '.join(unsure)}."
    if judged < len(rows):
        said += f" Not judged for want of records: {len(rows) - judged} (`{COMMAND}`)."
    return [said]
