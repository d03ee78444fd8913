"""``darklung calibrate spheres`` and ``fibres``: micro-structures that are known to a saved response of the instrument."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung.calibrate.file import curve_document, plain, save_calibration
from darklung.calibrate.sphere_models import FILL, MODELS, SphereShape
from darklung.calibrate.spheres import ModelRow, SphereCalibration, compare_models, fit_spheres, leave_one_out
from darklung.commands.measurements import Measurements, read_measurements
from darklung.core.checks import check_one_of, require
from darklung.physics.materials import MATERIALS
from darklung.pipeline.provenance import provenance
from darklung.steps.believed import read_response

CALIBRATION, FIGURE = "calibration.json", "calibration.png"
BEST = "best"


def calibrate_spheres(
    sources: Sequence[Path],
    out: Path,
    *,
    diameter: str,
    thickness: str,
    model: str = BEST,
    offset: bool | None = None,
    fill: float = FILL,
    instrument: Path | None = None,
    material: str = "",
    workers: int | None = None,
) -> str:
    """Fit the response to spheres of known diameters, save it, and return tables to print.

    Parameters
    ----------
    sources : sequence of Path
        One series a setting (position, energy): raw scans (YAML), or a CSV table of retrieved signals, see
        `darklung.commands.measurements`. Two settings allow to invert for size and amount.
    out : Path
        Gets ``calibration.json``, ``calibration.png`` and, of raw series, what ``darklung retrieve`` writes.
    diameter, thickness : str
        Quantity with its unit, where ``{column}`` stands for a column of the series: ``"{diameter_um} um"``.
    model : str
        "dilute", "packed", "hard", or "best": that of the lowest AICc (of the first setting).
    offset : bool, optional
        Whether to fit an offset; decided by AICc if not given.
    fill : float
        Volume fraction of the powder.
    instrument : Path, optional
        YAML file with an ``instrument`` section: the width of its spectrum is taken into account, and ξ is then that of its
        reference energy. Without it ξ is an effective one.
    material : str
        Of the spheres: with `instrument`, the modulation's spectrum is that behind as much of it as −ln T tells.

    Raises
    ------
    DarklungError
        Columns that are not there, thicknesses that differ, too few diameters, or what `read_measurements` raises.
    """
    from darklung.calibrate.figures import calibration_png

    check_one_of("model", model, (*MODELS, BEST))
    require(len(sources) > 0, "sources: wanted at least one series")
    read = [read_measurements(s, _place(out, s, len(sources)), workers=workers) for s in sources]
    data = [_spheres(m, diameter, thickness) for m in read]
    spectrum = _spectrum(instrument, material, read[0]) if instrument else ()
    rows = compare_models(**data[0], fill=fill, spectrum=spectrum) if len(np.unique(data[0]["diameter_m"])) >= 6 else []
    chosen = _chosen(rows, model, offset)
    shape = SphereShape(chosen[0], min(fill, 0.5) if chosen[0] == "hard" else fill, spectrum)
    settings = [s.stem if len(sources) > 1 else "" for s in sources]
    curves = tuple(fit_spheres(**d, offset=chosen[1], shape=shape, setting=name) for d, name in zip(data, settings))
    files = [path for m in read for path in m.inputs] + ([instrument] if instrument else [])
    out.mkdir(parents=True, exist_ok=True)
    plain_rows = [r for r in rows if not r.offset]
    compared = plain_rows[0].fit if plain_rows and chosen[1] else None
    calibration_png(curves, out / FIGURE, title=sources[0].stem, compared=compared)
    save_calibration(
        out / CALIBRATION,
        "spheres",
        sources[0].stem,
        provenance("darklung calibrate spheres", files),
        correlation_length_m=curves[0].correlation_length_m,
        curves=[curve_document(c) for c in curves],
        models=[_model(r) for r in rows],
    )
    lines = [line for m, c in zip(read, curves) for line in (*_left_out(m, c), *_told(c))]
    return "\n".join([*lines, *_compared(rows), f"saved: {out / CALIBRATION}, {out / FIGURE}"])


def calibrate_fibres(source: Path, out: Path, *, angle: str, workers: int | None = None) -> str:
    """Fit the directional response to bundles of parallel fibres, save it, and return a table to print.

    Parameters
    ----------
    source : Path
        A raw series in three or more directions (YAML), or a CSV table with columns ``dark_field_<degrees>``.
    angle : str
        Known angle of the fibres from the rotation axis, such as ``"{angle_deg} deg"``.
    """
    from darklung.calibrate.fibres import fit_fibres
    from darklung.calibrate.figures import fibres_png

    measured = read_measurements(source, out, workers=workers)
    directions, signal = measured.directions()
    fit = fit_fibres(angle_rad=measured.quantity(angle, "angle"), directions_rad=directions, signal=signal)
    out.mkdir(parents=True, exist_ok=True)
    fibres_png(fit, signal, out / FIGURE)
    origin = provenance("darklung calibrate fibres", measured.inputs)
    save_calibration(out / CALIBRATION, "fibres", source.stem, origin, fibres=plain(fit))
    lines = [f"{'bundle':<22}{'known deg':>11}{'found':>9}{'error':>9}{'mean -ln D':>12}{'modulation':>12}"]
    for row, known, error, mean, m in zip(measured.rows, fit.angle_rad, fit.angle_error_rad, fit.mean, fit.modulation):
        found = np.degrees(known + error)
        lines.append(f"{row['name']:<22}{np.degrees(known):11.2f}{found:9.2f}{np.degrees(error):9.2f}{mean:12.4f}{m:12.4f}")
    spread = np.degrees(np.sqrt((fit.angle_error_rad**2).mean()))
    turn, turn_error = np.degrees(-fit.turn_rad), np.degrees(fit.turn_error_rad)
    return "\n".join(
        [
            *lines,
            f"gratings turned by {turn:.2f} +- {turn_error:.2f} deg from where they are said to be; angle errors with that "
            f"taken off: {spread:.2f} deg RMS",
            f"modulation {fit.reference_modulation:.4f} +- {fit.reference_modulation_error:.4f}; misfit of -ln D "
            + (f"{fit.misfit:.4f}" if np.isfinite(fit.misfit) else "not known with three directions"),
            f"mean -ln D from {fit.range[0]:.3f} to {fit.range[1]:.3f}: outside it apply flags",
            f"saved: {out / CALIBRATION}, {out / FIGURE}",
        ]
    )


def _place(out: Path, source: Path, count: int) -> Path:
    return out / source.stem if count > 1 else out


def _spheres(measured: Measurements, diameter: str, thickness: str) -> dict[str, Any]:
    """Diameters, −ln D and the one thickness of a series."""
    depths = measured.quantity(thickness)
    same = float(np.ptp(depths)) <= 1e-6 * float(depths.max())
    require(same, f"thickness: wanted one for all scans of a series, got {depths.min():g} to {depths.max():g} m")
    signal = measured.column("dark_field")
    return {"diameter_m": measured.quantity(diameter), "signal": signal, "thickness_m": float(depths[0])}


def _spectrum(instrument: Path, material: str, measured: Measurements) -> tuple[tuple[float, float], ...]:
    """(E/E_ref, share) of the believed modulation behind as much of `material` as the powders' median −ln T tells."""
    response = read_response(instrument)
    visible = response.visible
    if material:
        check_one_of("material", material, MATERIALS)
        mu, _ = response.attenuation_of(material)
        masses = np.linspace(0.0, 5.0 / mu.min(), 4001)
        attenuation = response.measured(np.multiply.outer(masses, mu))[0]
        mass = np.interp(np.median(measured.column("attenuation")), attenuation, masses)
        visible = visible * np.exp(-mu * mass)
    pairs = zip(response.energies_kev / response.reference_energy_kev, visible / visible.sum())
    return tuple((float(energy), float(share)) for energy, share in pairs if share > 0)


