"""``posebench regress``: the gate of a repository's continuous integration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

EXAMPLES = """
Examples:

- posebench regress

- posebench regress --config gate.toml --update

- posebench regress --config gate.toml --summary "$GITHUB_STEP_SUMMARY"

- posebench regress --mutate half-step
"""


FAULTS = ("half-step", "flipped-gradient", "no-sor", "budget-low", "budget-high",
          "perturbed-weights")  # fmt: skip

Config = Annotated[Path, typer.Option(help="The gate: a TOML file of cells, see docs/regress.md.")]
Baseline = Annotated[
    Path | None, typer.Option(help="Baseline file; default: the one that the gate names.")
]
Update = Annotated[bool, typer.Option("--update", help="Measure the baseline anew and write it.")]
SeedOffset = Annotated[int, typer.Option(help="Take later seeds; never those of the baseline.")]
Mutate = Annotated[
    str | None,
    typer.Option(
        help=f"Run with a known fault, to see the gate go red: {', '.join(FAULTS[:-1])} or "
        f"{FAULTS[-1]}.",
        autocompletion=options.words(*FAULTS),
    ),
]
Summary = Annotated[
    Path | None, typer.Option(help="Markdown file to write, such as a job's summary.")
]


@when_memory_runs_out("smaller cells in the gate's file (--config) or --device cpu")
def regress(
    config: Config = Path("leaderboards/gate.toml"),
    baseline: Baseline = None,
    update: Update = False,
    seed_offset: SeedOffset = 0,
    mutate: Mutate = None,
    device: options.Device = "cpu",
    summary: Summary = None,
    as_json: options.AsJson = False,
) -> None:
    """Are attacks as strong and victims as robust as they were? Exit code 1 if not.

    Compares each cell with a committed baseline on the same pairs, by new seeds.
    """
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.gate.compare import as_json as findings_json
    from posebench.benchmark.gate.compare import check_gate, update_baseline
    from posebench.benchmark.gate.config import read_gate
    from posebench.benchmark.gate.faults import mutated
    from posebench.benchmark.gate.show import markdown, print_findings
    from posebench.errors import InputError
    from posebench.files import check_writable, write_atomically

    if seed_offset < 0:
        raise InputError(f"--seed-offset must be 0 or more, got {seed_offset}")
    if update and (mutate is not None or as_json or summary is not None or seed_offset):
        raise InputError("--update takes neither --mutate, --json, --summary nor --seed-offset")
    gate = read_gate(config, baseline)
    device = resolve_device(device)
    if summary is not None:
        check_writable(summary.parent)
    with progress_bar("cells", quiet=as_json) as bar, mutated(mutate):
        job = bar.add_task("starting", total=len(gate.cells))
        steps = iter([0, *[1] * len(gate.cells)])  # a cell is done when the next one starts

        def show(name: str) -> None:
            bar.update(job, description=name, advance=next(steps))

        if update:
            update_baseline(gate, device=device, progress=show)
        else:
            findings = check_gate(gate, offset=seed_offset, device=device, progress=show)
    if update:
        typer.echo(f"{gate.baseline}: {len(gate.cells)} cells; look at its diff, then commit it")
        return
    if summary is not None:
        write_atomically(summary, markdown(findings))
    if as_json:
        typer.echo(json.dumps(findings_json(gate, findings), allow_nan=False))
    else:
        print_findings(findings)
    if any(finding.red for finding in findings):
        raise typer.Exit(1)
