"""The lungs and where to search in them, found in the reconstruction itself and never in the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import DarklungError, check_positive, require
from darklung.core.types import Image
from darklung.features.balls import (
    Mask,
    Spacing,
    box_of,
    closed,
    depth,
    distance,
    large_parts,
    means,
    parts_with,
    plain,
    repeated,
    without_holes,
)
from darklung.features.grey_levels import find_grey_levels
from darklung.features.pleura import pleural_nodules

# On a scale of 0 in air and 1 in soft tissue: cores of parenchyma, and middles of the trachea or of gas.
CORE_RANGE = (0.15, 0.75)
GAS = 0.2
# Where parenchyma ends between its own level and the wall's. Over a half, since it is denser at the pleura than inside.
EDGE = 0.56
# Air of a trachea: below this share of the parenchyma's level, and by so many of its standard deviations.
AIRWAY_SHARE, AIRWAY_SPREADS = 0.6, 4.0
AIRWAY_SMALLEST_M3 = 0.3e-9
AIRWAY_WALL_M = 4.0e-4
# Air with a greater share of lung around it is emphysema; around a trachea or the gut it is a tenth to a half.
IN_LUNG = 0.5
# Parenchyma is smoothed where its noise exceeds this share of its contrast with the wall.
NOISY = 0.12
SKIN_M = 6.0e-4
CORE_DEPTH_M = 5.0e-4
SMALLEST_CORE_M3 = 1.0e-9
# Half the thickness of what counts as lung by itself; its partly filled rim is this many voxels wide.
THIN_M, RIM_VOXELS = 4.0e-4, 2.3
SECOND_LUNG, SMALL_PART = 0.05, 0.03
# A second lung without a core: this share of what has one, and of its level. Gas of the gut is darker, and smaller.
LIKE_SHARE, LIKE_LEVEL = 0.25, 0.45
# Enclosed in a slice: vessels; on all sides: nodules up to 3.6 mm.
VESSEL_M2, NODULE_M3 = 1.5e-6, 24.0e-9
# The pleura is smooth at this scale, as far as voxels do not blur it themselves.
SMOOTH_M = 2.0e-4
COARSE_M = 2.5e-4
LONGEST_M = 4.5e-3
NODULE_RIM_M = 6.1e-4
# The search region over the lung in volume: what is left of it after `search_around` goes to the darkest of what lies
# near or is bridged by a ball of that radius. Near lesions of the pleura, soft tissue is a little darker than elsewhere.
SEARCH_SHARE = 1.26
NEAR_M, BRIDGED_M, BRIDGED_BONUS = 1.0e-3, (2.5e-3, 1.3e-3), 0.1
DARK_BLUR_M = 3.0e-4


@dataclass(frozen=True)
class LungRegions:
    """What is lung, and where to look for lesions.

    Parameters
    ----------
    lung : (z, y, x) bool
        Parenchyma with vessels, airways, nodules and other dense parts inside it or between it and the pleura.
    search : (z, y, x) bool
        The lung and its surroundings that may be lung: all that tiles, search and loss should cover.
    """

    lung: Mask
    search: Mask


@dataclass(frozen=True)
class _Thorax:
    """The part of a volume around the lungs, on a scale of 0 in air and 1 in soft tissue."""

    relative: NDArray[np.float32]
    inner: Mask
    core: Mask
    level: float
    spacing_m: Spacing


def lung_region(
    image: Image, *, channel: str = "attenuation", tissue_level: float | None = None, longest_nodule_m: float = LONGEST_M
) -> Mask:
    """The lungs, lesions in them included, from a reconstructed attenuation volume; see `find_lungs`."""
    return find_lungs(image, channel=channel, tissue_level=tissue_level, longest_nodule_m=longest_nodule_m).lung


def search_region(
    image: Image, *, channel: str = "attenuation", tissue_level: float | None = None, longest_nodule_m: float = LONGEST_M
) -> Mask:
    """Where to search for lesions: the lungs and what around them may be lung; see `find_lungs`."""
    return find_lungs(image, channel=channel, tissue_level=tissue_level, longest_nodule_m=longest_nodule_m).search


def search_around(lung: Mask, *, spacing_m: Spacing, nodules: Mask | None = None, longest_m: float = LONGEST_M) -> Mask:
    """The search region around lungs that are known, by `find_lungs` or from elsewhere.

    The lung closed with a ball of 2 mm, and what may be a nodule on the pleura with a rim of 0.6 mm, as its outer surface
    is not seen. More is taken for a nodule here than in the lung: a voxel too many costs little, a lesion cut off is lost.

    Parameters
    ----------
    lung : (z, y, x) bool
    spacing_m : tuple of float
    nodules : (z, y, x) bool, optional
        Parts of the lung that are known as nodules on the pleura.
    longest_m : float
        Of a nodule [m].
    """
    require(lung.ndim == 3 and bool(lung.any()), f"lung: wanted voxels on (z, y, x), got {lung.sum()} in {lung.shape}")
    known = np.zeros_like(lung) if nodules is None else nodules
    suspects = pleural_nodules(lung & ~known, spacing_m=spacing_m, radius_m=3.0e-3, longest_m=longest_m, embedded=0.25)
    region = closed(lung, radius_m=2.0e-3, spacing_m=spacing_m)
    return np.asarray(region | (distance(suspects | known, spacing_m) <= NODULE_RIM_M))


def find_lungs(
    image: Image, *, channel: str = "attenuation", tissue_level: float | None = None, longest_nodule_m: float = LONGEST_M
) -> LungRegions:
    """Lung and search region of an attenuation volume of any scale; truth is not used.

    Grey values of air and soft tissue are found in the volume (`find_grey_levels`). Cores of parenchyma are wide parts of
    low but not zero attenuation inside the body; their median is the lung's level. Lung is what lies below a little more
    than half the way from that level to the wall's, joined to a core, without the trachea and main bronchi (wide air with
    its blurred rim) unless lung surrounds them, with vessels (small holes in slices) and enclosed dense parts. The pleura is
    what a ball of 2 mm rolls on: compact dense parts between it and the parenchyma are nodules and belong to the lung. The
    search region is that of `search_around`, filled up to 1.26 times the lung with what around it is darkest.

    Parameters
    ----------
    image : Image
        Three spatial axes (z, y, x), z along the animal. NaN, or a lowest value that fills what was not reconstructed,
        counts as outside the field of view. Voxels of 100 to 400 µm; they need not be cubes.
    channel : str
        Name of the attenuation channel, in 1/m or any unit that grows with it linearly.
    tissue_level : float, optional
        Of soft tissue in the channel's unit; found in the volume if not given.
    longest_nodule_m : float
        Nodules on the pleura up to this length are lung; what is longer is anatomy.

    Raises
    ------
    DarklungError
        Not a volume, nothing attenuates, or no lung.

    Notes
    -----
    Known failures: a dense nodule on the pleura wider than 4 mm, one against aorta, spine or heart whose dent merges with
    theirs, and a lobe that is consolidated as a whole and not enclosed by air are not in the lung; the search region has
    most of the first two. Gas in the gut of lung-like attenuation, such as foam, is told from lung by its size alone. A
    lung that is cut by the sides of the field of view is lost in those slices. Examples and figures: docs/decisions/083.
    """
    require(image.data.ndim == 4, f"lung_region: wanted three spatial axes, got an image of shape {image.shape}")
    check_positive("longest_nodule_m", longest_nodule_m)
    values = np.asarray(image.channel(channel), dtype=np.float32)
    calibrated = image.units[image.names.index(channel)] == "1/m"
    spacing = plain(image.spacing_m)
    thorax, box = _thorax(values, spacing, tissue_level, calibrated)
    lung = _parenchyma(thorax)
    nodules = pleural_nodules(lung, spacing_m=spacing, radius_m=2.0e-3, longest_m=longest_nodule_m, embedded=0.4)
    lung |= nodules
    search = _filled_up(search_around(lung, spacing_m=spacing, nodules=nodules, longest_m=longest_nodule_m), lung, thorax)
    return LungRegions(*(_placed(m, box, np.isfinite(values)) for m in (lung, search)))


def _placed(part: Mask, box: tuple[slice, ...], known: Mask) -> Mask:
    """A part on the whole grid, where values are known."""
    out = np.zeros_like(known)
    out[box] = part & known[box]
    return out


def _thorax(
    values: NDArray[np.float32], spacing_m: Spacing, tissue_level: float | None, calibrated: bool
) -> tuple[_Thorax, tuple[slice, ...]]:
    """Levels, body and cores, found on voxels of 0.2 mm or more; then the lungs' surroundings at full resolution."""
    step = [max(int(COARSE_M / d + 1e-6), 1) for d in spacing_m]
    coarse, spacing = means(values, step), tuple(d * s for d, s in zip(spacing_m, step))
    levels = find_grey_levels(coarse, spacing_m=spacing, tissue_level=tissue_level, zero_is_air=calibrated)
    inner = depth(levels.body, spacing) > SKIN_M
    smooth = ndimage.gaussian_filter(levels.relative(coarse), [2.0e-4 / d for d in spacing])
    gas = depth(inner & (smooth < GAS), spacing) > 2.0e-4
    inside = inner & (smooth > CORE_RANGE[0]) & (smooth < CORE_RANGE[1])
    core = depth(inside & (distance(gas, spacing) > 9.0e-4), spacing) > CORE_DEPTH_M
    if core.sum() * np.prod(spacing) < SMALLEST_CORE_M3:
        raise DarklungError("lung_region: no lung found (wanted low attenuation enclosed by a body)")
    core = large_parts(core, share=SECOND_LUNG)
    level = float(np.median(smooth[core]))
    # Emphysema may hold gas, so there can be lung far from a core.
    around = parts_with(inside, core) | large_parts(inner & (smooth < CORE_RANGE[1]), share=LIKE_SHARE)
    fine = [repeated(m, step, values.shape) for m in (inner, core, around)]
    box = box_of(fine[2], margin_m=3.0e-3, spacing_m=spacing_m)
    return _Thorax(levels.relative(values[box]), fine[0][box], fine[1][box], level, spacing_m), box


