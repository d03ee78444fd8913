"""Insertions in retrieved projections, view by view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.random import stream
from darklung.core.types import Projections
from darklung.insert.beam import Hardening, ViewShadow
from darklung.insert.renoise import around, changed_maps
from darklung.insert.scale import Scale
from darklung.insert.shadow import refraction

CHANGED = (
    "attenuation",
    "dark_field",
    "phase",
    "attenuation_variance",
    "dark_field_variance",
    "phase_variance",
    "visibility",
)
Map = NDArray[np.float64]
Progress = Callable[[float, str], None]


def changed_projections(
    projections: Projections, shadow_in: ViewShadow, *, scale: Scale, seed: int, progress: Progress | None = None
) -> Projections:
    """Every view and direction with its shadow; variances follow, visibility is kept consistent with the dark field."""
    maps = {name: np.array(getattr(projections, name)) for name in CHANGED}
    geometry = projections.parallel()
    hardening = Hardening.of(scale.instrument) if scale.instrument is not None else None
    for view in range(geometry.views):
        shadow = shadow_in(view)
        if shadow is None:
            continue
        for d, angle in enumerate(projections.directions_rad):
            part = (d, view, *shadow.window)
            own = {name: values[part].astype(np.float64) for name, values in maps.items()}
            phase = refraction(shadow, float(angle), per_tissue=scale.phase_per_tissue)
            changes = (shadow.attenuation, shadow.scattering[d], phase)
            rng = stream(seed, "projections", d, view)
            for name, values in _changed(own, changes, projections.valid[part], hardening, rng).items():
                maps[name][part] = values
        if progress is not None:
            progress((view + 1) / geometry.views, "views")
    return replace(projections, **maps)  # type: ignore[arg-type]


def _changed(
    own: dict[str, Map], changes: tuple[Map, Map, Map], valid: NDArray[np.bool_], hardening: Hardening | None, rng: Any
) -> dict[str, Map]:
    """One view's maps with their changes of −ln T, −ln D (at the reference energy, if hardening is known) and phase."""
    attenuation, dark_field, phase = changes
    if hardening is not None:
        weight = valid.astype(np.float64)
        attenuation, dark_field = hardening.changes(
            attenuation=attenuation, scattering=dark_field,
            transmission=np.exp(-around(own["attenuation"], weight)), dark_field=around(own["dark_field"], weight),
        )  # fmt: skip
    made = changed_maps(
        attenuation=own["attenuation"], dark_field=own["dark_field"], phase=own["phase"],
        attenuation_change=attenuation, dark_field_change=dark_field, phase_change=phase,
        attenuation_variance=own["attenuation_variance"], dark_field_variance=own["dark_field_variance"],
        valid=valid, rng=rng,
    )  # fmt: skip
    return {
        "attenuation": made.attenuation,
        "dark_field": made.dark_field,
        "phase": made.phase,
        "attenuation_variance": own["attenuation_variance"] * made.attenuation_factor,
        "dark_field_variance": own["dark_field_variance"] * made.dark_field_factor,
        "phase_variance": own["phase_variance"] * made.dark_field_factor,
        "visibility": own["visibility"] * np.exp(own["dark_field"] - made.dark_field),
    }
