"""Fibre bundles at known angles to a saved directional response of the instrument."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darklung.calibrate.fibres import FibreCalibration, fit_fibres
from darklung.calibrate.file import CALIBRATION, FIGURE, plain, save_calibration
from darklung.calibrate.measurements import Measurements
from darklung.core.files import make_folder
from darklung.pipeline.provenance import provenance


@dataclass(frozen=True)
class FibresMade:
    """A calibration by fibres as it was saved in `out`, and the bundles that it was made from."""

    measured: Measurements
    fit: FibreCalibration
    out: Path


def calibrate_fibres(measured: Measurements, out: Path, *, angle: str) -> FibresMade:
    """Fit the directional response to bundles of parallel fibres and save it.

    Parameters
    ----------
    measured : Measurements
        In three or more directions.
    out : Path
        Gets ``calibration.json`` and ``calibration.png``.
    angle : str
        Known angle of the fibres from the rotation axis, such as ``"{angle_deg} deg"``.
    """
    from darklung.calibrate.figures import fibres_png

    directions, signal = measured.directions()
    fit = fit_fibres(angle_rad=measured.quantity(angle, "angle"), directions_rad=directions, signal=signal)
    make_folder(out)
    fibres_png(fit, signal, out / FIGURE)
    origin = provenance("darklung calibrate fibres", measured.inputs)
    save_calibration(out / CALIBRATION, "fibres", measured.name, origin, fibres=plain(fit))
    return FibresMade(measured, fit, out)
