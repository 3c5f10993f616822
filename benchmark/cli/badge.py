"""``posebench badge``: a committed result as a small picture for a repository's front page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posebench.benchmark.cli import options
from posebench.benchmark.cli.report import LEADERBOARDS

EXAMPLES = """
Examples:

- posebench badge --victim npt --threat point-2cm --out badge.svg

- posebench badge --victim npt --training adversarial --threat point-5cm --out badge.svg
"""


def badge(
    victim: options.Victim,
    threat: Annotated[
        str,
        typer.Option(
            help="Threat model whose worst case it shows.",
            autocompletion=options.words("point-2cm", "point-5cm", "paper-l2-0.08"),
        ),
    ] = "point-2cm",
    training: Annotated[
        str,
        typer.Option(
            help="clean, adversarial or robust.",
            autocompletion=options.words("clean", "adversarial", "robust"),
        ),
    ] = "clean",
    records: options.Records = LEADERBOARDS / "records",
    out: Annotated[Path, typer.Option(help="SVG to write.")] = Path("badge.svg"),
) -> None:
    """A committed result as an SVG badge, and the Markdown line that shows it."""
    from posebench.benchmark.reports.badge import badge_svg, badge_words
    from posebench.benchmark.reports.published import published
    from posebench.benchmark.reports.versions import read_version
    from posebench.errors import InputError
    from posebench.files import write_atomically

    if out.suffix != ".svg":
        raise InputError(f"{out}: a badge is an SVG; name it such as badge.svg")
    record = published(victim, threat, training=training, records=records)
    label, value = badge_words(record, threat, read_version(records.parent))
    write_atomically(out, badge_svg(label, value, flagged=bool(record.flags)))
    typer.echo(str(out))
    typer.echo(
        f"[![{label}: {value}]({out.as_posix()})](leaderboards/index.html#rank-{victim}-{training})"
    )
