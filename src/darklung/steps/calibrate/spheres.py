"""Spheres of known diameters to a saved response of the instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darklung.calibrate.file import CALIBRATION, FIGURE, curve_document, model_document, save_calibration
from darklung.calibrate.measurements import Measurements
from darklung.calibrate.powders import BEST, chosen_model, powder_series, powder_spectrum
from darklung.calibrate.sphere_models import FILL, MODELS, SphereShape
from darklung.calibrate.spheres import ModelRow, SphereCalibration, compare_models, fit_spheres
from darklung.core.checks import check_one_of, require
from darklung.pipeline.provenance import provenance
from darklung.steps.calibrate.believed import read_response


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
    out : Path
    """

    series: tuple[Measurements, ...]
    curves: tuple[SphereCalibration, ...]
    rows: tuple[ModelRow, ...]
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
    instrument: Path | None = None,
    material: str = "",
) -> SpheresMade:
    """Fit the response to spheres of known diameters and save it.

    Parameters
    ----------
    series : sequence of Measurements
        One a setting (position, energy). Two settings allow to invert for size and amount.
    out : Path
        Gets ``calibration.json`` and ``calibration.png``.
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
        Columns that are not there, thicknesses that differ, or too few diameters.
    """
    from darklung.calibrate.figures import calibration_png

    check_one_of("model", model, (*MODELS, BEST))
    require(len(series) > 0, "series: wanted at least one")
    data = [powder_series(m, diameter, thickness) for m in series]
    spectrum = powder_spectrum(read_response(instrument), material, series[0].column("attenuation")) if instrument else ()
    rows = compare_models(**data[0], fill=fill, spectrum=spectrum) if len(np.unique(data[0]["diameter_m"])) >= 6 else []
    chosen = chosen_model(rows, model, offset)
    shape = SphereShape(chosen[0], min(fill, 0.5) if chosen[0] == "hard" else fill, spectrum)
    settings = [m.name if len(series) > 1 else "" for m in series]
    curves = tuple(fit_spheres(**d, offset=chosen[1], shape=shape, setting=name) for d, name in zip(data, settings))
    files = [path for m in series for path in m.inputs] + ([instrument] if instrument else [])
    out.mkdir(parents=True, exist_ok=True)
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
    return SpheresMade(tuple(series), curves, tuple(rows), out)
