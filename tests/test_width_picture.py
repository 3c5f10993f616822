"""Width and robustness: which records the picture shows, and that it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posebench.benchmark.reports.width_picture import ASCENT, PAIRS, draw, networks_by_width
from posebench.errors import InputError
from posebench.threats import THREATS
from tests.made_records import made


def attacked(width: int, threat: str, error: float, pairs: int = PAIRS, **more: Any) -> Any:
    budget = THREATS[threat].budget
    cell = ASCENT[threat]
    assert cell is not None
    return made(
        pmd=(error,) * pairs,
        attack=cell.name,
        attack_settings=cell.settings,
        attack_version=cell.version,
        eps=budget.eps,
        norm=budget.norm,
        metric="pmd_aligned",
        network={"width": width},
        weights_sha256=f"{width:x}".rjust(64, "0"),
        **more,
    )


def test_networks_are_those_attacked_in_both_threat_models(tmp_path: Path) -> None:
    records = [attacked(width, name, 4e-3) for width in (128, 512) for name in ASCENT]
    records += [attacked(256, "point-2cm", 4e-3), attacked(64, "point-2cm", 4e-3)]
    records += [attacked(256, name, 4e-3, pairs=2) for name in ASCENT]
    found = networks_by_width(records)
    assert [(each.victim, each.width) for each in found] == [("npt", 128), ("npt", 512)]
    for each in found:
        for mean, low, high in each.times.values():
            assert mean == pytest.approx(4e-3 / each.clean)
            assert low <= mean <= high
    draw(found, tmp_path / "widths.png")
    assert (tmp_path / "widths.png").stat().st_size > 5000
    with pytest.raises(InputError, match="sweep widths"):
        draw([], tmp_path / "none.png")
