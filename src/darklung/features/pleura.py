"""The pleura as the surface on which a ball rolls, and which of what it cuts off from parenchyma are nodules.

The surface of aerated lung bends around whatever presses on it. A ball that rolls on it from outside (a closing) passes
over dents that are narrower than the ball: nodules on the pleura, and the ridges of aorta, oesophagus, vena cava and spine.
Nodules are compact and lie embedded in lung; ridges are long.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from darklung.features.balls import Mask, Spacing, closed, depth, distance

# What a mouse lung can be expected to hold: dents thinner than twice this, or smaller, are not told from anatomy.
THINNEST_M = 3.5e-4
SMALLEST_M3 = 0.25e-9


def pleural_nodules(lung: Mask, *, spacing_m: Spacing, radius_m: float, longest_m: float, embedded: float) -> Mask:
    """Dense parts between parenchyma and pleura that are compact enough to be nodules.

    Parameters
    ----------
    lung : (z, y, x) bool
        Parenchyma with what it encloses.
    spacing_m : tuple of float
    radius_m : float
        Of the ball that rolls on the pleura: a dent up to twice as wide is bridged.
    longest_m : float
        A part whose longest axis (four standard deviations) is longer is anatomy.
    embedded : float
        Least share of a nodule's surface that touches lung: a half and more for a ball cut by the pleura, less where it
        fills a thin recess from wall to diaphragm.

    Returns
    -------
    (z, y, x) bool array, disjoint from `lung`
    """
    dents = closed(lung, radius_m=radius_m, spacing_m=spacing_m) & ~lung
    labels, _ = ndimage.label(depth(dents, spacing_m) > THINNEST_M)
    out = np.zeros_like(lung)
    # A little more than the ball, so that a voxel whose centre lies just beyond it is not lost.
    grow = [int(np.ceil(THINNEST_M / d)) + 2 for d in spacing_m]
    for number, found in enumerate(ndimage.find_objects(labels), start=1):
        box = tuple(slice(max(s.start - g, 0), s.stop + g) for s, g in zip(found, grow))
        near = distance(labels[box] == number, spacing_m) <= 1.2 * THINNEST_M
        part = dents[box] & near
        if _is_nodule(part, lung[box], spacing_m, longest_m, embedded):
            out[box] |= part
    return out


def _is_nodule(part: Mask, lung: Mask, spacing_m: Spacing, longest_m: float, embedded: float) -> bool:
    """Whether one part is large enough, compact and embedded."""
    places = np.argwhere(part)
    if len(places) < 2 or len(places) * np.prod(spacing_m) < SMALLEST_M3:  # a single voxel, however large, has no extent
        return False
    spread = np.atleast_2d(np.cov((places * np.asarray(spacing_m)).T))
    if 4 * np.sqrt(max(float(np.linalg.eigvalsh(spread)[-1]), 0.0)) > longest_m:
        return False
    touched = ndimage.binary_dilation(part) & ~part
    return bool((touched & lung).sum() >= embedded * touched.sum())
