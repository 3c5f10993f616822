"""The command line, run for real on tiny networks: tables, records, and one line for bad input."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

import posebench
from posebench.benchmark.audit.validate import file_problems
from posebench.benchmark.cli.app import main
from posebench.benchmark.evaluation.cost import measure_cost, read_costs
from posebench.benchmark.records.store import parse_record, read_record
from posebench.benchmark.reports.repeat import repeat_command
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.victims import PoseTransferNetwork, load_network, write_weights
from tests.parity_rule import reference, released_state


@dataclass(frozen=True)
class Outcome:
    """What a process would have left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The entry point with the given words on its command line."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["posebench", *map(str, words)])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return Outcome(int(code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from more, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of fresh tiny networks."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name in ("npt", "npt-mp", "posemae"):
        paths[name] = folder / f"{name}.safetensors"
        network = initial_network(Recipe(name, size="tiny"))
        write_weights(paths[name], network, {"training": "clean"})
    return paths


def words(weights: Path, out: Path, *more: object, victim: str = "npt") -> list[str]:
    """A small run; options in ``more`` win over the ones before."""
    base = ["run", "--victim", victim, "--weights", weights, "--size", "tiny", "--samples", 2]
    return [str(word) for word in [*base, "--out", out, *more]]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def only_record(folder: Path) -> dict[str, Any]:
    (path,) = files_below(folder)
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def assert_refused(outcome: Outcome, out: Path, *parts: str) -> None:
    """Exit code 2, one line on stderr that says what is wrong, nothing written."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("posebench: error: ")
    for part in parts:
        assert part in line
    assert not out.exists() or not files_below(out)


# ---- what a run gives


def test_table_and_record(cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    outcome = cli(*words(weights["npt"], tmp_path))
    assert (outcome.code, outcome.err) == (0, "")
    for part in ("npt (tiny), anny/seen, 2 pairs", "fgm 0.08 rms", "copy-pose", "under-trained"):
        assert part in outcome.out
    record = only_record(tmp_path)
    assert record.keys() == {
        "schema", "cell", "metrics", "flags", "cost", "environment", "source"
    }  # fmt: skip
    assert str(files_below(tmp_path)[0]) in outcome.out
    parse_record(record, "record")
    for name in ("pmd", "clean_pmd"):
        summary = record["metrics"][name]
        assert len(summary["per_sample"]) == 2
        low, high = summary["ci95"]
        assert low <= summary["mean"] <= high
        assert summary["mean"] == pytest.approx(sum(summary["per_sample"]) / 2)
        assert f"{summary['mean'] * 1e4:.1f}" in outcome.out
        assert f"[{low * 1e4:.1f}, {high * 1e4:.1f}]" in outcome.out
    assert record["cell"]["eps"] == 0.08
    assert record["cost"] == {"forwards": 1, "backwards": 1}
    assert record["environment"]["torch"] == torch.__version__
    assert record["source"] == "measured"


def test_json_is_the_record_and_runs_repeat_to_the_byte(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    first = cli(*words(weights["posemae"], tmp_path / "a", "--json", victim="posemae"))
    again = cli(*words(weights["posemae"], tmp_path / "b", "--json", victim="posemae"))
    assert (first.code, first.err) == (0, "")
    assert first == again
    assert json.loads(first.out) == [only_record(tmp_path / "a")]
    (path,), (other) = files_below(tmp_path / "a"), files_below(tmp_path / "b")
    assert path.read_bytes() == other[0].read_bytes()
    assert path.relative_to(tmp_path / "a") == other[0].relative_to(tmp_path / "b")
    seeded = cli(
        *words(weights["posemae"], tmp_path / "c", "--json", "--seed", 1, victim="posemae")
    )
    noise, other_noise = (json.loads(o.out)[0]["metrics"]["noise_pmd"] for o in (first, seeded))
    assert noise != other_noise


@pytest.mark.parametrize("attack", ["fgm", "noise"])
def test_batch_size_does_not_change_results(
    attack: str, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    more = ("--attack", attack, "--samples", 3, "--batch-size")
    for size in (1, 8, 10**30):
        assert cli(*words(weights["npt"], tmp_path / str(size), *more, size)).code == 0
    one = only_record(tmp_path / "1")["metrics"]
    for size in (8, 10**30):
        metrics = only_record(tmp_path / str(size))["metrics"]
        for name in ("pmd", "clean_pmd", "noise_pmd"):
            expected = pytest.approx(one[name]["per_sample"], rel=1e-5)
            assert metrics[name]["per_sample"] == expected


@pytest.mark.parametrize("more", [[], ["--defense", "sor", "--access", "adaptive"]])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_zero_budget_gives_the_clean_numbers(
    norm: str, more: list[str], cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    assert cli(*words(weights["npt"], tmp_path, "--eps", 0, "--norm", norm, *more)).code == 0
    metrics = only_record(tmp_path)["metrics"]
    assert metrics["pmd"] == metrics["clean_pmd"]
    assert metrics["norms"]["linf"]["max"] == 0


@pytest.mark.parametrize("victim", ["npt", "posemae"])
def test_defence_oblivious_and_adaptive(
    victim: str, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    pmd = {}
    for access in ("oblivious", "adaptive"):
        more = ("--defense", "sor", "--access", access)
        assert cli(*words(weights[victim], tmp_path / access, *more, victim=victim)).code == 0
        record = only_record(tmp_path / access)
        assert record["cell"]["access"] == access
        assert (
            record["cell"]["wrappers"] == ["Defended", "EqualPoints"][: 2 if victim == "npt" else 1]
        )
        assert record["cell"]["defense_settings"].startswith("SOR(")
        assert 0.5 < record["metrics"]["clean_kept"] < 1
        assert 0.5 < record["metrics"]["kept"] < 1
        pmd[access] = record["metrics"]["pmd"]["per_sample"]
        clean = record["metrics"]["clean_pmd"]["per_sample"]
    assert pmd["oblivious"] != pmd["adaptive"]
    assert clean not in pmd.values()


VERTICES = 800
RADII = {
    ("l2", "rms"): 0.01 * (3 * VERTICES) ** 0.5,
    ("l2", "total"): 0.01,
    ("l2", "release"): 0.01 * (3 * 1024) ** 0.5,
    ("linf", "rms"): 0.01,
    ("linf", "total"): 0.01,
    ("l2_vertex", "rms"): 0.01,
    ("l2_vertex", "total"): 0.01,
}


@pytest.mark.parametrize(("norm", "unit"), RADII)
def test_every_unit_and_norm_reaches_its_radius(
    norm: str, unit: str, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    more = ("--eps", 0.01, "--norm", norm, "--eps-unit", unit, "--samples", 1)
    assert cli(*words(weights["npt-mp"], tmp_path, *more, victim="npt-mp")).code == 0
    metrics = only_record(tmp_path)["metrics"]
    assert metrics["radius"] == pytest.approx(RADII[norm, unit])
    assert metrics["norms"][norm]["max"] == pytest.approx(RADII[norm, unit], rel=1e-4)


def test_without_attack_only_clean_numbers(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    outcome = cli(*words(weights["npt"], tmp_path, "--attack", "none", "--task", "anny/wide"))
    assert outcome.code == 0
    record = only_record(tmp_path)
    assert record["metrics"]["pmd"] == record["metrics"]["clean_pmd"]
    assert record["cell"]["attack"] is record["cell"]["eps"] is None
    assert "noise_pmd" not in record["metrics"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_released_checkpoint(
    dtype: torch.dtype, cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    state = {f"module.{k}": v.to(dtype) for k, v in released_state(reference("npt_w32")).items()}
    torch.save({"state_dict": state}, tmp_path / "released.pth")
    outcome = cli(*words(tmp_path / "released.pth", tmp_path / "out", "--json"))
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)[0]["cell"]["training"] == "imported"


def test_version(cli: Cli) -> None:
    assert cli("--version") == Outcome(0, f"posebench {posebench.__version__}\n", "")


def test_list_names_everything(cli: Cli) -> None:
    outcome = cli("list")
    assert outcome.code == 0
    for name in (
        "npt-mp",
        "gct",
        "posemae",
        "fgm",
        "noise",
        "sor",
        "anny/unseen-bent",
        "tiny",
        "anny/scan@0",
    ):
        assert name in outcome.out


# ---- bad input

BAD_OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "victim": (["--victim", "nptt"], ["'nptt'", "did you mean 'npt'"]),
    "attack": (["--attack", "fgn"], ["did you mean 'fgm'"]),
    "defence": (["--defense", "soor"], ["did you mean 'sor'"]),
    "task": (["--task", "anny/unsen"], ["did you mean 'anny/unseen'"]),
    "severity": (["--task", "anny/scan@9"], ["'9' of scan", "scan@0", "scan@5"]),
    "noise": (["--task", "anny/noise@-1"], ["such as noise@0.02"]),
    "size": (["--size", "tinny"], ["did you mean 'tiny'"]),
    "access": (["--access", "adaptiv"], ["did you mean 'adaptive'"]),
    "adaptive to nothing": (["--access", "adaptive"], ["'adaptive' needs a defence"]),
    "straight through nothing": (["--access", "straight-through"], ["needs a defence"]),
    "transfer from nothing": (["--access", "transfer"], ["go together"]),
    "surrogate": (["--access", "transfer", "--surrogate", "np"], ["did you mean 'npt'"]),
    "iterations of nothing": (["--attack", "none", "--iterations", "3"], ["needs an attack"]),
    "iterations of fgm": (["--iterations", "3"], ["takes no iterations"]),
    "far from any name": (["--victim", "?" * 9], ["known are corenet, dt, ffptnet, gct"]),
    "line break in a name": (["--attack", "a\nb"], ["unknown attack"]),
    "release for another norm": (["--eps-unit", "release", "--norm", "linf"], ["'l2' alone"]),
    "eps text": (["--eps", "abc"], ["low:high:count", "'abc'"]),
    "eps range falls": (["--eps", "0.2:0.1:3"], ["low < high"]),
    "eps range of one": (["--eps", "0:0.1:1"], ["count of 2..100"]),
    "eps range without count": (["--eps", "0:0.1"], ["low:high:count"]),
    "plot without a range": (["--plot", "p.png"], ["needs a swept eps"]),
    "plot of an ending": (["--eps", "0:0.1:3", "--plot", "p.bmp"], ["'.bmp'", ".png"]),
    "plot into a file": (["--eps", "0:0.1:3", "--plot", "/dev/null/p.png"], ["cannot write"]),
    "sweep of nothing": (["--eps", "0:0.1:3", "--attack", "none"], ["--eps needs an --attack"]),
    "eps nan": (["--eps", "nan"], ["eps", "nan"]),
    "eps inf": (["--eps", "inf"], ["eps", "inf"]),
    "eps negative": (["--eps=-0.1"], ["eps", "-0.1"]),
    "eps of no body": (["--eps", "1e30"], ["1e+30 m RMS per coordinate", "is it in metres?"]),
    "eps in cm": (["--eps", "8"], ["is it in metres? for centimetres write 0.08"]),
    "eps in mm": (["--eps", "0:150:3", "--norm", "linf"], ["for centimetres write 0.75"]),
    "eps overflows": (["--eps", "1e300"], ["is it in metres?"]),
    "eps total": (["--eps", "500", "--eps-unit", "total"], ["10.2062 m RMS", "write 5"]),
    "no samples": (["--samples", "0"], ["samples", "1..4096"]),
    "negative samples": (["--samples=-1"], ["samples", "-1"]),
    "too many samples": (["--samples", str(10**30)], ["samples", "1..4096"]),
    "batch size": (["--batch-size", "0"], ["batch size"]),
    "device": (["--device", "nonsense"], ["device 'nonsense'"]),
    "device without data": (["--device", "meta"], ["device 'meta'"]),
    "no such weights": (["--weights", "nowhere.safetensors"], ["no such file"]),
    "line break in a path": (["--weights", "a\nb.pth"], ["no such file"]),
    "another victim's weights": (["--victim", "gct"], ["'npt', not 'gct'"]),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option(
    case: str, cli: Cli, weights: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found before the first forward."""
    more, parts = BAD_OPTIONS[case]
    forwards: list[object] = []
    monkeypatch.setattr(PoseTransferNetwork, "__call__", lambda *a, **k: forwards.append(a))
    outcome = cli(*words(weights["npt"], tmp_path / "out", *more))
    assert_refused(outcome, tmp_path / "out", *parts)
    assert not (tmp_path / "out").exists()
    assert forwards == []


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--victim", "npt", "--eps", "0.1"], "--eps does not go with training without"),
        (["--victim", "npt", "--sor"], "--sor does not go with"),
        (["--victim", "npt", "--adversarial", "fgm", "--eps", "8"], "is it in metres?"),
        (["--victim", "npt", "--mixed"], "--mixed does not go with training without"),
        (["--victim", "npt", "--seed", str(10**30)], "seed must be"),
        (["--victim", "npt", "--threads", "99999999"], "threads must be"),
        (["--recipe", "table2", "--clean-share", "0"], "--clean-share does not go with --recipe"),
        (["--recipe", "table2", "--batch", "3"], "--batch does not go with --recipe"),
        (["--recipe", "table2", "--steps", "3"], "--steps does not go with --recipe"),
        (["--recipe", "table2", "--victim", "npt"], "either a --victim or a --recipe"),
    ],
)
def test_training_options_that_would_be_ignored_are_refused(
    more: list[str], part: str, cli: Cli, tmp_path: Path
) -> None:
    outcome = cli("train", *more, "--size", "tiny", "--out", str(tmp_path / "out"))
    assert_refused(outcome, tmp_path / "out", part)


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


