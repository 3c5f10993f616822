"""Sweeps: what a grid means, planned and written cells, policies, failures, kills."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import product
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posebench.attacks import FGM, IFGM, Add, Drop, Noise, Transfer, Universal, VertexAdam
from posebench.benchmark.cli.app import main
from posebench.benchmark.evaluation.access import Surrogate
from posebench.benchmark.evaluation.harness import evaluate_all
from posebench.benchmark.evaluation.plan import Evaluation, plan_evaluation
from posebench.benchmark.evaluation.settings import evaluation_of
from posebench.benchmark.records.store import (
    cell_path,
    parse_record,
    read_records,
    record_path,
    record_text,
)
from posebench.benchmark.runs import processes as sweep_workers
from posebench.benchmark.runs.grid import grid_settings
from posebench.benchmark.runs.grid_file import read_grids
from posebench.benchmark.runs.processes import ATTEMPTS, Worker, run_processes
from posebench.benchmark.runs.sweep import (
    Job,
    plan_sweep,
    remaining,
    run_here,
    source_of,
    write_outcomes,
)
from posebench.benchmark.training.loop import initial_network
from posebench.benchmark.training.recipe import Recipe
from posebench.defenses import SOR, RandomDrop
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.victims import write_weights
from posebench.victims.weights import shipped_path, weights_fingerprint

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def single_thread(one_thread: None) -> None:
    """For the whole module."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tiny networks, and one that only gives NaN."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("npt", "npt-mp"):
        network = initial_network(Recipe(name, size="tiny"))
        write_weights(folder / f"{name}.safetensors", network, {"training": "clean"})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(torch.nan)
    write_weights(folder / "broken.safetensors", network, {"training": "clean"})
    return folder