def _chosen(rows: Sequence[ModelRow], model: str, offset: bool | None) -> tuple[str, bool]:
    """Model and offset asked for, or of the lowest AICc; dilute with an offset where there are too few to compare."""
    allowed = [r for r in rows if model in (BEST, r.fit.shape.model) and offset in (None, r.offset)]
    if allowed:
        return allowed[0].fit.shape.model, allowed[0].offset
    return ("dilute" if model == BEST else model), (True if offset is None else offset)


def _model(row: ModelRow) -> dict[str, Any]:
    errors = np.sqrt(np.diag(row.fit.covariance))
    return {
        "model": row.fit.shape.model,
        "offset": row.fit.offset if row.offset else None,
        "scale_per_m2": row.fit.scale_per_m2,
        "scale_error_per_m2": float(errors[0]),
        "correlation_length_m": row.fit.correlation_length_m,
        "correlation_length_error_m": float(errors[1]),
        "residual": row.fit.residual,
        "left_out": row.left_out,
        "aicc": row.aicc,
    }


def _left_out(measured: Measurements, fit: SphereCalibration) -> list[str]:
    if len(np.unique(fit.diameter_m)) < fit.free + 2:
        return [f"leaving one out takes {fit.free + 2} different diameters"]
    data: dict[str, Any] = {"diameter_m": fit.diameter_m, "signal": fit.signal, "thickness_m": fit.thickness_m}
    predicted, inside = leave_one_out(**data, offset=fit.free == 3, shape=fit.shape)
    title = f"{fit.setting}: " if fit.setting else ""
    lines = [f"{title}{'scan':<22}{'diameter um':>12}{'-ln D':>9}{'left out':>10}{'error':>9}"]
    for row, d, s, p, between in zip(measured.rows, fit.diameter_m, fit.signal, predicted, inside):
        note = "" if between else "   (outside the others' range)"
        lines.append(f"{row['name']:<22}{1e6 * d:12.3f}{s:9.4f}{p:10.4f}{p - s:9.4f}{note}")
    error = np.sqrt(np.mean((predicted - fit.signal)[inside] ** 2))
    return [*lines, f"left out: predicted by the fit to all other scans; inner diameters within {error:.4f} RMS"]


