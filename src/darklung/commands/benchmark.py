"""The commands of ``darklung benchmark``: test cases whose truth is sealed, entries, scores, and a page that ranks them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklung.commands.options import Workers, whole

app = typer.Typer(
    help="A benchmark whose truth is sealed: make it, pack an entry, score it, open the seal, and rank the entries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Folder = Annotated[Path, typer.Argument(help="The benchmark (a folder with manifest.json).")]
SealFile = Annotated[Path, typer.Option(help="The seal, which stays with the maker.")]


@app.command()
def make(
    study: Annotated[Path, typer.Argument(help="A study file; its held-out animals become the cases.")],
    out: Annotated[Path, typer.Option(help="A new folder for what is published.")],
    seal: Annotated[
        Path | None, typer.Option(help="The seal; OUT.seal.h5 beside it by default. Keep it to yourself.")
    ] = None,
    work: Annotated[Path | None, typer.Option(help="Folder of the run with the truth; SEAL.run by default.")] = None,
    name: Annotated[str, typer.Option(help="Of the benchmark; the study's by default.")] = "",
    animals: Annotated[int | None, whole("Simulated animals; the study's held-out ones if not given.", least=2)] = None,
    seed: Annotated[int | None, whole("Hidden seed; drawn by the system if not given.", least=0)] = None,
    workers: Workers = None,
) -> None:
    """Make cases of hidden seeds: images in OUT, truth in a seal, and hashes that bind both."""
    from darklung.commands.benchmark_make import Wanted, make_benchmark

    typer.echo(make_benchmark(study, out, seal=seal, wanted=Wanted(work, name, animals, seed), workers=workers))


@app.command()
def pack(
    benchmark: Folder,
    predictions: Annotated[Path, typer.Argument(help="Maps (a folder with one a case), or a table of candidates.")],
    out: Annotated[Path, typer.Option(help="A new folder for the entry.")],
    name: Annotated[str, typer.Option(help="Of the entry: letters, digits, . _ -")],
    about: Annotated[str, typer.Option(help="What it is, in a sentence.")] = "",
    trained_on: Annotated[
        list[Path] | None, typer.Option(help="A run, or a folder of cases, that the models learned from.")
    ] = None,
    kind: Annotated[str, typer.Option(help="What maps hold: probability or logit; by their values by default.")] = "",
) -> None:
    """Pack predictions as an entry: every map checked against its case, with its hash and what was trained on."""
    from darklung.commands.benchmark_entries import pack_entry

    typer.echo(pack_entry(benchmark, predictions, out, name=name, about=about, trained_on=trained_on or (), kind=kind))


@app.command()
def score(
    benchmark: Folder,
    entry: Annotated[Path, typer.Argument(help="What pack wrote.")],
    seal: SealFile,
    out: Annotated[Path, typer.Option(help="A new folder for score.json; its folder details tells the truth of tiles.")],
) -> None:
    """Score an entry; altered cases or maps, other subjects and leaked labels are refused with the reason."""
    from darklung.commands.benchmark_entries import score_entry

    typer.echo(score_entry(benchmark, entry, seal, out))


@app.command("open")
def open_(benchmark: Folder, seal: SealFile) -> None:
    """Say whether a seal is the one whose hashes were published: anybody can, once the maker gives it away."""
    from darklung.commands.benchmark_entries import open_sealed

    typer.echo(open_sealed(benchmark, seal))


@app.command()
def page(
    benchmark: Folder,
    scores: Annotated[list[Path], typer.Argument(help="Folders of score, one an entry.")],
    out: Annotated[Path, typer.Option(help="The page, NAME.html.")],
) -> None:
    """Write a page of all entries with intervals, and how stable their ranking is."""
    from darklung.commands.benchmark_entries import write_page

    typer.echo(write_page(benchmark, scores, out))
