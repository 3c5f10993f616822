"""Bad options: one line and exit code 2, before anything is computed or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from posebench.benchmark.records.store import parse_record
from posebench.victims import PoseTransferNetwork
from tests.command_line import Cli, assert_refused, files_below, only_record, words

pytestmark = pytest.mark.usefixtures("one_thread")

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
