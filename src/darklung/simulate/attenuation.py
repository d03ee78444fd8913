"""The same animal at the same dose without gratings: the honest competitor of dark-field imaging."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from darklung.core.checks import check_range
from darklung.core.random import stream
from darklung.core.types import Phantom, Projections
from darklung.physics.instrument import Instrument
from darklung.simulate.effects import Effects, Gratings
from darklung.simulate.flat import flat_maps
from darklung.simulate.powder import Scene
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import Progress, scan_geometry, view_signals


def simulate_attenuation(
    phantom: Phantom | Scene,
    *,
    instrument: Instrument,
    protocol: Protocol,
    seed: int,
    behind_sample: float = 0.5,
    noise: bool = True,
    progress: Progress | None = None,
) -> Projections:
    """An attenuation scan without gratings, at the dose of `protocol`.

    All photons of a view's steps and directions go into one exposure, and those that G2 would have stopped behind the
    animal are counted too: N = counts_per_pixel/(views · behind_sample) in each view. Flats have the same share of counts
    as in the protocol.

    Parameters
    ----------
    phantom, instrument, protocol, seed, noise, progress
        As for `darklung.simulate.scan.simulate_scan`. The protocol's views, arc and counts are used; steps and directions
        only share out its counts.
    behind_sample : float
        Transmission of what stands behind the animal in the grating scan.

    Returns
    -------
    Projections
        One nominal direction. There is no dark field: `dark_field`, `phase` and their variances are NaN, visibilities 0.
    """
    check_range("behind_sample", behind_sample, 1e-3, 1)
    phantom = phantom.phantom if isinstance(phantom, Scene) else phantom
    smooth = replace(phantom, interface_density_per_m=np.zeros_like(phantom.interface_density_per_m))
    geometry = scan_geometry(phantom, protocol)
    counts = protocol.counts_per_pixel / (protocol.views * behind_sample)
    flux = counts * flat_maps(Gratings(), directions_rad=(0.0,), rows=geometry.rows, cols=geometry.cols).flux[0]
    flats = flux * protocol.flat_count
    if noise:
        flats = np.maximum(stream(seed, "attenuation", "flats").poisson(flats), 1)
    attenuation = np.empty((1, protocol.views, geometry.rows, geometry.cols), dtype=np.float32)
    variance = np.empty_like(attenuation)
    one = replace(protocol, directions_rad=(0.0,))
    for signal in view_signals(smooth, instrument=instrument, protocol=one, effects=Effects(unresolved_refraction=False)):
        frame = flux * signal.mean
        if noise:
            # a pixel without any photon is said to have one: −ln T is then a lower limit, and flagged as invalid
            frame = stream(seed, "attenuation", signal.view).poisson(frame)
        attenuation[0, signal.view] = -np.log(np.maximum(frame, 1) * protocol.flat_count / flats)
        variance[0, signal.view] = 1 / np.maximum(frame, 1) + 1 / flats
        if progress is not None:
            progress(signal.view + 1, protocol.views)
    nothing, zero = np.full_like(attenuation, np.nan), np.zeros_like(attenuation)
    return Projections(
        attenuation=attenuation,
        dark_field=nothing,
        phase=nothing,
        attenuation_variance=variance,
        dark_field_variance=nothing,
        phase_variance=nothing,
        visibility=zero,
        flat_visibility=zero,
        valid=variance < 0.5,
        directions_rad=np.zeros(1),
        geometry=geometry,
    )
