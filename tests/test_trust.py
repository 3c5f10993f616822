"""When a transfer's result is not to be trusted, and the views that let one look at it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from posebench.benchmark.data.body import load_body
from posebench.benchmark.evaluation.samples import PackedCloud, unpacked
from posebench.benchmark.meshes.types import Faces, Points
from posebench.benchmark.reports import result_page
from posebench.benchmark.reports.pictures import mesh_panel
from posebench.benchmark.retarget.facts import Facts, Fit, IdentityFacts, OneWay, PoseFacts
from posebench.benchmark.retarget.own_error import OwnError, own_error
from posebench.benchmark.retarget.trust import FAR, Trust, trust_in
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import write_weights
from posebench.victims.weights import shipped_path
from tests.bad_meshes import FACES, POINTS, call, obj_text

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = OwnError(0.07, "anny/seen", 64, "weights/some.safetensors")


def fit(chamfer: float) -> Fit:
    return Fit(OneWay(chamfer, chamfer), OneWay(chamfer, chamfer), chamfer, None)


@pytest.mark.parametrize(
    ("result", "untouched", "own", "said"),
    [
        (0.03, 0.15, OWN, []),
        (0.03, 0.15, None, []),
        (0.04, 0.015, OWN, ["worse than doing nothing", "own error is larger"]),
        (0.015, 0.015, None, ["worse than doing nothing"]),
        (0.02, 0.05, OWN, ["own error is larger"]),
        (FAR + 0.01, 0.15, OWN, ["does its body face z"]),
        (0.2, 0.05, OWN, ["worse than doing nothing", "own error is larger", "face z"]),
    ],
)
def test_doubts(result: float, untouched: float, own: OwnError | None, said: list[str]) -> None:
    found = trust_in(fit(result), fit(untouched), own).doubts
    assert len(found) == len(said)
    for doubt, part in zip(found, said, strict=True):
        assert part in doubt


def test_own_error_is_the_cards() -> None:
    """The mean square coordinate of the card beside the weights, times three coordinates."""
    path = shipped_path("npt", "compact")
    found = own_error(path)
    assert found is not None
    (row,) = [
        line
        for line in path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| anny/seen |")
    ]
    assert found.rms == pytest.approx(math.sqrt(3e-4 * float(row.split()[5])), rel=1e-3)
    assert (found.task, found.pairs) == ("anny/seen", 64)
    assert "npt-compact.safetensors" in str(found)


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"splits": 3},
        {"splits": {"anny/seen": None}},
        {"splits": {"anny/seen": {"clean_pmd": {"mean": "much", "per_sample": [1.0]}}}},
        {"splits": {"anny/seen": {"clean_pmd": {"mean": -1.0, "per_sample": [1.0]}}}},
        {"splits": {"anny/seen": {"clean_pmd": {"mean": float("nan"), "per_sample": [1.0]}}}},
        {"splits": {"anny/seen": {"clean_pmd": {"mean": 1e-3, "per_sample": []}}}},
    ],
)
def test_cards_of_strangers_say_nothing(card: dict[str, Any], tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", initial_network(Recipe("npt", size="tiny")), card)
    assert own_error(tmp_path / "w.safetensors") is None


def test_weights_without_a_card_say_nothing(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors")
    assert own_error(tmp_path / "w.safetensors") is None
    assert own_error(tmp_path / "released.pth") is None


# ---- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people in the same pose."""
    folder = tmp_path_factory.mktemp("meshes")
    rest = load_body(800).rest
    (folder / "person.obj").write_text(obj_text(POINTS, FACES))
    (folder / "other.obj").write_text(obj_text(rest[3].double().numpy(), FACES))
    return folder


def test_worse_than_doing_nothing_is_always_said(folder: Path, tmp_path: Path) -> None:
    """Two people in one pose: a shipped network can only do harm. With exit code 0, or 1."""
    base = ["transfer", "--pose", folder / "other.obj", "--identity", folder / "person.obj"]
    words = [str(word) for word in [*base, "--victim", "ffptnet", "-o", tmp_path / "out.obj"]]
    done = call([*words, "--json"])
    assert (done["code"], done["err"]) == (0, "")
    facts = json.loads(done["out"])
    result, untouched = (
        facts["metrics"][name]["chamfer"] for name in ("result", "identity, untouched")
    )
    assert result > untouched
    assert facts["doubts"][0] == (
        f"worse than doing nothing: the result lies {100 * result:.1f} cm from the pose source on "
        f"average, the untouched identity {100 * untouched:.1f} cm"
    )
    assert facts["own_error"]["task"] == "anny/seen"
    strict = call([*words, "--strict"])
    assert strict["code"] == 1
    lines = strict["err"].splitlines()
    assert lines == [f"posebench: warning: {doubt}" for doubt in facts["doubts"]]
    assert (tmp_path / "out.obj").is_file()
    assert "the network's own error: " in strict["out"]


# ---- the page


def facts_of(trust: Trust, name: str = "pose.obj") -> Facts:
    return Facts(
        victim="NPT, clean training",
        pose=PoseFacts(f"a/{name}", 800, 800),
        identity=IdentityFacts("b/person.obj", len(POINTS), len(FACES)),
        metrics={"result": fit(0.04), "identity, untouched": fit(0.01)},
        written=(),
        notes=("a note",),
        trust=trust,
    )


def shown(faces: Faces | None = FACES) -> list[result_page.Panel]:
    return [
        mesh_panel(POINTS, faces, "pose source"),
        mesh_panel(POINTS, FACES, "result"),
        mesh_panel(POINTS, FACES, "result, coloured", np.linspace(0, 0.2, len(POINTS))),
    ]


def test_page_holds_the_bodies_once_and_exactly() -> None:
    data = result_page.page_data(shown(), facts_of(Trust(("bad",), OWN)))
    assert len(data["arrays"]) == 3  # points, faces, values
    for body in data["bodies"]:
        cloud = PackedCloud(body["scale"], data["arrays"][body["points"]])
        middle = (POINTS.min(axis=0) + POINTS.max(axis=0)) / 2
        np.testing.assert_allclose(unpacked(cloud), POINTS - middle, atol=5e-5)
    assert data["rows"][0][:4] == ["result", 4.0, 4.0, 4.0]
    assert data["doubts"] == ("bad",)


def test_a_cloud_is_drawn_as_squares_on_its_surface() -> None:
    """Of a sphere: centred where the points are, flat on the sphere, about as large as the gaps."""
    sphere: Points = np.random.default_rng(0).normal(size=(4000, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    panel = mesh_panel(sphere, None, "cloud", np.arange(4000.0))
    corners, values = result_page.splats(panel)
    assert values is not None
    square = corners.reshape(-1, 4, 3)
    middle = square.mean(axis=1)
    order = values[::4].astype(int)
    np.testing.assert_allclose(middle, panel.points[order], atol=1e-5)
    np.testing.assert_array_equal(values.reshape(-1, 4).std(axis=1), 0)
    normal = np.cross(square[:, 1] - square[:, 0], square[:, 2] - square[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    radial = sphere[order]
    assert np.quantile(np.abs((normal * radial).sum(axis=1)), 0.05) > 0.97
    side = np.linalg.norm(square[:, 1] - square[:, 0], axis=1)
    assert 1.0 < side.mean() ** 2 * 4000 / (4 * np.pi) < 4.0  # they cover the sphere, not much more


def test_page_cannot_be_ended_by_a_file_name() -> None:
    page = result_page.page_text(shown(None), facts_of(Trust((), None), "</script><b>.obj"))
    assert "</script><b>" not in page
    assert page.count("</script>") == 4