class Evil:
    """Unpickling this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


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


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_out_that_is_a_file(below: str, cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    outcome = cli(*words(weights["npt"], tmp_path / "file" / below))
    assert_refused(outcome, tmp_path / "nothing", str(tmp_path / "file"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "more",
    [
        ["--victim", "nptt"],
        ["--size", "tinny"],
        ["--steps", "0"],
        ["--steps=-3"],
        ["--device", "nonsense"],
        ["--threads=-1"],
        ["--adversarial", "fmg"],
        ["--adversarial", "fgm", "--eps=-1"],
        ["--adversarial", "fgm", "--eps", "nan"],
        ["--adversarial", "fgm", "--iterations", "3"],
        ["--adversarial", "fgm", "--clean-share", "1.5"],
        ["--adversarial", "fgm", "--start", "no/such/file"],
        ["--adversarial", "fgm", "--start", "shipped"],  # tiny weights are not
        ["--start", "shipped"],
        ["--budget", "soon"],
        ["--budget=-3m"],
        ["--recipe", "table2"],  # a victim and a recipe
        ["--recompute"],  # npt cannot
        ["--batch", "0"],
        ["--points", "1"],
        ["--points", "64", "--pose-points", "32"],  # npt pairs them
        ["--pose-points", "32"],
        ["--points", "64", "--whole-meshes"],
        ["--rate", "0"],
        ["--matrix-rate", "nan"],
    ],
)
def test_bad_training_option(more: list[str], cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "--victim", "npt", "--size", "tiny", "--out", tmp_path / "out", *more)
    assert_refused(outcome, tmp_path / "out")


def test_start_of_another_victim_or_width(
    cli: Cli, weights: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    base = ["train", "--adversarial", "fgm", "--out", out]
    outcome = cli(*base, "--victim", "gct", "--size", "tiny", "--start", weights["npt"])
    assert_refused(outcome, out, "of victim 'npt', not 'gct'")
    outcome = cli(*base, "--victim", "npt", "--size", "compact", "--start", weights["npt"])
    assert_refused(outcome, out, "of width 32, not of compact")


def test_iterations_reach_the_attack(cli: Cli, weights: dict[str, Path], tmp_path: Path) -> None:
    more = ["--attack", "pgd", "--iterations", 2, "--json"]
    (record,) = json.loads(cli(*words(weights["npt"], tmp_path, *more)).out)
    assert record["cost"] == {"forwards": 3, "backwards": 2}
    assert "iterations=2" in record["cell"]["attack_settings"]
    outcome = cli(*words(weights["npt"], tmp_path / "out", "--iterations", 2))
    assert_refused(outcome, tmp_path / "out", "'fgm' takes no iterations")


def test_cost_prints_and_writes_every_victim(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "costs.json"
    outcome = cli(
        "cost", "--size", "tiny", "--repeats", 1, "--device", "cpu", "--out", out,
        "--victim", "npt", "--victim", "gct",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    costs = json.loads(out.read_text(encoding="utf-8"))["costs"]
    assert [cost["victim"] for cost in costs] == ["npt", "gct"]
    for cost in costs:
        network = initial_network(Recipe(cost["victim"], size="tiny"))
        assert cost["parameters"] == sum(p.numel() for p in network.parameters())
        assert f"{cost['parameters']:,}" in outcome.out
        assert 0 < cost["forward_ms"] < 60_000
    for bad in (
        ["--victim", "nptt"], ["--size", "tinny"], ["--repeats", 0], ["--defense", "sorr"],
        ["--recipe", "robust-study", "--victim", "npt"], ["--recipe", "robust-stud"],
    ):  # fmt: skip
        assert_refused(cli("cost", *bad, "--out", tmp_path / "no.json"), tmp_path / "no.json")


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each call of a network in this process."""
    calls: list[None] = []
    call = PoseTransferNetwork.__call__

    def counted(network: PoseTransferNetwork, *arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return call(network, *arguments, **named)

    monkeypatch.setattr(PoseTransferNetwork, "__call__", counted)
    return calls


def test_cost_of_defences_and_of_training_steps(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "costs.json"
    outcome = cli(
        "cost", "--size", "tiny", "--repeats", 1, "--device", "cpu", "--out", out,
        "--victim", "npt-mp", "--defense", "partition-median",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    (median,) = read_costs(out).costs
    assert median.defense == "partition-median"
    assert "npt-mp+partition-median" in outcome.out
    calls = count_calls(monkeypatch)
    measure_cost("npt-mp", "tiny", "cpu", 1)
    bare = len(calls)
    calls.clear()
    measure_cost("npt-mp", "tiny", "cpu", 1, "partition-median")
    assert len(calls) == 25 * bare > 0, "what was timed holds 25 forwards"
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        """
        victim = "npt-mp"
        size = "tiny"
        points = 64
        pose_points = 64
        adversarial = { threat = "point-5cm", attack = "pgd" }
        [[run]]
        name = "clean"
        adversarial = { clean_share = 1.0 }
        [[run]]
        name = "attacked"
        adversarial = { iterations = 9 }
        """,
        encoding="utf-8",
    )
    words = ["cost", "--recipe", recipe, "--repeats", 3, "--device", "cpu", "--out", out]
    calls.clear()
    outcome = cli(*words)
    assert outcome.code == 0, outcome
    assert "attacked: " in outcome.out
    found = read_costs(out)
    assert found.costs == ()
    clean, attacked = found.steps
    assert (clean.run, clean.times_first, attacked.run) == ("clean", 1.0, "attacked")
    assert len(calls) == (3 + 1) * 9, "nine attack gradients a turn, all in the attacked run"
    assert not file_problems(out)


@pytest.mark.parametrize(
    "line",
    [
        ["run"],
        ["run", "--victim", "npt", "--samples", "1.5"],
        ["run", "--victim", "npt", "--no-such-option"],
        ["runn"],
        ["train", "--victim"],
        ["report", "extra"],
    ],
)
def test_usage_error(line: list[str], cli: Cli) -> None:
    outcome = cli(*line)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Error" in outcome.err
    assert "Traceback" not in outcome.err


NUMBERS = st.one_of(
    st.sampled_from(["0", "1", "nan", "-inf", "1e-320", "1e308", "0x1", "", "1_0"]),
    st.integers(-3, 3).map(str),
    st.floats(0, 1).map(str),
)
TEXT = st.text(st.characters(exclude_characters="\0"), max_size=8)
OPTIONS = {
    "--victim": st.one_of(st.sampled_from(["npt", "npt-mp"]), TEXT),
    "--attack": st.one_of(st.sampled_from(["fgm", "noise", "none", "FGM"]), TEXT),
    "--eps": NUMBERS,
    # Only known names: the tests' type checker refuses others before the library does.
    "--eps-unit": st.sampled_from(["rms", "total", "release"]),
    "--norm": st.sampled_from(["l2", "linf", "l2_vertex"]),
    "--defense": st.one_of(st.sampled_from(["none", "sor"]), TEXT),
    "--access": st.one_of(st.sampled_from(["oblivious", "adaptive"]), TEXT),
    "--task": st.one_of(
        st.sampled_from(["anny/seen", "anny/wide", "anny", "anny/noise@0.1", "anny/drop-local@2"]),
        TEXT,
    ),
    "--samples": NUMBERS,
    "--batch-size": NUMBERS,
    "--seed": NUMBERS,
    "--device": st.one_of(st.sampled_from(["cpu", "auto", "cuda:99", "cpu:-1", "hpu"]), TEXT),
}


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    given=st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: OPTIONS[name] for name in names})
    )
)
@example(given={"--eps": "1e-320"})
@example(given={"--eps": "1e30", "--norm": "linf", "--defense": "sor"})
@example(given={"--seed": str(-(10**40)), "--attack": "noise"})
def test_any_options_end_in_a_record_or_in_one_line(
    given: dict[str, str], cli: Cli, weights: dict[str, Path], tmp_path_factory: Any
) -> None:
    out = tmp_path_factory.mktemp("out")
    more = [f"{name}={value}" for name, value in given.items()]
    outcome = cli(*words(weights["npt"], out, "--samples", 1, *more))
    if outcome.code == 0:
        parse_record(only_record(out), "record")
    elif "Usage: " in outcome.err:
        assert outcome.code == 2
        assert not files_below(out)
    else:
        assert_refused(outcome, out)


