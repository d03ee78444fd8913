"""The commands of ``darklung calibrate``: one for each kind of phantom, and one that applies what they saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darklung.commands.options import Workers, real
from darklung.commands.recorded import recorded

app = typer.Typer(
    help="Known phantoms to a saved calibration, and a calibration to sizes, orientations or corrected maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option(help="Folder for calibration.json, its figure and, of raw series, the maps.")]
SET = "What is said against a wedge's file, name=value as in a study's correction: material=soft_tissue, exponent=3.5."
SERIES = "Raw series (YAML) or table of retrieved signals (CSV)"


@app.command()
@recorded
def spheres(
    sources: Annotated[list[Path], typer.Argument(help=f"{SERIES}; one a setting (position, energy).")],
    out: Out,
    diameter: Annotated[str, typer.Option(help="Diameter; {column} is a column of the series.")] = "{diameter_um} um",
    thickness: Annotated[str, typer.Option(help="Thickness of the powder in the beam.")] = "{thickness_mm} mm",
    model: Annotated[str, typer.Option(help="dilute, packed, hard, or best (by AICc, or evidence).")] = "best",
    offset: Annotated[bool | None, typer.Option(help="Fit a signal that is the same for all; by AICc if not given.")] = None,
    fill: Annotated[float, real("Volume fraction of the powder.")] = 0.5,
    filters: Annotated[str, typer.Option("--filter", help="Filter of each row, such as '{filter}' with 'cu 1 mm'.")] = "",
    instrument: Annotated[
        Path | None, typer.Option(help="YAML with an instrument section: its beam is the start, V(E) S(E) is fitted.")
    ] = None,
    wedges: Annotated[Path | None, typer.Option(help="Calibration of wedges: its spectra and steps are used.")] = None,
    material: Annotated[str, typer.Option(help="Of the spheres; with a beam: amount and hardening from -ln T.")] = "",
    gain: Annotated[
        list[str] | None, typer.Option(help="Visibility of flats behind a filter over that without: 'cu 1 mm=1.41'.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Response to spheres of known diameters: ξ, scale, V(E), band, for what it holds; compares sphere models."""
    from darklung.commands.calibrate_told import spheres_told
    from darklung.commands.measurements import read_settings
    from darklung.commands.words import numbers
    from darklung.steps.calibrate.spheres import calibrate_spheres

    options = {"diameter": diameter, "thickness": thickness, "model": model, "material": material, "filters": filters}
    made = calibrate_spheres(
        read_settings(sources, out, workers=workers),
        out,
        offset=offset,
        fill=fill,
        instrument=instrument,
        wedges=wedges,
        gains=numbers("gain", gain, "cu 1 mm=1.41"),
        **options,
    )
    typer.echo(spheres_told(made))


@app.command()
@recorded
def fibres(
    source: Annotated[Path, typer.Argument(help=f"{SERIES} in three or more directions.")],
    out: Out,
    angle: Annotated[str, typer.Option(help="Known angle of the fibres from the rotation axis.")] = "{angle_deg} deg",
    workers: Workers = None,
) -> None:
    """Directional response to fibre bundles at known angles: turn of the gratings, modulation, angle errors."""
    from darklung.commands.calibrate_told import fibres_told
    from darklung.commands.measurements import read_measurements
    from darklung.steps.calibrate.fibres import calibrate_fibres

    typer.echo(fibres_told(calibrate_fibres(read_measurements(source, out, workers=workers), out, angle=angle)))


@app.command()
@recorded
def wedges(
    source: Annotated[Path, typer.Argument(help=f"{SERIES}, one row a step.")],
    out: Out,
    instrument: Annotated[Path, typer.Option(help="YAML with an instrument section, as in a study: believed spectra.")],
    thickness: Annotated[str, typer.Option(help="Path in the material; {column} is one of the series.")] = "{water_mm} mm",
    material: Annotated[str, typer.Option(help="What the steps are made of.")] = "water",
    second: Annotated[str, typer.Option(help="Path in a second material, such as '{bone_mm} mm'.")] = "",
    second_material: Annotated[str, typer.Option(help="What that is.")] = "bone",
    foam: Annotated[str, typer.Option(help="Column that is 1 where one and the same foam is in the beam too.")] = "",
    exponent: Annotated[float, real("Scattering falls as energy to this power; 3.55: lung.")] = 3.55,
    workers: Workers = None,
) -> None:
    """Judge all hardening corrections on held-out steps, recommend one, and save what they need."""
    from darklung.commands.calibrate_told import wedges_told
    from darklung.commands.measurements import read_measurements
    from darklung.steps.calibrate.wedges import calibrate_wedges

    made = calibrate_wedges(
        read_measurements(source, out, workers=workers),
        out,
        instrument=instrument,
        thickness=thickness,
        material=material,
        second=second,
        second_material=second_material,
        foam=foam,
        exponent=exponent,
    )
    typer.echo(wedges_told(made))


