"""The forward model against analytic truth: null, weak limit, hardening, directions, counts, determinism."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry
from darklung.core.types import Phantom, Scan
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import ellipsoidal, shape_tensor, two_phase
from darklung.simulate.effects import Effects
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.fdk import fdk

Maker = Callable[..., Phantom]
TWO_VIEWS = Protocol(views=2, flats=1, flat_repeats=1, counts_per_pixel=2e6)
LINE = make_instrument(low_kev=70.0, high_kev=70.0)
LUNG_DELTA = float(delta("soft_tissue", 1.05, 70.0))


RESOLVED = Effects(unresolved_refraction=False)


def expected(
    phantom: Phantom, protocol: Protocol = TWO_VIEWS, instrument: Instrument = LINE, effects: Effects | None = None
) -> Scan:
    return simulate_scan(phantom, instrument=instrument, protocol=protocol, seed=1, noise=False, effects=effects)


def retrieved(scan: Scan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """−ln T, −ln D and phase by the first Fourier harmonic, each (direction, view, row, col)."""
    basis = np.exp(-1j * scan.step_phase_rad[0])

    def split(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        curve = np.asarray(frames, dtype=np.float64)
        return curve.mean(axis=2), 2 * np.einsum("dfkrc,k->dfrc", curve, basis) / scan.step_phase_rad.shape[1]

    mean, fringe = split(scan.frames)
    flat_mean, flat_fringe = (a.mean(axis=1, keepdims=True) for a in split(scan.flats))
    ratio = (fringe / mean) / (flat_fringe / flat_mean)
    return -np.log(mean / flat_mean), -np.log(np.abs(ratio)), np.angle(ratio)


def test_no_sample_is_the_flat(scene: Maker) -> None:
    scan = expected(scene(density=0.0))
    assert_allclose(scan.frames[:, 0], scan.flats[:, 0], rtol=1e-6)
    assert_allclose(scan.frames.mean(axis=(1, 2, 3, 4)), TWO_VIEWS.frame_counts, rtol=1e-6)


def test_flats_have_the_instruments_visibility_and_a_moire_carrier(scene: Maker) -> None:
    scan = expected(scene(density=0.0))
    fringe = 2 * np.einsum("dfkrc,k->dfrc", scan.flats.astype(float), np.exp(-1j * scan.step_phase_rad[0])) / 5
    visibility = np.abs(fringe) / scan.flats.mean(axis=2)
    assert_allclose(visibility.mean(), LINE.flat_visibility, rtol=1e-6)
    assert 0.01 < visibility.std() / visibility.mean() < 0.1
    assert np.ptp(np.unwrap(np.angle(fringe[1, 0, 4]))) > 2 * np.pi


def test_attenuation_is_beer_lambert(scene: Maker) -> None:
    attenuation, _, _ = retrieved(expected(scene(density=1.06)))
    thickness = scene(density=1.06).density[0, 0, :, 24].sum() / 1.06 * 120e-6
    mu = linear_attenuation("soft_tissue", 1.06, 70.0)
    assert_allclose(attenuation[:, 0, :, 24], mu * thickness, rtol=1e-4)


def test_one_line_without_structure_gives_no_dark_field(scene: Maker) -> None:
    _, dark_field, _ = retrieved(expected(scene(tissue_fraction=0.0), effects=RESOLVED))
    assert_allclose(dark_field, 0, atol=2e-6)


@pytest.mark.parametrize(("design_kev", "sign"), [(50.0, 1), (90.0, -1)])
def test_hardening_has_the_predicted_sign(scene: Maker, design_kev: float, sign: int) -> None:
    # Hard photons survive: where V(E) falls with energy (design energy at the lower edge), visibility is lost.
    instrument = make_instrument(low_kev=50, high_kev=90, bins=12, design_energy_kev=design_kev, flat_visibility=0.1)
    phantom = scene(density=1.06)
    attenuation, dark_field, _ = retrieved(expected(phantom, instrument=instrument))
    assert (sign * dark_field[:, :, :, 24] > 1e-3).all()
    e, w, v = instrument.energies_kev, instrument.weights, instrument.visibility
    left = np.exp(-linear_attenuation("soft_tissue", 1.0, e) * phantom.density[0, 0, :, 24].sum() * 120e-6)
    assert_allclose(attenuation[:, 0, 0, 24], -np.log((w * left).sum()), rtol=1e-4)
    truth = -np.log((w * v * left).sum() / (w * v).sum() / (w * left).sum())
    assert_allclose(dark_field[:, 0, :, 24], truth, atol=3e-5)


def test_dark_field_of_lung_is_the_closed_form_and_doubles(scene: Maker) -> None:
    results = []
    for radius in (0.7e-3, 1.4e-3):
        phantom = scene(tissue_fraction=0.3, lung_radius_m=radius)
        _, dark_field, _ = retrieved(expected(phantom))
        thickness = (phantom.lobes[0, :, 24] > 0).sum() * 120e-6
        epsilon = two_phase(0.3, 8.02e4, LUNG_DELTA, 70.0, 3e-6)
        assert_allclose(dark_field[:, 0, 1:-1, 24], epsilon * thickness, rtol=2e-4)
        results.append(dark_field[0, 0, 4, 24] / thickness)
    assert_allclose(results[1], results[0], rtol=2e-4)


def test_elongated_pores_scatter_by_direction(scene: Maker) -> None:
    # At θ = 0 the beam runs along +y; α = 0 is sensitive along z, α = 90° along x.
    phantom = scene(tissue_fraction=0.3, aspect=1.5, axis=(1.0, 0.0, 0.0))
    _, dark_field, _ = retrieved(expected(phantom))
    b = shape_tensor(4 * 0.3 * 0.7 / 8.02e4, 1.5, [1.0, 0, 0])
    thickness = (phantom.lobes[0, :, 24] > 0).sum() * 120e-6
    for d, u in enumerate(([1.0, 0, 0], [0.0, 0, 1])):
        epsilon = ellipsoidal(b, 0.3, LUNG_DELTA, 70.0, 3e-6, [0.0, 1, 0], u)
        assert_allclose(dark_field[d, 0, 4, 24], epsilon * thickness, rtol=2e-4)
    assert dark_field[1, 0, 4, 24] > 1.2 * dark_field[0, 0, 4, 24]


def test_turning_the_scene_swaps_directions(scene: Maker) -> None:
    # A cube of pores along z, and the same turned by 90° about the beam (y): pores along x, rows and columns exchanged.
    def turned(axis: tuple[float, float, float]) -> np.ndarray:
        one = scene(shape=(24, 24, 24), tissue_fraction=0.3, aspect=1.6, axis=axis, radius_m=1e-2, lung_radius_m=1e-2)
        inner = np.zeros((24, 24, 24), np.float32)
        inner[8:16, 8:16, 6:18] = 1
        inner = inner if axis[0] else inner.transpose(2, 1, 0)
        one = replace(one, density=one.density * inner, interface_density_per_m=one.interface_density_per_m * inner)
        return retrieved(expected(one, Protocol(views=1, flats=1)))[1][:, 0]

    upright, lying = turned((1.0, 0.0, 0.0)), turned((0.0, 0.0, 1.0))
    assert upright[0].max() > 0.02
    assert_allclose(lying, upright[::-1].transpose(0, 2, 1), atol=1e-5)


def test_turning_the_mouse_by_90_degrees_shifts_the_views(scene: Maker) -> None:
    phantom = scene(tissue_fraction=0.3, aspect=1.5, axis=(0.0, 0.0, 1.0))
    across = scene(tissue_fraction=0.3, aspect=1.5, axis=(0.0, 1.0, 0.0))
    quarter = Protocol(views=2, arc_rad=np.pi, flats=1, flat_repeats=1)
    first, second = retrieved(expected(phantom, quarter))[1], retrieved(expected(across, quarter))[1]
    assert_allclose(first[:, 0], second[:, 1], atol=1e-5)
    assert np.abs(first[:, 0] - first[:, 1]).max() > 0.01


def test_phase_is_the_derivative_of_the_path(scene: Maker) -> None:
    phantom = scene(density=1.0, radius_m=2.4e-3)
    _, _, phase = retrieved(expected(phantom, effects=RESOLVED))
    path = delta("soft_tissue", 1.0, 70.0) * phantom.density[0, 4].sum(axis=0) * 120e-6
    assert_allclose(phase[1, 0, 4], LINE.phase_per_radian * np.gradient(path, 120e-6), atol=2e-5)
    assert_allclose(phase[0, 0, 4], 0, atol=2e-5)
    # The path grows with x on the left side: positive phase there, negative on the right
    assert phase[1, 0, 4, 8] > 0 > phase[1, 0, 4, 39]


def test_refraction_between_fine_pixels_lowers_visibility(scene: Maker) -> None:
    phantom = scene(shape=(8, 48, 48), density=6.0)
    coarse = replace(TWO_VIEWS, supersampling=4)
    _, dark_field, _ = retrieved(expected(phantom, coarse, effects=RESOLVED))
    edge, middle = dark_field[1, 0].max(), dark_field[1, 0, 0, 5]
    assert edge > 0.02
    assert edge > 3 * middle
    assert_allclose(retrieved(expected(phantom, effects=RESOLVED))[1], 0, atol=1e-4)


def test_binning_conserves_counts(scene: Maker) -> None:
    phantom = scene(tissue_fraction=0.3)
    fine, coarse = expected(phantom), expected(phantom, replace(TWO_VIEWS, supersampling=2))
    empty = scene(density=0.0)
    ratio = []
    for scan, protocol in ((fine, TWO_VIEWS), (coarse, replace(TWO_VIEWS, supersampling=2))):
        open_beam = expected(empty, protocol).frames.mean(axis=2)
        ratio.append(scan.frames.mean(axis=2) / open_beam)
    binned = ratio[0].reshape(2, 2, 4, 2, 24, 2).mean(axis=(3, 5))
    assert_allclose(ratio[1], binned, rtol=1e-5)


def test_energy_interpolation_of_scattering(scene: Maker) -> None:
    for options, tolerance in (
        ({"bins": 9}, 1e-5),
        ({"spectrum": "tube", "low_kev": 25, "high_kev": 100, "bins": 12, "design_energy_kev": 45.0}, 1e-4),
    ):
        instrument = make_instrument(flat_visibility=0.1, **options)
        phantom = scene(tissue_fraction=0.3, lung_radius_m=2e-3)
        _, dark_field, _ = retrieved(expected(phantom, instrument=instrument))
        e, w, v = instrument.energies_kev, instrument.weights, instrument.visibility
        lung = (phantom.lobes[0, :, 24] > 0).sum() * 120e-6
        left = np.exp(-linear_attenuation("soft_tissue", 1.0, e) * phantom.density[0, 0, :, 24].sum() * 120e-6)
        epsilon = two_phase(0.3, 8.02e4, delta("soft_tissue", 1.05, e), e, instrument.correlation_length_m)
        truth = -np.log((w * v * left * np.exp(-epsilon * lung)).sum() / (w * v).sum() / (w * left).sum())
        assert truth > 0.1
        assert_allclose(dark_field[:, 0, 4, 24], truth, rtol=tolerance)


def test_noise_is_poisson(scene: Maker) -> None:
    protocol = replace(TWO_VIEWS, flat_repeats=8)
    phantom = scene(shape=(32, 48, 48), tissue_fraction=0.3)
    drawn = simulate_scan(phantom, instrument=LINE, protocol=protocol, seed=5)
    mean = expected(phantom, protocol)
    pull = (drawn.frames - mean.frames) / np.sqrt(mean.frames)
    assert_allclose([pull.mean(), pull.std()], [0, 1], atol=0.02)
    flat_pull = (drawn.flats - mean.flats) / np.sqrt(mean.flats)
    assert_allclose([flat_pull.mean(), flat_pull.std()], [0, 1], atol=0.02)


def test_same_seed_same_frames(scene: Maker) -> None:
    phantom = scene(tissue_fraction=0.3)
    one, two, other = (simulate_scan(phantom, instrument=LINE, protocol=TWO_VIEWS, seed=s) for s in (1, 1, 2))
    assert_array_equal(one.frames, two.frames)
    assert_array_equal(one.flats, two.flats)
    assert (one.frames != other.frames).mean() > 0.9


def test_counts_choose_the_type_and_progress_is_told(scene: Maker) -> None:
    phantom = scene(shape=(2, 8, 8))
    told = []
    bright = simulate_scan(
        phantom,
        instrument=LINE,
        protocol=replace(TWO_VIEWS, counts_per_pixel=2e7),
        seed=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert bright.frames.dtype == np.uint32
    assert simulate_scan(phantom, instrument=LINE, protocol=TWO_VIEWS, seed=1).frames.dtype == np.uint32
    dim = simulate_scan(phantom, instrument=LINE, protocol=replace(TWO_VIEWS, counts_per_pixel=1e5), seed=1)
    assert dim.frames.dtype == np.uint16
    assert told == [(1, 2), (2, 2)]


def test_doors(scene: Maker) -> None:
    with pytest.raises(DarklungError, match="phantom materials: 'gold'"):
        expected(replace(scene(), materials=("gold",)))
    with pytest.raises(DarklungError, match="multiple of supersampling = 3"):
        expected(scene(), replace(TWO_VIEWS, supersampling=3))
    negative = scene()
    with pytest.raises(DarklungError, match="phantom density: wanted 0 to 30, got -1"):
        expected(replace(negative, density=-negative.density))
    with pytest.raises(DarklungError, match="phantom tissue_fraction"):
        expected(replace(negative, tissue_fraction=negative.tissue_fraction * np.nan))


def test_a_far_source_is_a_parallel_beam(scene: Maker) -> None:
    phantom = scene(tissue_fraction=0.3, aspect=1.4)
    parallel, far = (
        expected(phantom, replace(TWO_VIEWS, arc_rad=np.pi, source_axis_m=distance)) for distance in (np.inf, 1e4)
    )
    assert isinstance(far.geometry, ConeGeometry)
    for one, other in zip(retrieved(parallel), retrieved(far)):
        # the two projectors share out a voxel's shadow alike
        assert_allclose(other, one, atol=2e-3 * np.abs(one).max())


def test_a_near_source_magnifies_what_is_near_and_keeps_line_integrals(scene: Maker) -> None:
    phantom = scene(shape=(8, 64, 64), radius_m=2.4e-3, tissue_fraction=0.3, lung_radius_m=1.0e-3)
    phantom = replace(
        phantom,
        **{name: np.roll(getattr(phantom, name), -14, axis=1) for name in ("tissue_fraction", "interface_density_per_m")},
        density=np.roll(phantom.density, -14, axis=2),
    )  # towards the source at θ = 0
    near = retrieved(expected(phantom, replace(TWO_VIEWS, source_axis_m=20e-3)))
    parallel = retrieved(expected(phantom))
    width = [float((one[0][0, 0, 4] > 0.02).sum()) for one in (parallel, near)]
    assert_allclose(width[1] / width[0], 20 / (20 - 14 * 0.12), atol=0.06)
    for signal in (0, 1):
        assert_allclose(near[signal][0, 0, 4].max(), parallel[signal][0, 0, 4].max(), rtol=0.03)


def test_projections_of_a_cone_beam_are_reconstructed_to_the_lungs_coefficient(scene: Maker) -> None:
    phantom = scene(shape=(8, 48, 48), tissue_fraction=0.3)
    full = Protocol(views=90, arc_rad=2 * np.pi, directions_rad=(0.0,), flats=1, flat_repeats=1, source_axis_m=60e-3)
    scan = expected(phantom, full)
    assert isinstance(scan.geometry, ConeGeometry)
    volume = fdk(
        retrieved(scan)[1][0].astype(np.float32), scan.geometry, shape=phantom.tissue_fraction.shape, voxel_m=120e-6
    )
    epsilon = float(two_phase(0.3, 8.02e4, LUNG_DELTA, 70.0, 3e-6))
    middle = volume[4, 20:28, 20:28]
    assert_allclose(middle.mean(), epsilon, rtol=0.03)
