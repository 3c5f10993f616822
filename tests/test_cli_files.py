"""Files that a command meets: weights that are none or hostile, and what is in the way."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import load_network, write_weights
from tests.command_line import Cli, Evil, assert_refused, only_record, words
from tests.parity_rule import reference, released_state

pytestmark = pytest.mark.usefixtures("one_thread")


def test_weights_do_not_choose_where_their_record_goes(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    network, _ = load_network("npt", weights=weights["npt"])
    card = {"training": "a/../../../escaped", "recipe": 3}
    write_weights(tmp_path / "w.safetensors", network, card)
    out = tmp_path / "deep" / "o[/u]t"
    outcome = cli(*words(tmp_path / "w.safetensors", out))
    assert outcome.code == 0
    record = only_record(out)
    assert (record["cell"]["training"], record["cell"]["size"]) == ("given", "tiny")
    assert "o[/u]t" in outcome.out.replace("\n", "")
    assert {p.name for p in tmp_path.iterdir()} == {"w.safetensors", "deep"}


def headed(path: Path, header: object) -> None:
    """A safetensors file whose posebench header is as given."""
    path.write_bytes(save({"a": torch.zeros(1)}, metadata={"posebench": json.dumps(header)}))


def with_nan(weights: Path, path: Path) -> None:
    network = initial_network(Recipe("npt", size="tiny"))
    next(network.parameters()).data[0, 0] = torch.nan
    write_weights(path, network, {"training": "clean"})


def cut_torch_file(_: Path, path: Path) -> None:
    torch.save(RELEASED, path)
    path.write_bytes(path.read_bytes()[:5000])


def header_of_npt(**settings: object) -> dict[str, object]:
    return {"victim": "npt", "settings": settings, "card": {}}


RELEASED = released_state(reference("npt_w32"))

BAD_FILES: dict[str, tuple[str, Callable[[Path, Path], object], str]] = {
    "directory": ("safetensors", lambda w, p: p.mkdir(), "no such file"),
    "empty": ("safetensors", lambda w, p: p.write_bytes(b""), "not a whole"),
    "truncated": ("safetensors", lambda w, p: p.write_bytes(w.read_bytes()[:-99]), "not a whole"),
    "header cut": ("safetensors", lambda w, p: p.write_bytes(w.read_bytes()[:40]), "not a whole"),
    "no json": ("safetensors", lambda w, p: p.write_bytes(b"\x04" + bytes(7) + b"{{{{"), "whole"),
    "header is a number": ("safetensors", lambda w, p: headed(p, 3), "not a whole"),
    "no settings": ("safetensors", lambda w, p: headed(p, {"victim": "npt"}), "settings"),
    "width text": ("safetensors", lambda w, p: headed(p, header_of_npt(width="a")), "fit npt"),
    "width zero": ("safetensors", lambda w, p: headed(p, header_of_npt(width=0)), "width"),
    "width other": ("safetensors", lambda w, p: headed(p, header_of_npt(width=8)), "fit npt"),
    "setting extra": ("safetensors", lambda w, p: headed(p, header_of_npt(a=1)), "fit npt"),
    "settings list": (
        "safetensors",
        lambda w, p: headed(p, {"victim": "npt", "settings": [1]}),
        "fit npt",
    ),
    "weights are NaN": ("safetensors", with_nan, "NaN"),
    "foreign tensors": (
        "safetensors",
        lambda w, p: save_file({"a": torch.zeros(1)}, p),
        "not a released checkpoint",
    ),
    "empty torch file": ("pth", lambda w, p: p.write_bytes(b""), "unreadable"),
    "random bytes": ("pth", lambda w, p: p.write_bytes(bytes(range(7, 256, 3))), "unreadable"),
    "pickle stack underflow": ("pth", lambda w, p: p.write_bytes(b"\x80\x020."), "unreadable"),
    "cut torch file": (
        "pth",
        cut_torch_file,
        "unreadable",
    ),
    "pickle with code": (
        "pth",
        lambda w, p: p.write_bytes(pickle.dumps(Evil(p.with_name("ran")))),
        "refused",
    ),
    "torch file with code": (
        "pth",
        lambda w, p: torch.save({**RELEASED, "x": Evil(p.with_name("ran"))}, p),
        "refused",
    ),
    "list": ("pth", lambda w, p: torch.save([1, 2], p), "no state dict"),
    "numbers": ("pth", lambda w, p: torch.save({"encoder.conv3.weight": 3}, p), "no state dict"),
    "scalar": (
        "pth",
        lambda w, p: torch.save({"encoder.conv3.weight": torch.tensor(3.0)}, p),
        "no tensor that gives 'encoder.layers.2.weight'",
    ),
    "of gct": (
        "pth",
        lambda w, p: torch.save(released_state(reference("cgp_w32")), p),
        "not a checkpoint of npt",
    ),
    "one tensor gone": (
        "pth",
        lambda w, p: torch.save(dict(list(RELEASED.items())[:-1]), p),
        "1 tensors missing",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_weights_file(case: str, cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    suffix, make, part = BAD_FILES[case]
    path = tmp_path / f"bad.{suffix}"
    make(weights["npt"], path)
    outcome = cli(*words(path, tmp_path / "out", "--samples", 1))
    assert_refused(outcome, tmp_path / "out", part)
    if case != "weights are NaN":  # the victim itself is sound, its answer is not
        assert str(path) in outcome.err
    assert not (tmp_path / "ran").exists(), "code in the file ran"


def test_start_of_another_victim_or_width(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    base = ["train", "--adversarial", "fgm", "--out", out]
    outcome = cli(*base, "--victim", "gct", "--size", "tiny", "--start", weights["npt"])
    assert_refused(outcome, out, "of victim 'npt', not 'gct'")
    outcome = cli(*base, "--victim", "npt", "--size", "compact", "--start", weights["npt"])
    assert_refused(outcome, out, "of width 32, not of compact")


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_out_that_is_a_file(below: str, cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    outcome = cli(*words(weights["npt"], tmp_path / "file" / below))
    assert_refused(outcome, tmp_path / "nothing", str(tmp_path / "file"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