@app.command()
@recorded
def unit(
    source: Annotated[Path, typer.Argument(help="Reconstructed volume (OME-Zarr) with a reference phantom.")],
    out: Out,
    zero: Annotated[str, typer.Option(help="Box of water or air in voxels, z0:z1,y0:y1,x0:x1.")],
    reference: Annotated[str, typer.Option(help="Box inside the reference phantom.")],
    name: Annotated[str, typer.Option(help="What the reference phantom is.")],
    channel: Annotated[str, typer.Option(help="Which dark field; the first by default.")] = "",
    air: Annotated[str, typer.Option(help="Box of air, for a scale of attenuation.")] = "",
    absorber: Annotated[str, typer.Option(help="Box inside a solid object.")] = "",
    material: Annotated[str, typer.Option(help="What the solid object is made of, such as water.")] = "",
    energy: Annotated[str, typer.Option(help="That attenuation is then told for, such as 50 keV.")] = "",
) -> None:
    """Units of a scan: 0 = water or air, 1000 = the reference phantom; attenuation as a solid object's at one energy."""
    from darklung.commands.calibrate_told import unit_told
    from darklung.steps.calibrate.unit import Absorber, calibrate_unit

    solid = Absorber(air, absorber, material, energy) if air or absorber or material or energy else None
    made = calibrate_unit(source, out, zero=zero, reference=reference, name=name, channel=channel, absorber=solid)
    typer.echo(unit_told(made))


@app.command("apply")
@recorded
def apply_(
    calibration: Annotated[Path, typer.Argument(help="calibration.json of one of the other commands.")],
    sources: Annotated[list[Path], typer.Argument(help="Projections (HDF5) or volume (OME-Zarr); two for two settings.")],
    out: Annotated[Path, typer.Option(help="Folder for the result and its record.")],
    thickness: Annotated[str, typer.Option(help="Of the sample, for sizes from projections, such as '12 mm'.")] = "",
    amount: Annotated[float, real("Scatterers of the sample over the calibration's.", least=0)] = 1.0,
    prefer: Annotated[str, typer.Option(help="Size to take where two fit: none, small or large.")] = "none",
    filters: Annotated[str, typer.Option("--filter", help="Before sample and flat, such as 'cu 1 mm'.")] = "as calibrated",
    within: Annotated[float, real("A size is told if its interval is at most +- this share.", least=0)] = 0.1,
    region: Annotated[str, typer.Option(help="Box y0:y1,x0:x1 whose mean signal is read; everything by default.")] = "",
    method: Annotated[str, typer.Option(help="Hardening correction; the recommended one by default.")] = "",
    settings: Annotated[list[str], typer.Option("--set", help=SET)] = [],  # noqa: B006  typer makes a new list
    like: Annotated[
        Path | None, typer.Option(help="Calibration of another scanner's wedge: values as its beam shows.")
    ] = None,
) -> None:
    """Sizes, orientations, corrected projections or scatter units; outside the calibration flags, never extrapolates."""
    from darklung.commands.calibrate_told import applied_told
    from darklung.commands.words import pairs
    from darklung.io.documents import validate
    from darklung.steps.calibrate.apply import Sizing, apply_calibration
    from darklung.study.correction import CorrectionPart

    said = {**pairs(settings), **({"hardening": method} if method else {})}
    correction = validate(said, CorrectionPart, "--set") if said else None
    sizing = Sizing(amount, prefer, filters, within, region)
    done = apply_calibration(calibration, sources, out, thickness=thickness, sizing=sizing, correction=correction, like=like)
    typer.echo(applied_told(done))
