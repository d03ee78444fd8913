"""``darklung resolution``: MTF, noise-power spectrum and noise-equivalent quanta of volumes and radiographs, by channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darklung.commands.options import whole
from darklung.commands.recorded import recorded

if TYPE_CHECKING:
    from darklung.steps.resolution import Measured

CURVES, CHANNELS, EDGES = "curves", "channels", "edges"


@recorded
def resolution(
    image: Annotated[Path, typer.Argument(help="A volume of any kind, an image or projections (HDF5), or measured maps.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, drawings and the page.")],
    edge: Annotated[
        str,
        typer.Option(
            help="line, circle (a disc, in volumes a cylinder along z), sphere, plane (across z), or none; else by axes."
        ),
    ] = "",
    box: Annotated[str, typer.Option(help="Where the edge is, in pixels: 10:90,20:100, of a volume three; else all.")] = "",
    noise_box: Annotated[str, typer.Option(help="A uniform region, as the box; without one there is no noise power.")] = "",
    repeat: Annotated[Path | None, typer.Option(help="The same scan again: noise is that of the difference.")] = None,
    halves: Annotated[bool, typer.Option("--halves", help="Image and repeat are halves of one scan: their mean.")] = False,
    signal: Annotated[str, typer.Option(help="S of NEQ: contrast, mean or a number; 1 of -ln T, else the contrast.")] = "",
    channel: Annotated[list[str] | None, typer.Option(help="Such as attenuation; again for more. All.")] = None,
    view: Annotated[int, whole("Of projections.", least=0)] = 0,
    slice_: Annotated[int | None, whole("Of a volume, to be seen as a picture.", "--slice", least=0)] = None,
    read: Annotated[list[str] | None, typer.Option("--read", help="name=value of a foreign volume: spacing, ...")] = None,
) -> None:
    """Measure MTF, noise-power spectrum and noise-equivalent quanta of an image by channel, from an edge in it."""
    from darklung.commands.words import pairs
    from darklung.core.checks import require
    from darklung.io.documents import validate
    from darklung.io.volumes import VolumeOptions
    from darklung.steps.resolution import Asked, measure, one_slice, read_image

    options: VolumeOptions = validate(pairs(read, "read"), VolumeOptions, "--read")
    asked = Asked(edge, _box("box", box), _box("noise-box", noise_box), halves, signal, tuple(channel or ()))
    require(not halves or repeat is not None, "--halves: wanted the other half as --repeat")
    images = [read_image(file, options=options, view=view) for file in (image, repeat) if file is not None]
    if slice_ is not None:
        images = [one_slice(one, slice_) for one in images]
    typer.echo(_told(out, measure(images[0], asked, *images[1:]), image.name))


def _box(name: str, text: str) -> tuple[slice, ...] | None:
    from darklung.core.units import parse_ranges

    return parse_ranges(text, f"--{name}", "ranges of pixels such as 10:90,20:100") if text else None


def _told(out: Path, found: Sequence[Measured], title: str) -> str:
    """Write tables, drawings and the page; what was found as text."""
    from darklung.core.files import make_folder, write_text
    from darklung.io.tables import save_table
    from darklung.report.resolution import write_resolution
    from darklung.steps.resolution import MEANINGS, SPREAD, SUMMARY, spreads, summary

    make_folder(out)
    rows, channels, steps = [row for one in found for row in one.rows], summary(found), spreads(found)
    save_table(out / CURVES, rows, MEANINGS)
    save_table(out / CHANNELS, channels, SUMMARY)
    if steps:
        save_table(out / EDGES, steps, SPREAD)
    drawings = write_resolution(out / "resolution.html", rows, channels, steps, title=title)
    for name, text in drawings.items():
        write_text(out / f"{name}.svg", text.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))
    lines = [
        f"{'channel':<20}{'along':<7}{'MTF50':>8}{'MTF10':>8}  {'95 % of MTF50':<20}{'contrast':>11}{'SD':>11}  [1/mm; unit]"
    ]
    lines += [_line(row) for row in channels]
    return "\n".join([*lines, f"page: {out / 'resolution.html'}; tables: {CURVES}.csv, {CHANNELS}.csv beside it"])


def _line(row: Mapping[str, Any]) -> str:
    def number(key: str, digits: str = ".3f") -> str:
        return "-" if row[key] is None else format(row[key], digits)

    ends = f"{number('mtf50_low')} to {number('mtf50_high')}"
    line = f"{row['channel']:<20}{row['along']:<7}{number('mtf50_per_mm'):>8}{number('mtf10_per_mm'):>8}  {ends:<20}"
    line += f"{number('contrast', '.4g'):>11}{number('noise_sd', '.4g'):>11}"
    return f"{line}  {row['missing']}".rstrip()
