"""Numbered versions of the table: what its headline rows were, so that no two are mixed unseen.

A version is written when it is released: ``leaderboards/VERSION`` holds its number,
``versions/N.csv`` its headline rows, CHANGES.md what was rescored since the one before, and why.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from posebench.benchmark.records.types import AttackCell, Record
from posebench.benchmark.reports.markdown import UNIT, table
from posebench.benchmark.reports.selection import FGM_08, WORST, find, shipped_plain, weights_of
from posebench.errors import InputError
from posebench.files import write_atomically
from posebench.threats import HEADLINE

TASK = "anny/seen"

ATTACKS: dict[str, AttackCell | None] = {name: WORST[name] for name in HEADLINE} | {
    "fgm 0.08": FGM_08
}
"""What the headline shows: the worst cases that rank, and the paper's attack."""

FIRST_LINES = [
    "# Versions of the table",
    "",
    "Which headline rows were rescored, and why; `versions/N.csv` holds those of version N.",
    "Numbers of two versions are not compared: an attack that became stronger makes every network",
    "look worse. Error x1e-4 with its 95 % interval.",
    "Written by `posebench report --release REASON`.",
]


@dataclass(frozen=True)
class HeadlineRow:
    """One number of the headline; errors x1e-4 in the metric that the attack maximises.

    Attributes:
        attack: a threat model, whose worst case it is, or the paper's attack.
        clean, error, low, high: as text of four significant digits, "nan" where undefined.
        weights, pairs_are: sha256 of the weights, and the fingerprint of the pairs; their begin.
    """

    victim: str
    training: str
    attack: str
    pairs: int
    clean: str
    error: str
    low: str
    high: str
    weights: str
    pairs_are: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same between versions."""
        return self.victim, self.training, self.attack

    @property
    def shown(self) -> str:
        """The number with what it stands on."""
        return f"{self.error} [{self.low}, {self.high}], {self.pairs} pairs"


def headline_rows(records: Sequence[Record]) -> list[HeadlineRow]:
    """The rows of shipped networks on anny/seen, by name."""
    plain = [record for record in records if shipped_plain(record)]
    rows = []
    for victim, training in weights_of(plain):
        for name, attack in ATTACKS.items():
            found = find(plain, attack, task=TASK, victim=victim, training=training)
            if found is not None:
                rows.append(headline_row(found, name))
    return rows


def _digits(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value * UNIT:.4g}"


def headline_row(record: Record, name: str) -> HeadlineRow:
    """A record's row under the name of its attack."""
    cell = record.cell
    metric = "pmd" if cell.attack is None else cell.attack.metric
    under = record.metrics.attacked[metric]
    low, high = under.ci95
    return HeadlineRow(
        cell.victim,
        cell.weights.training,
        name,
        cell.samples,
        _digits(record.metrics.clean[metric].mean),
        _digits(under.mean),
        _digits(low),
        _digits(high),
        str(cell.weights.sha256)[:12],
        str(cell.fingerprint)[:12],
    )


def rows_text(rows: Sequence[HeadlineRow]) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [each.name for each in fields(HeadlineRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return out.getvalue()


def read_rows(path: Path) -> list[HeadlineRow]:
    """The rows of a version.

    Raises:
        InputError: no such file, or not one of ours.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found: list[Mapping[str, str]] = list(csv.DictReader(file))
        return [HeadlineRow(**{**row, "pairs": int(row["pairs"])}) for row in found]  # type: ignore[arg-type]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not the rows of a version ({error}); 'posebench report --release' writes them"
        ) from error


def read_version(boards: Path) -> int | None:
    """The number of the last version; None in a folder that has none.

    Raises:
        InputError: VERSION holds something else.
    """
    path = boards / "VERSION"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not text.isascii() or not text.isdigit():
        raise InputError(f"{path}: must hold a number alone, such as 1; found {text[:40]!r}")
    return int(text)


def version_path(boards: Path, number: int) -> Path:
    """Where the rows of a version are."""
    return boards / "versions" / f"{number}.csv"


def differences(
    before: Sequence[HeadlineRow], after: Sequence[HeadlineRow]
) -> list[tuple[str, str, str, str, str]]:
    """Victim, training, attack, then and now of every row that is not the same; "-" for none."""
    old, new = ({row.key: row for row in rows} for rows in (before, after))
    return [
        (*key, old[key].shown if key in old else "-", new[key].shown if key in new else "-")
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]


def version_words(records: Sequence[Record], boards: Path) -> str:
    """The version as the page names it: its number, and how many rows changed since."""
    number = read_version(boards)
    if number is None:
        return ""
    changed = differences(read_rows(version_path(boards, number)), headline_rows(records))
    return str(number) + (f", with {len(changed)} rows changed since" if changed else "")


def release(records: Sequence[Record], boards: Path, reason: str) -> dict[Path, str]:
    """Path -> content of what the next version consists of: its rows, its number, its changes.

    Raises:
        InputError: no reason, or nothing changed since the last version.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise InputError("--release must say in a sentence why rows were rescored")
    last = read_version(boards)
    number = 1 if last is None else last + 1
    before = [] if last is None else read_rows(version_path(boards, last))
    rows = headline_rows(records)
    changed = differences(before, rows)
    if not changed:
        raise InputError(
            f"no headline row changed since version {last}; there is nothing to release"
        )
    lines = ["", f"## {number}", "", reason, ""]
    if last is None:
        lines += [f"{len(rows)} rows."]
    else:
        lines += table(
            ["victim", "training", "attack", f"version {last}", f"version {number}"], changed
        )
    path = boards / "CHANGES.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else "\n".join(FIRST_LINES) + "\n"
    first, _, earlier = text.partition("\n## ")
    log = (
        first.rstrip("\n") + "\n" + "\n".join(lines) + "\n" + (f"\n## {earlier}" if earlier else "")
    )
    return {
        version_path(boards, number): rows_text(rows),
        boards / "VERSION": f"{number}\n",
        path: log,
    }


def write_release(records: Sequence[Record], boards: Path, reason: str) -> list[Path]:
    """Write the next version, see :func:`release`; the number last, when its rows are there."""
    files = release(records, boards, reason)
    for path in sorted(files, key=lambda path: path.name == "VERSION"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, files[path])
    return list(files)
