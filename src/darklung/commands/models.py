"""Commands of models and what they say: trained, applied, scored, compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from darklung.commands.options import Workers, whole
from darklung.commands.recorded import recorded


def train(
    study: Annotated[Path, typer.Argument(help="The study file (YAML), with a part learning.")],
    arm: Annotated[list[str] | None, typer.Option(help="Of learning.arms, once for each; all by default.")] = None,
    steps: Annotated[int | None, whole("Training steps; more than before goes on from there.", least=1)] = None,
    options: Annotated[list[str] | None, typer.Option("--set", help="name=value of learning: widths, ...")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME by default.")] = None,
    workers: Workers = None,
    processes: Annotated[int, whole("That share each training's steps; with torchrun its own.", least=1)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the study and list what would be computed.")] = False,
) -> None:
    """Train a study's networks alone, or go on training them, and tell how well each fold's does on its animals."""
    from darklung.commands.train import train_study
    from darklung.commands.words import pairs

    changes = {**pairs(options), **({"steps": steps} if steps else {})}
    where: Any = {"out": out, "workers": workers, "processes": processes, "dry_run": dry_run}
    typer.echo(train_study(study, arms=arm or (), changes=changes, **where))


def predict(
    models: Annotated[Path, typer.Argument(help="A run, a pack, a folder with model.json, or models by name.")],
    source: Annotated[Path, typer.Argument(help="Raw description (YAML), projections (HDF5), a volume, or a case.")],
    out: Annotated[Path, typer.Option(help="Folder for maps, candidates and pages.")],
    arm: Annotated[str, typer.Option(help="Of the run; needed where several fit.")] = "",
    options: Annotated[
        list[str] | None, typer.Option("--read", help="name=value a volume's files do not say: spacing, axes, grey, ...")
    ] = None,
    region: Annotated[Path | None, typer.Option(help="Where lung is; found in the image by default.")] = None,
    energy: Annotated[str, typer.Option(help="That its values refer to, such as '70 keV'.")] = "",
    calibration: Annotated[Path | None, typer.Option(help="Of wedges, for frames and projections.")] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Bring the volume to the model's voxel.")] = False,
    code: Annotated[bool, typer.Option("--code", help="Run functions that the models name; look at them first.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Average over mirror images, up to 8 times the time.")] = False,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check that the model fits and list the tasks.")] = False,
) -> None:
    """Apply trained models to a scan, a volume or a case: probability maps, candidates, and a page to look at."""
    from darklung.commands.predict import Given, predict_files
    from darklung.commands.words import pairs

    given = Given(pairs(options, "read"), region, energy, calibration, resample, code, mirror)
    typer.echo(predict_files(models, source, out=out, arm=arm, given=given, workers=workers, dry_run=dry_run))


@recorded
def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Maps (a volume, or a folder with one a case), or a table of candidates.")
    ],
    labels: Annotated[Path, typer.Argument(help="A run folder, labelled cases, or label volumes of any format.")],
    out: Annotated[Path, typer.Option(help="Folder for the page, comparison.json and the tables.")],
    name: Annotated[str, typer.Option(help="Of this arm; that of its file or folder by default.")] = "",
    also: Annotated[list[str] | None, typer.Option(help="A further arm to compare with, NAME=FOLDER.")] = None,
    region: Annotated[Path | None, typer.Option(help="Where to search, for label volumes: one, or a folder.")] = None,
    kind: Annotated[str, typer.Option(help="What maps hold: probability or logit; by their values by default.")] = "",
    threshold: Annotated[
        list[str] | None, typer.Option(help="From which a tile is called: a number, NAME=number, or none (default).")
    ] = None,
    tile: Annotated[str, typer.Option(help="Edge of a tile, such as '2 mm' (the run's, of a run's labels).")] = "",
    animals: Annotated[Path | None, typer.Option(help="Table of case and animal, by which intervals go.")] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Bring maps and regions to the labels' grid.")] = False,
) -> None:
    """Score the maps or candidates of any program with the statistics of a study: AUROC, Dice, FROC, with intervals."""
    from darklung.commands.evaluate import Wanted, evaluate_files

    wanted = Wanted(name, also or (), region, kind, threshold or (), tile, animals, resample)
    typer.echo(evaluate_files(predictions, labels, out=out, wanted=wanted))


@recorded
def compare(
    first: Annotated[Path, typer.Argument(help="A finished run folder.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    out: Annotated[Path | None, typer.Option(help="Folder for compare.json and a page.")] = None,
) -> None:
    """Say what two runs differ in: settings, keys, versions, and results over the animals that both have."""
    from darklung.commands.compare import compare_folders

    typer.echo(compare_folders(first, second, out=out))


COMMANDS = (train, predict, evaluate, compare)
