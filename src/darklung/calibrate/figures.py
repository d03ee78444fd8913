"""Figures of calibrations: response curve with its band, model comparison, wedge steps, fibre bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.fibres import FibreCalibration
from darklung.calibrate.recommend import WedgeSeries
from darklung.calibrate.spheres import SphereCalibration
from darklung.core.files import write_figure
from darklung.correct.response import SpectralResponse

_TICKS = [t for decade in (0.01, 0.1, 1, 10, 100) for t in (decade, 2 * decade, 5 * decade)]


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _diameter_axis(axis: Any, low_um: float, high_um: float) -> None:
    axis.set_xscale("log")
    axis.set_xticks([t for t in _TICKS if low_um <= t <= high_um], minor=False)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda *_: "")
    axis.set_xlabel("diameter [µm]")


def calibration_png(
    calibrations: tuple[SphereCalibration, ...],
    path: Path | str,
    *,
    title: str = "",
    compared: SphereCalibration | None = None,
) -> None:
    """Measured signals, the fitted curve of each setting with its 95 % band, the peak, and below them the residuals.

    Parameters
    ----------
    calibrations : tuple of SphereCalibration
        One a setting.
    compared : SphereCalibration, optional
        Another model's fit to the first setting, drawn dashed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axis, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for number, c in enumerate(calibrations):
        colour = f"C{number}"
        dots = "k" if len(calibrations) == 1 else colour
        diameter = np.geomspace(*c.range_m, 300)
        value, _ = c.predict(diameter)
        axis.fill_between(1e6 * diameter, *c.band(diameter), color=colour, alpha=0.25, label="95 % of the curve")
        name = f"{c.setting}: ".replace("$", r"\$") if c.setting else ""
        axis.plot(
            1e6 * diameter,
            value,
            color=colour,
            label=f"{name}{c.shape.model} spheres, ξ = {1e6 * c.correlation_length_m:.2f} µm, {_where(c)}",
        )
        axis.plot(1e6 * c.diameter_m, c.signal, "o", color=dots, label="measured")
        axis.axvline(1e6 * c.peak_m, color="0.7", linewidth=1, label="peak: two branches" if not number else None)
        below.plot(1e6 * c.diameter_m, c.signal - fitted_rows(c), "o", color=dots)
    first = calibrations[0]
    diameter = np.geomspace(*first.range_m, 300)
    if compared is not None:
        axis.plot(
            1e6 * diameter,
            compared.predict(diameter)[0],
            "--",
            color="0.4",
            label=f"{compared.shape.model} spheres, no offset",
        )
        residual = compared.signal - fitted_rows(compared)
        below.plot(1e6 * compared.diameter_m, residual, "x", color="0.4")
    below.axhline(0, color="0.7", linewidth=1)
    _diameter_axis(below, 1e6 * diameter[0], 1e6 * diameter[-1])
    below.set_ylabel("measured − fitted")
    axis.set_ylabel("−ln D")
    axis.set_ylim(0, None)
    axis.set_title(f"{title}: residual {first.residual:.3f}, offset {first.offset:.3f}".strip(), parse_math=False)
    axis.legend(frameon=False, fontsize=8)
    write_figure(path, figure, dpi=110)


def _where(calibration: SphereCalibration) -> str:
    """Thickness and filter that a curve is drawn for."""
    behind = f" behind {calibration.filters[0]}" if calibration.filters[0] else ""
    return f"{1e3 * calibration.thickness_m[0]:g} mm{behind}"


def fitted_rows(calibration: SphereCalibration) -> NDArray[np.float64]:
    """(row,) −ln D of the fit at each row's own thickness and filter."""
    c = calibration
    return np.array([float(c.signal_of(d, float(t), f)) for d, t, f in zip(c.diameter_m, c.thickness_m, c.filters)])


