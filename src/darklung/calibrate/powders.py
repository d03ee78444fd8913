"""Powders of spheres: what a series of them says, and which model is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.measurements import Measurements
from darklung.calibrate.spheres import ModelRow
from darklung.core.checks import check_one_of, require
from darklung.correct.response import SpectralResponse
from darklung.physics.materials import MATERIALS

BEST = "best"


def powder_series(measured: Measurements, diameter: str, thickness: str) -> dict[str, Any]:
    """Diameters, −ln D and the one thickness of a series."""
    depths = measured.quantity(thickness)
    same = float(np.ptp(depths)) <= 1e-6 * float(depths.max())
    require(same, f"thickness: wanted one for all scans of a series, got {depths.min():g} to {depths.max():g} m")
    signal = measured.column("dark_field")
    return {"diameter_m": measured.quantity(diameter), "signal": signal, "thickness_m": float(depths[0])}


def powder_spectrum(
    response: SpectralResponse, material: str, attenuation: NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """(E/E_ref, share) of the believed modulation behind as much of `material` as the powders' median −ln T tells."""
    visible = response.visible
    if material:
        check_one_of("material", material, MATERIALS)
        mu, _ = response.attenuation_of(material)
        masses = np.linspace(0.0, 5.0 / mu.min(), 4001)
        mass = np.interp(np.median(attenuation), response.measured(np.multiply.outer(masses, mu))[0], masses)
        visible = visible * np.exp(-mu * mass)
    pairs = zip(response.energies_kev / response.reference_energy_kev, visible / visible.sum())
    return tuple((float(energy), float(share)) for energy, share in pairs if share > 0)


def chosen_model(rows: Sequence[ModelRow], model: str, offset: bool | None) -> tuple[str, bool]:
    """Model and offset asked for, or of the lowest AICc; dilute with an offset where there are too few to compare."""
    allowed = [r for r in rows if model in (BEST, r.fit.shape.model) and offset in (None, r.offset)]
    if allowed:
        return allowed[0].fit.shape.model, allowed[0].offset
    return ("dilute" if model == BEST else model), (True if offset is None else offset)