def _parenchyma(thorax: _Thorax) -> Mask:
    """Parenchyma with what it encloses, without nodules on the pleura."""
    spacing = thorax.spacing_m
    values = _denoised(thorax)
    low = (values < thorax.level + EDGE * (_wall(thorax) - thorax.level)) & thorax.inner
    air = _airways(thorax, low) & low
    thick = _with_its_like(depth(low & ~air, spacing) > THIN_M, thorax)
    require(bool(thick.any()), "lung_region: no lung found (wanted low attenuation enclosed by a body)")
    lung = low & ~air & (distance(thick, spacing) <= THIN_M + RIM_VOXELS * max(spacing))
    lung = large_parts(lung, share=SMALL_PART)
    if air.any():
        lung |= air & _surrounded(lung, air, spacing)
    lung = without_holes(lung, volume_m3=NODULE_M3, area_m2=VESSEL_M2, spacing_m=spacing)
    blur = [np.sqrt(max(SMOOTH_M**2 - d**2, 0.0)) / d for d in spacing]
    return np.asarray(ndimage.gaussian_filter(lung.astype(np.float32), blur) > 0.5)


def _with_its_like(thick: Mask, thorax: _Thorax) -> Mask:
    """Parts with a core, and parts as large and as dark as a lung: one that is thin and noisy may look like gas all over."""
    found = parts_with(thick, thorax.core)
    labels, count = ndimage.label(thick)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = np.flatnonzero(sizes >= LIKE_SHARE * found.sum())
    medians = {n: float(np.median(thorax.relative[labels == n])) for n in large if n and not found[labels == n].any()}
    like = [n for n, value in medians.items() if value >= LIKE_LEVEL * thorax.level]
    return np.asarray(found | np.isin(labels, like))


