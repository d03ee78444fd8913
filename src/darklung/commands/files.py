"""Commands that look at files, draft them, or bring them into another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklung.commands.recorded import recorded
from darklung.core.checks import printable


def describe(
    source: Annotated[Path, typer.Argument(help="A folder of frames, or an HDF5 file.")],
    out: Annotated[Path | None, typer.Option(help="The description (.yaml) to write; printed by default.")] = None,
) -> None:
    """Draft the description of a raw scan: kinds and shapes as they are, TODO for what only you know."""
    from darklung.commands.draft import draft

    typer.echo(draft(source, out), nl=out is not None)


def examples(
    out: Annotated[Path, typer.Option(help="A new folder for them.")] = Path("examples"),
) -> None:
    """Copy the examples that come with darklung: studies, protocols, and a small raw scan to try."""
    from darklung.commands.examples import copy_examples

    typer.echo(copy_examples(out))


def show(file: Annotated[Path, typer.Argument(help="HDF5, npy, npz, TIFF, EDF, CBF, a volume or a folder.")]) -> None:
    """Tell what is in a file or a folder, so that a description can be written."""
    from darklung.io.show import describe_file

    typer.echo(printable(describe_file(file)))


def verify(
    path: Annotated[Path, typer.Argument(help="A run, a folder or file in it, or what another command wrote.")],
) -> None:
    """Say whether files are what darklung wrote: which output, input, setting or version differs from the records."""
    from darklung.commands.verify import verify_files

    text, whole = verify_files(path)
    typer.echo(text)
    if not whole:
        raise typer.Exit(1)


def keys(
    section: Annotated[str, typer.Argument(help="Such as learning, learning.training or scan; all by default.")] = "",
) -> None:
    """Print every key that a study file may have, with its default and meaning."""
    from darklung.study.reference import as_page

    typer.echo(as_page(section), nl=False)


@recorded
def export(
    image: Annotated[Path, typer.Argument(help="An image of a run, NAME.ome.zarr.")],
    out: Annotated[Path, typer.Option(help="Folder for the NIfTI files, one a channel.")],
) -> None:
    """Write an image as NIfTI."""
    from darklung.commands.export import export_image

    typer.echo(export_image(image, out))


COMMANDS = (describe, examples, show, verify, keys, export)