def wedge_png(series: WedgeSeries, response: SpectralResponse, nominal: SpectralResponse, path: Path | str) -> None:
    """Steps of the first material with what both spectra predict, and the spectra themselves."""
    figure, (signal, spectra) = _figure(10, 4, 2)
    thickness = np.linspace(0, float(series.thickness_m[series.plain].max()), 100)
    mu, _ = response.attenuation_of(series.material)
    plain = series.plain
    signal.errorbar(
        1e3 * series.thickness_m[plain],
        series.dark_field[plain],
        yerr=series.dark_field_error[plain],
        fmt="ko",
        label="measured steps",
    )
    for name, spectrum, style in (("believed", nominal, "--"), ("calibrated", response, "-")):
        signal.plot(
            1e3 * thickness,
            spectrum.measured(np.multiply.outer(thickness, mu))[1],
            style,
            color="C0",
            label=f"{name} spectra",
        )
        spectra.plot(spectrum.energies_kev, spectrum.weights, style, color="C0", label=f"beam, {name}")
        spectra.plot(spectrum.energies_kev, spectrum.visible, style, color="C1", label=f"modulation, {name}")
    signal.axhline(0, color="0.7", linewidth=1)
    signal.set_xlabel(f"{series.material} [mm at 1 g/cm³]")
    signal.set_ylabel("false −ln D")
    spectra.set_xlabel("energy [keV]")
    spectra.set_ylabel("share of a bin")
    for axis in (signal, spectra):
        axis.legend(frameon=False, fontsize=8)
    write_figure(path, figure, dpi=110)


def fibres_png(calibration: FibreCalibration, signal: Any, path: Path | str) -> None:
    """−ln D of each bundle over the sensitivity's angle with its fit, and the errors of the angles found."""
    figure, (curves, errors) = _figure(10, 4, 2)
    alpha = np.linspace(0, np.pi, 181)
    for number, (angle, mean, m, error) in enumerate(
        zip(calibration.angle_rad, calibration.mean, calibration.modulation, calibration.angle_error_rad)
    ):
        seen = angle + calibration.turn_rad + error
        curves.plot(np.degrees(alpha), mean * (1 - m * np.cos(2 * (alpha - seen))), color=f"C{number}")
        place = np.degrees(np.mod(calibration.directions_rad, np.pi))
        curves.plot(place, signal[number], "o", color=f"C{number}", label=f"fibres at {np.degrees(angle):g}°")
    errors.plot(np.degrees(calibration.angle_rad), np.degrees(calibration.angle_error_rad), "ko")
    errors.axhline(0, color="0.7", linewidth=1)
    curves.set_xlabel("sensitivity from the rotation axis [deg]")
    curves.set_ylabel("−ln D")
    curves.set_ylim(0, 1.35 * float(np.max(signal)))
    curves.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")
    errors.set_xlabel("known angle [deg]")
    errors.set_ylabel("found − known [deg]")
    errors.set_title(
        f"gratings turned by {-np.degrees(calibration.turn_rad):.2f}° ± {np.degrees(calibration.turn_error_rad):.2f}°"
    )
    write_figure(path, figure, dpi=110)


def maps_png(maps: Mapping[str, tuple[NDArray[Any], str]], path: Path | str) -> None:
    """Maps side by side, each name -> (values, name of the colours); of a volume the middle slice, NaN is left grey."""
    figure, axes = _figure(4.6 * len(maps), 4, len(maps))
    for axis, (name, (values, colours)) in zip(axes, maps.items()):
        shown = np.asarray(values, dtype=np.float64)
        shown = shown[len(shown) // 2] if shown.ndim == 3 else shown
        known = shown[np.isfinite(shown)]
        low, high = np.percentile(known, [1, 99]) if len(known) else (0.0, 1.0)
        axis.set_facecolor("0.8")
        image = axis.imshow(shown, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        axis.set_title(name)
        figure.colorbar(image, ax=axis)
    write_figure(path, figure, dpi=110)
