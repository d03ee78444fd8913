"""Insertion into retrieved projections: of a CT by its reconstruction, of a radiograph by its lung region."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from darklung.core.channel import dark_field_at
from darklung.core.checks import require
from darklung.core.types import Image, Projections
from darklung.insert.beam import shadows_of
from darklung.insert.maps import lobe_of, one_view_shadow, valid_view
from darklung.insert.projections import changed_projections
from darklung.insert.radiograph import RadiographCase
from darklung.insert.volume import volume_changes
from darklung.io.hdf5 import load, save
from darklung.io.labels import read_lung
from darklung.pipeline import Context
from darklung.steps.insertion.maps import finish_radiograph, planned_radiograph
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.scale import read_scale
from darklung.steps.insertion.volumes import finish_volume, plan_volume


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
    case, image, notes = case_of_projections(p, projections)
    shadow = one_view_shadow(case, image, image.names[1:], scale)
    new = changed_projections(
        projections, shadow, scale=replace(scale, instrument=None), seed=p.seed, progress=context.progress
    )
    save(context.out / "projections.h5", new)
    finish_radiograph(context, case, valid_view(new), before=image, notes={**notes, "route": "projections of one view"})


def case_of_projections(p: Parameters, projections: Projections) -> tuple[RadiographCase, Image, dict[str, Any]]:
    """The case of a radiograph, maps of its only view as an image, and what was assumed."""
    geometry = projections.geometry
    require(
        geometry.views == 1,
        f"--volume: {geometry.views} views are a CT; wanted its reconstruction, in which lesions get their places",
    )
    require(bool(p.paths.region), "--region: a radiograph does not tell where lung is")
    image = valid_view(projections)
    mask, path = read_lung(Path(p.paths.region), image.shape)
    lobe = lobe_of(image, image.names[1:], mask, path, name=p.source, animal=p.animal)
    case, notes = planned_radiograph(p, image, image.names[1:], lobe)
    return case, image, notes
