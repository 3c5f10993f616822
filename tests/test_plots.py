"""Figures: bars are the records' numbers, parts sum to one, heat finds what moved, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from posebench.attacks import FGM
from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.cli.app import app
from posebench.benchmark.data.body import LODS, load_body
from posebench.benchmark.data.datasets import load_task
from posebench.benchmark.evaluation.parts import (
    PARTS,
    displacements,
    in_body_order,
    means_by_part,
    part_weights,
)
from posebench.benchmark.evaluation.parts_record import (
    parts_problems,
    parts_record,
    read_parts,
    write_parts,
)
from posebench.benchmark.evaluation.sources import Source
from posebench.benchmark.records.store import write_record
from posebench.benchmark.records.types import Record, Weights
from posebench.benchmark.reports import figures
from posebench.benchmark.reports.curves import budgets
from posebench.benchmark.reports.figures import (
    bar_heights,
    bars_of,
    draw_bars,
    draw_heat,
    heat_panels,
    sweeps_of_records,
)
from posebench.benchmark.reports.parts import parts_table
from posebench.benchmark.reports.pictures import Panel, draw_rows
from posebench.benchmark.reports.shipped import shipped_fingerprints
from posebench.benchmark.training.loop import Recipe, initial_network
from posebench.errors import InputError
from posebench.interfaces import Budget
from tests.made_records import made

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.usefixtures("one_thread")

WANTED = {"task": "anny/seen", "attack": "fgm", "eps": 0.08}


@pytest.fixture
def records() -> list[Record]:
    return [
        made(victim="npt", pmd=(2e-2, 4e-2)),
        made(victim="npt", pmd=(9e-2,)),  # fewer pairs
        made(victim="npt", training="adversarial", pmd=(1e-3, 3e-3)),
        made(victim="gct", pmd=(float("nan"), 1.0)),
        made(victim="npt", eps=0.02, pmd=(7.0, 7.0)),
        made(victim="npt", defense="sor", pmd=(7.0, 7.0)),
        made(victim="npt", norm="l2_vertex", pmd=(7.0, 7.0, 7.0)),
        made(victim="npt", task="anny/unseen", pmd=(7.0, 7.0)),
    ]


def test_bars_are_as_high_as_the_records_say(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read back from the drawn figure, not from what was meant to be drawn."""
    found = bars_of(records, every=True, **WANTED)
    assert list(found) == ["npt", "gct"], "in the paper's order"
    drawn = {}

    def caught(figure: object, path: Path) -> None:
        (axes,) = figure.axes  # type: ignore[attr-defined]
        drawn["heights"] = [bar.get_height() for bar in axes.patches]
        drawn["labels"] = [label.get_text() for label in axes.get_xticklabels()]

    with monkeypatch.context() as patch:
        patch.setattr(figures, "save", caught)
        draw_bars(found, tmp_path / "bars.png")
    assert drawn["labels"] == ["npt", "gct"]
    by = found["npt"]
    for training, mean in (("clean", 3e-2), ("adversarial", 2e-3)):
        height, below, above = bar_heights(by, training)
        assert height == pytest.approx(1e4 * mean)
        low, high = by[training].metrics.pmd.ci95
        assert (below, above) == pytest.approx((1e4 * (mean - low), 1e4 * (high - mean)))
        assert any(np.isclose(height, each) for each in drawn["heights"])
    assert np.isnan(bar_heights(found["gct"], "clean")[0])
    for name in ("bars.png", "bars.pdf"):
        draw_bars(found, tmp_path / name)
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "bars.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match="--every takes those of other weights"):
        bars_of(records, **WANTED)


def test_sweeps_differ_in_eps_alone() -> None:
    several = [made(eps=eps, pmd=(eps, eps)) for eps in (0.08, 0.02, 0.04)]
    others = [made(eps=0.01, seed=1), made(eps=0.01, pmd=(1.0,)), made(eps=0.01, victim="gct")]
    found = sweeps_of_records([*several, *others], task="anny/seen", attack="fgm")
    assert list(found) == ["npt, clean training"]
    assert budgets(found["npt, clean training"]) == [0.02, 0.04, 0.08]
    with pytest.raises(InputError, match="differ in eps alone"):
        sweeps_of_records(others, task="anny/seen", attack="fgm")


