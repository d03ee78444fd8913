"""``darklung card``: what a stranger must know of a model, as Markdown and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklung.commands.recorded import recorded
from darklung.core.extras import require_extra


@recorded
def card(
    model: Annotated[Path, typer.Argument(help="A folder with model.json, or a run folder.")],
    out: Annotated[Path, typer.Option(help="The Markdown file (.md); the same as JSON goes beside it.")],
    arm: Annotated[
        str, typer.Option(help="Of the run, such as hybrid or hybrid.boosting; needed where it has several.")
    ] = "",
    ethics: Annotated[
        Path | None, typer.Option(help="What you say of measured animals (YAML): approval, welfare, ...")
    ] = None,
    license: Annotated[str, typer.Option(help="Of the model, such as cc-by-4.0.")] = "",
) -> None:
    """Write a model's card: what it is, how it was trained, how well it does, on what data, its limits, animals and cost."""
    require_extra("card", "torch", "sklearn")
    from darklung.publish.ethics import unfilled
    from darklung.steps.card.make import check_out, make_card, write_card

    check_out(out)
    made = make_card(model, arm=arm, ethics=ethics, license=license)
    typer.echo("\n".join(f"card: {path}" for path in write_card(made, out)))
    if missing := unfilled(made.ethics):
        typer.echo(
            f"to be filled in with --ethics, since {made.ethics.measured} animal(s) were measured: {', '.join(missing)}"
        )
