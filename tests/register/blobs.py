"""A lung of smooth texture whose values are known everywhere, and sections of it."""

import numpy as np
from scipy import ndimage

from darklung.core.types import Image
from darklung.register.features import SectionView

VOXEL, SIDE = 0.2e-3, 56
PIXEL = 0.11e-3
AXES = np.eye(3)[:, [0, 2, 1]]


def lung_and_texture(seed=0):
    """An uneven ellipsoid on a grid of `SIDE` voxels, and a texture in it."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(SIDE) - (SIDE - 1) / 2) * VOXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    waves = ndimage.gaussian_filter(rng.standard_normal((SIDE,) * 3), 7)
    waves /= waves.std()
    radius = np.sqrt((z / 4.6e-3) ** 2 + (y / 3.4e-3) ** 2 + ((x - 0.1 * z) / 4.0e-3) ** 2)
    lung = radius + 0.06 * waves < 1
    texture = ndimage.gaussian_filter(rng.standard_normal((SIDE,) * 3), 2.0)
    return lung, 1 + 0.3 * texture / texture.std()


def volume(seed=0, noise=0.02):
    """Image and lung."""
    lung, texture = lung_and_texture(seed)
    rng = np.random.default_rng(seed + 100)
    data = np.where(lung, texture, 3.0) + noise * rng.standard_normal(lung.shape)
    return Image(data[None].astype(np.float32), ("attenuation",), ("1/m",), (VOXEL,) * 3), lung


def section(place, seed=0, name="one", side=8e-3):
    """The picture that a map of 9 numbers shows, on a grid of its own frame."""
    lung, texture = lung_and_texture(seed)
    count = int(side / PIXEL)
    origin = -(count - 1) / 2 * PIXEL
    axis = origin + PIXEL * np.arange(count)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    position = place[:3] + points[..., :1] * place[3:6] + points[..., 1:] * place[6:9]
    index = np.moveaxis(position / VOXEL + (SIDE - 1) / 2, -1, 0)
    inside = ndimage.map_coordinates(lung.astype(np.float32), index, order=1)
    values = ndimage.map_coordinates(texture.astype(np.float32), index, order=1, mode="nearest")
    shown = {"tissue": (0.3 * values * (inside > 0.1)).astype(np.float32)}
    return SectionView(name, inside.astype(np.float32), shown, PIXEL, (origin, origin))
