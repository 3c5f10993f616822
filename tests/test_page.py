"""The leaderboard page's content, without a browser: numbers, safety, samples, commands."""

from __future__ import annotations

import copy
import json
import math
import re
import shlex
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posebench.attacks import PGD
from posebench.benchmark.cli.app import main
from posebench.benchmark.evaluation.samples import PackedCloud, unpacked
from posebench.benchmark.evaluation.sources import find_networks
from posebench.benchmark.records.form import attack_settings
from posebench.benchmark.records.store import read_records
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports import page
from posebench.benchmark.reports import shipped as shipped_weights
from posebench.benchmark.reports.leaderboard import headline
from posebench.benchmark.reports.page import explained, page_data, page_text
from posebench.benchmark.reports.page_curves import TAUS, curves, success
from posebench.benchmark.reports.page_matrices import poses_matrix, transfer_matrices
from posebench.benchmark.reports.page_ranking import answer, ranking
from posebench.benchmark.reports.page_samples import packed, read_samples
from posebench.benchmark.reports.repeat import UNKNOWN_WEIGHTS, repeat_command, sweeps
from posebench.benchmark.reports.selection import WORST, shipped_plain
from posebench.benchmark.stats.success import success_rates
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims import write_weights
from posebench.victims.weights import shipped_victims
from tests.made_records import made

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ROOT / "leaderboards"
SHIPPED: dict[str, Any] = {
    "size": "compact", "vertices": 1700, "weights_sha256": "c" * 64, "recipe": {"seed": 0},
}  # fmt: skip
NO_ATTACK = dict.fromkeys(("attack", "attack_settings", "eps", "eps_unit", "norm"))


class Reader(HTMLParser):
    """Tags with their attributes, and the JSON block."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.inside = dict(attrs).get("id")

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside == "data":
            self.data += data


@pytest.fixture(scope="module")
def committed() -> str:
    return (BOARDS / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return read_records(BOARDS / "records")


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of SHIPPED count as made from weights that come with the library."""
    monkeypatch.setattr(shipped_weights, "shipped_fingerprints", lambda: {"c" * 64})


# ---- the file


