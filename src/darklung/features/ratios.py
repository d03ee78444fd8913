"""Channels of one voxel's own values: ratio, difference, validity, and the controls."""

from __future__ import annotations

import numpy as np

from darklung.core.checks import require
from darklung.core.random import stream
from darklung.features.layers import Layer, Place, Values

# Less attenuation than this share of the lung's median says nothing of a ratio.
LEAST_SHARE = 0.1


def ratio(upper: Layer, lower: Layer, *, place: Place) -> Layer:
    """R = upper / lower: ln D / ln T of a radiograph, ε/μ of a volume; σ² = (σ_u² + R² σ_l²) / lower².

    NaN where |lower| is below a tenth of its median in the lung. Both errors are taken to be independent.
    Wang & Stampanoni 2013, doi:10.1088/0031-9155/58/20/N281.
    """
    inside = np.abs(lower.values[place.lung & lower.known])
    least = LEAST_SHARE * float(np.median(inside)) if inside.size else np.inf
    told = np.abs(lower.values) > max(least, np.finfo(np.float64).tiny)
    under = np.where(told, lower.values, np.nan)
    found = upper.values / under
    unit = "1" if upper.unit == lower.unit else f"{upper.unit}/({lower.unit})"
    if upper.noise is None or lower.noise is None:
        return Layer(found, unit)
    return Layer(found, unit, np.sqrt(upper.noise**2 + found**2 * lower.noise**2) / np.abs(under))


def difference(first: Layer, second: Layer, *, place: Place) -> Layer:
    """first − second, such as the dark fields of two grating directions; σ² = σ_1² + σ_2²."""
    require(first.unit == second.unit, f"difference: wanted two channels of one unit, got {first.unit} and {second.unit}")
    return Layer(first.values - second.values, first.unit, _joined(first.noise, second.noise))


def valid(layer: Layer, *, place: Place) -> Layer:
    """1 where a channel has a value (and a standard error, if it tells any) inside lung and search region, else 0."""
    known = layer.known if layer.noise is None else layer.known & np.isfinite(layer.noise)
    return Layer((known & place.inside).astype(np.float64))


def copy(layer: Layer, *, place: Place) -> Layer:
    """The same again: a control for the number of channels."""
    return layer


def control(layer: Layer, *, place: Place) -> Layer:
    """White noise of the mean and standard deviation of a channel: a control that says nothing of the animal."""
    noise = stream(place.seed, "noise channel").standard_normal(layer.values.shape)
    return Layer(np.nanmean(layer.values) + np.nanstd(layer.values) * noise, layer.unit)


def _joined(first: Values | None, second: Values | None) -> Values | None:
    return None if first is None or second is None else np.hypot(first, second)
