"""Texture as a channel: ``texture(dark_field, entropy, 5)``."""

from __future__ import annotations

import numpy as np

from darklung.features.layers import Layer, Place
from darklung.features.texture import check_options, texture_map
from darklung.features.texture_names import texture_feature


def texture(layer: Layer, feature: str, window: int, levels: int = 16, *, place: Place) -> Layer:
    """`darklung.features.texture.texture_map` of a channel inside lung and search region, directions merged.

    Parameters
    ----------
    layer : Layer
    feature : str
        Key of `darklung.features.texture_names.TEXTURES`.
    window : int
        Edge of the cube or square [voxels], odd.
    levels : int
        Grey levels between the 0.5 and 99.5 percentiles of the subject's own values.
    place : Place
    """
    found = texture_map(layer.values, place.inside, feature=feature, window=window, levels=levels)
    return Layer(found.astype(np.float64), texture_unit((layer.unit,), feature, window, levels))


def texture_unit(units: tuple[str, ...], feature: str, window: int, levels: int = 16) -> str:
    """The unit of such a channel: of values and their spread the channel's own, of what is squared its square, else 1.

    Raises
    ------
    DarklungError
        An unknown feature, or a window or number of levels out of bounds.
    """
    check_options(window, levels)
    kind, unit = texture_feature(feature).unit, units[0]
    if kind == "1" or unit == "1":
        return "1"
    return unit if kind == "value" else f"({unit})²"