def _denoised(thorax: _Thorax) -> NDArray[np.float32]:
    """The values, smoothed over half a voxel if their noise would fray the surface."""
    steps = np.abs(np.diff(thorax.relative, axis=0)[thorax.core[1:]])
    noise = 1.4826 * float(np.median(steps)) / np.sqrt(2) if steps.size else 0.0
    if noise < NOISY * (1 - thorax.level):
        return thorax.relative
    return np.asarray(ndimage.gaussian_filter(thorax.relative, 0.5), dtype=np.float32)


def _wall(thorax: _Thorax) -> float:
    """Level of what surrounds the lungs, bone and air excepted: blur and fat bring it below that of soft tissue."""
    half = (1 + thorax.level) / 2
    smooth = ndimage.gaussian_filter(thorax.relative, [2.0e-4 / d for d in thorax.spacing_m])
    lung = parts_with(depth(thorax.inner & (smooth < half), thorax.spacing_m) > 3.0e-4, thorax.core)
    away = distance(lung, thorax.spacing_m) - 3.0e-4
    shell = (away > 5.0e-4) & (away < 1.2e-3) & thorax.inner & (thorax.relative > half) & (thorax.relative < 1.2)
    return float(np.median(thorax.relative[shell])) if shell.any() else 1.0


def _airways(thorax: _Thorax, low: Mask) -> Mask:
    """Wide air inside the body with its blurred rim; emphysema is no such air, as lung (`low`) lies around it."""
    smooth = ndimage.gaussian_filter(thorax.relative, 0.67)
    own = smooth[thorax.core]
    spread = 1.4826 * float(np.median(np.abs(own - np.median(own))))
    dark = thorax.inner & (smooth < min(AIRWAY_SHARE * thorax.level, thorax.level - AIRWAY_SPREADS * spread))
    labels, _ = ndimage.label(dark)
    sizes = np.bincount(labels.ravel()) * np.prod(thorax.spacing_m)
    wide = sizes > AIRWAY_SMALLEST_M3
    wide[0] = False
    labels = np.where(wide[labels], labels, 0)
    if not labels.any():
        return np.zeros_like(low)
    away, nearest = ndimage.distance_transform_edt(labels == 0, sampling=thorax.spacing_m, return_indices=True)
    part, rim = labels[tuple(nearest)], AIRWAY_WALL_M + 0.7 * max(thorax.spacing_m)
    beyond = (away > rim) & (away <= rim + 1.5 * max(thorax.spacing_m))
    around = np.bincount(part[beyond], minlength=len(wide))
    airy = np.bincount(part[beyond & low], minlength=len(wide))
    return np.asarray((away <= rim) & (airy <= IN_LUNG * around)[part])