def _told(fit: SphereCalibration) -> list[str]:
    errors = np.sqrt(np.diag(fit.covariance))
    offset = f"offset {fit.offset:.4f} +- {errors[2]:.4f}" if fit.free == 3 else "no offset"
    which = "xi at the reference energy" if fit.shape.spectrum else "effective xi"
    low, high = (1e6 * d for d in fit.range_m)
    return [
        f"{fit.shape.model} spheres: scale {fit.scale_per_m2:.4g} +- {errors[0]:.2g} /m2, {which} "
        f"{1e6 * fit.correlation_length_m:.3f} +- {1e6 * errors[1]:.3f} um, {offset}, residual {fit.residual:.4f}",
        f"valid from {low:.3g} to {high:.3g} um; largest signal at {1e6 * fit.peak_m:.2f} um: below and above it "
        "two diameters give the same signal",
    ]


def _compared(rows: Sequence[ModelRow]) -> list[str]:
    if not rows:
        return ["models not compared: that takes 6 different diameters"]
    head = f"{'model':<10}{'offset':>18}{'scale /m2':>22}{'xi um':>16}{'residual':>10}{'left out':>10}{'dAICc':>8}"
    lines = ["models of this series, the best first:", head + f"{'p of offset':>13}"]
    for row in rows:
        errors = np.sqrt(np.diag(row.fit.covariance))
        offset = f"{row.fit.offset:.3f} +- {errors[2]:.3f}" if row.offset else "none"
        scale = f"{row.fit.scale_per_m2:.3g} +- {errors[0]:.1g}"
        xi = f"{1e6 * row.fit.correlation_length_m:.2f} +- {1e6 * errors[1]:.2f}"
        p = f"{row.offset_p:13.1e}" if row.offset else ""
        lines.append(
            f"{row.fit.shape.model:<10}{offset:>18}{scale:>22}{xi:>16}{row.fit.residual:10.4f}{row.left_out:10.4f}"
            f"{row.aicc - rows[0].aicc:8.1f}{p}"
        )
    return [*lines, "residual: standard deviation about the fit; left out: RMS of inner diameters predicted by the others"]
