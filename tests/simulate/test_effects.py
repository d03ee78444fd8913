"""Every effect by itself does what it says, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from darklung.core.checks import DarklungError
from darklung.core.types import Phantom, Scan
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import delta
from darklung.physics.scattering import two_phase
from darklung.simulate.effects import Detector, Effects, FlatMaps, Gratings, Stability
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan, view_signals

Maker = Callable[..., Phantom]
PROTOCOL = Protocol(views=2, flats=2, flat_repeats=1, counts_per_pixel=2e6)
LINE = make_instrument(low_kev=70.0, high_kev=70.0)


def scan(phantom: Phantom, effects: Effects | None, *, noise: bool = True, protocol: Protocol = PROTOCOL) -> Scan:
    return simulate_scan(phantom, instrument=LINE, protocol=protocol, seed=3, effects=effects, noise=noise)


def flawed(phantom: Phantom, **flaws: float) -> Scan:
    return scan(phantom, Effects(detector=Detector(**flaws)))


@pytest.fixture
def mouse(scene: Maker) -> Phantom:
    return scene(shape=(16, 48, 48), tissue_fraction=0.3)


def test_no_effect_changes_nothing(mouse: Phantom) -> None:
    plain = scan(mouse, None)
    assert_array_equal(plain.frames, scan(mouse, Effects()).frames)
    assert plain.dark_frame is None
    assert plain.bad_pixels is None


def test_scatter_makes_false_dark_field(scene: Maker) -> None:
    slab = scene(shape=(8, 48, 48), radius_m=1.0)  # fills the volume
    clean = scan(slab, None, noise=False)
    foggy = scan(slab, Effects(scatter_to_primary=0.03), noise=False)
    basis = np.exp(-1j * clean.step_phase_rad[0])

    def visibility(one: Scan) -> np.ndarray:
        return np.abs(np.einsum("dfkrc,k->dfrc", one.frames.astype(float), basis)) / one.frames.sum(axis=2)

    lost = -np.log(visibility(foggy) / visibility(clean))
    assert_allclose(lost[:, 0].mean(), 0.03, rtol=0.03)
    assert_allclose(foggy.flats, clean.flats)
    empty = scene(density=0.0)
    assert_allclose(scan(empty, Effects(scatter_to_primary=0.03), noise=False).frames, scan(empty, None, noise=False).frames)


def test_blur_spreads_and_keeps_the_sum(mouse: Phantom) -> None:
    sharp = scan(mouse, None, noise=False).frames
    soft = scan(mouse, Effects(detector=Detector(blur_m=120e-6)), noise=False).frames
    assert_allclose(soft.sum(axis=(3, 4)), sharp.sum(axis=(3, 4)), rtol=1e-3)
    mean = [f.mean(axis=2)[0, 0, 8] for f in (sharp, soft)]
    assert np.abs(np.diff(mean[1])).max() < 0.8 * np.abs(np.diff(mean[0])).max()


def test_charge_sharing_correlates_neighbours(scene: Maker) -> None:
    empty = scene(shape=(64, 64, 64), density=0.0)
    shared = flawed(empty, charge_sharing=0.2).flats.astype(float)
    clean = scan(empty, None, noise=False).flats
    assert_allclose(shared.mean() / clean.mean(), 1.2, rtol=1e-3)
    expected = scan(empty, Effects(detector=Detector(charge_sharing=0.2)), noise=False).flats
    noise = (shared - expected) / np.sqrt(clean)
    # var = 1 + p; covariance with one neighbour = 2 p/4
    assert_allclose(noise[..., 1:-1, 1:-1].var(), 1.2, rtol=0.03)
    assert_allclose((noise[..., 1:] * noise[..., :-1])[..., 1:-1, 1:-1].mean(), 0.1, atol=0.01)


def test_dark_frame_is_added_and_known(mouse: Phantom) -> None:
    plain, offset = scan(mouse, None), flawed(mouse, dark_counts=500.0)
    assert offset.dark_frame is not None
    assert_array_equal(offset.frames - plain.frames.astype(float), np.broadcast_to(offset.dark_frame, plain.frames.shape))
    assert 0.03 < offset.dark_frame.std() / 500 < 0.1


def test_electronic_noise_adds_its_variance(mouse: Phantom) -> None:
    quiet, noisy = flawed(mouse, dark_counts=500.0), flawed(mouse, dark_counts=500.0, electronic_noise_counts=40.0)
    extra = noisy.frames.astype(float) - quiet.frames
    assert_allclose([extra.mean() / 40, extra.std()], [0, 40], rtol=0.02, atol=0.02)


def test_bad_pixels_are_marked(mouse: Phantom) -> None:
    broken = flawed(mouse, bad_pixels=0.05)
    bad = broken.bad_pixels
    assert bad is not None
    assert 0.02 < bad.mean() < 0.09
    assert np.ptp(broken.frames[..., bad], axis=(0, 1, 2)).max() == 0
    assert_array_equal(broken.frames[..., ~bad], scan(mouse, None).frames[..., ~bad])


def test_ring_gain_stays_through_the_views(scene: Maker) -> None:
    ringed = scan(scene(density=0.0), Effects(detector=Detector(ring_gain=0.02)), noise=False)
    ratio = ringed.frames.mean(axis=2) / ringed.flats.mean(axis=2)
    assert_allclose(ratio[0, 0], ratio[1, 1], rtol=1e-5)
    assert_allclose(ratio.std(), 0.02, rtol=0.15)


def test_saturation_limits_the_frames(mouse: Phantom) -> None:
    level = PROTOCOL.frame_counts
    assert scan(mouse, None).frames.max() > level
    assert flawed(mouse, saturation_counts=level).frames.max() == np.rint(level)


def first_harmonic(curves: np.ndarray) -> np.ndarray:
    """Phase of the mean over pixels of each stepping curve (..., step, row, col) relative to the first."""
    theta = 2 * np.pi * np.arange(curves.shape[-3]) / curves.shape[-3]
    fringe = np.einsum("...krc,k->...rc", curves.astype(float), np.exp(-1j * theta))
    return np.angle((fringe / fringe[:, :1]).mean(axis=(-2, -1)))


def test_dose_jitter_and_step_errors(scene: Maker) -> None:
    empty = scene(density=0.0)
    many = replace(PROTOCOL, flat_repeats=20)
    jitter = scan(empty, Effects(stability=Stability(dose_jitter=0.05)), protocol=many).flats
    plain = scan(empty, None, protocol=many).flats
    spread = [one.mean(axis=(3, 4)).std(axis=1).mean() / one.mean() for one in (plain, jitter)]
    assert spread[0] < 2e-3
    assert_allclose(spread[1], 0.05, rtol=0.15)
    stepped = scan(empty, Effects(stability=Stability(step_error_rad=0.1)), protocol=many).flats
    # Five independent errors of 0.1 rad move the fitted phase by 0.1 sqrt(1/5), times about 1
    assert 0.02 < first_harmonic(stepped).std() < 0.1
    assert first_harmonic(plain).std() < 0.01


def test_drift_is_seen_between_flats(scene: Maker) -> None:
    one = replace(PROTOCOL, directions_rad=(0.0,))
    drifts = Stability(phase_drift_rad=0.8, visibility_drift=-0.2, flux_drift=0.1)
    drifted = scan(scene(density=0.0), Effects(stability=drifts), noise=False, protocol=one)
    part = drifted.flat_time_s[0] / one.total_time_s
    part = part + 0.08 * np.sin(6 * np.pi * part)
    assert_allclose(first_harmonic(drifted.flats)[0], 0.8 * (part - part[0]), atol=1e-4)
    flux = drifted.flats.mean(axis=(2, 3, 4))[0]
    assert_allclose(flux / flux[0], (1 + 0.1 * part) / (1 + 0.1 * part[0]), rtol=1e-5)
    theta = one.step_phase_rad[0]
    strength = np.abs(np.einsum("fkrc,k->frc", drifted.flats[0].astype(float), np.exp(-1j * theta))).mean(axis=(1, 2)) / flux
    assert_allclose(strength / strength[0], (1 - 0.2 * part) / (1 - 0.2 * part[0]), rtol=1e-4)


@pytest.mark.parametrize("angle_rad", [0.0, np.pi / 2])
def test_stripes_move_across_themselves(scene: Maker, angle_rad: float) -> None:
    """The same profile in every flat, shifted by the drift; its standard deviation is the one asked for."""
    empty = scene(shape=(64, 64, 64), tissue_fraction=0.0)
    stable = Stability(stripes=0.1, stripe_width_m=8 * empty.voxel_m, stripe_angle_rad=angle_rad)
    plain, still, moving = (
        scan(empty, Effects(stability=s, gratings=Gratings(0, 0, 0)), noise=False)
        for s in (Stability(), stable, replace(stable, stripe_drift_m=4 * empty.voxel_m))
    )
    ratio = still.flats[0].sum(axis=1) / plain.flats[0].sum(axis=1)
    assert_allclose(ratio[0], ratio[-1], rtol=1e-6)
    assert ratio[0].std() == pytest.approx(0.1, rel=0.03)
    part = moving.flat_time_s[0, -1] / PROTOCOL.total_time_s
    moved = 4 * (part + 0.08 * np.sin(6 * np.pi * part))
    axis = int(angle_rad > 0)
    last = np.moveaxis(moving.flats[0, -1].sum(axis=0) / plain.flats[0, -1].sum(axis=0), axis, 0)[:, 5]
    profile, at = np.moveaxis(ratio[0], axis, 0)[:, 5], np.arange(64)
    between = at[8:56]
    assert_allclose(last[between], np.interp(between + (moved if axis else -moved), at, profile), atol=0.01)
    assert np.abs(last - profile).max() > 0.08


def test_breathing_moves_the_shadow_in_views_only(scene: Maker) -> None:
    bright = replace(PROTOCOL, counts_per_pixel=2e9, views=20, directions_rad=(np.pi / 2,))
    still = scene(shape=(32, 48, 48))
    density = still.density.copy()
    density[:, :16] *= 0.5  # an edge across z
    still = replace(still, density=density)
    moving = scan(still, Effects(breathing_m=480e-6), protocol=bright)
    resting = scan(still, None, protocol=bright)
    assert_array_equal(moving.flats, resting.flats)
    seen, rest = ((one.frames[0] / one.flats[0, 0])[..., 24] for one in (moving, resting))  # (view, step, row)
    rows = (seen - rest).sum(axis=-1) / np.ptp(rest, axis=-1)
    assert_allclose(rows[rows < 0], 0, atol=0.1)
    assert 3 < rows.max() < 4.3
    assert np.median(rows) < 1.5


def test_a_gate_keeps_the_animal_at_rest(scene: Maker) -> None:
    bright = replace(PROTOCOL, counts_per_pixel=2e9, views=20, directions_rad=(np.pi / 2,))
    still = scene(shape=(32, 48, 48))
    density = still.density.copy()
    density[:, :16] *= 0.5
    still = replace(still, density=density)
    resting = scan(still, None, protocol=bright)

    def moved(gate: float) -> float:
        gated = scan(still, Effects(breathing_m=480e-6, gate=gate), protocol=bright)
        seen, rest = ((one.frames[0] / one.flats[0, 0])[..., 24] for one in (gated, resting))
        return float(((seen - rest).sum(axis=-1) / np.ptp(rest, axis=-1)).max())

    assert 3 < moved(0.999) < 4.3
    # sin⁶(π/4) = 1/8 of 4 pixels at the ends of half the breath
    assert 0.2 < moved(0.5) < 0.6
    assert abs(moved(0.2)) < 0.1


def test_unresolved_refraction_is_what_finer_voxels_resolve(scene: Maker) -> None:
    def edge_loss(voxels: int, effects: Effects | None) -> np.ndarray:
        fine = 120e-6 / voxels
        x = (np.arange(48 * voxels) - (48 * voxels - 1) / 2) * fine
        ridge = 12 * np.exp(-((x / 400e-6) ** 2) / 2)
        one = scene(shape=(4 * voxels, 48 * voxels, 48 * voxels), density=0.0)
        density = np.broadcast_to(ridge, one.density.shape).astype(np.float32)
        one = replace(one, voxel_m=fine, density=density)
        protocol = replace(PROTOCOL, views=1, supersampling=voxels)
        (signal,) = view_signals(one, instrument=LINE, protocol=protocol, effects=effects)
        return -np.log(np.abs(signal.fringe[1]) / signal.mean / LINE.flat_visibility)[2]

    resolved = edge_loss(6, Effects(unresolved_refraction=False))
    single = edge_loss(1, Effects(unresolved_refraction=False))
    estimated = edge_loss(1, None)
    assert_allclose(edge_loss(6, None), resolved, rtol=0.04, atol=1e-3)  # six voxels leave 1/36
    assert_allclose(single, 0, atol=1e-6)
    assert 0.05 < resolved.max() < 1
    assert_allclose(estimated, resolved, atol=0.06 * resolved.max())


def test_gratings_can_be_perfect_or_measured(scene: Maker) -> None:
    empty = scene(density=0.0)
    even = Gratings(uneven_flux=0, uneven_visibility=0, moire_fringes=0)
    flats = scan(empty, Effects(gratings=even), noise=False).flats
    assert_allclose(np.ptp(flats, axis=(3, 4)) / flats.mean(), 0, atol=1e-6)
    shape = (2, 8, 48)
    rng = np.random.default_rng(1)
    flux, strength = (1 + 0.1 * rng.standard_normal(shape) for _ in range(2))
    maps = FlatMaps(flux / flux.mean(), strength / strength.mean(), rng.uniform(-3, 3, shape))
    flats = scan(empty, Effects(gratings=maps), noise=False).flats.astype(float)
    assert_allclose(flats.mean(axis=2)[:, 0] / PROTOCOL.frame_counts, maps.flux, rtol=1e-5)
    fringe = np.einsum("dfkrc,k->dfrc", flats, np.exp(-1j * PROTOCOL.step_phase_rad[0]))[:, 0]
    assert_allclose(np.exp(1j * np.angle(fringe)), np.exp(1j * maps.phase_rad), atol=1e-5)
    visibility = 2 * np.abs(fringe) / flats.sum(axis=2)[:, 0]
    assert_allclose(visibility / LINE.flat_visibility, maps.visibility, rtol=1e-5)
    with pytest.raises(DarklungError, match=r"gratings: wanted maps of shape \(2, 8, 48\)"):
        scan(empty, Effects(gratings=FlatMaps(*(np.ones((1, 8, 48)) for _ in range(3)))))


def test_depth_changes_the_correlation_length(scene: Maker) -> None:
    # Lung on the source's side (−y at θ = 0) is farther from G2, has a longer ξ and scatters more
    upstream = scene(tissue_fraction=0.3)
    field = upstream.interface_density_per_m.copy()
    field[:, 24:] = 0
    upstream = replace(upstream, interface_density_per_m=field)
    downstream = replace(upstream, interface_density_per_m=np.ascontiguousarray(field[:, ::-1]))
    one = replace(PROTOCOL, views=1)
    near = make_instrument(low_kev=70.0, high_kev=70.0, period_m=0.3e-6)  # d = 5 cm makes the effect large
    results = []
    for phantom in (upstream, downstream):
        for effects in (Effects(), Effects(depth_dependent_correlation=True)):
            (signal,) = view_signals(phantom, instrument=near, protocol=one, effects=effects)
            results.append(-np.log(np.abs(signal.fringe[0, 4, 24]) / signal.mean[4, 24] / near.flat_visibility))
    plain, deep, plain_down, deep_down = results
    assert_allclose(plain, plain_down, rtol=1e-6)
    depth = np.flatnonzero(field[4, :, 24])
    distance = near.distance_m - (depth - 23.5) * 120e-6
    xi = near.reference_correlation_length_m * distance / near.distance_m
    contrast = float(delta("soft_tissue", 1.05, 70.0))
    assert_allclose(deep, two_phase(0.3, 8.02e4, contrast, 70.0, xi).sum() * 120e-6, rtol=1e-4)
    assert deep > plain > deep_down


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Detector(blur_m=-1.0), "blur_m"),
        (lambda: Detector(charge_sharing=0.9), "charge_sharing"),
        (lambda: Detector(electronic_noise_counts=5.0), "dark_counts"),
        (lambda: Detector(saturation_counts=0.0), "saturation_counts"),
        (lambda: Detector(dark_counts=np.nan), "dark_counts"),
        (lambda: Stability(dose_jitter=0.5), "dose_jitter"),
        (lambda: Stability(visibility_drift=-1.0), "visibility_drift"),
        (lambda: Effects(scatter_to_primary=-0.1), "scatter_to_primary"),
        (lambda: Effects(breathing_m=1.0), "breathing_m"),
        (lambda: Effects(gate=0.0), "gate"),
        (lambda: Gratings(uneven_visibility=0.9), "uneven_visibility"),
        (lambda: FlatMaps(np.ones((1, 2, 2)), np.zeros((1, 2, 2)), np.ones((1, 2, 2))), "visibility"),
        (lambda: FlatMaps(np.ones((1, 2, 2)), np.ones((1, 2, 2)), np.full((1, 2, 2), np.nan)), "phase_rad"),
    ],
)
def test_impossible_input_names_the_field(make, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=f"^{field}"):
        make()


def test_unresolved_refraction_needs_no_neighbouring_rows(scene: Maker) -> None:
    one = replace(PROTOCOL, views=1)
    (signal,) = view_signals(
        scene(shape=(1, 48, 48)), instrument=LINE, protocol=one, effects=Effects(unresolved_refraction=True)
    )
    assert np.isfinite(signal.fringe).all()
    assert np.abs(signal.fringe[1]).min() < np.abs(signal.fringe[0]).min()  # columns bend, a single row cannot
