"""Powders of spheres: what a series of them says, and which model is taken."""

from __future__ import annotations

from collections.abc import Sequence

from darklung.calibrate.beam_fits import PowderRows
from darklung.calibrate.measurements import Measurements, filled
from darklung.calibrate.sphere_fits import ModelRow

BEST = "best"


def powder_series(measured: Measurements, diameter: str, thickness: str, filters: str = "") -> PowderRows:
    """Diameters, −ln D, thickness, filter, −ln T and, of a column ``visibility``, the flats' visibility of a series."""
    names = {"attenuation": "attenuation", "visibility": "visibility"}
    known = {name: measured.column(column) for name, column in names.items() if column in measured.rows[0]}
    return PowderRows(
        diameter_m=measured.quantity(diameter),
        signal=measured.column("dark_field"),
        thickness_m=measured.quantity(thickness),
        filters=tuple(filled(filters, row) for row in measured.rows),
        **known,
    )


def chosen_model(rows: Sequence[ModelRow], model: str, offset: bool | None) -> tuple[str, bool]:
    """Model and offset asked for, or of the best score; dilute with an offset where the rows are too few to compare."""
    allowed = [r for r in rows if model in (BEST, r.fit.shape.model) and offset in (None, r.offset)]
    if allowed:
        return allowed[0].fit.shape.model, allowed[0].offset
    return ("dilute" if model == BEST else model), (True if offset is None else offset)
