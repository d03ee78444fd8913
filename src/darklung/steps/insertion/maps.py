"""Insertion into radiographs: measured lobes (.npz) and images of attenuation and dark field with a lung region."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.types import Image
from darklung.insert.lobes import RadiographLobe
from darklung.insert.maps import changed_radiograph, dark_channels, lobe_of, radiograph_case, streak_pixels
from darklung.insert.measured import made_in_radiograph
from darklung.insert.radiograph import InsertionSettings, RadiographCase, make_case
from darklung.io.images import load_image
from darklung.io.labels import read_lung
from darklung.io.lobes import read_lobe
from darklung.pipeline import Context
from darklung.report.contact import make_tile, save_tiles
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.rows import save_copy, save_rows
from darklung.steps.insertion.scale import read_scale


def settings_of(parameters: Parameters) -> InsertionSettings:
    """`InsertionSettings` of a task."""
    options = parameters.options
    return InsertionSettings(
        diameter_m=options.diameter,
        greatest_thickness_m=max(options.thickness, options.diameter[1]),
        blur_m=parameters.blur_m,
        at_edge=options.across_edge,
        noise="photons",
    )


def insert_lobe(context: Context) -> None:
    """A measured lobe with insertions: a labelled case of attenuation and dark_field."""
    p = Parameters.of(context)
    lobe = RadiographLobe(p.source, p.animal, read_lobe(context.files["lobe"], pixel_m=p.pixel))
    avoid = streak_pixels(lobe.dark_field, lobe.mask)
    case = make_case(
        lobe, settings=settings_of(p), seed=p.seed, version=p.copy_number, wanted=p.wanted, avoid=avoid,
        must_fit=not p.many,
    )  # fmt: skip
    measured = np.stack([np.where(lobe.mask, v, np.nan) for v in (lobe.attenuation, lobe.dark_field)])
    notes = {
        "route": "radiograph of a lobe",
        "scale": "the lobe's own attenuation and dark field over its assumed thickness",
        "thickness": f"{settings_of(p).greatest_thickness_m} m where the lobe attenuates most",
        "streak_pixels_avoided": int(avoid.sum()),
        "skipped": list(case.skipped),
    }
    image = case.image.with_data(np.where(lobe.mask, case.image.data, np.nan).astype(np.float32))
    finish_radiograph(context, case, image, before=case.image.with_data(measured), notes=notes)


def finish_radiograph(context: Context, case: RadiographCase, image: Image, *, before: Image, notes: dict[str, Any]) -> None:
    """The labelled case, rows and pictures of a radiograph; `image` begins with attenuation and a dark field."""
    pixel, made, tiles = image.spacing_m[0], made_in_radiograph(case, image), []
    shown = ("attenuation", image.names[1])
    planes = [plane for name in shown for plane in (before.channel(name), image.channel(name))]
    for one in (m.insertion for m in made):
        row, col = image.index_of(one.center_on(2))
        label = (case.path_m > 1e-4).astype(np.float32) * (one.kind != "sham")
        tiles.append(make_tile(one, planes, label, centre_px=(row, col), pixel_m=pixel))
    put, extent = [m.insertion for m in made], ("lesion_path", "m", case.path_m)
    save_copy(context, image, put, instances=case.instances, region=case.region, extent=extent)
    save_rows(context, made, notes)
    save_tiles(context.out, tiles)


def insert_radiograph(context: Context) -> None:
    """An image of attenuation and dark field with insertions; all other channels are left out."""
    p = Parameters.of(context)
    image = load_image(p.place(context))
    dark = dark_channels(image)
    mask, path = read_lung(Path(p.paths.region), image.shape)
    lobe = lobe_of(image, dark, mask, path, name=p.source, animal=p.animal)
    case, notes = planned_radiograph(p, image, dark, lobe)
    new = changed_radiograph(case, image, dark, mask, valid=lobe.mask, seed=p.seed)
    finish_radiograph(context, case, new, before=image, notes=notes)


def planned_radiograph(
    p: Parameters, image: Image, dark: Sequence[str], lobe: RadiographLobe
) -> tuple[RadiographCase, dict[str, Any]]:
    """The insertions that a task asks for, in the lung of a radiograph, and what was assumed."""
    return radiograph_case(
        image, dark, lobe, settings=settings_of(p), scale=read_scale(p.scale), seed=p.seed, version=p.copy_number,
        wanted=p.wanted,
    )  # fmt: skip
