"""Powders of spheres: what a series of them says, and which model is taken."""

from __future__ import annotations

from collections.abc import Sequence

from darklung.calibrate.beam_fits import PowderRows
from darklung.calibrate.measurements import Measurements, filled
from darklung.calibrate.sphere_fits import ModelRow

BEST = "best"
# The law of the literature is kept unless another model is strongly better: 2 ln of the Bayes factor, or as much of AICc
# (Kass & Raftery 1995, doi:10.1080/01621459.1995.10476572). A dozen powders seldom tell packings apart.
USUAL, STRONG = "dilute", 6.0


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
    """Model and offset asked for, or what the rows tell; dilute with an offset where they are too few to compare."""
    allowed = [r for r in rows if model in (BEST, r.fit.shape.model) and offset in (None, r.offset)]
    if allowed:
        usual = [r for r in allowed if r.fit.shape.model == USUAL and r.score - allowed[0].score <= STRONG]
        return (usual or allowed)[0].fit.shape.model, (usual or allowed)[0].offset
    return (USUAL if model == BEST else model), (True if offset is None else offset)
