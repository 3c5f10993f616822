"""``posebench compare``: paired, in words, and never of what does not compare."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from posebench.benchmark.records.store import write_record
from posebench.benchmark.records.types import Access, Record
from posebench.benchmark.reports.comparison import compare as compare_all
from posebench.benchmark.reports.comparison import differences, words
from posebench.victims.weights import shipped_path, weights_fingerprint
from tests.bad_meshes import call
from tests.made_records import made

RNG = np.random.default_rng(3)
HARD = tuple(float(x) for x in np.exp(RNG.normal(-6, 0.5, 24)))
EASIER = tuple(float(x) for x in np.array(HARD) * np.exp(RNG.normal(-0.4, 0.2, 24)))
SAME = tuple(float(x) for x in np.array(HARD) * np.exp(RNG.normal(0, 0.2, 24)))


def shipped(victim: str, training: str = "clean", **more: Any) -> Record:
    """A record of weights that come with the library."""
    sha = weights_fingerprint(shipped_path(victim, "compact", training=training))
    given = {"victim": victim, "training": training, "size": "compact", "weights_sha256": sha}
    return made(**{**given, "recipe": {"seed": 0}, **more})


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """NPT is better than GCT under FGM and as good without; FGM 0.02 was run on other pairs."""
    for record in (
        shipped("npt", pmd=EASIER),
        shipped("gct", pmd=HARD),
        shipped("npt", pmd=SAME, attack=None),
        shipped("gct", pmd=HARD, attack=None),
        shipped("npt", pmd=HARD, eps=0.02),
        shipped("gct", pmd=HARD[:8], eps=0.02),
        shipped("npt", pmd=SAME, defense="sor", access="adaptive", wrappers=["Defended"]),
    ):
        write_record(tmp_path / "records", record)
    return tmp_path / "records"


def test_names_are_compared_in_what_the_tables_show(records: Path) -> None:
    found = compare_all("npt", "gct-compact", records=records, task="anny/seen")
    assert [each.cell.attack and each.cell.attack.eps for each in found] == [None, 0.08]
    clean, fgm = found
    assert clean.better is None
    assert "neither is surely more accurate on clean poses" in words(clean)
    assert fgm.better == 0
    wins = sum(a < b for a, b in zip(EASIER, HARD, strict=True))
    assert fgm.wins == (wins, len(HARD) - wins)
    expected = ttest_rel(np.log(EASIER), np.log(HARD)).pvalue
    assert fgm.p == pytest.approx(2 * expected)  # Holm: the smaller one of two
    ratio = float(np.exp(np.mean(np.log(EASIER)) - np.mean(np.log(HARD))))
    assert words(fgm).startswith(
        "npt-compact is more robust against fgm 0.08 rms (l2) than gct-compact: it errs less in "
        f"{wins} of 24 pairs, {ratio:.2f} times as much ["
    )


def test_the_other_way_round_says_the_same(records: Path) -> None:
    one, other = (
        compare_all(*names, records=records, task="anny/seen")[1]
        for names in (("npt", "gct"), ("gct", "npt"))
    )
    assert words(one) == words(other)
    assert one.change.ratio == pytest.approx(1 / other.change.ratio)


def test_command_prints_words_table_and_picture(records: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    base = ["compare", "npt", "gct", "--records", str(records)]
    done = call([*base, "--plot", str(picture)])
    assert (done["code"], done["err"]) == (0, ""), done
    for part in ("A: npt-compact", "B: gct-compact", "more robust", str(picture)):
        assert part in done["out"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(call([*base, "--json"])["out"])
    assert [each["better"] for each in found] == [None, "npt-compact"]
    assert found[1]["errors"] == [list(EASIER), list(HARD)]


def test_a_record_beside_a_name_finds_its_kind(records: Path) -> None:
    behind = next(records.rglob("*sor-adaptive*.json"))
    (found,) = compare_all(str(behind), "npt", records=records, task="anny/wide")
    assert found.names == ("npt-compact behind sor (adaptive)", "npt-compact")
    assert found.errors[1].tolist() == list(EASIER)


CELLS = {
    "task": ({"task": "anny/wide"}, "task anny/seen against anny/wide"),
    "pairs": ({"pmd": HARD[:9]}, "pairs 24 against 9"),
    "attack": ({"eps": 0.04}, "attack fgm 0.08 rms (l2) against fgm 0.04 rms (l2)"),
    "no attack": ({"attack": None}, "attack fgm 0.08 rms (l2) against none"),
    "data": ({"fingerprint": "ab" * 32}, "other points under the same task's name"),
}


@pytest.mark.parametrize("case", CELLS)
def test_what_does_not_compare_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    changes, reason = CELLS[case]
    pair = made(pmd=HARD), made(**{"pmd": HARD, "victim": "gct", **changes})
    paths = [str(write_record(tmp_path, each)) for each in pair]
    done = call(["compare", *paths])
    assert (done["code"], done["out"]) == (2, "")
    (line,) = done["err"].splitlines()
    assert line.startswith("posebench: error: ")
    assert reason in line


def test_attacks_that_only_look_alike_do_not_compare() -> None:
    cell = made(pmd=HARD).cell
    assert cell.attack is not None
    others = {
        "attack's start afresh against from that of eps 0.06": replace(cell.attack, warm_from=0.06),
        "attack's version 1 against 2": replace(cell.attack, version=2),
        "attack's settings FGM(": replace(cell.attack, settings="FGM()"),
    }
    for reason, attack in others.items():
        (found,) = differences(cell, replace(cell, attack=attack))
        assert found.startswith(reason)
    through = replace(cell, access=Access("transfer", "npt-mp"))
    assert differences(cell, through) == ["surrogate None against npt-mp"]
    assert differences(cell, replace(cell, seed=1)) == []


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("npt", "gctt"), "did you mean 'gct-compact'"),
        (("npt", "npt-mp"), "known are"),
        (("npt", "nowhere.json"), "nowhere.json"),
    ],
)
def test_bad_names(names: tuple[str, str], part: str, records: Path) -> None:
    done = call(["compare", *names, "--records", str(records)])
    assert (done["code"], done["out"]) == (2, "")
    assert part in done["err"]


def test_undefined_errors_and_single_pairs_are_refused(tmp_path: Path) -> None:
    for number, pmd in enumerate(((1e-3,), (1e-3, float("nan")))):
        paths = [
            str(write_record(tmp_path / str(number), made(pmd=pmd, victim=victim)))
            for victim in ("npt", "gct")
        ]
        done = call(["compare", *paths])
        assert done["code"] == 2
        assert "undefined" in done["err"] or "one pair" in done["err"]


def test_a_record_with_itself_does_not_compare(tmp_path: Path) -> None:
    record = made(pmd=HARD)
    path = str(write_record(tmp_path, record))
    done = call(["compare", path, path])
    assert done["code"] == 2
    assert "same record" in done["err"]
    other = replace(record, cell=replace(record.cell, seed=1))
    again = str(write_record(tmp_path, other))
    assert call(["compare", path, again])["code"] == 0
