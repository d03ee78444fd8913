"""The way lungs were found before, for comparison: one threshold below soft tissue, and each lung closed with a ball.

Used by benchmarks/lung.py alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import DarklungError, require
from darklung.core.types import Image

BODY_FRACTION, LUNG_FRACTION, AIR_FRACTION, SMALLEST_SHARE = 0.5, 0.62, 0.08, 0.05
SMOOTHING_M, CLOSING_M, AIRWAY_M = 2.0e-4, 1.5e-3, 2.0e-4


def lung_before(image: Image) -> NDArray[np.bool_]:
    """Region of the lungs, (z, y, x); air must read 0."""
    values = np.nan_to_num(np.asarray(image.channel("attenuation"), dtype=np.float32), nan=0.0)
    smooth = ndimage.gaussian_filter(values, [SMOOTHING_M / d for d in image.spacing_m])
    tissue = _tissue_level(smooth)
    body = _body(smooth > BODY_FRACTION * tissue)
    box = ndimage.find_objects(body.astype(np.uint8))[0]
    region = np.zeros_like(body)
    region[box] = _lungs(
        smooth[box] / tissue,
        body[box],
        spacing_m=image.spacing_m,
        blur_m=SMOOTHING_M + max(image.spacing_m),
        airway_radius_m=AIRWAY_M,
        closing_radius_m=CLOSING_M,
    )
    return region


def _lungs(
    relative: NDArray[np.float32],
    body: NDArray[np.bool_],
    *,
    spacing_m: tuple[float, ...],
    blur_m: float,
    airway_radius_m: float,
    closing_radius_m: float,
) -> NDArray[np.bool_]:
    """Lungs in the body's box; `relative` is the attenuation in units of soft tissue's."""
    inside = body & (relative < LUNG_FRACTION)
    # Middles of large air spaces; they go with their surroundings up to the rim, and an opening takes the body's rim.
    airways = _depth(relative < AIR_FRACTION, spacing_m) > airway_radius_m
    if airways.any():
        inside &= _depth(~airways, spacing_m) > airway_radius_m + 2 * blur_m
    lungs = _large_parts(_opened(inside, radius_m=blur_m, spacing_m=spacing_m), SMALLEST_SHARE)
    region = np.zeros_like(body)
    for number in range(1, lungs.max() + 1):
        region |= _closed(lungs == number, radius_m=closing_radius_m, spacing_m=spacing_m)
    return region & body


def _tissue_level(values: NDArray[np.float32]) -> float:
    """Median of what lies above Otsu's threshold; lung falls below it or is outnumbered by soft tissue."""
    low, high = np.percentile(values, [0.5, 99.5])
    require(high > max(low, 0.0), "lung: nothing attenuates in this volume")
    counts, edges = np.histogram(values, bins=256, range=(float(low), float(high)))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    mass = np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass / below - (mass[-1] - mass) / above) ** 2 * below * above
    threshold = centres[int(np.nanargmax(between))]
    return float(np.median(values[values > threshold]))


def _body(dense: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Largest connected part, filled in each transverse slice (the lungs may leave the field of view through z)."""
    largest = _large_parts(dense, 1.0) == 1
    return np.stack([ndimage.binary_fill_holes(s) for s in largest])


def _large_parts(mask: NDArray[np.bool_], share: float) -> NDArray[np.int32]:
    """Connected parts with at least `share` of the largest one's volume, numbered from 1, largest first."""
    labels, count = ndimage.label(mask)
    if count == 0:
        raise DarklungError("lung: no lung found (wanted low attenuation enclosed by a body)")
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[: int(np.sum(sizes >= share * sizes.max()))]
    renumber = np.zeros(count + 1, dtype=np.int32)
    renumber[order[:1] if share >= 1 else order] = np.arange(1, (1 if share >= 1 else len(order)) + 1)
    return np.asarray(renumber[labels], dtype=np.int32)


def _depth(mask: NDArray[np.bool_], spacing_m: tuple[float, ...]) -> NDArray[np.float64]:
    """Distance [m] of each voxel of `mask` to the nearest one outside it; 0 outside."""
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing_m))


def _opened(mask: NDArray[np.bool_], *, radius_m: float, spacing_m: tuple[float, ...]) -> NDArray[np.bool_]:
    """Opening with a ball by two distance transforms; what leaves the volume counts as going on."""
    core = _depth(mask, spacing_m) > radius_m
    if not core.any():
        return np.zeros_like(mask)
    return np.asarray(_depth(~core, spacing_m) <= radius_m) & mask


def _closed(mask: NDArray[np.bool_], *, radius_m: float, spacing_m: tuple[float, ...]) -> NDArray[np.bool_]:
    """Closing with a ball and holes filled, computed in the part's own box; the ends in z are continued."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    pad = [int(np.ceil(radius_m / d)) + 2 for d in spacing_m]
    part = np.pad(np.pad(mask[box], [(pad[0], pad[0]), (0, 0), (0, 0)], mode="edge"), [(0, 0), *[(p, p) for p in pad[1:]]])
    grown = _depth(~part, spacing_m) <= radius_m
    closed = _depth(grown, spacing_m) > radius_m
    closed = ndimage.binary_fill_holes(closed | part)
    out = np.zeros_like(mask)
    out[box] = closed[tuple(slice(p, n - p) for p, n in zip(pad, closed.shape))]
    return out
