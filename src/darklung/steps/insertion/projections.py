"""Insertion into retrieved projections: of a CT by its reconstruction, of a radiograph by its lung region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import dark_field_at
from darklung.core.checks import require
from darklung.core.random import stream
from darklung.core.types import Image, Projections
from darklung.insert.beam import Hardening, ViewShadow, shadows_of
from darklung.insert.renoise import around, changed_maps
from darklung.insert.scale import Scale
from darklung.insert.shadow import Shadow, refraction
from darklung.insert.volume import volume_changes
from darklung.io.hdf5 import load, save
from darklung.pipeline import Context
from darklung.steps.insertion.given import read_region
from darklung.steps.insertion.maps import direction_changes, finish_radiograph, radiograph_case
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.scale import read_scale
from darklung.steps.insertion.volumes import finish_volume, plan_volume

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


def insert_projections(context: Context) -> None:
    """Projections with insertions, ``projections.h5``, and labels on the volume (CT) or the detector (radiograph)."""
    p = Parameters.of(context)
    projections = load(Path(p.paths.source), Projections)
    scale = read_scale(p.scale)
    if p.paths.volume:
        names, detector = [dark_field_at(a).name for a in projections.directions_rad], projections.parallel()
        height = detector.rows * detector.pixel_m
        plan = plan_volume(p, Path(p.paths.volume), directions=names, height_m=height)
        changes = volume_changes(plan.placed, plan.grid, plan.region, host=plan.host)
        shadow = shadows_of(plan, projections.parallel(), blur_m=p.blur_m)
        new = changed_projections(projections, shadow, scale=scale, seed=p.seed, progress=context.progress)
        save(context.out / "projections.h5", new)
        finish_volume(context, plan, changes, {"route": "projections of a CT"})
        return
    case, image, dark, notes = case_of_projections(p, projections)
    shadow = one_view_shadow(case, image, dark, scale)
    new = changed_projections(
        projections, shadow, scale=replace(scale, instrument=None), seed=p.seed, progress=context.progress
    )
    save(context.out / "projections.h5", new)
    after = seen(new, *dark)
    before = np.stack([image.channel("attenuation"), image.channel(dark[0])])
    finish_radiograph(context, case, after, before=before, notes={**notes, "route": "projections of one view"})


def case_of_projections(p: Parameters, projections: Projections) -> tuple[Any, Image, list[str], dict[str, Any]]:
    """The case of a radiograph: maps of its only view as an image, its dark-field channels, what was assumed."""
    geometry = projections.geometry
    require(
        geometry.views == 1,
        f"--volume: {geometry.views} views are a CT; wanted its reconstruction, in which lesions get their places",
    )
    require(bool(p.paths.region), "--region: a radiograph does not tell where lung is")
    dark = [dark_field_at(a).name for a in projections.directions_rad]
    image = seen(projections, *dark)
    mask, path = read_region(Path(p.paths.region), image.shape)
    case, _, notes = radiograph_case(p, image, dark, mask, path)
    return case, image, dark, notes


def seen(projections: Projections, *dark: str) -> Image:
    """Attenuation (mean over directions) and the first dark fields of the only view, NaN where a direction is not valid."""
    spacing = (projections.geometry.pixel_m,) * 2
    data = np.stack([projections.attenuation[:, 0].mean(axis=0), *projections.dark_field[: len(dark), 0]])
    data = np.where(projections.valid[:, 0].all(axis=0), data, np.nan)
    return Image(data.astype(np.float64), ("attenuation", *dark), ("1",) * len(data), spacing, frame="detector")


def one_view_shadow(case: Any, image: Image, dark: list[str], scale: Scale) -> ViewShadow:
    """The shadow of a radiograph's case, on the whole detector."""
    mask = np.isfinite(image.data).all(axis=0)
    scattering = np.stack(direction_changes(case, image, dark, mask))
    slopes = np.stack(np.gradient(case.changes[0] / (scale.tissue_per_m or 1.0), image.spacing_m[0]))
    rows, cols = image.shape
    shadow = Shadow((slice(0, rows), slice(0, cols)), case.changes[0], scattering, slopes, case.path_m)
    return lambda view: shadow


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
