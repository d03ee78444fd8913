"""``darklung register`` as it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(
    sections: Annotated[Path, typer.Argument(help="A section (TIFF, SVS, PNG, ...), or a stack of them (YAML).")],
    volume: Annotated[Path, typer.Argument(help="Of the same animal, in any format that darklung reads.")],
    out: Annotated[Path, typer.Option(help="Folder for transforms, labels, tables and the page.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--with", help="lung=, landmarks=, truth= a file; name=, animal=, pixel=, scale_bar=."),
    ] = None,
    reading: Annotated[list[str] | None, typer.Option(help="name=value: what the volume's file does not say.")] = None,
    options: Annotated[list[str] | None, typer.Option("--set", help="name=value: plane, channels, turn, band, ...")] = None,
) -> None:
    """Place histology sections in the volume of their animal and carry their labels there, with the error."""
    from darklung.commands.registered import beside_of, register_sections
    from darklung.commands.words import pairs

    typer.echo(
        register_sections(
            sections, volume, out, how=pairs(options), beside=beside_of(pairs(given, "with"), pairs(reading, "read"))
        )
    )
