"""``posebench sweep``: a grid of cells from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posebench.benchmark.cli import options, own
from posebench.benchmark.cli.memory import when_memory_runs_out
from posebench.benchmark.cli.progress import progress_bar

if TYPE_CHECKING:
    from posebench.benchmark.runs.sweep import Job, Outcomes

EXAMPLES = """
Examples:

- posebench sweep table2 --dry-run

- posebench sweep table2 --out leaderboards/records

- posebench sweep my_grid.toml --jobs 4 --overwrite always

- posebench sweep my_grid.toml --ray auto
"""


OVERWRITE = {
    "only-missing": "run the cells that have no record; go on after a stop",
    "never": "stop at once if any has one",
    "always": "run all again, from the start after each stop",
}

File = Annotated[
    str, typer.Argument(help="TOML file of grids, or a shipped sweep such as 'table2'.")
]
Overwrite = Annotated[
    str,
    typer.Option(
        help=". ".join(f"{name}: {line}" for name, line in OVERWRITE.items()) + ".",
        autocompletion=options.names(OVERWRITE),
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Run nothing; list the cells, done and missing.")
]
Jobs = Annotated[
    int, typer.Option(help="Processes at once; they share the CPU threads, and a GPU.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to run on: HOST:PORT, 'auto' for the one this machine is in, 'local' "
        "for a new one here; see docs/sweeps.md. Needs the extra 'ray'.",
        autocompletion=options.words("auto", "local"),
    ),
]
BatchSize = Annotated[
    int, typer.Option(help="Pairs at once; halved by itself when memory runs out.")
]


@when_memory_runs_out("a smaller --batch-size, fewer --jobs or --device cpu")
def sweep(
    file: File,
    out: options.OutFolder = Path("runs"),
    overwrite: Overwrite = "only-missing",
    dry_run: DryRun = False,
    jobs: Jobs = 1,
    ray: Ray = None,
    batch_size: BatchSize = 16,
    device: options.Device = "auto",
    data: options.DataFolder = None,
    pairs: own.Pairs = None,
) -> None:
    """Run a grid of victims, attacks, defences and tasks; stop and start again at any time.

    One record per cell, as of 'posebench run'. A cell that fails costs no other: exit code 1.
    """
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.runs.grid_file import read_grids
    from posebench.benchmark.runs.sweep import plan_sweep, remaining
    from posebench.errors import InputError

    for name, value in {"--jobs": jobs, "--batch-size": batch_size}.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if ray is not None and jobs > 1:
        raise InputError("--jobs does not go with --ray, which knows the cluster's processors")
    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    if pairs is not None:
        own.use_pairs(pairs)
    if ray is None:
        device = resolve_device(device)
    grids = read_grids(file)
    with progress_bar("grids", quiet=False) as bar:
        bar.add_task("planning", total=None)
        planned = plan_sweep(grids, batch_size=batch_size, device=device, out=out, where=file)
    left = remaining(planned, out, overwrite)
    if dry_run:
        list_cells(planned, out)
    else:
        run_left(planned, left, out, Workers(jobs, ray), Path(file).stem)


@dataclass(frozen=True)
class Workers:
    """Who runs the cells: so many processes here, or a Ray cluster."""

    jobs: int
    ray: str | None


def run_left(planned: list[Job], left: list[Job], out: Path, workers: Workers, name: str) -> None:
    """Run what has no record yet and say what came of it; exit code 1 if a cell failed."""
    from posebench.benchmark.runs.sweep import write_outcomes
    from posebench.files import check_writable

    check_writable(out)
    total, missing = (sum(len(job.wanted) for job in each) for each in (planned, left))
    failed = {}
    if left:
        with progress_bar("cells", quiet=False) as bar:
            there = total - missing
            task = bar.add_task(name, total=total, completed=there, first=there)
            failed = write_outcomes(
                outcomes(left, workers), out, lambda cells: bar.advance(task, cells)
            )
    lost = sum(len(job.wanted) for job in failed)
    typer.echo(
        f"{total} cells in {out}: {total - missing} were there, {missing - lost} made, "
        f"{lost} failed"
    )
    for job in left:
        if job in failed:
            for path in job.wanted:
                typer.echo(f"failed {path}: {failed[job]}", err=True)
    if failed:
        raise typer.Exit(1)


def outcomes(left: list[Job], workers: Workers) -> Outcomes:
    """The jobs' outcomes as they come, from wherever they are to run."""
    from posebench.benchmark.runs.sweep import run_here

    if workers.ray is not None:
        from posebench.benchmark.runs.ray_cluster import run_ray

        return run_ray(left, workers.ray)
    if workers.jobs > 1:
        from posebench.benchmark.runs.processes import run_processes

        return run_processes(left, workers.jobs)
    return run_here(left)


def list_cells(planned: list[Job], out: Path) -> None:
    """One line per cell in the order of the sweep, and the counts."""
    paths = [path for job in planned for path in job.wanted]
    done = [(out / path).exists() for path in paths]
    for path, there in zip(paths, done, strict=True):
        typer.echo(f"{'done   ' if there else 'missing'} {path}")
    typer.echo(f"{len(paths)} cells for {out}: {sum(done)} done, {len(paths) - sum(done)} missing")
