"""Pytest plug-in: the fixture ``posebench_gate`` makes a gate a test.

    def test_attacks_and_my_network_are_what_they_were(posebench_gate):
        posebench_gate("gate.toml")

``pytest --posebench-update`` writes the gate's baseline instead. A module of its own, beside the
package: every pytest run in this environment loads it, and must not load torch for that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Option ``--posebench-update``."""
    parser.getgroup("posebench").addoption(
        "--posebench-update",
        action="store_true",
        help="Measure the baselines of posebench_gate anew and write them.",
    )


@pytest.fixture
def posebench_gate(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``posebench_gate(config, baseline=None, seed_offset=0, device="cpu")``: fails if red.

    Paths are relative to pytest's root folder. See docs/regress.md.
    """

    def check(
        config: str | Path,
        *,
        baseline: str | Path | None = None,
        seed_offset: int = 0,
        device: str = "cpu",
    ) -> None:
        from posebench.benchmark.gate.compare import check_gate, update_baseline
        from posebench.benchmark.gate.config import read_gate
        from posebench.benchmark.gate.show import plain_text
        from posebench.errors import InputError

        root = request.config.rootpath
        try:
            gate = read_gate(root / config, None if baseline is None else root / baseline)
            if request.config.getoption("--posebench-update"):
                update_baseline(gate, device=device)
                pytest.skip(f"baseline {gate.baseline} written; look at its diff, then commit it")
            findings = check_gate(gate, offset=seed_offset, device=device)
        except InputError as error:
            pytest.fail(f"posebench: {error}", pytrace=False)
        if any(finding.red for finding in findings):
            pytest.fail(plain_text(findings), pytrace=False)

    return check
