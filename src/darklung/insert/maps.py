"""Insertions in radiographs that are images: attenuation, dark fields and where lung is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import values_of
from darklung.core.checks import DarklungError, require
from darklung.core.random import derive_seed
from darklung.core.streaks import find_streaks
from darklung.core.types import Image, Projections
from darklung.core.views import view_image
from darklung.insert.beam import ViewShadow
from darklung.insert.lobes import RadiographLobe, smooth_inside
from darklung.insert.radiograph import InsertionSettings, RadiographCase, make_case
from darklung.insert.renoise import changed_maps
from darklung.insert.scale import Scale
from darklung.insert.shadow import Shadow
from darklung.physics.lung import HEALTHY

Mask = NDArray[np.bool_]


def dark_channels(image: Image) -> tuple[str, ...]:
    """Channels that hold dark field: ``dark_field`` and those of each direction, without noise maps; none is allowed.

    Raises
    ------
    DarklungError
        No attenuation, which every insertion changes.
    """
    require("attenuation" in image.names, f"channel attenuation: missing; the image has {', '.join(image.names)}")
    return values_of(image.names, "dark_field")


def streak_pixels(dark_field: NDArray[Any], mask: Mask) -> Mask:
    """Pixels of streaked columns, which nothing is put on; none where the map is too small to tell."""
    try:
        return find_streaks(np.where(mask, dark_field, 0.0), mask).flagged
    except DarklungError:
        return np.zeros(mask.shape, dtype=bool)


def lobe_of(
    image: Image, dark: Sequence[str], mask: Mask, path_m: NDArray[np.float64] | None, *, name: str, animal: str
) -> RadiographLobe:
    """The lung of a radiograph as a lobe: where `mask` and all channels are known; `path_m` is the path through lung."""
    known = mask & np.isfinite([image.channel(n) for n in ("attenuation", *dark)]).all(axis=0)
    values = [np.where(known, image.channel(n), np.nan) for n in ("attenuation", dark[0])]
    data = np.stack([np.exp(-values[0]), np.exp(-values[1]), np.where(known, 1.0, np.nan)])
    maps = image.with_data(data, ("transmission", "visibility_ratio", "flat_visibility"), ("1",) * 3)
    return RadiographLobe(name, animal, maps, path_m)


def radiograph_case(
    image: Image,
    dark: Sequence[str],
    lobe: RadiographLobe,
    *,
    settings: InsertionSettings,
    scale: Scale,
    seed: int,
    version: int,
    wanted: Sequence[tuple[str, str]],
) -> tuple[RadiographCase, dict[str, Any]]:
    """Place insertions in a radiograph, as `make_case` does in a lobe, and tell what was assumed.

    Raises
    ------
    DarklungError
        A whole animal (the path through lung is known) without an instrument: wall and lung attenuate together.
    """
    lung, path = None, lobe.thickness_m
    if path is not None:
        require(
            scale.tissue_per_m is not None,
            "--scale own: in a whole animal the wall attenuates with the lung; name an instrument (protocol or study file)",
        )
        lung = HEALTHY.tissue_fraction * float(scale.tissue_per_m or 0)  # the wall's attenuation hides its own
    avoid = streak_pixels(np.where(lobe.mask, image.channel(dark[0]), np.nan), lobe.mask)
    settings = replace(settings, lung_per_m=lung, noise="kept", correlation_length_m=scale.correlation_length_m)
    case = make_case(lobe, settings=settings, seed=seed, version=version, wanted=wanted, avoid=avoid)
    return case, {
        "route": "radiograph",
        "scale": scale.told,
        "thickness": "path through lung, as given" if path is not None else "assumed, as for a lobe",
        "streak_pixels_avoided": int(avoid.sum()),
        "skipped": list(case.skipped),
    }


def changed_radiograph(
    case: RadiographCase, image: Image, dark: Sequence[str], mask: Mask, *, valid: Mask, seed: int
) -> Image:
    """The radiograph with a case's changes and the noise that they make; `mask` is lung, the noise is measured there."""
    rng, zero = np.random.default_rng(derive_seed(seed, "noise")), np.zeros(image.shape)
    attenuation = image.channel("attenuation")
    out: list[NDArray[np.float64]] = []
    for name, change in zip(dark, direction_changes(case, image, dark, valid)):
        own = image.channel(name)
        made = changed_maps(
            attenuation=attenuation.astype(np.float64), dark_field=own.astype(np.float64),
            phase=zero, attenuation_change=case.changes[0], dark_field_change=change, phase_change=zero,
            attenuation_variance=zero + _variance(attenuation, mask), dark_field_variance=zero + _variance(own, mask),
            valid=valid, rng=rng,
        )  # fmt: skip
        out += [made.attenuation, made.dark_field] if not out else [made.dark_field]
    names = ("attenuation", *dark)
    return image.with_data(np.stack(out).astype(np.float32), names, tuple(image.unit(n) for n in names))


def _variance(values: NDArray[Any], mask: Mask) -> float:
    """Of one pixel's noise, from second differences along rows."""
    known = np.where(mask, values, np.nan).astype(np.float64)
    second = known[1:-1] - (known[:-2] + known[2:]) / 2
    second = second[np.isfinite(second)]
    return float((1.4826 * np.median(np.abs(second - np.median(second)))) ** 2 / 1.5) if second.size else 0.0


def direction_changes(case: RadiographCase, image: Image, dark: Sequence[str], mask: Mask) -> list[NDArray[np.float64]]:
    """Change of each dark-field channel: that of the first, scaled by the lung's own dark field in the others."""
    smooth = [smooth_inside(np.nan_to_num(image.channel(n)).astype(np.float64), mask, sigma_px=2.0) for n in dark]
    first = np.where(np.abs(smooth[0]) > 1e-6, smooth[0], 1.0)
    return [case.changes[1] * np.where(case.changes[1] != 0, own / first, 0.0) for own in smooth]


def valid_view(projections: Projections) -> Image:
    """The only view as an image in double precision, NaN where a direction is not valid."""
    image = view_image(projections)
    return image.with_data(np.where(projections.valid[:, 0].all(axis=0), image.data, np.nan).astype(np.float64))


def one_view_shadow(case: RadiographCase, image: Image, dark: Sequence[str], scale: Scale) -> ViewShadow:
    """The shadow of a radiograph's case, on the whole detector."""
    mask = np.isfinite(image.data).all(axis=0)
    scattering = np.stack(direction_changes(case, image, dark, mask))
    slopes = np.stack(np.gradient(case.changes[0] / (scale.tissue_per_m or 1.0), image.spacing_m[0]))
    rows, cols = image.shape
    shadow = Shadow((slice(0, rows), slice(0, cols)), case.changes[0], scattering, slopes, case.path_m)
    return lambda view: shadow
