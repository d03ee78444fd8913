"""Insertion into radiographs: measured lobes (.npz) and images of attenuation and dark field with a lung region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import require
from darklung.core.random import derive_seed
from darklung.core.types import Image
from darklung.insert.volume import GAP_M, PLACES
from darklung.io.images import load_image
from darklung.physics.lung import HEALTHY
from darklung.pipeline import Context
from darklung.steps.insertion.contact import make_tile, save_tiles
from darklung.steps.insertion.given import dark_channels, read_region
from darklung.steps.insertion.parameters import Parameters
from darklung.steps.insertion.rows import Made, save_copy, save_rows, sphere_diameter_m
from darklung.steps.insertion.scale import read_scale


def settings_of(parameters: Parameters, **changes: Any) -> Any:
    """`InsertionSettings` of a task."""
    from darklung.insert.radiograph import InsertionSettings

    options = parameters.options
    return InsertionSettings(
        diameter_m=options.diameter,
        lesions=(0, options.lesions[1]),
        greatest_thickness_m=max(options.thickness, options.diameter[1]),
        blur_m=options.blur or 0.0,
        at_edge=options.across_edge,
        noise="photons",
        **changes,
    )


def streak_pixels(dark_field: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of streaked columns, which nothing is put on; none where the map is too small to tell."""
    from darklung.core.checks import DarklungError
    from darklung.core.streaks import find_streaks

    try:
        return find_streaks(np.where(mask, dark_field, 0.0), mask).flagged
    except DarklungError:
        return np.zeros(mask.shape, dtype=bool)


def insert_lobe(context: Context) -> None:
    """A measured lobe with insertions: a labelled case of attenuation and dark_field."""
    from darklung.insert.lobes import RadiographLobe
    from darklung.insert.radiograph import make_case
    from darklung.io.lobes import read_lobe

    p = Parameters.of(context)
    lobe = RadiographLobe(p.source, p.animal, read_lobe(context.files["lobe"], pixel_m=p.pixel))
    avoid = streak_pixels(lobe.dark_field, lobe.mask)
    case = make_case(
        lobe, settings=settings_of(p), seed=p.seed, version=p.copy_number, wanted=p.wanted, avoid=avoid,
        must_fit=not p.many,
    )  # fmt: skip
    measured = np.stack([np.where(lobe.mask, v, np.nan) for v in (lobe.attenuation, lobe.dark_field)])
    new = np.where(lobe.mask, case.image.data, np.nan).astype(np.float32)
    image = Image(new, case.image.names, case.image.units, lobe.maps.spacing_m, lobe.maps.origin_m, lobe.maps.frame)
    notes = {
        "route": "radiograph of a lobe",
        "scale": "the lobe's own attenuation and dark field over its assumed thickness",
        "thickness": f"{settings_of(p).greatest_thickness_m} m where the lobe attenuates most",
        "streak_pixels_avoided": int(avoid.sum()),
        "skipped": list(case.skipped),
    }
    finish_radiograph(context, case, image, before=measured, notes=notes)


def finish_radiograph(context: Context, case: Any, image: Image, *, before: NDArray[Any], notes: dict[str, Any]) -> None:
    """The labelled case, rows and pictures of a radiograph; `before` and `image` begin with attenuation and a dark field."""
    pixel = image.spacing_m[0]
    made, tiles = [], []
    for put in case.insertions:
        one = put.insertion
        sham = one.kind == "sham"
        centre = (one.center_m[0], one.center_m[2])
        at = tuple((c - o) / pixel for c, o in zip(centre, image.origin_m))
        own = case.instances == one.number
        volume = float(case.path_m[_near(case, one, image)].sum()) * pixel**2
        place = _place(own, case.region, pixel) if own.any() else PLACES[2]
        size = None if sham else sphere_diameter_m(volume)
        ratios = (None, None) if sham else (put.attenuation_ratio, put.dark_field_ratio)
        made.append(Made(one, place, size, ratios))
        planes = [before[0], image.data[0], before[1], image.data[1]]
        label = case.path_m > 1e-4 if not sham else np.zeros(image.shape)
        tiles.append(make_tile(one, planes, label, centre_px=(at[0], at[1]), pixel_m=pixel))
    shown, extent = [m.insertion for m in made], ("lesion_path", "m", case.path_m)
    save_copy(context, image, shown, instances=case.instances, region=case.region, extent=extent)
    save_rows(context, made, notes)
    save_tiles(context.out, tiles)


def _near(case: Any, one: Any, image: Image) -> NDArray[np.bool_]:
    """Pixels that belong to one insertion: nearer to its centre than to any other's."""
    axes = [o + d * np.arange(n) for o, d, n in zip(image.origin_m, image.spacing_m, image.shape)]
    rows, cols = np.meshgrid(*axes, indexing="ij")
    others = [i.insertion for i in case.insertions if i.insertion.kind != "sham"]
    away = {i.number: np.hypot(rows - i.center_m[0], cols - i.center_m[2]) - i.diameter_m / 2 for i in others}
    if one.number not in away:
        return np.zeros(image.shape, dtype=bool)
    return np.asarray(away[one.number] <= np.min(list(away.values()), axis=0))


