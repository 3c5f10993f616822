"""Recipes: the shipped ones, what a TOML file may hold, and clear refusals."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import pytest

from posebench.benchmark.training.recipe import (
    DEFAULT_RECIPES,
    adversarial_part,
    flat_recipe,
    recipe_for,
)
from posebench.benchmark.training.recipe_file import read_recipes, shipped_start
from posebench.errors import InputError
from posebench.victims.weights import read_weights, shipped_files


def test_table2_trains_every_victim_clean_and_adversarially() -> None:
    runs = {run.name: run for run in read_recipes("table2", seed=3)}
    assert len(runs) == 8
    for victim in ("npt", "npt-mp", "gct", "posemae"):
        clean, robust = runs[f"{victim}-clean"], runs[f"{victim}-adversarial"]
        assert clean.recipe == replace(DEFAULT_RECIPES[victim], seed=3)
        assert robust.start == clean.name
        assert robust.recipe == recipe_for(
            victim, adversarial=adversarial_part(victim, attack="fgm", eps=0.08), seed=3
        )
        assert robust.recipe.clean_steps == clean.recipe.steps
        assert replace(robust.recipe, adversarial=None, steps=clean.recipe.steps) == clean.recipe


def test_the_robust_recipe_repeats_the_shipped_weights() -> None:
    runs = {run.recipe.victim: run for run in read_recipes("robust")}
    files = {path.stem: path for path in shipped_files() if path.stem.endswith("-robust")}
    assert set(files) == {f"{victim}-compact-robust" for victim in runs}
    for victim, run in runs.items():
        stored, trained = read_weights(files[f"{victim}-compact-robust"]), asdict(run.recipe)
        assert stored is not None
        assert run.start == "shipped"
        card = stored["card"]["recipe"]
        for part, ran in ((card, trained), (card["adversarial"], trained["adversarial"])):
            same = part.keys() - {"start", "adversarial"}
            assert {key: part[key] for key in same} == {key: ran[key] for key in same}


@pytest.mark.parametrize(
    "name",
    [
        "accelerator",
        "table2",
        "table5",
        "options",
        "robust",
        "robust-study",
        "robust-seeds",
        "quality",
        "widths",
        "compact",
    ],
)
def test_shipped_recipes_can_be_read(name: str) -> None:
    runs = read_recipes(name)
    assert all(run.name.startswith(f"{run.recipe.victim}-") for run in runs)
    folder = files("posebench.benchmark.training").joinpath("recipes")
    assert {f.stem for f in folder.iterdir()} == {
        "accelerator", "table2", "table5", "options", "robust", "quality", "widths",
        "robust-study", "robust-seeds", "compact",
    }  # fmt: skip


def test_starts_that_ship_are_told_by_training_or_name() -> None:
    named = {path.stem: path for path in shipped_files()}
    assert shipped_start("shipped", "npt", "compact") == named["npt-compact"]
    found = shipped_start("shipped:npt-mp-small-seed1", "npt-mp", "small")
    assert found == named["npt-mp-small-seed1"]
    assert shipped_start("runs/npt/weights.safetensors", "npt", "compact") is None
    with pytest.raises(InputError, match="did you mean 'npt-mp-small-seed1'"):
        shipped_start("shipped:npt-mp-small-sed1", "npt-mp", "small")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "holds no"),
        ("run = 3", "holds no"),
        ("runs = []", "did you mean 'run'"),
        ("stesp = 3\n[[run]]\nname = 'a'", "did you mean 'steps'"),
        ("steps = 'many'\n[[run]]\nname = 'a'\nvictim = 'npt'", "a: steps must be a whole"),
        ("[[run]]\nvictim = 'npt'", "lacks 'name'"),
        ("[[run]]\nname = 'a'", "lacks 'victim'"),
        ("[[run]]\nname = 'a'\nvictim = 'nptt'", "unknown victim 'nptt'"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nstesp = 3", "did you mean 'steps'"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nsteps = 0", "steps must be"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nsteps = 'many'", "a: "),
        ("[[run]]\nname = '../a'\nvictim = 'npt'", "name"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nstart = 'b'\nadversarial = {}", "starts from 'b'"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nstart = 'b'", "starts from 'b'"),
        ("[[run]]\nname = '..'\nvictim = 'npt'", "not a folder's name"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nsteps = 3.5", "steps must be a whole number"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nsteps = true", "steps must be a whole number"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nbf16 = 'no'", "bf16 must be true or false"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nseed = '7'", "seed must be a whole number"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nadversarial = {sor = 'no'}", "sor must be true or"),
        ("[[run]]\nname = 'a'\nvictim = 'posemae'\nnetwork = {scales = 2.5}", "scales"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nadversarial = 'fgm'", "adversarial must be a table"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nadversarial = {atack = 'fgm'}", "'attack'"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nadversarial = {eps = 'big'}", "a: "),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\nshare = 0", "share must be a positive number"),
        ("[[run]]\nname = 'a'\nvictim = 'npt'\n" * 2, "two runs are called 'a'"),
        ("[[run]", "Expected"),
    ],
)
def test_bad_recipes_name_what_is_wrong(text: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=part) as error:
        read_recipes(str(path))
    assert str(path) in str(error.value)


def test_what_stands_above_all_runs_is_every_runs(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        """
        victim = "npt"
        steps = 7
        adversarial = { threat = "point-2cm", attack = "pgd", iterations = 5 }
        [[run]]
        name = "a"
        [[run]]
        name = "b"
        victim = "npt-mp"
        steps = 9
        adversarial = { iterations = 1 }
        """,
        encoding="utf-8",
    )
    one, two = (run.recipe for run in read_recipes(str(path)))
    assert (one.victim, one.steps, two.victim, two.steps) == ("npt", 7, "npt-mp", 9)
    parts = one.adversarial, two.adversarial
    assert [part and (part.threat, part.iterations) for part in parts] == [
        ("point-2cm", 5),
        ("point-2cm", 1),
    ]


def test_the_study_changes_one_thing_at_a_time() -> None:
    """Equal visits, rates and start; each run differs from the second in one setting."""
    runs = read_recipes("robust-study")
    base = flat_recipe(asdict(runs[1].recipe))
    for run in runs:
        found = flat_recipe(asdict(run.recipe))
        changed = {key for key in base | found if base.get(key) != found.get(key)}
        wanted = 0 if run is runs[1] else 1
        if found["attack"] == "n-fgm":  # brings its own noise and takes one step
            changed -= {"iterations", "random_start"}
        assert len(changed) == wanted, (run.name, changed)
        assert run.start == "shipped"


def test_missing_recipes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'table2'"):
        read_recipes("tabel2")
    with pytest.raises(InputError, match="No such file"):
        read_recipes(str(tmp_path / "none.toml"))


def test_a_larger_batch_sees_as_many_pairs_at_larger_rates() -> None:
    usual, grown = recipe_for("npt"), recipe_for("npt", batch=64)
    assert grown.batch * grown.steps == usual.batch * usual.steps
    assert (grown.rate, grown.matrix_rate) == (2 * usual.rate, 2 * usual.matrix_rate)
    given = recipe_for("npt", batch=32, steps=7, rate=0.5, matrix_rate=0.25)
    assert (given.steps, given.rate, given.matrix_rate) == (7, 0.5, 0.25)
    part = adversarial_part("npt")
    whole = recipe_for("npt", adversarial=part), recipe_for("npt", adversarial=part, batch=32)
    assert [r.clean_steps * r.batch for r in whole] == [usual.steps * usual.batch] * 2
