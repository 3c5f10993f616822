"""Leaderboards, the pages' generated tables, the paper's numbers beside ours."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from posebench.attacks import PGD
from posebench.benchmark.cli.app import app
from posebench.benchmark.data.corruptions import POINTCLOUD_C
from posebench.benchmark.evaluation.cost import VictimCost, write_costs
from posebench.benchmark.records.store import read_records, write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports import corruptions as corruption_table
from posebench.benchmark.reports import paper
from posebench.benchmark.reports import shipped as shipped_weights
from posebench.benchmark.reports.build import check_tables, with_tables, write_tables
from posebench.benchmark.reports.corruptions import corruption_errors, corruption_tables
from posebench.benchmark.reports.costs import costs_markdown
from posebench.benchmark.reports.csv_table import COLUMNS, csv_text
from posebench.benchmark.reports.leaderboard import markdown_text
from posebench.benchmark.reports.paper import TABLES, paper_tables
from posebench.benchmark.stats.bootstrap import ratio_interval
from posebench.errors import InputError
from posebench.interfaces import Budget
from tests.made_records import made


def test_csv_has_every_cell(folder: Path) -> None:
    records = read_records(folder)
    text = csv_text(records)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 4
    for row, record in zip(rows, records, strict=True):
        cell, metrics = record.cell, record.metrics
        assert (row["victim"], row["task"]) == (cell.victim, cell.task)
        assert row["training"] == cell.weights.training
        assert float(row["pmd"]) == metrics.pmd.mean
        assert float(row["pmd_worst"]) == max(metrics.pmd.per_sample)
        assert float(row["copy-pose"]) == metrics.trivial["copy-pose"]
        assert (row["asr@tau"] == "") == (cell.attack is None), "undefined is empty"
        assert row["flags"] == " ".join(record.flags)
    assert csv_text(read_records(folder)) == text


def test_markdown_has_every_cell(folder: Path) -> None:
    records = read_records(folder)
    text = markdown_text(records)
    assert markdown_text(read_records(folder)) == text
    assert "## anny/seen, clean" in text
    assert "## anny/seen, fgm 0.08 rms (l2)" in text
    for record in records:
        assert f"{record.metrics.pmd.mean * 1e4:.1f} [" in text
    attacked = text.split("## anny/seen, fgm")[1]
    assert attacked.index("| gct |") < attacked.index("| npt |"), "best first"
    assert "| victim | clean training | adversarial training |" in attacked
    assert "<sup>a</sup>" in attacked
    assert "a under-trained" in attacked


def test_cells_that_differ_in_seed_or_weights_alone_are_all_shown(tmp_path: Path) -> None:
    for number in range(3):
        pmd = (1e-3 * (number + 1),) * 2
        write_record(
            tmp_path, made(seed=min(number, 1), weights_sha256=f"{number // 2}" * 64, pmd=pmd)
        )
    text = markdown_text(read_records(tmp_path))
    for number in range(3):
        assert f"{10 * (number + 1):.1f} [" in text


def test_tables_name_the_surrogate_and_the_version_of_an_attack() -> None:
    """No two tables of the same pairs have one title, and no table holds two versions."""
    record = made()
    assert record.cell.attack is not None
    version = replace(record.cell, attack=replace(record.cell.attack, version=2))
    other = made(access="transfer from npt", surrogate_sha256="d" * 64, victim="posemae")
    found = [
        record,
        replace(record, cell=version),
        made(access="transfer from gct"),
        made(access="transfer from npt"),
        other,
        made(access="transfer from npt", defense="sor"),
    ]
    lines = markdown_text(found).splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        "## anny/seen, fgm 0.08 rms (l2)",
        "## anny/seen, fgm 0.08 rms (l2) version 2",
        "## anny/seen, fgm 0.08 rms (l2), transfer from gct",
        "## anny/seen, fgm 0.08 rms (l2), transfer from npt",
        "## anny/seen, fgm 0.08 rms (l2), transfer from npt",
        "## anny/seen, fgm 0.08 rms (l2), sor (transfer from npt)",
    ]
    assert "2 pairs, size tiny, surrogate weights dddddddddddd." in lines


SHIPPED: dict[str, Any] = {
    "size": "compact", "vertices": 1700, "weights_sha256": "c" * 64, "recipe": {"seed": 0},
}  # fmt: skip


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of SHIPPED count as made from weights that come with the library."""
    monkeypatch.setattr(shipped_weights, "shipped_fingerprints", lambda: {"c" * 64})


