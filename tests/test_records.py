"""Records and what is made of them: validation, leaderboards, atomic files."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from posebench.benchmark import paper
from posebench.benchmark.cost import Cost, costs_markdown, write_costs
from posebench.benchmark.paper import TABLES, with_tables
from posebench.benchmark.record import (
    CELL_KEYS,
    KEYS,
    SUMMARY_KEYS,
    Record,
    check_record,
    make_record,
    read_records,
    record_path,
    record_text,
    write_record,
)
from posebench.benchmark.report import (
    COLUMNS,
    HEADLINE_END,
    HEADLINE_START,
    check_tables,
    csv_text,
    markdown_text,
    write_tables,
)
from posebench.errors import InputError
from posebench.files import check_writable, write_atomically

WHERE = {"commit": "abc", "dirty": False, "device": "cpu"}


def summary(*values: float) -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {
        "mean": mean,
        "ci95": [mean - 1e-5, mean + 1e-5],
        "median": mean,
        "p95": max(values),
        "worst": max(values),
        "per_sample": list(values),
    }


def made(
    *, pmd: tuple[float, ...] = (2e-3, 4e-3), flags: tuple[str, ...] = (), **cell: Any
) -> Record:
    """A record as ``evaluate`` makes it."""
    settings: dict[str, Any] = dict.fromkeys(CELL_KEYS)
    settings |= {
        "task": "anny/seen", "samples": len(pmd), "vertices": 800, "victim": "npt",
        "size": "tiny", "training": "clean", "attack": "fgm", "eps": 0.08, "eps_unit": "rms",
        "norm": "l2", "access": "oblivious", "wrappers": [], "seed": 0, "draws": 1,
    }  # fmt: skip
    settings |= cell
    metrics = {
        "clean_pmd": summary(*(1e-3 for _ in pmd)),
        "pmd": summary(*pmd),
        "noise_pmd": summary(*(1.5e-3 for _ in pmd)),
        "asr@tau": math.nan,
        "clean_fail": 1.0,
        "trivial": {"copy-pose": 0.006, "copy-identity": 0.09, "mean-mesh": 0.03},
    }
    return make_record(settings, metrics, list(flags), {"forwards": 1, "backwards": 1}, WHERE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four cells on disk."""
    for record in (
        made(),
        made(victim="gct", pmd=(5e-4, 7e-4), flags=("under-trained",)),
        made(training="adversarial", pmd=(1e-3, 1e-3)),
        made(attack=None, eps=None, eps_unit=None, norm=None, pmd=(1e-3, 1e-3)),
    ):
        write_record(tmp_path / "records", record)
    return tmp_path / "records"


# ---- one record


@pytest.mark.parametrize("key", KEYS)
def test_missing_field_is_named(key: str) -> None:
    record = made()
    del record[key]
    with pytest.raises(InputError, match=f"here: field '{key}' is missing"):
        check_record(record, "here")


@pytest.mark.parametrize("key", CELL_KEYS)
def test_missing_cell_field_is_named(key: str) -> None:
    record = made()
    del record["cell"][key]
    with pytest.raises(InputError, match=f"here: field 'cell.{key}' is missing"):
        check_record(record, "here")


@pytest.mark.parametrize("name", ["pmd", "clean_pmd"])
@pytest.mark.parametrize("key", [None, *SUMMARY_KEYS])
def test_missing_metric_is_named(name: str, key: str | None) -> None:
    record = made()
    if key is None:
        del record["metrics"][name]
    else:
        del record["metrics"][name][key]
    with pytest.raises(InputError, match=f"here: field 'metrics.{name}' is missing or incomplete"):
        check_record(record, "here")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"schema": "posebench/record/0"}, "schema"),
        ({"source": "guessed"}, "source"),
        ({"cell": None}, "cell"),
        ({"cell": "text"}, "cell"),
        ({"metrics": [1]}, "metrics"),
        ({"flags": "under-trained"}, "flags"),
        ({"environment": None}, "environment"),
    ],
)
def test_wrong_type_is_named(change: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=f"here: .*{part}"):
        check_record(made() | change, "here")


