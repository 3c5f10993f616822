"""Which pairs a universal perturbation is fitted on: never those attacked, and ones that exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from posebench.attacks import Universal
from posebench.benchmark.data.layouts import SMG_3D
from posebench.benchmark.evaluation.harness import evaluate
from posebench.errors import InputError
from posebench.interfaces import Budget
from posebench.module_victim import from_module
from tests.forged_data import body, write_meshes

FITTED = Universal(Budget(0.05), iterations=1)


def moved(pose: Tensor, identity: Tensor) -> Tensor:
    return identity + pose


def test_a_short_list_fits_on_the_pairs_after_those_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A released list of 18 pairs: two are attacked, the other sixteen fit."""
    monkeypatch.setenv("POSEBENCH_DATA", str(tmp_path))
    keys = [(i, p) for i in (35, 36) for p in (0, 179)]
    write_meshes(tmp_path / "SMG_3d_rotated", keys, SMG_3D.shown)
    vertices = len(body(*keys[0]))
    (tmp_path / "MG_list").mkdir()
    line = "id_36_pose_179.obj id_35_pose_0.obj id_36_pose_0.obj\n"
    (tmp_path / "MG_list" / "seen_pose_list.txt").write_text(18 * line, encoding="utf-8")
    victim, task = from_module(moved), "smg-3d/seen"
    record = evaluate(victim, attack=FITTED, task=task, samples=2, vertices=vertices)
    assert record.cost.fit_backwards == 2 * 16
    with pytest.raises(InputError, match=r"fitted on 16 more pairs than the 3 .* has 18 pairs"):
        evaluate(victim, attack=FITTED, task=task, samples=3, vertices=vertices)


def test_on_the_embedded_body_the_last_pairs_are_kept_for_it() -> None:
    with pytest.raises(InputError, match="at most 4080 samples"):
        evaluate(from_module(moved), attack=FITTED, samples=4081, vertices=800)
