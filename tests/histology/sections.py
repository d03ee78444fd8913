"""Phantoms of one tissue, and pictures of them."""

import numpy as np

from darklung.core.types import Phantom
from darklung.histology.plane import Handling, make_pose
from darklung.histology.synthetic import Cut, Stain

VOXEL = 200e-6


def uniform(fraction, surface, *, size=24):
    """A phantom that is lung throughout."""
    one = np.ones((size,) * 3, np.float32)
    return Phantom(
        voxel_m=VOXEL,
        materials=("soft_tissue",),
        density=(1.05 * np.asarray(fraction, np.float32) * one)[None],
        tissue_fraction=fraction * one,
        interface_density_per_m=surface * one,
        aspect=one,
        axis=np.stack([0 * one, 0 * one, one]),
        lobes=one.astype(np.uint8),
        instances=np.zeros(one.shape, np.uint16),
    )


def cut(phantom, *, pixels=600, pixel_m=2e-6, seed=3, handling=None, stain=None):
    """A picture of its middle."""
    return Cut(phantom, make_pose(), pixel_m, pixels, pixels, seed, handling or Handling(), stain or Stain())
