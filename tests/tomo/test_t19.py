"""Check T19 of the physics reference: from raw Poisson frames to the contrast-to-noise ratios of a slice."""

import numpy as np
import pytest
from tomo_shapes import ellipsoid_integrals

from darklung.core.geometry import ParallelGeometry, centred_axis
from darklung.core.types import Scan
from darklung.retrieve.stepping import retrieve
from darklung.tomo.fbp import fbp, fbp_variance

PIXEL = 120e-6
COUNTS = 1e8  # detected per pixel of the flat field, all views and steps together
# 70 keV, correlation length 3 um: coefficients [1/m] of tissue, of lung, and of the lung's dark field
TISSUE, LUNG, SCATTER = 20.3, 5.1, 98.7
BODY, SIDES, NODULE = (10.5e-3, 10.5e-3), ((0.0, -4.2e-3), (0.0, 4.2e-3)), (0.0, 4.2e-3)


def scan(visibility):
    """Raw frames of five steps, and a flat without noise."""
    g = ParallelGeometry(np.arange(360) * np.pi / 360, 1, 192, PIXEL)

    def line(center, axes):
        return ellipsoid_integrals(g, (0, *center), (1e3, *axes))

    lungs = sum(line(c, (5e-3, 3.6e-3)) for c in SIDES) - line(NODULE, (0.5e-3, 0.5e-3))
    attenuation = TISSUE * line((0, 0), BODY) + (LUNG - TISSUE) * lungs
    phase = 2 * np.pi * np.arange(5) / 5
    wave = np.cos(phase)[:, None, None]
    mean = COUNTS / 360 / 5
    expected = mean * np.exp(-attenuation)[:, None] * (1 + visibility * np.exp(-SCATTER * lungs)[:, None] * wave)
    return Scan(
        frames=np.random.default_rng(19).poisson(expected)[None],
        flats=np.broadcast_to(1e9 * (1 + visibility * wave), (5, 1, 192))[None, None],  # as good as without noise
        step_phase_rad=phase[None],
        directions_rad=np.array([0.0]),
        geometry=g,
        view_time_s=np.arange(360.0)[None],
        flat_time_s=np.zeros((1, 1)),
    )


def slice_and_variances(visibility):
    seen = retrieve(scan(visibility))
    assert seen.valid.all()
    g, maps = seen.geometry, ("attenuation", "dark_field")
    flat = np.log(1e9 * 360 * 5 / COUNTS)  # the flat has more counts a view than the scan's beam
    offset = {"attenuation": flat, "dark_field": 0.0}
    return [
        (fbp(getattr(seen, n)[0] - offset[n], g)[0], fbp_variance(getattr(seen, f"{n}_variance")[0], g)[0]) for n in maps
    ]


@pytest.mark.parametrize(("visibility", "wanted"), [(0.15, (23.6, 6.1)), (0.30, (23.8, 11.9))])
def test_contrast_to_noise(visibility, wanted):
    y, x = np.meshgrid(*(centred_axis(192, PIXEL),) * 2, indexing="ij")
    from_nodule = np.hypot(y - NODULE[0], x - NODULE[1])
    nodule = from_nodule < 0.35e-3
    lung = (((y / 5e-3) ** 2 + ((np.abs(x) - 4.2e-3) / 3.6e-3) ** 2) < 0.8**2) & (from_nodule > 1e-3)
    for (image, variance), cnr in zip(slice_and_variances(visibility), wanted):
        noise = image[lung].std()
        assert abs(image[nodule].mean() - image[lung].mean()) / noise == pytest.approx(cnr, rel=0.15)
        assert np.sqrt(variance[lung].mean()) == pytest.approx(noise, rel=0.1)  # the map foretells the noise