@pytest.mark.parametrize("vertices", LODS)
def test_parts_share_every_vertex_and_lie_where_they_should(vertices: int) -> None:
    weights = part_weights(vertices)
    assert weights.shape == (vertices, len(PARTS))
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    points = load_body(vertices).rest[16].double().numpy()
    centre = dict(zip(PARTS, (weights / weights.sum(axis=0)).T @ points, strict=True))
    down_the_leg = [centre[part][1] for part in ("head", "torso", "thigh", "knee", "shin", "foot")]
    assert down_the_leg == sorted(down_the_leg, reverse=True)
    outward = weights / weights.sum(axis=0)
    reach = dict(zip(PARTS, outward.T @ abs(points[:, 0]), strict=True))
    along_the_arm = [reach[part] for part in ("torso", "upper arm", "elbow", "forearm", "hand")]
    assert along_the_arm == sorted(along_the_arm)


def test_means_by_part_in_closed_form() -> None:
    weights = part_weights(800)
    everywhere = means_by_part(np.full((2, 800), 0.3))
    assert all(np.allclose(values, 0.3) for values in everywhere.values())
    one = np.zeros((1, 800))
    one[0, 17] = 2.0
    found = means_by_part(one)
    assert found["body"][0] == pytest.approx(2 / 800)
    total = sum(found[part][0] * weights[:, i].sum() for i, part in enumerate(PARTS))
    assert total == pytest.approx(2.0), "what moved is in the parts, all of it and once"


def test_displacements_come_back_to_their_vertices() -> None:
    """The pose source is a shuffled body: undo the shuffle and it is the mesh itself."""
    pairs = load_task("anny/seen", samples=3, vertices=800)
    ids = torch.arange(3)
    _, _, giver, pose = pairs.triples.unbind(dim=1)  # type: ignore[attr-defined]
    mesh = pairs.meshes(giver, pose).points  # type: ignore[attr-defined]
    order = pairs.orders(ids)[0]  # type: ignore[attr-defined]
    height = pairs.batch(ids).pose.points[..., 1]
    assert torch.equal(in_body_order(height, order), mesh[..., 1])


