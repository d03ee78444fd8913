"""``darklung deposit``: a finished run as a folder ready for a DOI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklung.core.extras import require_extra

CHOICES = "channels, labels, phantoms, nifti, or none"


def deposit(
    run: Annotated[Path, typer.Argument(help="A finished run folder, or what darklung cohort made.")],
    out: Annotated[Path, typer.Option(help="A new folder; an older deposit there is replaced.")],
    about: Annotated[Path, typer.Option(help="Title, creators with ORCID, licence, ... (YAML).")],
    images: Annotated[str, typer.Option(help=f"Which images of each subject, with commas: {CHOICES}.")] = "channels,labels",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and tell the size.")] = False,
) -> None:
    """Write a run as an open data set: images, tables with a data dictionary, models, records, and metadata for a DOI."""
    from darklung.publish.about import read_about
    from darklung.steps.deposit.contents import look_through
    from darklung.steps.deposit.write import Planned, check_out, write_deposit

    said = read_about(about)
    check_out(out, run)
    found = look_through(run, said, str(about))
    if found.models:
        require_extra("deposit of models", "torch", "sklearn")
    wanted = () if images.strip() == "none" else tuple(dict.fromkeys(part.strip() for part in images.split(",")))
    planned = Planned(found, said, wanted)
    typer.echo(planned.told())
    if dry_run:
        return
    made = write_deposit(planned, out)
    typer.echo(
        f"{len(made.files)} files, {made.size / 1e6:.1f} MB, {len(made.rows)} tables, {len(made.fields)} fields: {out}"
    )