def test_page_is_one_file_without_requests(committed: str) -> None:
    assert len(committed.encode()) < 15e6
    tags = Reader(committed).tags
    for tag, attributes in tags:
        assert tag not in ("iframe", "object", "embed", "base", "form action"), tag
        assert "src" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        href = attributes.get("href") or "#"
        assert href.startswith(("#", "data:")), href
    (policy,) = (a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    style = committed.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    for name in ("three.js", "d3", "MIT", "ISC"):
        assert name in committed[: committed.index("var PageLibrary")][-600:], "licences named"


def test_page_ranks_as_the_readme_does(committed: str, records: list[Record]) -> None:
    data = json.loads(Reader(committed).data)
    lines = [line for line in headline(records)[2:] if line.startswith("|")]
    table = [[cell.strip() for cell in row.split("|")[1:-1]] for row in lines]
    assert len(data["ranking"]) == len(table) == 20

    def words(row: dict[str, Any], column: str, what: str = "pmd") -> str:
        found = row[column] and row[column][what]
        return "{:.1f} [{:.1f}, {:.1f}]".format(*found) if found else "-"

    for row, cells in zip(data["ranking"], table, strict=True):
        assert [row["victim"], row["training"]] == cells[:2]
        assert words(row, "point2", "clean") == cells[2]
        worst = [cell.removesuffix(" <sup>u</sup>") for cell in cells[3:5]]
        assert [words(row, name) for name in ("point2", "point5")] == worst
        assert str(row["point2"]["pairs"] if row["point2"] else "-") == cells[5]
        assert [words(row, name) for name in ("clean", "fgm")] == cells[7:9]
    assert all(cells[3] != "-" for cells in table)


def test_every_record_is_a_row_with_its_numbers(committed: str, records: list[Record]) -> None:
    data = json.loads(Reader(committed).data)
    assert len(data["cells"]) == len(records)
    for row, record in zip(data["cells"], records, strict=True):
        metrics, cell = record.metrics, record.cell
        assert row["pmd"][0] == metrics.pmd.mean * 1e4
        assert row["clean"][1:] == [end * 1e4 for end in metrics.clean_pmd.ci95]
        assert (row["task"], row["training"]) == (cell.task, cell.weights.training)
        assert (row["access"], row["samples"]) == (str(cell.access), cell.samples)
        assert row["eps"] == (cell.attack and cell.attack.eps)
        assert row["defense"] == (cell.defense and cell.defense.name)
        assert row["commit"] == record.environment.commit


@pytest.mark.usefixtures("shipped")
def test_hostile_and_undefined_values_stay_text() -> None:
    bad = "</script><script>alert(1)</script><!--scripts--><!--data-->&lt;"
    hostile = [
        made(victim=bad, task=bad, **SHIPPED),
        made(pmd=(math.nan, 1.0), training=bad, **SHIPPED),
        made(pmd=(math.nan, math.nan), **SHIPPED),
        replace(made(**SHIPPED, attack="none such", attack_settings=bad), flags=(bad,)),
    ]
    text = page_text(hostile, [], "")
    assert "alert(1)</script>" not in text
    reader = Reader(text)
    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 1 + len(page.PARTS)
    data = json.loads(reader.data)
    assert any(row["victim"] == bad and row["task"] == bad for row in data["cells"])
    assert any(row["flags"] == [bad] for row in data["cells"])
    assert sum(row["pmd"] == [None] * 3 for row in data["cells"]) == 2
    assert "NaN" not in reader.data


# ---- what it says


@pytest.mark.usefixtures("shipped")
def test_answer_compares_the_first_two_on_the_same_pairs() -> None:
    near = WORST["point-2cm"]
    assert near is not None
    ensemble: dict[str, Any] = {"attack": "pt-ensemble", "attack_settings": near.settings}
    ensemble |= {
        "eps": 0.02,
        "norm": "l2_vertex",
        "metric": "pmd_aligned",
        "attack_version": near.version,
    }
    ensemble["fingerprint"] = "5a" * 32
    plain = [
        made(victim="npt", pmd=(0.01, 0.03), **SHIPPED, **ensemble),
        made(victim="gct", pmd=(0.04, 0.04), **SHIPPED, **ensemble),
        made(victim="npt", pmd=(0.02, 0.02, 0.02), **SHIPPED),
        made(victim="gct", pmd=(0.01, 0.01, 0.01), **SHIPPED),
        made(victim="npt", pmd=(0.5, 0.5), **{**SHIPPED, "recipe": {"seed": 2}}),
    ]
    rows = ranking([record for record in plain if shipped_plain(record)])
    assert [row.victim for row in rows] == ["npt", "gct"]
    found = answer(rows, plain)
    assert found is not None
    assert found.ratio == pytest.approx((2.0, 0.04 / 0.03, 4.0)), "means 0.04 and 0.02"
    assert (found.by, found.wins) == ("point2", 2)
    assert (rows[0].ahead, rows[1].ahead) == ((2, 2), None)
    longer = [made(victim="npt", pmd=(0.01, 0.05, 0.01), **SHIPPED, **ensemble), plain[1]]
    assert ranking(longer)[0].ahead == (1, 2), "the pairs that both have"
    assert (found.first_by_fgm, found.seeds) == (False, pytest.approx((5000.0,)))
    assert rows[1].point2 is not None
    rows[1] = replace(rows[1], point2=replace(rows[1].point2, fingerprint="07" * 32))
    other = answer(rows, plain)
    assert other is not None
    assert other.ratio is None
    fewer = answer(ranking(longer), plain)
    assert fewer is not None
    assert (fewer.pairs, fewer.wins) == (2, 1)
    assert fewer.ratio is not None
    assert fewer.ratio[0] == pytest.approx(0.08 / 0.06), "on the pairs that both have"
    assert answer(rows[:1], plain) is None


def chain(eps: tuple[float, ...], **cell: Any) -> list[Record]:
    """A sweep's records as ``evaluate_all`` makes them."""
    found: list[Record] = []
    for number, value in enumerate(eps):
        record = made(pmd=(1e-3 * (number + 1), 3e-3), eps=value, **SHIPPED, **cell)
        assert record.cell.attack is not None
        warm = replace(record.cell.attack, warm_from=eps[number - 1] if number else None)
        found.append(replace(record, cell=replace(record.cell, attack=warm)))
    return found


def test_sweeps_are_told_from_single_cells_and_from_each_other() -> None:
    one, two = chain((0.0, 0.02, 0.04)), chain((0.0, 0.04, 0.08, 0.12), victim="gct")
    other = chain((0.01, 0.02), victim="posemae")
    found = sweeps([*two[::-1], made(), *one, *other, made(eps=0.02, victim="gct")])
    assert sorted(len(each) for each in found) == [3, 4]
    by_victim = {each[0].cell.victim: each for each in found}
    assert by_victim["npt"] == one
    assert by_victim["gct"] == two
    (first, second) = curves(found)
    assert [first.victim, second.victim] == ["gct", "npt"]
    assert [point.eps for point in second.points] == [0.0, 0.02, 0.04]
    assert sweeps(chain((0.02, 0.02, 0.02))) == [], "budgets that print alike end a chain"
    assert second.points[1].pmd[0] == pytest.approx(25.0)


def test_success_over_tau_is_the_metric_at_every_threshold() -> None:
    rng = np.random.default_rng(0)
    clean, attacked = rng.lognormal(-6, 1, 40), rng.lognormal(-5, 1.5, 40)
    undefined = 0
    for tau, (middle, low, high) in zip(TAUS, success(clean, attacked), strict=True):
        expected = success_rates(clean, attacked, attacked, tau=float(tau))["asr@tau"]
        if math.isnan(expected):
            assert np.isnan((middle, low, high)).all()
            undefined += 1
        else:
            assert middle == pytest.approx(expected, abs=1e-4)
            assert 0 <= low <= middle <= high <= 1
    assert 0 < undefined < len(TAUS)
    attacked[0] = math.nan
    assert np.isnan(success(clean, attacked)).all()


def test_transfer_matrix_puts_targets_in_rows() -> None:
    cells = [
        made(victim=target, access=f"transfer from {source}", pmd=(value, value), **SHIPPED)
        for target, source, value in (("npt", "gct", 0.02), ("gct", "gct", 0.05))
    ]
    (matrix,) = transfer_matrices([*cells, made(**SHIPPED)])
    assert matrix.columns == ("gct",)
    assert [row.victim for row in matrix.rows] == ["gct", "npt"]
    shown = [row[0].pmd[0] for row in matrix.values if row[0] is not None]
    assert shown == pytest.approx([500.0, 200.0])


def test_poses_matrix_has_a_row_for_each_regime_and_none_for_networks_on_one_split() -> None:
    def cell(task: str, value: float, victim: str = "npt") -> Record:
        return made(victim=victim, task=f"anny/{task}", attack=None, pmd=(value, value))

    protocol = [cell("seen", 0.001), cell("natural", 0.03), cell("seen", 0.002, "gct")]
    matrix = poses_matrix(protocol, [cell("natural", 0.004), cell("scan@1", 0.5)])
    assert matrix is not None
    assert [(row.victim, row.training) for row in matrix.rows] == [
        ("npt", "clean"),
        ("npt", "clean (open regime)"),
    ]
    places = [matrix.columns.index(name) for name in ("seen", "natural")]
    shown = [
        [None if (each := row[at]) is None else each.pmd[0] for at in places]
        for row in matrix.values
    ]
    assert shown == [[pytest.approx(10), pytest.approx(300)], [None, pytest.approx(40)]]
    assert poses_matrix(protocol[2:], []) is None


def test_flags_are_explained_from_the_documentation() -> None:
    found = explained((ROOT / "docs" / "flags.md").read_text(encoding="utf-8"))
    assert len(found) == 19
    assert found["under-trained"]["raised"].startswith("Raised if the victim's clean PMD, doubled")
    assert all({"raised", "means"} <= set(parts) for parts in found.values())
    assert explained("") == {}


# ---- commands


def test_commands_name_shipped_weights_and_leave_out_what_they_cannot_say(
    records: list[Record],
) -> None:
    names = {path.name for path in (ROOT / "victims" / "weights").glob("*.safetensors")}
    for row in page_data(records, [], "")["cells"]:
        assert row.command is not None
        words = shlex.split(row.command)
        assert words[:3] == ["posebench", "run", "--victim"]
        given = words[words.index("--weights") + 1]
        assert given == UNKNOWN_WEIGHTS or Path(given).name in names
    own = made(attack="pgd", attack_settings=repr(PGD(Budget(0.08), restarts=3)), **SHIPPED)
    assert repeat_command(own) is None
    nine = made(attack="pgd", attack_settings=repr(PGD(Budget(0.08), iterations=9)), **SHIPPED)
    assert "--attack pgd --iterations 9 --eps 0.08" in str(repeat_command(nine))
    assert repeat_command(chain((0.0, 0.02))[1]) is None, "one of a sweep that is not known"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "options",
    [
        "--attack none --task anny/unseen",
        "--attack pgd --iterations 2 --eps 0.3 --eps-unit total --seed 3",
        "--attack fgm --eps 0:0.08:3",
        "--attack fgm --norm linf --eps 0.01 --defense sor --access adaptive",
        "--attack drop --eps 0.1",
    ],
)
def test_a_rows_command_makes_the_record_again(
    options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.safetensors"
    write_weights(weights, initial_network(Recipe("npt-mp", size="tiny")), {"training": "clean"})

    def run(words: list[str], out: Path) -> dict[str, str]:
        monkeypatch.setattr(sys, "argv", [*words, "--out", str(out), "--device", "cpu"])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        found = sorted(out.rglob("*.json"))
        return {str(path.relative_to(out)): path.read_text(encoding="utf-8") for path in found}

    first = ["posebench", "run", "--victim", "npt-mp", "--weights", str(weights), "--size", "tiny"]
    made_first = run([*first, "--samples", "2", *options.split()], tmp_path / "a")
    found = read_records(tmp_path / "a")
    commands = {row.command for row in page_data(found, [], "")["cells"]}
    assert len(commands) == 1
    again = [w if w != UNKNOWN_WEIGHTS else str(weights) for w in shlex.split(str(*commands))]
    assert run(again, tmp_path / "b") == made_first


# ---- samples


@given(
    arrays(np.float32, (7, 3), elements=st.floats(-50, 50, width=32)),
)
def test_packing_keeps_points_to_half_a_step(points: Any) -> None:
    cloud = packed(points)
    assert np.abs(unpacked(PackedCloud(**cloud)) - points).max() <= cloud["scale"] * 0.5000001
    assert cloud["scale"] <= 50 / 32767 or not points.any()


def test_samples_are_the_records_pairs(records: list[Record]) -> None:
    """Every PMD shown stands in a record, and the drawn meshes have it."""
    samples = read_samples(BOARDS / "samples")
    assert len(samples) == 2
    shown_weights = [
        source.weights.sha256
        for victim in shipped_victims("compact")
        for source in find_networks(victim, None, "compact")
    ]
    by_cell = {
        (r.cell.weights.sha256, r.cell.attack and attack_settings(r.cell.attack)): r
        for r in sorted(records, key=lambda r: r.cell.samples)
        if r.cell.task == "anny/seen"
        and r.cell.access.kind == "oblivious"
        and r.cell.defense is None
    }
    compared = 0
    for sample in samples:
        number, truth = sample["sample"], unpacked(PackedCloud(**sample["truth"]))
        assert [views["weights_sha256"] for views in sample["victims"]] == shown_weights
        assert sample["environment"]["dirty"] is False
        for views in sample["victims"]:
            shown = [
                (None, views["clean"]),
                *((a["attack_settings"], a) for a in views["attacked"]),
            ]
            for settings, view in shown:
                record = by_cell[views["weights_sha256"], settings]
                recorded = record.metrics.pmd.per_sample[number]
                # Batches round otherwise than single pairs; twenty steps of PGD multiply that.
                off = 0.15 if str(settings).startswith("PGD") else 5e-3
                assert view["pmd"] == pytest.approx(recorded, rel=off)
                drawn = float(np.square(unpacked(PackedCloud(**view["output"])) - truth).mean())
                assert drawn == pytest.approx(view["pmd"], rel=1e-2, abs=1e-6)
                compared += 1
            for view in views["attacked"]:
                moved = unpacked(PackedCloud(**view["pose"])) - unpacked(
                    PackedCloud(**sample["pose"])
                )
                assert float(np.sqrt(np.square(moved).mean())) == pytest.approx(view["rms"], 1e-2)
                assert 0.5 * view["eps"] < view["rms"] <= view["eps"] * (1 + 1e-5)
    assert compared == 2 * 4 * len(shown_weights)


def test_damaged_samples_are_one_line(tmp_path: Path) -> None:
    good = json.loads((BOARDS / "samples" / "anny-seen-0.json").read_text(encoding="utf-8"))

    def refused(sample: Any) -> None:
        text = sample if isinstance(sample, str) else json.dumps(sample)
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"x\.json: "):
            read_samples(tmp_path)

    for text in (
        "",
        "[]",
        "{}",
        "null",
        '{"schema": "posebench-samples/1"}',
        '{"schema": "other"}',
    ):
        refused(text)
    for path in (
        ["pose"],
        ["truth", "points"],
        ["victims", 0, "clean", "output", "scale"],
        ["faces"],
    ):
        for value in (None, "%%%", {}, "AAAA", [1]):
            broken = copy.deepcopy(good)
            place = broken
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            refused(broken)
    assert read_samples(tmp_path / "nowhere") == []


def test_page_without_samples_or_ranking(folder: Path) -> None:
    data = json.loads(Reader(page_text(read_records(folder), [], "")).data)
    assert (data["ranking"], data["answer"], data["curves"], data["samples"]) == ([], None, [], [])
    assert len(data["cells"]) == 4
    assert not re.search(r"<!--(style|data|scripts)-->", page_text(read_records(folder), [], ""))