@pytest.mark.usefixtures("shipped")
def test_undefined_values_in_tables(tmp_path: Path) -> None:
    write_record(tmp_path / "records", made(pmd=(math.nan, 1.0), **SHIPPED))
    write_record(tmp_path / "records", made(victim="gct", **SHIPPED))
    (tmp_path / "README.md").write_text("<!-- headline -->\n<!-- /headline -->\n", encoding="utf-8")
    write_tables(tmp_path / "records", tmp_path / "boards", tmp_path)
    text = (tmp_path / "boards" / "results.md").read_text(encoding="utf-8")
    assert text.index("| gct |") < text.index("| npt | undefined |"), "undefined last"
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO((tmp_path / "boards" / "results.csv").read_text()))
        if row["victim"] == "npt"
    ]
    assert row["pmd"] == row["pmd_low"] == row["pmd_worst"] == ""
    assert "nan" not in text.lower()
    assert "| 10.0 [10.0, 10.0] | undefined |" in (tmp_path / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.usefixtures("shipped")
def test_stale_tables_are_noticed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "boards"
    readme = tmp_path / "README.md"
    readme.write_text(
        "before\n<!-- headline -->\nold\n<!-- /headline -->\nafter\n", encoding="utf-8"
    )
    files = ["results.csv", "results.md", "README.md", "index.html"]
    assert check_tables(folder, out, tmp_path) == files
    written = write_tables(folder, out, tmp_path)
    assert [path.name for path in written] == files
    assert check_tables(folder, out, tmp_path) == []
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- headline -->\n| victim")
    assert text.endswith("<!-- /headline -->\nafter\n")
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_tables(folder, out, tmp_path)] == first
    with (out / "results.md").open("a", encoding="utf-8") as stream:
        stream.write("edited\n")
    assert check_tables(folder, out, tmp_path) == ["results.md"]
    write_record(folder, made(victim="posemae"))
    assert check_tables(folder, out, tmp_path) == [name for name in files if name != "README.md"]
    write_record(folder, made(victim="posemae", **SHIPPED))
    assert check_tables(folder, out, tmp_path) == files


