"""Single views of a scan as images."""

from __future__ import annotations

import numpy as np

from darklung.core.channel import dark_field_at
from darklung.core.types import Image, Projections


def view_image(projections: Projections, view: int = 0) -> Image:
    """Attenuation (mean over directions) and the dark field of each direction of one view, line integrals on (row, col)."""
    data = np.stack([projections.attenuation[:, view].mean(axis=0), *projections.dark_field[:, view]])
    names = ("attenuation", *(dark_field_at(float(a)).name for a in projections.directions_rad))
    return Image(data, names, ("1",) * len(names), (projections.geometry.pixel_m,) * 2, frame="detector")
