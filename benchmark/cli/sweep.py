"""``posebench sweep``: a grid of cells from a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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


def sweep(
    file: Annotated[
        str,
        typer.Argument(help="TOML file of grids, or a shipped sweep such as 'table2'."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the JSON records.")] = Path("runs"),
    overwrite: Annotated[
        str,
        typer.Option(
            help="only-missing: run the cells that have no record; go on after a stop. never: stop "
            "at once if any has one. always: run all again, from the start after each stop."
        ),
    ] = "only-missing",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run nothing; list the cells, done and missing.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(help="Processes at once; they share the CPU threads, and a GPU.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to run on: HOST:PORT, 'auto' for the one this machine is in, 'local' "
            "for a new one here; see docs/sweeps.md. Needs the extra 'ray'."
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(help="Pairs at once; halved by itself when memory runs out."),
    ] = 16,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="POSEBENCH_DATA", help="Folder of licensed data, for tasks other than anny's."
        ),
    ] = None,
) -> None:
    """Run a grid of victims, attacks, defences and tasks; stop and start again at any time.

    One record per cell, as of 'posebench run'. A cell that fails costs no other: exit code 1.
    """
    from posebench.benchmark.evaluation.devices import resolve_device
    from posebench.benchmark.runs.grid import read_grids
    from posebench.benchmark.runs.sweep import plan_sweep, remaining, write_outcomes
    from posebench.errors import InputError
    from posebench.files import check_writable

    for name, value in {"--jobs": jobs, "--batch-size": batch_size}.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if ray is not None and jobs > 1:
        raise InputError("--jobs does not go with --ray, which knows the cluster's processors")
    if data is not None:
        os.environ["POSEBENCH_DATA"] = str(data)
    if ray is None:
        device = resolve_device(device)
    grids = read_grids(file)
    with progress_bar("grids", quiet=False) as bar:
        bar.add_task("planning", total=None)
        planned = plan_sweep(grids, batch_size=batch_size, device=device, out=out, where=file)
    left = remaining(planned, out, overwrite)
    if dry_run:
        list_cells(planned, out)
        return
    check_writable(out)
    total, missing = (sum(len(job.wanted) for job in each) for each in (planned, left))
    failed = {}
    if left:
        with progress_bar("cells", quiet=False) as bar:
            task = bar.add_task(Path(file).stem, total=total, completed=total - missing)
            failed = write_outcomes(
                outcomes(left, jobs, ray), out, lambda cells: bar.advance(task, cells)
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


def outcomes(left: list[Job], jobs: int, ray: str | None) -> Outcomes:
    """The jobs' outcomes as they come, from wherever they are to run."""
    from posebench.benchmark.runs.sweep import run_here

    if ray is not None:
        from posebench.benchmark.runs.ray_cluster import run_ray

        return run_ray(left, ray)
    if jobs > 1:
        from posebench.benchmark.runs.processes import run_processes

        return run_processes(left, jobs)
    return run_here(left)


def list_cells(planned: list[Job], out: Path) -> None:
    """One line per cell in the order of the sweep, and the counts."""
    paths = [path for job in planned for path in job.wanted]
    done = [(out / path).exists() for path in paths]
    for path, there in zip(paths, done, strict=True):
        typer.echo(f"{'done   ' if there else 'missing'} {path}")
    typer.echo(f"{len(paths)} cells for {out}: {sum(done)} done, {len(paths) - sum(done)} missing")
