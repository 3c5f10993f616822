"""``posebench regress``: its statistics against oracles, its rules, its files, its command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from typer.testing import CliRunner

from posebench.attacks import make_attack
from posebench.benchmark.checks.self_test import plain
from posebench.benchmark.cli.app import app
from posebench.benchmark.data.layouts import SMG_3D
from posebench.benchmark.evaluation.harness import evaluate
from posebench.benchmark.gate.baseline import (
    Measurement,
    Resolved,
    baseline_from_json,
    baseline_text,
    read_baseline,
    write_baseline,
)
from posebench.benchmark.gate.compare import Finding, compare
from posebench.benchmark.gate.config import Gate, GateCell, read_cell, read_gate
from posebench.benchmark.gate.measure import measure_cell, reached_share
from posebench.benchmark.gate.show import conclusion, markdown, plain_text
from posebench.benchmark.gate.victims import parameters_sha256, victim_from
from posebench.benchmark.stats.paired import change_between, holm
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.module_victim import from_module
from tests.forged_data import write_meshes
from tests.gates import write_gate
from tests.made_records import WHERE
from tests.toys import small

RNG = np.random.default_rng


def lognormal(rng: np.random.Generator, *shape: int, spread: float = 0.1) -> NDArray[np.float64]:
    return np.exp(spread * rng.standard_normal(shape))


# ---- statistics


def test_without_random_seeds_the_test_is_a_paired_t_test() -> None:
    before, after = lognormal(RNG(0), 1, 12), 0.95 * lognormal(RNG(1), 1, 12)
    change = change_between(before, after)
    logs = np.log(after[0]), np.log(before[0])
    for alternative, p in (
        ("less", change.p_lower),
        ("greater", change.p_higher),
        ("two-sided", change.p_either),
    ):
        assert p == pytest.approx(stats.ttest_rel(*logs, alternative=alternative).pvalue)
    found = stats.ttest_rel(*logs).confidence_interval(0.95)
    assert change.interval == pytest.approx((math.exp(found.low), math.exp(found.high)))
    assert change.ratio == pytest.approx(stats.gmean(after[0] / before[0]))


def test_a_shift_that_all_pairs_of_a_seed_share_is_tested_over_seeds() -> None:
    """Then one new seed is one draw: the test is that of a new mean against R old ones."""
    shared = np.array([0.1, -0.2, 0.05, 0.15, -0.1])
    before = np.exp(np.tile(shared[:, None], (1, 8)))
    after = np.exp(np.full((1, 8), -0.3))
    change = change_between(before, after)
    error = shared.std(ddof=1) * math.sqrt(1 + 1 / 5)
    assert change.p_lower == pytest.approx(stats.t(4).cdf((-0.3 - shared.mean()) / error))
    low, high = stats.t(4, -0.3 - shared.mean(), error).interval(0.95)
    assert change.interval == pytest.approx((math.exp(low), math.exp(high)))


def test_equal_values_are_no_change_and_swapping_runs_inverts_it() -> None:
    before, after = lognormal(RNG(2), 1, 6), lognormal(RNG(3), 1, 6)
    same = change_between(before, before)
    assert (same.ratio, same.p_lower, same.p_higher, same.p_either) == (1, 1, 1, 1)
    there, back = change_between(before, after), change_between(after, before)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.p_lower == pytest.approx(back.p_higher)
    scaled = change_between(3 * before, 3 * after)
    assert scaled.ratio == pytest.approx(there.ratio)
    for bad in (after[:, :5], after[:, :1]):
        with pytest.raises(ValueError, match="pair"):
            change_between(before, bad)


def test_holm_rejects_what_the_textbook_rejects() -> None:
    rng = RNG(4)
    for _ in range(200):
        values = (rng.random(rng.integers(1, 9)) ** 3).tolist()
        alpha = rng.random() / 2
        rejected = set()
        for rank, index in enumerate(np.argsort(values)):
            if values[index] >= alpha / (len(values) - rank):
                break
            rejected.add(int(index))
        assert {i for i, p in enumerate(holm(values)) if p < alpha} == rejected
    assert holm([]) == []


def family(rng: np.random.Generator, shift: float, shared: float) -> float:
    """Smallest adjusted p of ten random cells, the first one changed: 10 old seeds, a new one."""
    values = []
    for cell in range(10):
        draws = 0.3 * rng.exponential(size=(11, 16)) + shared * rng.standard_normal((11, 1))
        draws[10] += shift * (cell == 0)
        change = change_between(np.exp(draws[:10]), np.exp(draws[10:]))
        values.append(change.p_lower)
    return min(holm(values))


@pytest.mark.parametrize("shared", [0.0, 0.2])
def test_false_alarms_stay_below_alpha_over_all_cells(shared: float) -> None:
    """Without the effect threshold; skewed draws; independent ones and ones that pairs share."""
    rng, families = RNG(5), 400
    alarms = sum(family(rng, 0.0, shared) < 0.05 for _ in range(families))
    assert alarms <= stats.binom(families, 0.05).ppf(0.999)


def test_a_weaker_attack_is_found_in_one_cell_of_ten() -> None:
    """A fall to 0.6 where seeds spread pairs by 30 %: more than nine times in ten."""
    rng = RNG(6)
    found = sum(family(rng, -0.5, 0.0) < 0.05 for _ in range(100))
    assert found > 90


# ---- rules


def cell_of(**table: object) -> GateCell:
    return read_cell({"victim": "npt-mp", "attack": "fgm", "pairs": 4, **table}, "test")


CELL = cell_of()
DEFENDED = cell_of(defense="sor")
BASE = ((1e-3, 2e-3, 3e-3, 4e-3),)
JITTER = np.array([1.001, 0.999, 1.002, 0.998])
FGM_ALONE = Resolved("FGM()", None)


def scaled(factor: float) -> tuple[tuple[float, ...], ...]:
    return (tuple((factor * np.array(BASE[0]) * JITTER).tolist()),)


def measured(cell: GateCell, pmd: float = 1, clean: float = 1, **changes: Any) -> Measurement:
    usual: dict[str, Any] = {
        "fingerprint": "f" * 64,
        "resolved": FGM_ALONE,
        "weights_sha256": "0" * 64,
        "seeds": (0,),
        "kept": 0.9 if cell.evaluation.defense == "sor" else None,
        "reached": 1.0,
    }
    return Measurement(cell=cell, pmd=scaled(pmd), clean_pmd=scaled(clean), **usual | changes)


def gate_of(*cells: GateCell) -> Gate:
    return Gate(cells, Path("baselines.json"), Path())


def outcome(cell: GateCell, after: Measurement, before: Measurement | None = None) -> list[Finding]:
    before = before or replace(measured(cell), pmd=BASE, clean_pmd=BASE)
    return compare(gate_of(cell), {cell.name: before}, {cell.name: after})


@pytest.mark.parametrize(
    ("cell", "changes", "verdict", "red"),
    [
        (CELL, {}, None, False),
        (CELL, {"pmd": 0.97}, None, False),  # sure, and too small to matter
        (CELL, {"pmd": 0.9}, "attack weaker", True),
        (CELL, {"pmd": 1.2}, "attack stronger", False),
        (CELL, {"clean": 1.1}, "victim worse", True),
        (CELL, {"clean": 0.9}, "victim better", False),
        (CELL, {"pmd": 0.9, "weights_sha256": "1" * 64}, "more robust", False),
        (CELL, {"pmd": 1.1, "weights_sha256": "1" * 64}, "less robust", True),
        (CELL, {"pmd": 1.1, "weights_sha256": None}, "less robust", True),
        (DEFENDED, {"pmd": 0.9}, "attack weaker", True),
        (DEFENDED, {"pmd": 1.2}, "defence weaker", True),
        (DEFENDED, {"clean": 0.9}, "defence changed", True),
        (DEFENDED, {"clean": 0.9, "weights_sha256": "1" * 64}, "victim better", False),
        (DEFENDED, {"kept": 1.0}, "defence changed", True),
        (DEFENDED, {"kept": 0.905}, None, False),
        (CELL, {"reached": 1.1}, "over budget", True),
        (CELL, {"reached": 1 + 1e-6}, None, False),
    ],
)
def test_what_a_change_is_called_and_whether_it_is_red(
    cell: GateCell, changes: dict[str, Any], verdict: str | None, red: bool
) -> None:
    findings = outcome(cell, measured(cell, **changes))
    odd = [finding for finding in findings if finding.verdict != "ok"]
    assert [finding.verdict for finding in odd] == ([] if verdict is None else [verdict])
    assert [finding.red for finding in odd] == ([] if verdict is None else [red])
    assert conclusion(findings).startswith("red: " if red else "green: ")
    assert (f"**{verdict}**" in markdown(findings)) == red
    assert cell.name in plain_text(findings, width=150)


def test_an_unsure_change_is_not_red_however_large() -> None:
    after = replace(measured(CELL), pmd=((1e-4, 3e-3, 9e-4, 8e-3),))
    assert not any(finding.red for finding in outcome(CELL, after))


def test_what_else_changed_is_said() -> None:
    after = measured(CELL, resolved=Resolved("FGM(x=2)", None), weights_sha256="1" * 64)
    text = plain_text(outcome(CELL, after))
    assert "new weights; was FGM(), is FGM(x=2)" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": cell_of(pairs=5)}, "had pairs 5, now 4"),
        ({"cell": cell_of(training="adversarial")}, "had training 'adversarial', now 'clean'"),
        ({"fingerprint": "0" * 64}, "another fingerprint"),
        ({"seeds": (0, 1, 2)}, "run with 3 seeds, baseline_seeds is now 10"),
    ],
)
def test_other_pairs_or_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        outcome(CELL, measured(CELL), replace(measured(CELL), **changes))


def test_missing_and_stale_cells_are_refused() -> None:
    one = {CELL.name: measured(CELL)}
    with pytest.raises(InputError, match=r"has no cell .*sor.*--update"):
        compare(gate_of(CELL, DEFENDED), one, one)
    both = one | {DEFENDED.name: measured(DEFENDED)}
    with pytest.raises(InputError, match=r"no cell .*sor.* any more.*--update"):
        compare(gate_of(CELL), both, both)


# ---- measuring


@pytest.mark.parametrize(
    ("norm", "unit"),
    [("l2", "rms"), ("l2", "total"), ("l2", "release"), ("linf", "rms"), ("l2_vertex", "rms"),
     ("drop", "rms"), ("add", "rms")],
)  # fmt: skip
def test_the_share_of_the_budget_comes_from_the_poses(norm: Any, unit: Any) -> None:
    attack = make_attack("noise", Budget(0.1, norm, unit))
    record = evaluate(from_module(plain), attack=attack, samples=2, vertices=800)
    assert reached_share(record) == pytest.approx(1, rel=1e-5)
    assert record.cell.attack is not None
    less = replace(record.cell.attack, eps=record.cell.attack.eps / 1.1)
    over = replace(
        record, cell=replace(record.cell, attack=less)
    )  # as if more had been let through
    assert reached_share(over) == pytest.approx(1.1, rel=1e-5)


def test_a_cell_without_randomness_stops_after_two_equal_runs() -> None:
    victim = from_module(plain)
    cell = cell_of(victim="a:b", size="tiny")
    steps: list[int] = []
    found = measure_cell(cell, victim, [3, 4, 5], progress=lambda: steps.append(1))
    assert (found.seeds, np.array(found.pmd).shape, len(steps)) == ((3,), (1, 4), 2)
    noisy = cell_of(victim="a:b", size="tiny", attack="noise")
    random = measure_cell(noisy, victim, [3, 4, 5])
    assert (random.seeds, np.array(random.pmd).shape) == ((3, 4, 5), (3, 4))
    assert len({row[0] for row in random.pmd}) == 3
    assert found.weights_sha256 is None


def test_cells_on_data_from_disk_take_its_vertex_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_DATA", str(tmp_path))
    keys = [(i, p) for i in (34, 35, 36) for p in (0, 179)]
    write_meshes(tmp_path / "SMG_3d_rotated", keys, SMG_3D.shown)
    cell = cell_of(victim="a:b", task="smg-3d/seen")
    found = measure_cell(cell, from_module(plain), [0])
    assert np.array(found.pmd).shape == (1, 4)


def test_the_fingerprint_of_parameters_follows_every_value() -> None:
    victim = small("npt-mp")
    before = parameters_sha256(victim)
    assert before == parameters_sha256(small("npt-mp"))
    last = list(victim.parameters())[-1]
    last.data.view(-1)[-1] *= 1 + 1e-12
    assert parameters_sha256(victim) != before


# ---- files


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    cells = {"one": measured(CELL, reached=0.5), "two": measured(DEFENDED, weights_sha256=None)}
    cells["two"] = replace(cells["two"], pmd=(*BASE, (2e-3, 4e-3, 6e-3, 8e-3)), seeds=(0, 1))
    write_baseline(tmp_path / "b.json", cells, WHERE)
    text = (tmp_path / "b.json").read_text()
    assert "\n    [0.002, 0.004, 0.006, 0.008]\n" in text
    assert json.loads(text)["environment"]["commit"] == WHERE.commit
    assert read_baseline(tmp_path / "b.json") == cells


def test_damaged_baselines_end_in_one_line(tmp_path: Path) -> None:
    """Every field taken out or replaced by something else."""
    whole = baseline_text({"one": measured(CELL)}, WHERE)
    path = tmp_path / "b.json"
    refused: list[str] = []
    for key in ("", "schema", "cells", *json.loads(whole)["cells"]["one"]):
        for bad in ("gone", 3.5, [], "text", [[1, 2], [3]], [[math.nan] * 4], [[-1] * 4], {}):
            content = json.loads(whole)
            where = content if key in ("schema", "cells") else content["cells"]["one"]
            if key == "":
                content = bad
            elif bad == "gone":
                del where[key]
            else:
                where[key] = bad
            path.write_text(json.dumps(content))
            try:
                read_baseline(path)
            except InputError as error:
                refused.append(str(error))
    assert len(refused) > 50
    assert all("b.json" in message for message in refused)
    for key in measured(CELL).settings:
        content = json.loads(whole)
        del content["cells"]["one"]["settings"][key]
        wrong = baseline_from_json(content)[1]
        assert [each.field for each in wrong] == [f"cells.one.settings.{key}"]
    for text in ("", "{", "\x00"):
        path.write_text(text)
        with pytest.raises(InputError, match="JSON"):
            read_baseline(path)
    with pytest.raises(InputError, match="--update"):
        read_baseline(tmp_path / "none.json")


FINE = '[[cell]]\nvictim = "npt-mp"\nattack = "fgm"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no \[\[cell\]\]"),
        ("[[cell]", "Expected"),
        ("[cell]\n", r"no \[\[cell\]\]"),
        ("cell = [3]", "expected a table"),
        ("alpa = 0.1\n" + FINE, "did you mean 'alpha'"),
        ("alpha = 2\n" + FINE, "alpha must be between"),
        ("alpha = true\n" + FINE, "alpha: must be a number"),
        ("effect = 0.9\n" + FINE, "effect must be"),
        ("baseline_seeds = 2\n" + FINE, "3 or more baseline_seeds"),
        ("baseline = 3\n" + FINE, "baseline must be a text"),
        ('[defaults]\nvictm = "npt"\n' + FINE, "did you mean 'victim'"),
        ('[[cell]]\nvictim = "npt"\n', "cell 1: lacks 'attack'"),
        (FINE + FINE, "two cells are"),
        (FINE + "pairs = 3\n", "pairs must be at least 4"),
        (FINE + "pairs = 4.5\n", "cell 1: pairs: must be a whole number"),
        (FINE + "eps = -1\n", "eps must be"),
        (FINE + "eps = 0\n", "eps must be above 0"),
        (FINE + 'norm = "l3"\n', "unknown norm"),
        (FINE + "iterations = 3\n", "takes no iterations"),
        (FINE + 'defense = "sorr"\n', "unknown defence"),
        (FINE + 'access = "adaptive"\n', "needs a defence"),
        (FINE + 'access = "transfer"\n', "unknown access"),
        (FINE + 'task = "anny/sen"\n', "did you mean 'anny/seen'"),
        (FINE + 'size = "big"\n', "unknown size"),
        (FINE + 'training = "sturdy"\n', "unknown training"),
        (FINE.replace("npt-mp", "nptmp"), "did you mean 'npt-mp'"),
        (FINE.replace("fgm", "fmg"), "did you mean 'fgm'"),
        (FINE.replace("fgm", "transfer"), "needs a surrogate"),
        (FINE.replace("npt-mp", "a:b") + 'weights = "w"\n', "for victims of the registry"),
    ],
)
def test_bad_gates_end_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_gate(path)
    with pytest.raises(InputError, match="docs/regress"):
        read_gate(tmp_path)


def test_the_repositorys_own_gate_fits_its_baseline() -> None:
    gate = read_gate(Path("leaderboards/gate.toml"))
    before = read_baseline(gate.baseline)
    assert [cell.name for cell in gate.cells] != []
    same = compare(gate, before, before)
    assert {finding.verdict for finding in same} == {"ok"}
    seeds = {found.seeds for found in before.values()}
    assert seeds == {(0,), tuple(range(10))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "AttributeError"),
        ("def make_victim(): return 1 / 0", "ZeroDivisionError"),
        ("def make_victim(): return 3", "returned int, not a victim"),
        ("import torch\nmake_victim = lambda: torch.nn.Linear(3, 3)", "from_module"),
        ("def make_victim(:", "SyntaxError"),
    ],
)
def test_functions_that_make_no_victim_end_in_one_line(
    tmp_path: Path, content: str, message: str
) -> None:
    module = f"bad_{abs(hash(content))}"
    (tmp_path / f"{module}.py").write_text(content)
    with pytest.raises(InputError, match=message):
        victim_from(f"{module}:make_victim", tmp_path)
    with pytest.raises(InputError, match="ModuleNotFoundError"):
        victim_from("no_such_module:make_victim", tmp_path)


# ---- the command


def test_the_command_updates_passes_and_goes_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gate(tmp_path, "command_network")
    words = ["regress", "--config", str(path)]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, InputError)
    made = CliRunner().invoke(app, [*words, "--update"])
    assert made.exit_code == 0, made.output
    kept = json.loads((tmp_path / "kept" / "baselines.json").read_text())
    assert {"commit", "torch", "device"} <= set(kept["environment"])
    assert [len(cell["pmd"]) for cell in kept["cells"].values()] == [1, 1, 4]
    summary = tmp_path / "summary.md"
    green = CliRunner().invoke(app, [*words, "--summary", str(summary)])
    assert green.exit_code == 0, green.output
    assert "green: nothing worse in 5 rows" in green.output
    assert summary.read_text().startswith("## Attack success: green")
    red = CliRunner().invoke(app, [*words, "--mutate", "half-step", "--json"])
    assert red.exit_code == 1
    found = json.loads(red.output)
    assert found["red"]
    fgm = next(f for f in found["findings"] if f["name"].endswith(": fgm 0.1"))
    assert fgm["verdict"] == "attack weaker"
    assert fgm["ratio"] < fgm["ratio_ci95"][1] < 1
    for bad in (["--seed-offset", "-1"], ["--update", "--json"], ["--mutate", "halfstep"]):
        result = CliRunner().invoke(app, [*words, *bad])
        assert isinstance(result.exception, InputError)