@pytest.mark.parametrize("value", [True, "0.1", [1], {}])
def test_value_that_is_no_number_is_refused(value: object) -> None:
    record = made()
    record["metrics"]["pmd"]["per_sample"][1] = value
    with pytest.raises(InputError, match=r"'metrics\.pmd' holds"):
        check_record(record, "here")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cell", "eps"), "0.08"),
        (("cell", "task"), 3),
        (("cell", "victim"), ["npt"]),
        (("cell", "network"), "x"),
        (("cell", "recipe"), "x"),
        (("cell", "samples"), True),
        (("flags",), [1]),
        (("metrics", "trivial"), {"copy-pose": "0.1"}),
        (("metrics", "pmd", "ci95"), [1.0]),
        (("metrics", "pmd", "ci95"), None),
        (("metrics", "pmd", "per_sample"), 3),
        (("metrics", "pmd", "mean"), 1e-9),
    ],
)
def test_fields_that_tables_rely_on_are_checked(path: tuple[str, ...], value: object) -> None:
    record = made()
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError, match=r"here: .*" + path[-2 if len(path) > 2 else -1]):
        check_record(record, "here")


def test_other_number_of_samples_is_refused() -> None:
    record = made()
    record["metrics"]["clean_pmd"]["per_sample"].append(0.1)
    with pytest.raises(InputError, match="has 3 values for 2 samples"):
        check_record(record, "here")


@pytest.mark.parametrize("record", [None, [], "text", 3])
def test_anything_but_an_object_is_refused(record: object) -> None:
    with pytest.raises(InputError, match="not a JSON object"):
        check_record(record, "here")


def test_nan_becomes_null_and_text_is_canonical() -> None:
    record = made(pmd=(math.nan, math.inf))
    assert record["metrics"]["pmd"]["per_sample"] == [None, None]
    assert record["metrics"]["pmd"]["mean"] is None
    text = record_text(record)
    assert json.loads(text) == record
    shuffled = dict(reversed(list(record.items())))
    assert record_text(shuffled) == text


def test_path_comes_from_the_cell_alone(tmp_path: Path) -> None:
    record = made()
    other = made(pmd=(1.0, 2.0), flags=("under-trained",))
    assert record_path(tmp_path, record) == record_path(tmp_path, other)
    changes: dict[str, Any] = {"seed": 1, "weights_sha256": "f", "eps": 0.081, "draws": 2}
    changed = {key: record_path(tmp_path, made(**{key: value})) for key, value in changes.items()}
    assert len({record_path(tmp_path, record), *changed.values()}) == 5
    assert write_record(tmp_path, record) == write_record(tmp_path, other)
    assert read_records(tmp_path) == [other]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"schema": 1}'])
