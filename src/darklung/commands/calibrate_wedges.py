"""``darklung calibrate wedges``: steps of known thickness to spectra, a look-up, and a recommended hardening correction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darklung.calibrate.file import plain, save_calibration
from darklung.calibrate.recommend import CANDIDATES, Judged, WedgeSeries, judge, recommend
from darklung.commands.calibrate_spheres import CALIBRATION, FIGURE
from darklung.commands.measurements import Measurements, read_measurements
from darklung.core.checks import DarklungError, check_positive
from darklung.correct.ladder import METHODS, TREATS
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.correct.wedge import calibrate_response
from darklung.physics.materials import MATERIALS
from darklung.pipeline.provenance import provenance
from darklung.steps.believed import read_response


def calibrate_wedges(
    source: Path,
    out: Path,
    *,
    instrument: Path,
    thickness: str,
    material: str = "water",
    second: str = "",
    second_material: str = "bone",
    foam: str = "",
    exponent: float = LUNG_EXPONENT,
    workers: int | None = None,
) -> str:
    """Judge every hardening correction on held-out steps, save what they need, and return a table with a recommendation.

    Parameters
    ----------
    source : Path
        A raw series with one scan a step (YAML), or a CSV table of retrieved signals, see `darklung.commands.measurements`.
    out : Path
        Gets ``calibration.json`` and ``calibration.png``.
    instrument : Path
        YAML file with an ``instrument`` section as in a study file: the believed spectra, from which calibration starts.
    thickness, second : str
        Template of the path in `material` and, if there is one, in `second_material`, at their usual densities:
        ``"{water_mm} mm"``.
    foam : str
        Column that is 1 where the steps stand before one and the same foam, else 0.
    exponent : float
        Energy law of the scattering, ε ∝ E^−exponent.
    """
    from darklung.calibrate.figures import wedge_png

    check_positive("exponent", exponent)
    nominal = read_response(instrument)
    measured = read_measurements(source, out, workers=workers)
    series = _series(measured, thickness, material, second, second_material, foam)
    judged = judge(series, nominal, exponent=exponent)
    response = calibrate_response(series.wedges(), nominal)
    best, why = recommend(judged, series, response, exponent=exponent)
    out.mkdir(parents=True, exist_ok=True)
    wedge_png(series, response, nominal, out / FIGURE)
    save_calibration(
        out / CALIBRATION,
        "wedges",
        source.stem,
        provenance("darklung calibrate wedges", [*measured.inputs, instrument]),
        method=CANDIDATES[best][0],
        why=why,
        response=plain(response),
        wedge=plain(series.wedges()[0]),
        second_material=second_material,
        exponent=exponent,
        max_thickness_m=float(series.thickness_m[series.plain].max()),
        judged=[plain(row) for row in judged],
    )
    return "\n".join([*_told(judged, series), f"recommended: {best}: {why}", *_saved(out, best, response, nominal)])


def _series(
    measured: Measurements, thickness: str, material: str, second: str, second_material: str, foam: str
) -> WedgeSeries:
    for name, value in (("material", material), ("second material", second_material)):
        if value not in MATERIALS:
            raise DarklungError(f"{name}: {value!r} is not known; known: {', '.join(sorted(MATERIALS))}")
    zero = np.zeros(len(measured.rows))
    return WedgeSeries(
        thickness_m=measured.quantity(thickness) * MATERIALS[material].density_g_cm3,
        second_m=measured.quantity(second) * MATERIALS[second_material].density_g_cm3 if second else zero,
        foam=measured.column(foam) != 0 if foam else zero.astype(bool),
        attenuation=measured.column("attenuation"),
        dark_field=measured.column("dark_field"),
        attenuation_error=measured.column("attenuation_error", 0.0),
        dark_field_error=measured.column("dark_field_error", 0.0),
        material=material,
        second_material=second_material,
    )


def _told(judged: tuple[Judged, ...], series: WedgeSeries) -> list[str]:
    plain_steps, foam = int(series.plain.sum()), int(series.foam.sum())
    lines = [
        f"{plain_steps} steps of {series.material} to {1e3 * series.thickness_m[series.plain].max():.1f} mm (at 1 g/cm3), "
        f"{int((series.second_m > 0).sum())} with {series.second_material}, {foam} with foam; "
        "each corrected by a fit without it",
        f"{'method':<32}{'bias':>9}{'RMS':>9}{'-ln T':>9}{'2 mat.':>9}{'foam':>9}{'noise':>8}   treats",
    ]

    def number(value: float, form: str = "9.4f") -> str:
        return format(value, form) if np.isfinite(value) else f"{'-':>9}"

    for row in judged:
        foam_text = f"{100 * row.foam:8.2f}%" if np.isfinite(row.foam) else f"{'-':>9}"
        numbers = number(row.bias) + number(row.bias_rms) + number(row.attenuation) + number(row.second)
        lines.append(f"{row.told:<32}{numbers}{foam_text}{row.noise:8.2f}   {TREATS[CANDIDATES[row.told][0]]}")
    for method in (m for m in METHODS if m not in {c[0] for c in CANDIDATES.values()}):
        lines.append(f"{method:<32}{'needs a CT scan':>45}{'':>8}   {TREATS[method]}")
    return [
        *lines,
        "bias: largest false |-ln D| of held-out steps; -ln T: its error at the reference energy; 2 mat.: false |-ln D|",
        "with the second material; foam: largest deviation of its -ln D from the mean; noise: growth of the error of -ln D",
    ]


def _saved(out: Path, best: str, response: SpectralResponse, nominal: SpectralResponse) -> list[str]:
    means = [[float((s.energies_kev * w).sum()) for w in (s.weights, s.visible)] for s in (nominal, response)]
    method = CANDIDATES[best][0]
    return [
        f"mean energies of beam and modulation: believed {means[0][0]:.1f} and {means[0][1]:.1f} keV, calibrated "
        f"{means[1][0]:.1f} and {means[1][1]:.1f} keV",
        f"in a study: correction: {{hardening: {method}, calibration: {out / CALIBRATION}}}",
        f"on retrieved projections: darklung calibrate apply {out / CALIBRATION} projections.h5 --out corrected",
        f"saved: {out / CALIBRATION}, {out / FIGURE}",
    ]
