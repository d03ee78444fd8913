"""Small stepping scans whose truth is known."""

from __future__ import annotations

import numpy as np

from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Scan


def equidistant(steps: int) -> np.ndarray:
    return 2 * np.pi * np.arange(steps) / steps


def curves(theta, amplitude, visibility, phase):
    """Expected counts (step, ...) for parameters of any shape."""
    shape = np.broadcast(amplitude, visibility, phase).shape
    theta = np.asarray(theta).reshape(-1, *([1] * len(shape)))
    return amplitude * (1 + visibility * np.cos(theta + phase))


def make_scan(frames, flats, theta, *, view_time_s=None, flat_time_s=None, **other) -> Scan:
    """frames (view, step, row, col), flats (flat, step, row, col), one direction."""
    views, _, rows, cols = frames.shape
    return Scan(
        frames=frames[None],
        flats=flats[None],
        step_phase_rad=np.asarray(theta)[None],
        directions_rad=np.array([np.pi / 2]),
        geometry=ParallelGeometry(np.zeros(views), rows, cols, 1e-4),
        view_time_s=np.zeros((1, views)) if view_time_s is None else np.asarray(view_time_s, dtype=float)[None],
        flat_time_s=np.zeros((1, len(flats))) if flat_time_s is None else np.asarray(flat_time_s, dtype=float)[None],
        **other,
    )


def noisy_scan(*, counts, visibility, dark_field=0.0, phase=1.0, theta, pixels, flat_factor=None, seed=0) -> Scan:
    """One view, one row, `counts` per curve; the flat is exact with 1e6 times that, or noisy with `flat_factor` times."""
    rng = stream(seed, "noisy scan", str(counts), str(visibility))
    background = rng.uniform(-np.pi, np.pi, pixels)
    amplitude = counts / len(theta)
    sample = rng.poisson(curves(theta, amplitude, visibility * np.exp(-dark_field), background + phase))
    flat = curves(theta, amplitude * (flat_factor or 1e6), visibility, background)
    flat = rng.poisson(flat) if flat_factor else flat
    return make_scan(sample[None, :, None, :], flat[None, :, None, :], theta)