def test_parts_of_a_run_are_written_read_and_checked(tmp_path: Path) -> None:
    network = initial_network(Recipe("npt-mp", size="tiny")).eval()
    attack = FGM(Budget(0.05))
    asked = {"samples": 3, "vertices": 800}
    moved = displacements(network, attack, batch_size=2, **asked)  # type: ignore[arg-type]
    again = displacements(network, attack, batch_size=3, **asked)  # type: ignore[arg-type]
    np.testing.assert_allclose(moved, again, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose((moved**2).mean(axis=1), 3 * 0.05**2, rtol=1e-5)
    source = Source(network, Weights())
    record = parts_record(moved, source, attack, task="anny/seen", seed=0)
    path = write_parts(tmp_path, record)
    assert read_parts(tmp_path) == [record]
    assert file_problems(path) == []
    assert f"| {moved.shape[0]} |" in parts_table([record])[-1]
    knee = replace(record.parts["knee"], relative=replace(record.parts["knee"].relative, mean=3.0))
    forged = replace(record, parts={**record.parts, "knee": knee})
    write_parts(tmp_path, forged)
    assert [problem.field for problem in parts_problems(forged)] == ["parts.knee.relative.mean"]
    assert [problem.field for problem in file_problems(path)] == ["parts.knee.relative.mean"]
    with pytest.raises(InputError, match=r"fgm-0\.05\.json: parts\.knee\.relative\.mean"):
        read_parts(tmp_path)
    with pytest.raises(InputError, match="moves nothing"):
        parts_record(0 * moved, source, attack, task="anny/seen", seed=0)


def test_heat_is_where_the_displacement_is(tmp_path: Path) -> None:
    moved = part_weights(800)[:, PARTS.index("knee")] * 0.4
    panels = heat_panels(moved, "knees")
    for panel, side in zip(panels, (1, -1), strict=True):
        assert panel.values is not None
        hot = panel.points[panel.values > 0.2]
        rest = load_body(800).rest[16].numpy()
        middle = (rest.min(axis=0) + rest.max(axis=0)) / 2
        expected = (rest - middle)[moved > 0.2]
        np.testing.assert_allclose(hot[:, 1], expected[:, 1], atol=1e-6)
        np.testing.assert_allclose(hot[:, 2], side * expected[:, 2], atol=1e-6)
    for name in ("heat.png", "heat.pdf"):
        draw_heat([("toy", panels)], tmp_path / name, attack="nothing")
    assert (tmp_path / "heat.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match="moved nothing"):
        draw_heat([("toy", heat_panels(0 * moved, ""))], tmp_path / "no.png", attack="nothing")


def test_the_commands_write_files(tmp_path: Path, records: list[Record]) -> None:
    for record in [*records, made(eps=0.03, pmd=(1e-2, 1e-2))]:
        write_record(tmp_path / "records", record)
    where = ["--records", str(tmp_path / "records")]
    for words in (
        ["bars", "--every", *where],
        ["curves", *where],
        ["grid", "--victim", "npt-mp", "--eps", "0.02"],
        ["heat", "--victim", "npt-mp", "--samples", "2", "--parts", str(tmp_path / "parts")],
    ):
        out = tmp_path / f"{words[0]}.pdf"
        done = CliRunner().invoke(app, ["plot", *words, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[-1] == str(out)
        assert out.read_bytes().startswith(b"%PDF")
    assert len(read_parts(tmp_path / "parts")) == 3, "clean, adversarial and robust"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("bars --out a.svg", "must end in .png or .pdf"),
        ("bars --out a.png --records nowhere", "no such folder of records"),
        ("curves --out a.png --records .", "holds no records"),
        ("heat --victim nptt --out a.png", "did you mean"),
        ("heat --victim npt --attack fmg --out a.png", "did you mean"),
        ("heat --victim npt --size huge --out a.png", "huge"),
        ("heat --victim npt --samples 0 --out a.png", "samples must be"),
        ("heat --victim npt --task anny/scan@3 --out a.png", "undistorted tasks alone"),
        ("heat --victim npt-mp --eps 0 --samples 1 --out a.png", "moves nothing"),
        ("heat --victim npt --out a.gif", "must end in .png or .pdf"),
        ("grid --victim npt --sample -1", "sample must be 0 or more"),
        ("grid --victim npt --out a.jpg", "must end in .png or .pdf"),
    ],
)
def test_bad_input_is_one_line(
    words: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["plot", *words.split()])
    assert isinstance(done.exception, InputError), done.output
    assert part in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_committed_parts_are_of_shipped_weights_from_a_clean_tree() -> None:
    found = read_parts(ROOT / "leaderboards" / "parts")
    assert {(record.cell.victim, record.cell.training) for record in found} == {
        (victim, training)
        for victim in ("npt-mp", "npt", "gct", "posemae")
        for training in ("clean", "adversarial", "robust")
    }
    for record in found:
        assert record.cell.weights_sha256 in shipped_fingerprints()
        assert record.environment.dirty is False


def test_rows_of_pictures_may_be_shorter_than_others(tmp_path: Path) -> None:
    """Where a row has no panel, there is nothing: no frame, no numbers."""
    from matplotlib.image import imread

    body = load_body(800)
    panel = Panel(body.rest[0].numpy(), body.faces.numpy(), None, "body")
    draw_rows([("long", [panel, panel]), ("short", [panel])], tmp_path / "rows.png")
    drawn = imread(tmp_path / "rows.png")[..., :3]
    height, width = drawn.shape[:2]
    corner = drawn[height // 2 + height // 12 :, width // 2 + width // 12 :]
    assert corner.min() == 1.0
    assert drawn[: height // 2, width // 2 :].min() < 0.9
