"""Versions of the table, and badges."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from posebench.attacks import FGM
from posebench.benchmark.cli.app import main
from posebench.benchmark.records.store import read_records, write_record
from posebench.benchmark.records.types import Record
from posebench.benchmark.reports import shipped as shipped_weights
from posebench.benchmark.reports.badge import badge_svg, badge_words
from posebench.benchmark.reports.published import published
from posebench.benchmark.reports.versions import (
    differences,
    headline_rows,
    read_rows,
    read_version,
    release,
    rows_text,
    version_path,
    version_words,
    write_release,
)
from posebench.errors import InputError
from posebench.interfaces import Budget
from tests.made_records import made

BOARDS = Path(__file__).resolve().parent.parent / "leaderboards"
SHIPPED: dict[str, Any] = {
    "size": "compact", "vertices": 1700, "weights_sha256": "c" * 64, "recipe": {"seed": 0},
}  # fmt: skip


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "committed" not in request.fixturenames:
        monkeypatch.setattr(shipped_weights, "shipped_fingerprints", lambda: {"c" * 64})


@pytest.fixture(scope="module")
def committed() -> list[Record]:
    return read_records(BOARDS / "records")


def test_what_was_rescored_is_written_down_with_its_reason(tmp_path: Path) -> None:
    first = [made(**SHIPPED), made(victim="gct", **SHIPPED)]
    assert version_words(first, tmp_path) == ""
    write_release(first, tmp_path, "The  first.")
    assert read_version(tmp_path) == 1
    assert version_words(first, tmp_path) == "1"
    rows = read_rows(version_path(tmp_path, 1))
    assert rows == headline_rows(first)
    assert [row.key for row in rows] == [("gct", "clean", "fgm 0.08"), ("npt", "clean", "fgm 0.08")]
    assert (rows[1].clean, rows[1].error, rows[1].pairs) == ("10", "30", 2)
    with pytest.raises(InputError, match="no headline row changed since version 1"):
        release(first, tmp_path, "nothing")
    second = [made(pmd=(4e-3, 4e-3), **SHIPPED), made(victim="posemae", **SHIPPED)]
    assert version_words(second, tmp_path) == "1, with 3 rows changed since"
    write_release(second, tmp_path, "A stronger\nattack.")
    text = (tmp_path / "CHANGES.md").read_text()
    newest, oldest = text.index("## 2\n\nA stronger attack.\n"), text.index("## 1\n\nThe first.\n")
    assert newest < oldest
    table = text[newest:oldest]
    assert "| npt | clean | fgm 0.08 | 30 [20, 40], 2 pairs | 40 [40, 40], 2 pairs |" in table
    assert "| gct | clean | fgm 0.08 | 30 [20, 40], 2 pairs | - |" in table
    assert "| posemae | clean | fgm 0.08 | - | 30 [20, 40], 2 pairs |" in table
    assert read_rows(version_path(tmp_path, 1)) == rows, "old versions stay"
    assert rows_text(read_rows(version_path(tmp_path, 2))) == version_path(tmp_path, 2).read_text()


def test_other_weights_or_pairs_are_another_number() -> None:
    one = made(**SHIPPED)
    other = made(**{**SHIPPED, "fingerprint": "a" * 64})
    ((*_, before, after),) = differences(headline_rows([one]), headline_rows([other]))
    assert before == after, "of equal means; the rows' other columns differ"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("VERSION", "one\n", "must hold a number alone, such as 1; found 'one'"),
        ("VERSION", "-1", "must hold a number alone"),
        ("versions/1.csv", "victim,training\nnpt,clean\n", "not the rows of a version"),
        ("versions/1.csv", None, "not the rows of a version"),
    ],
)
def test_broken_versions_are_one_line(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    write_release([made(**SHIPPED)], tmp_path, "First.")
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        version_words([made(**SHIPPED)], tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["posebench", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_release_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "records", made(**SHIPPED))
    words = ["report", "--records", "records", "--out", "."]
    assert run(monkeypatch, *words, "--release", "First.") == 0
    assert (tmp_path / "VERSION").read_text() == "1\n"
    assert '"version":"1"' in (tmp_path / "index.html").read_text()
    assert run(monkeypatch, *words, "--release", "Again.") == 2
    assert "nothing to release" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--release", " ") == 2
    assert run(monkeypatch, *words, "--check", "--release", "x") == 2


def test_the_committed_version_has_its_rows(committed: list[Record]) -> None:
    number = read_version(BOARDS)
    assert number is not None
    assert {path.stem for path in (BOARDS / "versions").glob("*.csv")} == {
        str(each) for each in range(1, number + 1)
    }
    changes = (BOARDS / "CHANGES.md").read_text(encoding="utf-8")
    for each in range(1, number + 1):
        assert f"\n## {each}\n" in changes
        assert len(read_rows(version_path(BOARDS, each))) > 10
    assert len(headline_rows(committed)) >= 24


def test_badge_shows_the_committed_worst_case(
    committed: list[Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(BOARDS.parent)
    out = tmp_path / "badge.svg"
    assert run(monkeypatch, "badge", "--victim", "npt", "--out", str(out)) == 0
    record = published("npt", "point-2cm")
    mean = record.metrics.attacked["pmd_aligned"].mean * 1e4
    tree = ElementTree.fromstring(out.read_text(encoding="utf-8"))
    texts = [each.text or "" for each in tree.iter() if each.tag.endswith("text")]
    assert texts[0] == f"posebench v{read_version(BOARDS)} point-2cm"
    assert f"\u2192 {mean:.1f} [" in texts[1]
    assert f"{record.cell.samples} pairs" in texts[1]
    assert ("(flagged)" in texts[1]) == bool(record.flags)
    assert "leaderboards/index.html#rank-npt-clean" in capsys.readouterr().out
    assert run(monkeypatch, "badge", "--victim", "npt", "--out", str(tmp_path / "a.png")) == 2
    assert run(monkeypatch, "badge", "--victim", "npt", "--threat", "nothing") == 2


def test_badge_is_xml_whatever_it_says_and_asks_for_nothing() -> None:
    text = badge_svg("<script>&", 'a"b\u2192', flagged=True)
    tree = ElementTree.fromstring(text)
    assert [each.text for each in tree.iter() if each.tag.endswith("text")] == [
        "<script>&",
        'a"b\u2192',
    ]
    assert text.count("http") == 1, "the name space alone"
    assert badge_svg("a", "b", flagged=True) != badge_svg("a", "b")


def test_badge_of_an_undefined_mean_is_refused() -> None:
    record = made(pmd=(float("nan"), 1.0), attack_settings=repr(FGM(Budget(0.08))))
    with pytest.raises(InputError, match="no finite mean"):
        badge_words(record, "point-2cm", 1)
