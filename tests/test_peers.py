"""The table of our attacks beside other libraries': what is compared, and what is said of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from posebench.attacks import APGD, PTEnsemble, VertexAdam
from posebench.attacks.adapters import ARTAttack, FoolboxAttack, TorchattacksAttack
from posebench.benchmark.evaluation.plan import attack_cell
from posebench.benchmark.records.store import write_record
from posebench.benchmark.records.types import Cost, Record
from posebench.benchmark.reports.build import check_tables, write_tables
from posebench.benchmark.reports.peers import COMMAND, GRADIENTS, PEERS, TRIES, peers_table
from posebench.benchmark.runs.grid_file import read_grids
from posebench.interfaces import Attack, Budget
from posebench.threats import THREATS
from tests.made_records import made

HARD_AND_EASY = (1.0, 0.5, 2.0, 0.25)
"""Pairs differ, methods by a factor."""


def found(attack: Attack, worth: float, gradients: int = 100, training: str = "clean") -> Record:
    """A record of an attack in its threat model that reached ``worth`` x1e-3 on the first pair."""
    cell = attack_cell(attack, ())
    assert cell is not None
    pmd = tuple(worth * 1e-3 * each for each in HARD_AND_EASY)
    record = made(
        pmd=pmd, eps=cell.eps, norm=cell.norm, metric=cell.metric, size="compact", training=training
    )
    return replace(
        record, cell=replace(record.cell, attack=cell), cost=Cost(gradients + 1, gradients)
    )


def peers(worth: float, gradients: int = 100, threat: str = "point-2cm") -> list[Record]:
    """Every peer at three settings, of which the middle one is worth most."""
    model = THREATS[threat]
    made_by = {"torchattacks": TorchattacksAttack, "foolbox": FoolboxAttack, "art": ARTAttack}
    records = []
    for peer in PEERS:
        if peer.norms and model.budget.norm not in peer.norms:
            continue
        package, _, name = (
            peer.names[0] if threat == "paper-l2-0.08" else peer.names[-1]
        ).partition(":")
        for number, value in enumerate((0.01, 0.05, 0.2)):
            given = {peer.tried: value} if peer.tried != "tau_rel" else {}
            attack = made_by[package](
                model.budget,
                name,
                given,
                tau_rel=None if given else value,
                objective=model.objective,
            )
            share = (0.8, 1.0, 0.9)[number] if peer.title == "Foolbox PGD" else 0.5
            records.append(found(attack, worth * share, gradients))
    return records


def adam(worth: float, gradients: int = 100) -> Record:
    budget = THREATS["point-2cm"].budget
    return found(VertexAdam(budget, gradients, objective="aligned"), worth, gradients)


def cells(line: str) -> list[str]:
    return [each.strip() for each in line.split("|")[1:-1]]


def test_without_a_peer_the_table_says_how_to_make_them() -> None:
    for records in ([], [adam(2.0)]):
        assert peers_table(records) == [
            f"Not measured yet: `{COMMAND}` makes the records and this table."
        ]


def test_each_peer_stands_at_its_best_step_and_ratios_are_paired() -> None:
    """Ours is twice theirs on every pair, so the interval has no width though pairs differ."""
    other = found(APGD(THREATS["point-2cm"].budget, 100, objective="aligned"), 1.0)
    head, _, line, _, said = peers_table([*peers(1.0), adam(2.0), other])
    row = dict(zip(cells(head), cells(line), strict=True))
    assert [row[name] for name in ("network", "threat model", "gradients", "pairs")] == [
        "npt compact, clean", "point-2cm", "100", "4",
    ]  # fmt: skip
    assert row["Foolbox PGD"] == "**9.4** (0.05)"
    assert row["torchattacks APGD"].startswith("4.7 (0.0")
    assert row["Foolbox DDN"] == "-", "its norm is not the budget's"
    assert (row["vertex-adam"], row["apgd"], row["pt-ensemble"]) == ("**18.8**", "9.4", "-")
    assert row["ours / best peer"] == "2.000 [2.000, 2.000]"
    assert said == "Ours is ahead on 1 of 1 rows."


def test_rows_on_which_ours_is_not_ahead_are_named() -> None:
    close = replace(adam(1.0, 500))
    values = replace(close.metrics.attacked["pmd_aligned"], per_sample=(1.4e-3, 3e-4, 2e-3, 2e-4))
    metrics = {**close.metrics.attacked, "pmd_aligned": values}
    unsure = replace(close, metrics=replace(close.metrics, attacked=metrics))
    ball = THREATS["paper-l2-0.08"].budget
    incomplete = [*peers(1.0, 100, "paper-l2-0.08")[:-1], found(APGD(ball, 100), 9.0)]
    *lines, said = peers_table([*peers(1.0), adam(0.9), *peers(1.0, 500), unsure, *incomplete])
    assert len(lines) == 2 + 3 + 1
    assert said == (
        "Ours is ahead on 1 of 2 rows. Not ahead: npt compact, clean, point-2cm, 100 gradients "
        "(0.900, Foolbox PGD). Ahead by less than these pairs can tell: npt compact, clean, "
        "point-2cm, 500 gradients (1.040, Foolbox PGD). Not judged for want of records: 1 "
        f"(`{COMMAND}`)."
    )
    assert cells(lines[4])[-1] == "-"


def test_what_spent_more_or_is_of_an_old_version_does_not_count() -> None:
    near, far = GRADIENTS
    ensemble = PTEnsemble(THREATS["point-2cm"].budget, "aligned", most=near)
    longer = found(ensemble, 9.0, near + 50)
    old = found(ensemble, 99.0)
    assert old.cell.attack is not None
    attack = replace(old.cell.attack, version=PTEnsemble.version - 1)
    old = replace(old, cell=replace(old.cell, attack=attack))
    endless = found(ensemble, 99.0, far + 1)
    other = found(VertexAdam(Budget(0.03, "l2_vertex"), objective="aligned"), 99.0)
    records = [*peers(1.0), *peers(1.0, far), adam(2.0), longer, old, endless, other]
    _, _, short, long, _, said = peers_table(records)
    assert (cells(short)[4], cells(long)[4]) == ("-", "**84.4**")
    assert said == "Ours is ahead on 2 of 2 rows."


def test_the_sweep_tries_every_peer_three_times_at_both_efforts() -> None:
    """As the table will ask for it."""
    tries: dict[tuple[str, str, int], int] = {}
    for grid in read_grids("peers"):
        for name, threat in itertools.product(grid.attacks, grid.threats):
            if ":" in name:
                gradients = (grid.iterations or 0) + (name == "torchattacks:APGD")
                key = name, threat, gradients
                tries[key] = tries.get(key, 0) + len(set(grid.settings))
    assert set(tries.values()) == {TRIES}
    for threat, gradients in itertools.product(
        ("point-2cm", "point-5cm", "paper-l2-0.08"), GRADIENTS
    ):
        norm = THREATS[threat].budget.norm
        for peer in PEERS:
            there = [name for name in peer.names if (name, threat, gradients) in tries]
            assert len(there) == (norm in (peer.norms or (norm,)))


def test_reports_fill_the_page_from_a_folder_of_its_own(tmp_path: Path) -> None:
    page, out = tmp_path / "docs" / "attacks.md", tmp_path / "boards"
    page.parent.mkdir()
    page.write_text("<!-- peers -->\n<!-- /peers -->\n", encoding="utf-8")
    write_record(tmp_path / "records", made())
    write_tables(tmp_path / "records", out, tmp_path)
    assert "Not measured yet" in page.read_text(encoding="utf-8")
    assert check_tables(tmp_path / "records", out, tmp_path) == []
    record = peers(1.0, threat="paper-l2-0.08")[3 * 2]
    path = write_record(out / "peers", record)
    assert path.name.startswith("foolbox-L2PGD-0.08-rms-l2-"), "a name that every file system takes"
    assert check_tables(tmp_path / "records", out, tmp_path) == ["attacks.md"]
    write_tables(tmp_path / "records", out, tmp_path)
    assert "| npt compact, clean | paper-l2-0.08 | 100 | 4 |" in page.read_text(encoding="utf-8")