MARKED = "mine\n<!-- headline -->\nmine\n<!-- /headline -->\n"


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        (["--out", "mine"], []),
        (["--out", "mine", "--check"], []),
        (["--out", "mine", "--pages", "other"], ["other/README.md"]),
        ([], ["README.md"]),
        (["--pages", "other"], ["other/README.md"]),
    ],
)
def test_pages_are_changed_where_asked_for(
    more: list[str],
    changed: list[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--out`` alone makes tables and touches no README; unmarked pages are never written."""
    work = tmp_path / "work"
    for name in ("README.md", "other/README.md"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(MARKED, encoding="utf-8")
        (work / name).with_name("docs").mkdir()
        (work / name).with_name("docs").joinpath("flags.md").write_text("no marks")
    pages = sorted(work.rglob("*.md"))
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in pages}
    monkeypatch.chdir(work)
    done = CliRunner().invoke(app, ["report", "--records", str(folder), *more])
    assert done.exit_code == ("--check" in more), done.output
    after = {path: (path.stat().st_ino, path.read_bytes()) for path in pages}
    assert [str(path.relative_to(work)) for path in pages if after[path] != before[path]] == changed


def test_readme_with_half_a_marker_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- headline -->\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"README\.md: .* without <!-- /headline -->"):
        write_tables(folder, tmp_path / "boards", tmp_path)
    assert not (tmp_path / "boards").exists()


def test_pages_that_mark_no_table_or_were_not_named_are_left_alone(
    folder: Path, tmp_path: Path
) -> None:
    """Tables may be written beside the README of anybody's project."""
    marked, other = tmp_path / "README.md", tmp_path / "docs" / "reproduction.md"
    other.parent.mkdir()
    marked.write_text("<!-- headline -->\nmine\n<!-- /headline -->\n", encoding="utf-8")
    other.write_bytes(b"no table here\r\n")
    write_tables(folder, tmp_path / "boards")
    assert "mine" in marked.read_text(encoding="utf-8")
    written = write_tables(folder, tmp_path / "boards", tmp_path)
    assert [path.name for path in written if path.suffix == ".md"] == ["results.md", "README.md"]
    assert "mine" not in marked.read_text(encoding="utf-8")
    assert other.read_bytes() == b"no table here\r\n"


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_no_records_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="records"):
        write_tables(tmp_path / name, tmp_path / "boards")
    assert not (tmp_path / "boards").exists()


# ---- beside the paper

ROOT = Path(__file__).resolve().parent.parent
PAGE = "a\n" + "\n".join(f"<!-- {n} -->\nold\n<!-- /{n} -->" for n in TABLES) + "\nz\n"


def renewed(page: str, records: list[Record], costs: list[VictimCost]) -> str:
    return with_tables(page, paper_tables(records, costs), "page")


def test_paper_tables_hold_shipped_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, adversarial, seeded, other = (letter * 64 for letter in "cade")
    monkeypatch.setattr(
        shipped_weights, "shipped_fingerprints", lambda: {clean, adversarial, seeded}
    )
    usual = {"size": "compact", "vertices": 1700, "victim": "npt", "recipe": {"seed": 0}}
    small = {**usual, "size": "small"}
    parts = {"width": 128, "scales": 1, "mask_ratio": 0.0, "attention": "none"}
    ablation = {**small, "victim": "posemae", "network": parts, "weights_sha256": other}
    records = [
        made(pmd=(0.02, 0.03), weights_sha256="f" * 64, **usual),
        made(pmd=(0.0123,) * 2, weights_sha256=clean, **usual),
        made(pmd=(0.0041,) * 2, weights_sha256=adversarial, training="adversarial", **usual),
        made(pmd=(0.0199,) * 2, weights_sha256=seeded, **{**small, "recipe": {"seed": 1}}),
        made(pmd=(0.0777,) * 2, weights_sha256=clean, defense="sor", **usual),
        made(pmd=(0.0555,) * 2, **ablation),
        made(
            pmd=(0.0333,) * 2,
            size="small",
            training="adversarial",
            weights_sha256=other,
            recipe={"victim": "npt", "seed": 0, "adversarial": {"sor": True}, "steps": 9},
        ),
    ]
    records.append(made(pmd=(9.0,), weights_sha256=clean, **usual))  # fewer pairs
    records.append(made(pmd=(9.0,) * 2, weights_sha256=clean, seed=5, **usual))
    pgd_50 = repr(PGD(Budget(0.08), iterations=50))
    records.append(
        made(pmd=(9.0,) * 9, weights_sha256=clean, attack="pgd", attack_settings=pgd_50, **usual)
    )
    page = renewed(PAGE, records, [])
    assert "90000" not in page
    assert renewed(page, records, []) == page
    assert (page.startswith("a\n"), page.endswith("\nz\n"), "old" in page) == (True, True, False)
    sections = {n: page.split(f"<!-- {n} -->")[1].split(f"<!-- /{n} -->")[0] for n in TABLES}
    (row,) = (line for line in sections["table 2"].splitlines() if line.startswith("| npt |"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:3] == ["npt", "237.6", "123.0 [123.0, 123.0]"]
    assert cells[3:7] == ["59.0", "41.0 [41.0, 41.0]", "4.0", "3.0"]
    assert cells[7:] == ["-", "-", "-"]
    assert "| npt | 1 | - | - | - | 199.0 [199.0, 199.0] | - |" in sections["seeds"]
    assert "| vanilla | 4.0 | - | - | 555.0" in sections["table 5"]
    assert "| npt | steps 9, sor True | - | - | 333.0 [333.0, 333.0] | - |" in sections["options"]
    assert "777" not in page
    assert "250.0" not in page
    with pytest.raises(InputError, match="without <!-- /table 1 -->"):
        renewed("<!-- table 1 -->", records, [])


def test_costs_table_and_damaged_costs(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    cost = VictimCost("npt", "paper", 1024, 6890, 6_054_941, 24.2, 812.4, 1700.0, 300.0, 900.0)
    write_costs(path, [cost], "cpu")
    text = "\n".join(costs_markdown(path))
    page = renewed("<!-- table 4 -->\n<!-- /table 4 -->", [], [cost])
    assert "| npt | 24.2 | 24.2 | 4.4 | 812 | 1.00 | 1.00 |" in page
    assert "| npt | paper | 6890 | 6,054,941 | 24.2 | 812 | 1700 | 300 | 900 |" in text
    for broken in ("", "[]", "{}", '{"costs": [{"victim": 1}], "environment": {}}'):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(InputError, match=r"cpu\.json: "):
            costs_markdown(path)


# ---- scans, noise, corruptions


def test_corruption_errors_in_closed_form() -> None:
    reference = {"clean": 1.0, "a": 2.0, "b": 5.0}
    assert corruption_errors(reference, reference) == (1, 1)
    errors = {"clean": 2.0, "a": 6.0, "b": 5.0}
    assert corruption_errors(errors, reference) == ((3 + 1) / 2, (4 + 3) / (1 + 4))
    flat = {"clean": 1.0, "a": 1.0, "b": 1.0}
    mean, relative = corruption_errors(reference, flat)
    assert (mean, math.isnan(relative)) == (3.5, True)


def test_ratio_of_pairs_knows_that_they_are_pairs() -> None:
    """After is half of before in every pair: a ratio of 2 without any spread."""
    before = np.array([1.0, 5.0, 9.0, 200.0])
    assert ratio_interval(before, before / 2) == pytest.approx((2, 2, 2))
    middle, low, high = ratio_interval(before, before[::-1])
    assert low < middle == 1 < high


def clean_cell(task: str, pmd: tuple[float, ...], **cell: Any) -> Record:
    nothing = dict.fromkeys(("attack", "attack_settings", "eps", "eps_unit", "norm"))
    return made(
        task=task,
        pmd=pmd,
        fingerprint=sha256(task.encode()).hexdigest(),
        **{**SHIPPED, **nothing, **cell},
    )


@pytest.mark.usefixtures("shipped")
def test_distorted_tasks_have_tables_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruption_table, "SEVERITIES", (1, 3))
    records = []
    for victim, training, factor in (("npt", "clean", 1), ("npt", "adversarial", 2)):
        who = {"victim": victim, "training": training}
        # Pairs beyond the second are in the clean cell alone and must not count.
        clean = (1e-4 * factor, 3e-4 * factor, 9.0)
        records.append(clean_cell("anny/seen", clean, **who))
        for name in POINTCLOUD_C:
            for severity in (1, 3):
                pmd = (1e-3 * factor * severity, 1e-3 * factor * severity)
                records.append(clean_cell(f"anny/{name}@{severity}", pmd, **who))
        records.append(clean_cell("anny/scan@3", (8e-3 / factor,) * 2, **who))
    records.append(clean_cell("anny/scan@1", (5e-3,) * 2, victim="gct"))
    found = corruption_tables(records)
    head, _, *rows = found["corruptions"]
    cells = {row.split(" | ")[1]: row.strip("| ").split(" | ") for row in rows if "| npt |" in row}
    assert head.split(" | ")[2] == "clean"
    assert cells["clean"][2:] == ["2.0", *["20.0"] * len(POINTCLOUD_C), "1.00", "1.00"]
    assert cells["adversarial"][2:] == ["4.0", *["40.0"] * len(POINTCLOUD_C), "2.00", "2.00"]
    assert "2 pairs, severities 1, 3." in rows
    assert "gct" not in "\n".join(rows), "no corruption was measured on it"
    assert any(row.startswith("| gct |") for row in found["table 3"])
    (row,) = (line for line in found["table 3"] if line.startswith("| npt |"))
    shown = row.strip("| ").split(" | ")
    assert shown[:2] == ["npt", "25.2"]
    assert shown[4:7] == ["80.0 [80.0, 80.0]", "40.0 [40.0, 40.0]", "2.00 [2.00, 2.00]"]
    text = markdown_text(records)
    assert "## anny/scan@3" not in text
    board = text.split("## Scans, noise and corruptions")[1]
    assert "| pose source | pairs | size | gct, clean | npt, adversarial | npt, clean |" in board
    assert "| anny/scan@3 | 2 | compact | - | 40.0 [40.0, 40.0] | 80.0 [80.0, 80.0] |" in board


@pytest.mark.usefixtures("shipped")
def test_undefined_and_missing_cells_of_distorted_tasks() -> None:
    made_of_nothing = corruption_tables([clean_cell("anny/seen", (1.0,), victim="npt")])
    assert "pairs" not in made_of_nothing["corruptions"][-1]
    _, _, *rows = made_of_nothing["table 3"]
    assert [row.split(" | ")[0] for row in rows] == ["| npt", "| posemae"], "the paper's"
    assert [set(row.split(" | ")[2:6]) for row in rows] == [{"-"}] * 2
    records = [clean_cell("anny/scan@3", (math.nan, 1.0), victim="npt", training="clean")]
    records.append(clean_cell("anny/scan@3", (1.0, 1.0), victim="npt", training="adversarial"))
    records += [clean_cell(f"anny/rotate@{s}", (math.nan, 1.0), victim="npt") for s in (1, 3, 5)]
    text = "\n".join(line for lines in corruption_tables(records).values() for line in lines)
    assert "nan" not in text.lower()
    assert text.count("undefined") == 3, "scan, its ratio, rotate"
    assert markdown_text([*records, *records[:1]]).count("undefined") == 5


# ---- measured and reported numbers never share a column


def test_no_column_mixes_reported_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other reported numbers change columns headed "paper" alone, other records the others."""

    def columns_of(records: list[Record]) -> dict[tuple[str, int, str], list[str]]:
        cost = [
            VictimCost(victim, "paper", 1024, 6890, 1, 2.0, 3.0, 4.0, 5.0, 6.0)
            for victim in ("npt", "gct")
        ]
        made_tables = paper_tables(records, cost) | corruption_tables(records)
        found = {}
        for name, lines in made_tables.items():
            rows = [
                [c.strip() for c in line.strip("| ").split(" | ")] for line in lines if "|" in line
            ]
            for i, title in enumerate(rows[0]):
                found[name, i, title] = [row[i] for row in rows[2:]]
        return found

    records = read_records(ROOT / "leaderboards" / "records")
    both, nothing_measured = columns_of(records), columns_of([])
    for module, number in ((paper, 1), (paper, 2), (corruption_table, 3), (paper, 4), (paper, 5)):
        name = f"TABLE_{number}"
        other = {k: tuple(7 * x + 1 for x in v) for k, v in getattr(module, name).items()}
        monkeypatch.setattr(module, name, other)
    others = columns_of(records)
    changed = {key for key in both if both[key] != others[key]}
    assert len(changed) > 10
    assert all("paper" in title for _, _, title in changed)
    for (name, number, title), cells in nothing_measured.items():
        if "paper" in title:
            first = next(key for key in both if key[:2] == (name, 0))
            with_records = dict(zip(both[first], both[name, number, title], strict=True))
            alone = dict(zip(nothing_measured[first], cells, strict=True))
            assert alone
            assert alone.items() <= with_records.items()
        elif name != "table 4":  # of costs, not of records
            assert title in ("victim", "training", "3D-PoseMAE") or set(cells) <= {"-"}, title