def test_folder_with_a_bad_file_names_it(text: str, folder: Path) -> None:
    (folder / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json"):
        read_records(folder)


# ---- tables


def test_csv_has_every_cell(folder: Path) -> None:
    records = read_records(folder)
    text = csv_text(records)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 4
    for row, record in zip(rows, records, strict=True):
        for key in ("victim", "training", "task"):
            assert row[key] == record["cell"][key]
        assert float(row["pmd"]) == record["metrics"]["pmd"]["mean"]
        assert float(row["pmd_worst"]) == max(record["metrics"]["pmd"]["per_sample"])
        assert float(row["copy-pose"]) == 0.006
        assert row["asr@tau"] == "", "undefined is empty"
        assert row["flags"] == " ".join(record["flags"])
    assert csv_text(copy.deepcopy(records)) == text


def test_markdown_has_every_cell(folder: Path) -> None:
    records = read_records(folder)
    text = markdown_text(records)
    assert markdown_text(copy.deepcopy(records)) == text
    assert "## anny/seen, clean" in text
    assert "## anny/seen, fgm 0.08 rms (l2)" in text
    for record in records:
        assert f"{record['metrics']['pmd']['mean'] * 1e4:.1f} [" in text
    attacked = text.split("## anny/seen, fgm")[1]
    assert attacked.index("| gct |") < attacked.index("| npt |"), "best first"
    assert "| victim | clean training | adversarial training |" in attacked
    assert "\\*" in attacked
    assert "* under-trained" in attacked


def test_cells_that_differ_in_seed_or_weights_alone_are_all_shown(tmp_path: Path) -> None:
    for number in range(3):
        pmd = (1e-3 * (number + 1),) * 2
        write_record(tmp_path, made(seed=min(number, 1), weights_sha256=f"{number // 2}a", pmd=pmd))
    text = markdown_text(read_records(tmp_path))
    for number in range(3):
        assert f"{10 * (number + 1):.1f} [" in text


SHIPPED: dict[str, Any] = {"size": "compact", "weights_sha256": "c", "recipe": {"seed": 0}}


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of SHIPPED count as made from weights that come with the library."""
    monkeypatch.setattr(paper, "shipped_fingerprints", lambda: {"c"})


@pytest.mark.usefixtures("shipped")
def test_undefined_values_in_tables(tmp_path: Path) -> None:
    write_record(tmp_path / "records", made(pmd=(math.nan, 1.0), **SHIPPED))
    write_record(tmp_path / "records", made(victim="gct", **SHIPPED))
    (tmp_path / "README.md").write_text(f"{HEADLINE_START}\n{HEADLINE_END}\n", encoding="utf-8")
    write_tables(tmp_path / "records", tmp_path / "boards")
    text = (tmp_path / "boards" / "results.md").read_text(encoding="utf-8")
    assert text.index("| gct |") < text.index("| npt | undefined |"), "undefined last"
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO((tmp_path / "boards" / "results.csv").read_text()))
        if row["victim"] == "npt"
    ]
    assert row["pmd"] == row["pmd_low"] == row["pmd_worst"] == ""
    assert "nan" not in text.lower()
    assert "| npt | clean | 10.0" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("shipped")
def test_stale_tables_are_noticed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "boards"
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{HEADLINE_START}\nold\n{HEADLINE_END}\nafter\n", encoding="utf-8")
    assert check_tables(folder, out) == ["results.csv", "results.md", "README.md"]
    written = write_tables(folder, out)
    assert [path.name for path in written] == ["results.csv", "results.md", "README.md"]
    assert check_tables(folder, out) == []
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{HEADLINE_START}\n| victim")
    assert text.endswith(f"{HEADLINE_END}\nafter\n")
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_tables(folder, out)] == first
    with (out / "results.md").open("a", encoding="utf-8") as stream:
        stream.write("edited\n")
    assert check_tables(folder, out) == ["results.md"]
    write_record(folder, made(victim="posemae"))
    assert check_tables(folder, out) == ["results.csv", "results.md"]
    write_record(folder, made(victim="posemae", **SHIPPED))
    assert check_tables(folder, out) == ["results.csv", "results.md", "README.md"]


def test_readme_with_half_a_marker_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"{HEADLINE_START}\n", encoding="utf-8")
    with pytest.raises(InputError, match=HEADLINE_END):
        write_tables(folder, tmp_path / "boards")
    assert not (tmp_path / "boards").exists()


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_no_records_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="records"):
        write_tables(tmp_path / name, tmp_path / "boards")
    assert not (tmp_path / "boards").exists()


# ---- files


def test_write_atomically_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize("target", ["file/x.txt", "file/deep/x.txt", "folder"])
def test_write_that_cannot_be_leaves_nothing_behind(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path / target, "text")
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_write_into_a_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o500)
    for act in (lambda p: write_atomically(p / "x", "text"), check_writable):
        with pytest.raises(InputError, match="Permission denied"):
            act(tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize("failing", ["fsync", "chmod", "replace"])
def test_failure_half_way_keeps_the_old_file(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert snapshot(tmp_path) == {"file.txt": b"old"}


def test_interrupt_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.txt", "text")
    monkeypatch.undo()
    assert snapshot(tmp_path) == {}


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b")
    assert snapshot(tmp_path) == {}


# ---- beside the paper

PAGE = "a\n" + "\n".join(f"<!-- {n} -->\nold\n<!-- /{n} -->" for n in TABLES) + "\nz\n"


def test_paper_tables_hold_shipped_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "shipped_fingerprints", lambda: {"c", "a", "s"})
    usual = {"size": "compact", "victim": "npt", "recipe": {"seed": 0}}
    parts = {"width": 128, "scales": 1, "mask_ratio": 0.0, "attention": "none"}
    ablation = {**usual, "victim": "posemae", "network": parts, "weights_sha256": "other"}
    records = [
        made(pmd=(0.02, 0.03), weights_sha256="elsewhere", **usual),
        made(pmd=(0.0123,) * 2, weights_sha256="c", **usual),
        made(pmd=(0.0041,) * 2, weights_sha256="a", training="adversarial", **usual),
        made(pmd=(0.0199,) * 2, weights_sha256="s", **{**usual, "recipe": {"seed": 1}}),
        made(pmd=(0.0777,) * 2, weights_sha256="c", defense="sor", **usual),
        made(pmd=(0.0555,) * 2, **ablation),
        made(
            pmd=(0.0333,) * 2,
            size="compact",
            training="adversarial",
            weights_sha256="o",
            recipe={"victim": "npt", "seed": 0, "adversarial": {"sor": True}, "steps": 9},
        ),
    ]
    records.append(made(pmd=(9.0,), weights_sha256="c", **usual))  # fewer pairs
    records.append(made(pmd=(9.0,) * 2, weights_sha256="c", seed=5, **usual))
    page = with_tables(PAGE, records)
    assert "90000" not in page
    assert with_tables(page, records) == page
    assert (page.startswith("a\n"), page.endswith("\nz\n"), "old" in page) == (True, True, False)
    sections = {n: page.split(f"<!-- {n} -->")[1].split(f"<!-- /{n} -->")[0] for n in TABLES}
    (row,) = (line for line in sections["table 2"].splitlines() if line.startswith("| npt |"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:3] == ["npt", "237.6", "123.0 [122.9, 123.1]"]
    assert cells[3:7] == ["59.0", "41.0 [40.9, 41.1]", "4.0", "3.0"]
    assert cells[7:] == ["-", "-", "-"]
    assert "| npt | 1 | - | - | 199.0 [198.9, 199.1] | - | - |" in sections["seeds"]
    assert "| vanilla | 4.0 | - | - | 555.0" in sections["table 5"]
    assert "| npt | steps 9, sor True | - | - | 333.0 [332.9, 333.1] | - |" in sections["options"]
    assert "777" not in page
    assert "250.0" not in page
    with pytest.raises(InputError, match="without <!-- /table 1 -->"):
        with_tables("<!-- table 1 -->", records)


def test_costs_table_and_damaged_costs(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    cost = Cost("npt", "paper", 1024, 6890, 6_054_941, 24.2, 812.4, 1700.0, 300.0, 900.0)
    write_costs(path, [cost], "cpu")
    text = "\n".join(costs_markdown(path))
    page = with_tables("<!-- table 4 -->\n<!-- /table 4 -->", [], [cost])
    assert "| npt | 24.2 | 24.2 | 4.4 | 812 | 1.00 | 1.00 |" in page
    assert "| npt | paper | 6890 | 6,054,941 | 24.2 | 812 | 1700 | 300 | 900 |" in text
    for broken in ("", "[]", "{}", '{"costs": [{"victim": 1}], "environment": {}}'):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(InputError, match="not a file of costs"):
            costs_markdown(path)
