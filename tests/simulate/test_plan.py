"""The plan against the printed contrast of a 1 mm nodule and against a noisy simulation."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from darklung.core.types import Phantom
from darklung.physics.instrument import make_instrument
from darklung.physics.lung import HEALTHY, LESIONS, Medium
from darklung.simulate import plan as planning
from darklung.simulate.advice import table
from darklung.simulate.plan import ScanPlan, plan_scan
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.fbp import fbp

PROTOCOL = Protocol(views=120, counts_per_pixel=1.5e7, flats=6, flat_repeats=4)


@pytest.fixture(scope="module")
def default() -> ScanPlan:
    return plan_scan(instrument=make_instrument(), protocol=PROTOCOL)


@pytest.mark.parametrize(("visibility", "attenuation", "dark_field"), [(0.15, 23.6, 6.1), (0.30, 23.8, 11.9)])
def test_t19_contrast_of_a_solid_nodule_is_the_printed_one(visibility: float, attenuation: float, dark_field: float) -> None:
    # T19: 70 keV, ξ = 3 µm, 1e8 counts in the whole scan, noise-free flat
    protocol = Protocol(views=120, directions_rad=(0.0,), counts_per_pixel=1e8, flat_repeats=1000, time_limit_s=1e9)
    line = make_instrument(low_kev=70, high_kev=70, flat_visibility=visibility)
    solid = plan_scan(instrument=line, protocol=protocol, lung=Medium(0.3, 8.02e4)).lesions[0]
    assert_allclose([solid.ct_attenuation, solid.ct_dark_field], [attenuation, dark_field], rtol=0.15)


def test_plan_agrees_with_a_full_simulation(default: ScanPlan) -> None:
    pixel_m, rows = 120e-6, 10
    # Slices of two mice in turn, with and without nodule, far enough apart in noise but not in space: α = 90° only
    protocol = replace(PROTOCOL, directions_rad=(np.pi / 2,), counts_per_pixel=PROTOCOL.counts_per_pixel / 2)
    images = []
    for nodule in (HEALTHY, LESIONS["solid"].medium(HEALTHY)):
        scan = simulate_scan(
            stack(planning.mouse_slice(pixel_m, HEALTHY, nodule), rows),
            instrument=make_instrument(),
            protocol=protocol,
            seed=4,
        )
        basis = np.exp(-1j * scan.step_phase_rad[0])
        frames, flats = scan.frames[0].astype(float), scan.flats[0].astype(float).mean(axis=0)
        fringe = np.abs(np.einsum("fkrc,k->frc", frames, basis)) / frames.sum(axis=1)
        flat_fringe = np.abs(np.einsum("krc,k->rc", flats, basis)) / flats.sum(axis=0)
        pair = (-np.log(frames.sum(axis=1) / flats.sum(axis=0)), -np.log(fringe / flat_fringe))
        images.append([fbp(p.astype(np.float32), scan.geometry) for p in pair])
    lung = planning.lung_core(replace(scan.geometry, rows=1))
    axis = (np.arange(scan.geometry.cols) - (scan.geometry.cols - 1) / 2) * pixel_m
    inside = np.hypot(axis[None, :] - 4.2e-3, axis[:, None]) < 0.35e-3
    solid = default.lesions[0]
    for channel, expected in ((0, solid.ct_attenuation), (1, solid.ct_dark_field)):
        healthy, ill = images[0][channel], images[1][channel]
        noise = healthy.std(axis=0, ddof=1)[lung]
        contrast = abs(ill.mean(axis=0)[inside].mean() - healthy.mean(axis=0)[inside].mean())
        # the plan holds two directions, so half the variance
        measured = contrast / np.sqrt((noise**2).mean() / 2)
        assert_allclose(measured, expected, rtol=0.10)


def stack(one: Phantom, rows: int) -> Phantom:
    """The same slice many times."""
    fields = ("tissue_fraction", "interface_density_per_m", "aspect", "lobes", "instances")
    tiled = {name: np.repeat(getattr(one, name), rows, axis=0) for name in fields}
    return replace(one, density=np.repeat(one.density, rows, axis=1), axis=np.repeat(one.axis, rows, axis=1), **tiled)


def test_expectations_stated_in_advance(default: ScanPlan) -> None:
    # Photon noise alone: attenuation at least as good as dark field for solid nodules in CT, and both fall with the class
    for quantity in ("ct_attenuation", "ct_dark_field", "radiograph_attenuation", "radiograph_dark_field"):
        values = [getattr(lesion, quantity) for lesion in default.lesions]
        assert values == sorted(values, reverse=True)
    assert default.lesions[0].ct_attenuation > default.lesions[0].ct_dark_field


def test_more_counts_and_more_visibility_help(default: ScanPlan) -> None:
    more = plan_scan(instrument=make_instrument(flat_visibility=0.3), protocol=replace(PROTOCOL, counts_per_pixel=6e7))
    assert_allclose(more.dose_gy, 4 * default.dose_gy)
    assert_allclose(more.lesions[0].ct_attenuation, 2 * default.lesions[0].ct_attenuation, rtol=1e-3)
    assert more.lesions[0].ct_dark_field > 3.9 * default.lesions[0].ct_dark_field
    assert_allclose(more.least_strength, 16 * default.least_strength, rtol=0.02)


def test_table_tells_time_dose_and_lesions(default: ScanPlan) -> None:
    text = table(default)
    assert f"{default.total_time_s:.0f} s of 1500 s (fits)" in text
    assert "mGy" in text
    assert all(name in text for name in LESIONS)
    assert_allclose(default.view_time_s + default.flat_time_s, default.total_time_s)


def test_radiograph_has_no_ct(default: ScanPlan) -> None:
    one = plan_scan(instrument=make_instrument(), protocol=Protocol(views=1, counts_per_pixel=1e5))
    assert np.isnan(one.lesions[0].ct_attenuation)
    assert "–" in table(one)
    assert one.lesions[0].radiograph_attenuation > 0
