"""Insertions in raw stepping frames: counts change step by step, and stay counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.random import stream
from darklung.core.types import Scan
from darklung.insert.beam import Hardening, ViewShadow
from darklung.insert.renoise import changed_curves, local_beam
from darklung.insert.scale import Scale
from darklung.insert.shadow import Shadow, refraction


def changed_views(
    scan: Scan, shadow_in: ViewShadow, scale: Scale, seed: int, *, gain: float, whole: bool
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """(direction, view, curves) of all views that change, or of all views if `whole`; `gain` is counts per photon.

    Raises
    ------
    DarklungError
        Counts that the frames' type cannot hold.
    """
    work = [_Direction.of(scan, d, scale, gain) for d in range(len(scan.directions_rad))]
    for view in range(scan.geometry.views):
        shadow = shadow_in(view)
        for d, one in enumerate(work):
            curves = np.array(scan.frames[d, view])
            if shadow is not None:
                one.change(curves, shadow, stream(seed, "frames", d, view))
            if shadow is not None or whole:
                yield d, view, curves


@dataclass(frozen=True)
class _Direction:
    """What all views of one grating direction share."""

    number: int
    angle_rad: float
    step_phase_rad: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    fringe: NDArray[np.complex128]
    dark: NDArray[np.float64]
    good: NDArray[np.bool_]
    gain: float
    phase_per_tissue: float
    hardening: Hardening | None

    @classmethod
    def of(cls, scan: Scan, direction: int, scale: Scale, gain: float) -> _Direction:
        shape = (scan.geometry.rows, scan.geometry.cols)
        dark = np.zeros(shape)
        if scan.dark_frame is not None:
            dark = np.nan_to_num(np.asarray(scan.dark_frame, dtype=np.float64))
        good = np.ones(shape, bool) if scan.bad_pixels is None else ~np.asarray(scan.bad_pixels, dtype=bool)
        theta = np.asarray(scan.step_phase_rad[direction], dtype=np.float64)
        amplitude, fringe = _flat(scan, direction, theta, dark)
        hardening = Hardening.of(scale.instrument) if scale.instrument is not None else None
        return cls(
            direction, float(scan.directions_rad[direction]), theta, amplitude, fringe, dark, good,
            gain, scale.phase_per_tissue, hardening,
        )  # fmt: skip

    def change(self, curves: NDArray[Any], shadow: Shadow, rng: np.random.Generator) -> None:
        """Change the curves (step, row, col) of one view in place."""
        window, part = shadow.window, (slice(None), *shadow.window)
        counts = curves[part].astype(np.float64) - self.dark[window]
        fringe, good = self.fringe[window], self.good[window] & np.isfinite(counts).all(axis=0)
        beam = local_beam(
            np.where(good, counts, 0.0), self.step_phase_rad, flat_amplitude=self.amplitude[window],
            flat_visibility=np.abs(fringe), flat_phase=np.angle(fringe), usable=good,
        )  # fmt: skip
        changes = (shadow.attenuation, shadow.scattering[self.number])
        phase = refraction(shadow, self.angle_rad, per_tissue=self.phase_per_tissue)
        if self.hardening is not None:
            changes = self.hardening.changes(
                attenuation=changes[0], scattering=changes[1], transmission=beam.transmission,
                dark_field=-np.log(np.clip(np.abs(beam.ratio), 1e-6, None)),
            )  # fmt: skip
        new = changed_curves(
            np.where(good, counts, 0.0), beam, self.step_phase_rad, attenuation=changes[0], dark_field=changes[1],
            phase=phase, rng=rng, gain=self.gain,
        )  # fmt: skip
        touched = ((changes[0] != 0) | (changes[1] != 0) | (phase != 0)) & good
        curves[part] = _stored(np.where(touched, new + self.dark[window], curves[part]), curves.dtype)


def _stored(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Counts in the type of the frames."""
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    most = np.iinfo(dtype).max
    require(
        bool(values.max() <= most), f"frames: an insertion raises a pixel to {values.max():.0f} counts, {dtype} holds {most}"
    )
    return np.asarray(np.rint(np.maximum(values, np.iinfo(dtype).min)), dtype=dtype)


def _flat(
    scan: Scan, direction: int, theta: NDArray[np.float64], dark: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Amplitude and V e^{iφ} of the mean flat of a direction; slow drift since is found from the views themselves."""
    curves = np.zeros((len(theta), *dark.shape))
    count = scan.flats.shape[1]
    for flat in range(count):
        curves += np.asarray(scan.flats[direction, flat], dtype=np.float64) / count
    design = np.stack([np.ones_like(theta), np.cos(theta), -np.sin(theta)], axis=1)
    c0, real, imaginary = np.tensordot(np.linalg.pinv(design), curves - dark, axes=1)
    known = c0 > 0
    fringe = np.asarray(np.where(known, real + 1j * imaginary, 0) / np.where(known, c0, 1.0), dtype=np.complex128)
    return np.asarray(c0, dtype=np.float64), fringe
