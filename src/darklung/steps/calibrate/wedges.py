"""Steps of known thickness to spectra, a look-up, and a recommended hardening correction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darklung.calibrate.file import CALIBRATION, FIGURE, plain, save_calibration
from darklung.calibrate.measurements import Measurements
from darklung.calibrate.recommend import CANDIDATES, Judged, WedgeSeries, judge, recommend, wedge_series
from darklung.core.checks import check_positive
from darklung.core.files import make_folder
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.correct.wedge import calibrate_response
from darklung.pipeline.provenance import provenance
from darklung.steps.calibrate.believed import read_response


@dataclass(frozen=True)
class WedgesMade:
    """A calibration by wedges as it was saved in `out`: every method judged, and the recommended one with its reason.

    Parameters
    ----------
    best : str
        Key of `CANDIDATES`.
    nominal, response : SpectralResponse
        Believed and calibrated spectra.
    """

    series: WedgeSeries
    judged: tuple[Judged, ...]
    best: str
    why: str
    nominal: SpectralResponse
    response: SpectralResponse
    out: Path


def calibrate_wedges(
    measured: Measurements,
    out: Path,
    *,
    instrument: Path,
    thickness: str,
    material: str = "water",
    second: str = "",
    second_material: str = "bone",
    foam: str = "",
    exponent: float = LUNG_EXPONENT,
) -> WedgesMade:
    """Judge every hardening correction on held-out steps, and save what they need with a recommendation.

    Parameters
    ----------
    measured : Measurements
        One row a step.
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
    series = wedge_series(measured, thickness, material, second, second_material, foam)
    judged = judge(series, nominal, exponent=exponent)
    response = calibrate_response(series.wedges(), nominal)
    best, why = recommend(judged, series, response, exponent=exponent)
    make_folder(out)
    wedge_png(series, response, nominal, out / FIGURE)
    save_calibration(
        out / CALIBRATION,
        "wedges",
        measured.name,
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
    return WedgesMade(series, judged, best, why, nominal, response, out)
