"""Spheres of known diameters to a saved response of the instrument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from darklung.calibrate.beam_fits import Belief
from darklung.calibrate.file import CALIBRATION, FIGURE, curve_document, model_document, save_calibration
from darklung.calibrate.measurements import Measurements
from darklung.calibrate.powders import BEST, chosen_model, powder_series
from darklung.calibrate.sphere_fits import ModelRow, compare_models, fit_powders
from darklung.calibrate.sphere_models import FILL, MODELS, SphereShape
from darklung.calibrate.spheres import SphereCalibration
from darklung.core.checks import check_one_of, require
from darklung.core.files import make_folder
from darklung.pipeline.provenance import provenance
from darklung.steps.calibrate.believed import read_belief


@dataclass(frozen=True)
class SpheresMade:
    """A calibration by spheres as it was saved in `out`, and what it was made from.

    Parameters
    ----------
    series : tuple of Measurements
        One a setting, as `curves`.
    curves : tuple of SphereCalibration
    rows : tuple of ModelRow
        All models of the first setting, the best first; empty where there are too few diameters to compare.
    belief : Belief, optional
        What was believed of the beam.
    out : Path
    """

    series: tuple[Measurements, ...]
    curves: tuple[SphereCalibration, ...]
    rows: tuple[ModelRow, ...]
    belief: Belief | None
    out: Path


def calibrate_spheres(
    series: Sequence[Measurements],
    out: Path,
    *,
    diameter: str,
    thickness: str,
    model: str = BEST,
    offset: bool | None = None,
    fill: float = FILL,
    filters: str = "",
    instrument: Path | None = None,
    wedges: Path | None = None,
    material: str = "",
    gains: Mapping[str, float] = MappingProxyType({}),
) -> SpheresMade:
    """Fit the response to spheres of known diameters and save it.

    Parameters
    ----------
    series : sequence of Measurements
        One a setting (position, energy). Two settings allow to invert for size and amount.
    out : Path
        Gets ``calibration.json`` and ``calibration.png``.
    diameter, thickness : str
        Quantity with its unit, where ``{column}`` stands for a column of the series: ``"{diameter_um} um"``. Rows of a
        series may differ in both, and in the filter.
    model : str
        "dilute", "packed", "hard", or "best": of the lowest AICc, with a beam of the largest evidence (first setting).
    offset : bool, optional
        Whether to fit an offset; decided by AICc if not given. With an instrument or wedges there is none: what the beam
        does takes its place.
    fill : float
        Volume fraction of the powder.
    filters : str
        Filter of each row, flat and sample alike, as ``"{filter}"`` of a column with values such as "cu 1 mm".
    instrument : Path, optional
        YAML file with an ``instrument`` section: what is believed of its beam. V(E) S(E) is then fitted with the powders
        (`darklung.calibrate.beam_fits`), and ξ is that of its reference energy. Without it ξ is an effective one.
    wedges : Path, optional
        Calibration of wedges: its spectra are believed in place of the instrument's, and its steps are fitted too.
    material : str
        Of the spheres: with a beam the hardening in the powder, and how much of it there is, come from −ln T.
    gains : mapping
        Filter -> visibility of the flat behind it over that without, as flats alone tell it: what soft photons add to V.

    Raises
    ------
    DarklungError
        Columns that are not there, thicknesses that differ, or too few diameters.
    """
    from darklung.calibrate.figures import calibration_png

    check_one_of("model", model, (*MODELS, BEST))
    require(len(series) > 0, "series: wanted at least one")
    belief = read_belief(instrument, wedges, material, gains)
    require(belief is None or not offset, "--offset: with --instrument or --wedges the beam takes its place")
    data = [powder_series(m, diameter, thickness, filters) for m in series]
    many = len(np.unique(data[0].diameter_m)) >= 6
    rows = compare_models(data[0], fill=fill, belief=belief) if many else []
    chosen = chosen_model(rows, model, False if belief else offset)
    shape = SphereShape(chosen[0], min(fill, 0.5) if chosen[0] == "hard" else fill)
    names = [m.name if len(series) > 1 else "" for m in series]
    curves = tuple(fit_powders(d, offset=chosen[1], shape=shape, belief=belief, setting=n) for d, n in zip(data, names))
    files = [path for m in series for path in m.inputs] + [path for path in (instrument, wedges) if path]
    make_folder(out)
    plain_rows = [r for r in rows if not r.offset]
    compared = plain_rows[0].fit if plain_rows and chosen[1] else None
    calibration_png(curves, out / FIGURE, title=series[0].name, compared=compared)
    save_calibration(
        out / CALIBRATION,
        "spheres",
        series[0].name,
        provenance("darklung calibrate spheres", files),
        correlation_length_m=curves[0].correlation_length_m,
        curves=[curve_document(c) for c in curves],
        models=[model_document(r) for r in rows],
    )
    return SpheresMade(tuple(series), curves, tuple(rows), belief, out)
