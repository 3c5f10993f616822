"""``posebench samples``: the meshes that the leaderboard page's viewer turns."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.progress import progress_bar

EXAMPLES = "Example:\n\n- posebench samples --pairs 2 --out leaderboards/samples"


def samples(
    task: Annotated[str, typer.Option(help="Dataset and undistorted split.")] = "anny/seen",
    pairs: Annotated[int, typer.Option(help="The first pairs of the task, one file each.")] = 2,
    seed: options.Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for the JSON files.")] = Path(
        "leaderboards/samples"
    ),
) -> None:
    """Attack single pairs with every shipped victim and keep the meshes for the leaderboard page.

    About a minute for each pair on a CPU; 'posebench report' then puts them into the page.
    """
    from posebench.benchmark.reports.page_samples import make_sample, sample_text
    from posebench.errors import InputError
    from posebench.files import check_writable, write_atomically
    from posebench.victims.weights import shipped_victims

    if pairs < 1:
        raise InputError(f"pairs must be at least 1, got {pairs}")
    check_writable(out)
    written = []
    victims = len(shipped_victims("compact"))
    with progress_bar("networks", quiet=False) as bar:
        for number in range(pairs):
            job = bar.add_task(f"pair {number}", total=victims)
            made = make_sample(task, number, seed=seed, progress=partial(bar.advance, job))
            path = out / f"{task.replace('/', '-')}-{number}.json"
            write_atomically(path, sample_text(made))
            written.append(path)
    for path in written:
        typer.echo(str(path))
