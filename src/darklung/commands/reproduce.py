"""``darklung reproduce``: run the study of a deposit again, and say whether its results come again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darklung.commands.options import Workers, real
from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder, write_bytes

if TYPE_CHECKING:
    from darklung.publish.repeated import Repeated

TOLERANCE = 0.05


def reproduce(
    deposit: Annotated[Path, typer.Argument(help="What darklung deposit made.")],
    out: Annotated[Path, typer.Option(help="Folder for the study and its run; the same command goes on from there.")],
    study: Annotated[
        Path | None, typer.Option(help="The deposited study with the places of your files, where it reads measured data.")
    ] = None,
    tolerance: Annotated[
        float, real("Allowed difference of a result, where versions or processor are others.", least=0)
    ] = TOLERANCE,
    workers: Workers = None,
    code: Annotated[bool, typer.Option("--code", help="Run functions that the study names.")] = False,
) -> None:
    """Run a deposit's study again and compare each result: bit for bit on the same machine, else within the tolerance."""
    from darklung.commands.run import resolved, run_study
    from darklung.commands.verify import verify_files
    from darklung.steps.deposit.reproduce import check_same_study, compare_results, results_of, study_of
    from darklung.study.study import read_study

    own = study_of(deposit)
    text, whole = verify_files(deposit)
    require(whole, f"{deposit}: {text.splitlines()[0]}; darklung verify tells all")
    results_of(deposit)
    check_code(study or own, code)
    make_folder(out)
    if study is None:
        write_bytes(out / own.name, own.read_bytes())
    else:
        check_same_study(deposit, resolved(read_study(study)), str(study))
    run_study(study or out / own.name, out=out / "run", workers=workers)
    found = compare_results(deposit, out / "run", tolerance=tolerance)
    typer.echo("\n".join(lines_of(found)))
    if found.apart:
        raise typer.Exit(1)


def check_code(study: Path, allowed: bool) -> None:
    """Refuse a study that names code of somebody's, unless that is allowed: a deposit comes from strangers.

    Raises
    ------
    DarklungError
        A line a function, with the file that it is in.
    """
    from darklung.core.seams import importable
    from darklung.flow import plugins
    from darklung.study.study import read_study

    named = plugins.named(read_study(study))
    if named and not allowed:
        with importable(study.parent):
            lines = plugins.told(named)
        raise DarklungError("\n".join([f"{study}: names code; look at it, then give --code to run it", *lines]))


def lines_of(found: Repeated) -> Iterator[str]:
    """What to print: what is other than then, a line a result, and a sum."""
    yield from (f"other than in the deposit: {line}" for line in found.other)
    rule = f"to {found.tolerance:g}" if found.other else "bit for bit, since versions and processor are the same"
    yield f"results must agree {rule}"
    yield f"{'split':<12}{'arm':<20}{'metric':<26}{'deposited':>12}{'now':>12}{'difference':>14}"
    apart = set(found.apart)
    for d in found.differences:
        split, arm, metric, part = d.name
        title = metric if part == "value" else f"{metric} ({part})"
        mark = "  DIFFERS" if d in apart else ""
        change = "-" if d.now is None or d.deposited is None else f"{d.now - d.deposited:+.3g}"
        yield f"{split:<12}{arm:<20}{title:<26}{_told(d.deposited):>12}{_told(d.now):>12}{change:>14}{mark}"
    yield f"{found.same_models} of {found.models} models have the same weights, to the last bit"
    count = len(found.differences)
    yield f"{count - len(apart)} of {count} results agree" + (f"; {len(apart)} do not" if apart else "")


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"
