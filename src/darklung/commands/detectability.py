"""``darklung detectability``: what photons allow to see of known lesions, by class, size, arm and place of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from darklung.commands.options import Workers, whole

TABLE = "detections"
SIZES = ("0.5 mm", "1 mm", "2 mm", "3 mm")


def detectability(
    protocol: Annotated[str, typer.Argument(help="A protocol or study file, or a ready protocol, as darklung check.")],
    out: Annotated[Path, typer.Option(help="Folder for the table, the page and the places, which are not computed twice.")],
    sweep: Annotated[
        list[str] | None, typer.Option(help="key=first:last:count, one or two; counts × 0.1 to 5 without.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Diameter, such as '1 mm'; again for more. 0.5, 1, 2, 3 mm.")
    ] = None,
    lesion: Annotated[list[str] | None, typer.Option(help="Class, such as solid; again for more. All.")] = None,
    realisations: Annotated[int, whole("Draws of the noise.", most=10_000)] = 300,
    clutter: Annotated[int, whole("Backgrounds of lung, such as 240; 0: noise alone.", least=0)] = 0,
    mimic: Annotated[
        list[str] | None, typer.Option(help="Images without a lesion hold it, such as pneumonia; again for more. None.")
    ] = None,
    radiograph: Annotated[bool, typer.Option("--radiograph", help="One view, at a view's dose.")] = False,
    search: Annotated[bool, typer.Option("--search", help="Sweep at equal dose, and at most the time.")] = False,
    seed: Annotated[int, whole("Seed of the draws.", least=0)] = 0,
    workers: Workers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and list the places.")] = False,
) -> None:
    """Tell how well model observers see known lesions in a CT or radiograph against dose or any number of a protocol."""
    from darklung.commands.sweep import parse_sweeps
    from darklung.core.units import parse_quantity
    from darklung.physics.lung import LESIONS
    from darklung.pipeline import run_tasks
    from darklung.steps.detectability import Parameters, check_places, planned_places, searched_places, tasks
    from darklung.study.protocols import one_view, read_protocol, unit_of

    found = one_view(read_protocol(protocol)) if radiograph else read_protocol(protocol)
    swept = parse_sweeps(sweep or (), found)
    places = searched_places(found, swept) if search else planned_places(found, swept)
    sizes = tuple(dict.fromkeys(parse_quantity(text, "length") for text in size or SIZES))
    classes = tuple(dict.fromkeys(lesion or LESIONS))
    mimics = tuple(dict.fromkeys(mimic or ()))
    check_places(places, classes, sizes, realisations, clutter, mimics)
    units = {key: unit_of(found, key) for key in places[0][0]}
    if dry_run:
        typer.echo("\n".join(_where(values, units) for values, _ in places))
        return
    asked: dict[str, Any] = {"classes": classes, "diameters_m": sizes, "realisations": realisations, "seed": seed}
    listed = tasks([Parameters(protocol=one, clutter=clutter, mimics=mimics, **asked) for _, one in places])
    about = {"protocol": protocol, "title": found.title}
    names = [t.name for t in listed[-len(places) :]]
    run_tasks(listed, folder=out, targets=names, workers=workers, about=about)
    kind = {"clutter": clutter > 0, "radiograph": places[0][1].scan.views == 1}
    typer.echo(_told(out, [values for values, _ in places], names, found.title, units, **kind))


def _where(values: Mapping[str, float], units: Mapping[str, str]) -> str:
    """The swept numbers of a place, each in its unit."""
    return ", ".join(f"{key} = {values[key]:.6g} {unit}".rstrip() for key, unit in units.items())


def _told(
    out: Path,
    places: Sequence[Mapping[str, float]],
    tasks: Sequence[str],
    title: str,
    units: Mapping[str, str],
    *,
    clutter: bool,
    radiograph: bool,
) -> str:
    """Write the table and the page; the best place of each lesion as text."""
    from darklung.io.tables import save_json, save_table
    from darklung.pipeline import note_files
    from darklung.pipeline.record import read_json
    from darklung.report.detectability import best_places, write_detectability
    from darklung.steps.detectability import AGAINST, CLUTTER, MEANINGS, ROWS

    rows = [{**values, **row} for values, name in zip(places, tasks) for row in read_json(out / name / ROWS)]
    save_table(
        out / TABLE,
        rows,
        {
            **{key: f"swept number [{unit or '1'}]" for key, unit in units.items()},
            **MEANINGS,
            **(CLUTTER if clutter else {}),
            **(AGAINST if "d_mimics" in rows[0] else {}),
        },
    )
    save_json(out / f"{TABLE}.json", rows)
    page = write_detectability(out / f"{TABLE}.html", rows, units, title=title, radiograph=radiograph)
    note_files(out, sorted(p.name for p in out.glob(f"{TABLE}.*")))
    head = f"{'clutter':>9}  {'95 %':<17}" if clutter else ""
    lines = [f"{'lesion':<11}{'mm':>5}  {'arm':<13}{'best d′':>9}  {'95 %':<17}{head}at"]
    for row in best_places(rows):
        ends = f"{row['d_low']:.2f} to {row['d_high']:.2f}"
        lines.append(
            f"{row['lesion']:<11}{row['size_mm']:5g}  {row['arm']:<13}{row['d_prime']:9.2f}  {ends:<17}{_clutter(row)}"
            f"{_where(row, units)}, {row['dose_mgy']:.3g} mGy"
        )
    seen = "one view" if radiograph else "one slice"
    told = f"place and lesion known, photon noise alone, {seen}, no clutter: compares protocols, not what a search finds"
    if clutter:
        told = f"place and lesion known, {seen}; d′: photon noise alone; clutter: the lung about it is one of many mice's"
    return "\n".join([*lines, told, f"page: {page}; table: {out / f'{TABLE}.csv'}"])


def _clutter(row: Mapping[str, Any]) -> str:
    if "d_clutter" not in row:
        return ""
    if row["d_clutter"] is None:
        return f"{'-':>9}  {'too few places':<17}"
    ends = f"{row['clutter_low']:.2f} to {row['clutter_high']:.2f}"
    return f"{row['d_clutter']:9.2f}  {ends:<17}"