# ---- as a process of its own


def process(*line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "posebench.benchmark.cli.app", *line],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
    )


def test_process_prints_json_alone(weights: dict[str, Path], tmp_path: Path) -> None:
    more = ("--samples", 1, "--json")
    done = process(*words(weights["npt"], Path("records"), *more), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [only_record(tmp_path / "records")]


PROCESS_CASES = {
    "code": ([], ["refused"]),
    "norm": (["--norm", "l2_vertx"], ["unknown norm", "did you mean 'l2_vertex'"]),
    "unit": (["--eps-unit", "rsm"], ["unknown eps unit", "did you mean 'rms'"]),
}


@pytest.mark.parametrize("case", PROCESS_CASES)
def test_process_refuses_in_one_line(case: str, tmp_path: Path) -> None:
    more, parts = PROCESS_CASES[case]
    path = tmp_path / "bad.pth"
    path.write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    done = process(*words(path, tmp_path / "out", *more), cwd=tmp_path)
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert_refused(outcome, tmp_path / "out", *parts)
    assert not (tmp_path / "ran").exists()


def test_process_usage_error(tmp_path: Path) -> None:
    done = process("run", "--victim", "npt", "--samples", "abc", cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


def test_vertices_are_an_option_that_a_record_repeats(cli: Cli, tmp_path: Path) -> None:
    base = ["run", "--victim", "npt", "--attack", "none", "--samples", "2", "--out", str(tmp_path)]
    outcome = cli(*base, "--vertices", "800", "--json")
    assert json.loads(outcome.out)[0]["cell"]["vertices"] == 800
    path = next(tmp_path.rglob("clean-*.json"))
    assert "--vertices 800" in (repeat_command(read_record(path)) or "")
    outcome = cli(*base, "--vertices", "801")
    assert outcome.code == 2
    assert "not 801" in outcome.err
    outcome = cli(*base, "--vertices", "800", "--task", "smpl-npt/unseen")
    assert outcome.code == 2
    assert "brings its own vertices" in outcome.err