def _place(own: NDArray[np.bool_], region: NDArray[np.bool_], pixel_m: float) -> str:
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1][own].min() * pixel_m
    return PLACES[0] if depth < 1.01 * pixel_m else PLACES[1] if depth < GAP_M else PLACES[2]


def insert_radiograph(context: Context) -> None:
    """An image of attenuation and dark field with insertions; all other channels are left out."""
    p = Parameters.of(context)
    image = load_image(p.place(context))
    dark = dark_channels(image)
    mask, path = read_region(Path(p.paths.region), image.shape)
    case, new, notes = changed_radiograph(p, image, dark, mask, path)
    before = np.stack([image.channel("attenuation"), image.channel(dark[0])])
    finish_radiograph(context, case, new, before=before, notes=notes)


def changed_radiograph(
    p: Parameters, image: Image, dark: Sequence[str], mask: NDArray[np.bool_], path: NDArray[np.float64] | None
) -> tuple[Any, Image, dict[str, Any]]:
    """The case, the changed image and what was assumed."""
    from darklung.insert.renoise import changed_maps

    case, lobe, notes = radiograph_case(p, image, dark, mask, path)
    rng = np.random.default_rng(derive_seed(p.seed, "noise"))
    changes = direction_changes(case, image, dark, lobe.mask)
    zero = np.zeros(image.shape)
    out: list[NDArray[np.float64]] = []
    for name, change in zip(dark, changes):
        made = changed_maps(
            attenuation=image.channel("attenuation").astype(np.float64), dark_field=image.channel(name).astype(np.float64),
            phase=zero, attenuation_change=case.changes[0], dark_field_change=change, phase_change=zero,
            attenuation_variance=zero + _variance(image.channel("attenuation"), mask),
            dark_field_variance=zero + _variance(image.channel(name), mask), valid=lobe.mask, rng=rng,
        )  # fmt: skip
        out += [made.attenuation, made.dark_field] if not out else [made.dark_field]
    names = ("attenuation", *dark)
    units = tuple(image.units[image.names.index(n)] for n in names)
    new = Image(np.stack(out).astype(np.float32), names, units, image.spacing_m, image.origin_m, image.frame)
    return case, new, notes


def _variance(values: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    """Of one pixel's noise, from second differences along rows."""
    known = np.where(mask, values, np.nan).astype(np.float64)
    second = known[1:-1] - (known[:-2] + known[2:]) / 2
    second = second[np.isfinite(second)]
    return float((1.4826 * np.median(np.abs(second - np.median(second)))) ** 2 / 1.5) if second.size else 0.0


def radiograph_case(
    p: Parameters, image: Image, dark: Sequence[str], mask: NDArray[np.bool_], path: NDArray[np.float64] | None
) -> tuple[Any, Any, dict[str, Any]]:
    """Place insertions in a radiograph: the case, the lung as a lobe, and what was assumed.

    Raises
    ------
    DarklungError
        A whole animal (the path through lung is known) without an instrument: wall and lung attenuate together.
    """
    from darklung.insert.lobes import RadiographLobe
    from darklung.insert.radiograph import make_case

    scale = read_scale(p.scale)
    lung = None
    if path is not None:
        require(
            scale.tissue_per_m is not None,
            "--scale own: in a whole animal the wall attenuates with the lung; name an instrument (protocol or study file)",
        )
        lung = HEALTHY.tissue_fraction * float(scale.tissue_per_m or 0)  # the wall's attenuation hides its own
    known = mask & np.isfinite(image.channel("attenuation"))
    for name in dark:
        known &= np.isfinite(image.channel(name))
    values = [np.where(known, v, np.nan) for v in (image.channel("attenuation"), image.channel(dark[0]))]
    data = np.stack([np.exp(-values[0]), np.exp(-values[1]), np.where(known, 1.0, np.nan)])
    names = ("transmission", "visibility_ratio", "flat_visibility")
    maps = Image(data, names, ("1",) * 3, image.spacing_m, image.origin_m, image.frame)
    lobe = RadiographLobe(p.source, p.animal, maps, path)
    avoid = streak_pixels(values[1], known)
    settings = replace(settings_of(p), lung_per_m=lung, noise="kept", correlation_length_m=scale.correlation_length_m)
    case = make_case(lobe, settings=settings, seed=p.seed, version=p.copy_number, wanted=p.wanted, avoid=avoid)
    notes = {
        "route": "radiograph",
        "scale": scale.told,
        "thickness": "path through lung, as given" if path is not None else "assumed, as for a lobe",
        "streak_pixels_avoided": int(avoid.sum()),
        "skipped": list(case.skipped),
    }
    return case, lobe, notes


def direction_changes(case: Any, image: Image, dark: Sequence[str], mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Change of each dark-field channel: that of the first, scaled by the lung's own dark field in the others."""
    from darklung.insert.lobes import smooth_inside

    smooth = [smooth_inside(np.nan_to_num(image.channel(n)).astype(np.float64), mask, sigma_px=2.0) for n in dark]
    first = np.where(np.abs(smooth[0]) > 1e-6, smooth[0], 1.0)
    return [case.changes[1] * np.where(case.changes[1] != 0, own / first, 0.0) for own in smooth]
