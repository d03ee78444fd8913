"""Commands that look at files, draft them, or bring them into another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklung.commands.recorded import recorded
from darklung.core.checks import printable, require


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
    image: Annotated[Path, typer.Argument(help="An image of a run, NAME.ome.zarr; with --layout a run folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the NIfTI files, one a channel; with --layout of the data set.")],
    layout: Annotated[str, typer.Option(help="nnunet or monai: all cases of a run, with its folds.")] = "",
    arm: Annotated[str, typer.Option(help="With --layout: the arm whose channels are written.")] = "",
    normalised: Annotated[
        bool, typer.Option("--normalised", help="With --layout: values as our networks see them, normalised by the lung.")
    ] = False,
) -> None:
    """Write an image as NIfTI, or the cases of a run as a data set of nnU-Net v2 or MONAI."""
    from darklung.commands.export import export_image, export_run

    require(bool(layout) or not (arm or normalised), "--arm, --normalised: belong to --layout")
    told = export_run(image, out, layout=layout, arm=arm, normalised=normalised) if layout else export_image(image, out)
    typer.echo(told)


COMMANDS = (describe, examples, show, verify, keys, export)