def write_grid(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return path


def planned(path: Path, out: Path) -> list[Job]:
    return plan_sweep(read_grids(str(path)), batch_size=8, device="cpu", out=out, where="x")


def small(weights: Path, folder: Path, more: str = 'attacks = ["none", "fgm"]') -> Path:
    """A grid on one tiny network."""
    where = f"weights = {str(weights / 'npt-mp.safetensors')!r}"
    return write_grid(folder, f'{where}\nsize = "tiny"\nsamples = 1\n{more}\n')


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line."""
    monkeypatch.setattr(sys, "argv", ["posebench", "sweep", *map(str, words)])
    code: int | str | None = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return int(code or 0), captured.out, captured.err


# ---- planned and written cells


B = Budget(0.05)
CASES: dict[str, dict[str, Any]] = {
    "clean, distorted": {"attacks": (None,), "task": "anny/drop-local@2"},
    "curve": {"attacks": tuple(IFGM(Budget(e), iterations=1) for e in (0.0, 0.05))},
    "adaptive, drawn": {"attacks": (FGM(B),), "defense": RandomDrop(), "access": "adaptive"},
    "straight-through": {"attacks": (FGM(B),), "defense": SOR(), "access": "straight-through"},
    "transfer": {"attacks": (Transfer(B),), "access": "transfer", "surrogate": "npt-mp"},
    "drop": {"attacks": (Drop(Budget(0.1, "drop"), iterations=1),)},
    "add": {"attacks": (Add(Budget(0.1, "add"), iterations=1),), "seed": 3},
    "universal": {"attacks": (Universal(B, iterations=1),)},
    "release": {"attacks": (Noise(Budget(0.01, unit="release")),), "samples": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_planned_paths_are_those_of_the_records(case: str) -> None:
    options = {"samples": 1, "vertices": 800, **CASES[case]}
    victim = initial_network(Recipe("npt", size="tiny")).eval()
    if "surrogate" in options:
        network = initial_network(Recipe(options["surrogate"], size="tiny")).eval()
        options["surrogate"] = Surrogate(network, "0" * 64)
    given = Evaluation(victim, **options)
    plan = plan_evaluation(given)
    texts = [record_text(record) for record in evaluate_all(given)]
    records = [parse_record(json.loads(text), "x") for text in texts]
    assert tuple(record.cell for record in records) == plan.cells
    paths = [cell_path(Path(), cell) for cell in plan.cells]
    assert [record_path(Path(), record) for record in records] == paths
    assert len(set(paths)) == len(paths)


MADE = (
    "table2", "page", "splits", "corruptions", "headline", "density", "new-poses", "seeds",
    "ascents", "robust-seeds", "widths",
)  # fmt: skip
"""Shipped sweeps that the committed records of shipped weights are of."""

UNMADE = ("defences",)
"""Those that are not, or not whole: what they lack is empty in tables."""


def test_committed_records_are_what_shipped_sweeps_ask_for() -> None:
    """An independent account of the cells: records that were made before there were sweeps."""

    def cells_of(names: tuple[str, ...]) -> set[Path]:
        paths = set()
        for name in names:
            grids = [grid for grid in read_grids(name) if grid.weights[0].startswith("shipped")]
            jobs = plan_sweep(grids, batch_size=8, device="cpu", out=ROOT, where=name)
            found = [path for job in jobs for path in job.wanted]
            assert len(found) == len(set(found))
            paths |= set(found)
        return paths

    names = [path.stem for path in shipped_path("", "").parent.glob("*.safetensors")]
    networks = [n for n in names if "-compact" in n and "-open" not in n and n != "dt-compact"]
    assert len(cells_of(("splits",))) == 9 * len(names)
    assert len(cells_of(("corruptions",))) == (3 * 8 + 4) * len(networks)
    shipped = {weights_fingerprint(path) for path in shipped_path("", "").parent.glob("*.safe*")}
    recorded = {
        record_path(Path(), record)
        for record in read_records(ROOT / "leaderboards" / "records")
        if record.cell.weights.sha256 in shipped
    }
    made = cells_of(MADE)
    assert made - recorded == set()
    assert recorded - made <= cells_of(UNMADE)


@pytest.mark.parametrize("name", ["table5", "options"])
def test_sweeps_of_trained_options_name_the_runs_of_their_recipe(name: str) -> None:
    from posebench.benchmark.training.recipe_file import read_recipes

    for grid in read_grids(name):
        runs = [f"runs/{run.name}/weights.safetensors" for run in read_recipes(name)]
        assert sorted(grid.weights) == sorted(runs)


# ---- what a grid means


def test_a_grid_is_the_product_of_its_lists_without_what_does_not_apply(
    weights: Path, tmp_path: Path
) -> None:
    text = """
    seeds = [0, 1]
    attacks = ["none", "fgm", "drop", "transfer"]
    eps = [0.02, "0:0.1:3"]
    norm = ["l2", "linf"]
    defenses = ["none", "sor"]
    access = ["oblivious", "adaptive"]
    """
    (grid,) = read_grids(str(small(weights, tmp_path, text)))
    found = grid_settings(grid)
    expected = set()
    for attack, eps, norm, defense, access, seed in product(
        grid.attacks, [(0.02,), (0, 0.05, 0.1)], grid.norm, ("none", "sor"), grid.access, (0, 1)
    ):
        expected.add(
            (
                attack,
                (0.0,) if attack == "none" else eps,
                None if attack in ("none", "drop") else norm,
                defense,
                access if attack in ("fgm", "drop") and defense == "sor" else None,
                seed,
            )
        )
    keys = [(s.attack, tuple(s.eps), s.norm, s.defense, s.access, s.seed) for s in found]
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    assert keys == sorted(keys, key=lambda key: grid.attacks.index(key[0]))


def test_sets_of_settings_are_cells_of_their_own(weights: Path, tmp_path: Path) -> None:
    """The same set written in another order is the same cell."""
    more = "{ step = 0.1, restarts = 2 }, { step = 0.2 }, { restarts = 2, step = 0.1 }"
    text = f"attacks = ['none', 'vertex-adam']\niterations = 4\nsettings = [{more}]"
    jobs = planned(small(weights, tmp_path, text), tmp_path)
    made = [
        evaluation_of(job.settings.evaluation, source_of(job.settings.evaluation)) for job in jobs
    ]
    budget = Budget(0.08)
    assert [each.attacks for each in made] == [
        (None,),
        (VertexAdam(budget, 4, restarts=2, step=0.1),),
        (VertexAdam(budget, 4, step=0.2),),
    ]


def test_weights_by_pattern_and_victim(weights: Path, tmp_path: Path) -> None:
    text = f"weights = '{weights}/*.safetensors'\nsize = 'tiny'\nvictims = 'npt'\n"
    (grid,) = read_grids(str(write_grid(tmp_path, text)))
    (only,) = grid_settings(grid)
    assert (only.victim, only.weights) == ("npt", weights / "npt.safetensors")
    (grid,) = read_grids(str(write_grid(tmp_path, 'victims = ["npt", "npt-mp"]')))
    names = [each.weights.name if each.weights else "" for each in grid_settings(grid)]
    trainings = ("", "-adversarial", "-robust")
    kinds = [f"{victim}-compact{kind}" for victim in ("npt", "npt-mp") for kind in trainings]
    assert names == [f"{kind}.safetensors" for kind in kinds]


def test_shipped_stands_for_every_network_with_weights_but_the_told_one(tmp_path: Path) -> None:
    folder = ROOT / "victims" / "weights"
    named = {path.stem.removesuffix("-compact") for path in folder.glob("*-compact.safetensors")}
    assert "dt" in named, "whose tasks must know the correspondence"
    named.remove("dt")
    text = 'victims = "shipped"\ntrainings = "clean"\naccess = "transfer"\nsurrogate = "shipped"\n'
    (grid,) = read_grids(str(write_grid(tmp_path, text)))
    found = [(each.victim, each.surrogate) for each in grid_settings(grid)]
    assert len(found) == len(named) ** 2
    assert set(found) == set(product(named, named))
    (grid,) = read_grids(str(write_grid(tmp_path, 'victims = ["gct", "shipped"]')))
    assert grid_settings(grid)[0].victim == "gct"
    assert {each.victim for each in grid_settings(grid)} == named


def test_a_cell_of_several_grids_is_made_once_by_the_first(weights: Path, tmp_path: Path) -> None:
    text = "[[grid]]\neps = [0.02, 0.05]\n[[grid]]\neps = '0.02:0.05:2'\n[[grid]]\neps = 0.02"
    jobs = planned(small(weights, tmp_path, text), tmp_path)
    assert [len(job.wanted) for job in jobs] == [1, 1, 1]
    # The curve's first point is the single budget's cell; its second one starts warm.
    assert jobs[2].cells[0] == jobs[0].cells[0]
    assert jobs[2].wanted == jobs[2].cells[1:]
    assert jobs[2].cells[1] != jobs[1].cells[0]


BAD = {
    "victim = 'npt'": "unknown key 'victim': did you mean 'victims'?",
    "victims = 'nptt'": "did you mean 'npt'?",
    "victims = 3": "victims must be a name or a list of names, got 3",
    "victims = []": "victims is an empty list",
    "samples = 1.5": "samples must be a whole number, got 1.5",
    "seeds = [true]": "seeds must be a whole number or a list of them",
    "eps = '0.1:0'": "eps must be a number such as 0.08",
    "eps = -1": "eps must be a finite number >= 0",
    "attacks = 'fgn'": "did you mean 'fgm'?",
    "defenses = 'sorr'": "unknown defence 'sorr'",
    "tasks = 'anny/sen'": "did you mean 'anny/seen'?",
    "access = 'adaptive'": "needs a defence, and the grid has none",
    "access = 'adaptve'": "did you mean 'adaptive'?",
    "access = 'transfer'": "go together",
    "surrogate = 'npt'": "surrogate needs access 'transfer'",
    "attacks = 'none'\neps = 0.1": "eps needs an attack",
    "attacks = 'drop'\nnorm = 'l2'": "have their own norm",
    "iterations = 3": "'fgm' takes no iterations",
    "settings = { objective = 'aligned', step = 1 }": "'fgm' takes no step",
    "settings = 'step'": "settings must be a table such as { step = 0.1 } or a list of them",
    "settings = { step = [1] }": "settings.step must be a number, a name or true or false, got [1]",
    "attacks = 'none'\nsettings = { step = 1 }": "settings needs an attack",
    "attacks = 'fulbox:PGD'": "unknown library of attacks 'fulbox': did you mean 'foolbox'?",
    "trainings = 'clean'": "trainings choose among weights = 'shipped'",
    "weights = 'nowhere/*.safetensors'": "weights 'nowhere/*.safetensors': no such file",
    "weights = 'shipped'": "name the victims",
    "victims = 'npt'\nweights = 'shipped'": "no weights of 'npt' at size 'tiny' are shipped",
    "grid = 3": "grids are written as [[grid]]",
    "grid = []": "holds no [[grid]]",
    "victims = ": "Invalid value",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_sweep_files_are_refused_in_one_line(
    text: str,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"size": "'tiny'", "weights": f"'{weights / 'npt.safetensors'}'"}
    lines = [f"{key} = {value}" for key, value in given.items() if f"{key} =" not in text]
    path = write_grid(tmp_path, "\n".join([*lines, text]))
    code, printed, error = call(capsys, monkeypatch, path, "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    (line,) = error.splitlines()
    assert line.startswith(f"posebench: error: sweep {path}: ")
    assert BAD[text] in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tabel2"], "did you mean 'table2'?"),
        (
            ["nowhere.toml"],
            "no such file; shipped are ascents, corruptions, defences, density, headline, "
            "new-poses, options, page, peers, robust-seeds, robust-study, seeds, splits, table2, "
            "table5, widths",
        ),
        (["table2", "--jobs", "0"], "--jobs must be at least 1"),
        (["table2", "--jobs", "2", "--ray", "local"], "--jobs does not go with --ray"),
        (["table2", "--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
    ],
)
def test_bad_options_are_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, printed, error = call(capsys, monkeypatch, *words, "--out", tmp_path / "out")
    assert (code, printed, len(error.splitlines())) == (2, "", 1)
    assert message in error


KEYS = ("victims", "weights", "attacks", "eps", "defenses", "access", "samples", "seeds", "grid")
VALUES = st.one_of(
    st.text(max_size=4),
    st.integers(-2, 9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.sampled_from(["npt", "none", "sor", "adaptive", "0:1:3", "shipped:*", "/", "**", "..", "~"]),
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    table=st.dictionaries(st.sampled_from(KEYS), st.one_of(VALUES, st.lists(VALUES, max_size=3)))
)
def test_any_values_make_settings_or_one_clear_error(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    path = write_grid(tmp_path, text)
    with suppress(InputError):
        for grid in read_grids(str(path)):
            for each in grid_settings(grid):
                assert each.weights is not None


# ---- policies, failures, memory


def test_policies(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, out = small(weights, tmp_path, "eps = '0:0.05:3'"), tmp_path / "out"
    words = (path, "--device", "cpu", "--out", out)
    code, printed, error = call(capsys, monkeypatch, *words, "--dry-run")
    assert (code, error, out.exists()) == (0, "", False)
    assert [line.split()[0] for line in printed.splitlines()] == ["missing"] * 3 + ["3"]
    code, printed, error = call(capsys, monkeypatch, *words, "--overwrite", "never")
    assert (code, printed, error) == (0, f"3 cells in {out}: 0 were there, 3 made, 0 failed\n", "")
    whole = contents(out)
    first, second, _ = sorted(whole)
    (out / second).unlink()
    (out / first).write_text("mine")  # a record that is there is not touched, nor read
    code, printed, _ = call(capsys, monkeypatch, *words, "--dry-run")
    assert printed.splitlines()[-1] == f"3 cells for {out}: 2 done, 1 missing"
    assert f"missing {second}" in printed.splitlines()
    code, _, error = call(capsys, monkeypatch, *words, "--overwrite", "never")
    assert code == 2
    assert "2 of the sweep's records exist" in error
    code, printed, _ = call(capsys, monkeypatch, *words)
    assert (code, printed) == (0, f"3 cells in {out}: 2 were there, 1 made, 0 failed\n")
    assert contents(out) == {**whole, first: b"mine"}
    code, printed, _ = call(capsys, monkeypatch, *words, "--overwrite", "always")
    assert (code, printed) == (0, f"3 cells in {out}: 0 were there, 3 made, 0 failed\n")
    assert contents(out) == whole
    code, printed, _ = call(capsys, monkeypatch, *words, "--overwrite", "always", "--dry-run")
    assert printed.splitlines()[-1] == f"3 cells for {out}: 3 done, 0 missing"
    code, _, error = call(capsys, monkeypatch, *words, "--overwrite", "allways")
    assert code == 2
    assert "did you mean 'always'?" in error


def test_cells_that_fail_cost_no_others(
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"weights = '{weights}/*.safetensors'\nsize = 'tiny'\nsamples = 1\nattacks = 'none'"
    out = tmp_path / "out"
    words = (write_grid(tmp_path, text), "--device", "cpu", "--out", out)
    for there, made in ((0, 2), (2, 0)):
        code, printed, error = call(capsys, monkeypatch, *words)
        assert code == 1
        assert f"3 cells in {out}: {there} were there, {made} made, 1 failed" in printed
        (line,) = error.splitlines()
        assert line.startswith("failed anny-seen/npt-mp-tiny-clean/clean-")
        assert line.endswith("victim 'npt-mp' returned NaN or infinite coordinates")
        assert len(contents(out)) == 2


def test_weights_that_change_after_planning_fail_their_cells(weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / "npt-mp.safetensors"
    copy.write_bytes((weights / "npt-mp.safetensors").read_bytes())
    jobs = planned(small(tmp_path, tmp_path, "attacks = 'none'"), tmp_path)
    network = initial_network(Recipe("npt-mp", size="tiny", seed=1))
    write_weights(copy, network, {"training": "clean"})
    failed = write_outcomes(run_here(jobs), tmp_path / "out", lambda cells: None)
    assert "made other cells than planned" in failed[jobs[0]]
    assert not (tmp_path / "out").exists()


def test_a_sweep_finishes_in_smaller_batches(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posebench.benchmark.evaluation import harness

    real = harness.measure

    def measure(system: Any, batch: Any, seed: int) -> Any:
        if len(batch) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(system, batch, seed)

    jobs = planned(small(weights, tmp_path, "[[grid]]\nsamples = 3"), tmp_path)
    expected, got = tmp_path / "expected", tmp_path / "got"
    single = [replace(job, settings=replace(job.settings, batch_size=1)) for job in jobs]
    assert write_outcomes(run_here(single), expected, lambda cells: None) == {}
    monkeypatch.setattr(harness, "measure", measure)
    assert write_outcomes(run_here(jobs), got, lambda cells: None) == {}
    assert contents(got) == contents(expected)


# ---- kills


def test_killed_at_random_moments_a_sweep_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """Twenty-two kills in a process of their own; see ``sweep_kills``."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweep_kills", str(tmp_path), "20", "0"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    happened = json.loads(done.stdout.splitlines()[-1])
    assert happened["kills"] == 22
    assert happened["partly"] >= 2
    assert happened["sweeps"] >= 3


def test_jobs_of_killed_workers_are_run_again(weights: Path, tmp_path: Path) -> None:
    jobs = planned(small(weights, tmp_path, "seeds = [0, 1, 2, 3]"), tmp_path)
    there, here = tmp_path / "there", tmp_path / "here"
    advanced = []

    def disturbed() -> Iterator[Any]:
        outcomes = run_processes(jobs, 2)
        yield next(outcomes)
        for process in multiprocessing.active_children():  # one idle, one at work
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        yield from outcomes

    assert write_outcomes(disturbed(), there, advanced.append) == {}
    assert advanced == [1] * 4
    assert multiprocessing.active_children() == []
    write_outcomes(run_here(jobs), here, lambda cells: None)
    assert contents(there) == contents(here)
    assert len(contents(here)) == 4


def test_a_job_that_kills_every_worker_fails_alone(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = planned(small(weights, tmp_path, "attacks = 'none'"), tmp_path)
    asked = replace(job.settings.evaluation, samples=8)
    job = replace(job, settings=replace(job.settings, evaluation=asked, batch_size=9))

    def mortal(context: SpawnContext, threads: int) -> Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=os._exit, args=(3,), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    sent = []
    monkeypatch.setattr(sweep_workers, "start_worker", mortal)
    monkeypatch.setattr(
        sweep_workers, "_send", lambda worker, job: sent.append(job.settings.batch_size)
    )
    ((_, outcome),) = run_processes([job], 2)
    assert outcome.error == f"its process died {ATTEMPTS} times, exit code 3"
    assert sent == [9, 9, 4, 2]


def test_done_jobs_are_not_left_to_do(weights: Path, tmp_path: Path) -> None:
    jobs = planned(small(weights, tmp_path, "eps = [0.01, '0:0.02:3']"), tmp_path)
    assert remaining(jobs, tmp_path, "only-missing") == jobs
    for job in jobs:
        for path in job.wanted[:2]:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    (left,) = remaining(jobs, tmp_path, "only-missing")
    assert left == replace(jobs[1], wanted=jobs[1].cells[2:])
    assert remaining(jobs, tmp_path, "always") == [replace(job, anew=True) for job in jobs]