def _filled_up(search: Mask, lung: Mask, thorax: _Thorax) -> Mask:
    """The search region with the darkest voxels around it, up to its share of the lung's volume.

    A lesion in the outermost layer, in the tip of a recess or beside the mediastinum leaves no edge to find, but soft tissue
    there is a little darker than the wall; values are smoothed over what is not lung, so that lung's own blur counts least.
    """
    spacing = thorax.spacing_m
    sigma, outside = [DARK_BLUR_M / d for d in spacing], (~lung).astype(np.float32)
    weight = ndimage.gaussian_filter(outside, sigma)
    smooth = ndimage.gaussian_filter(thorax.relative * outside, sigma) / np.maximum(weight, 1e-3)
    away = distance(lung, spacing)
    bridged = closed(lung, radius_m=BRIDGED_M[0], spacing_m=spacing) & (away <= BRIDGED_M[1])
    order = np.where(bridged | (away <= NEAR_M), smooth - BRIDGED_BONUS * bridged, np.inf)
    order[search] = -np.inf
    count = int(SEARCH_SHARE * lung.sum())
    out = np.zeros(lung.size, dtype=bool)
    out[np.argpartition(order.ravel(), min(count, out.size - 1))[:count]] = True
    return search | (out.reshape(lung.shape) & np.isfinite(order))


def _surrounded(lung: Mask, air: Mask, spacing_m: Spacing) -> Mask:
    """Where more than half of what is not air is lung, within about a millimetre."""
    sigma = [4.5e-4 / d for d in spacing_m]
    near = ndimage.gaussian_filter(lung.astype(np.float32), sigma)
    return np.asarray(near > 0.5 * ndimage.gaussian_filter((~air).astype(np.float32), sigma))
