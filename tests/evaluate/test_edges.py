"""MTF of edges against what was blurred and by how much: straight, round, in volumes; and what is refused."""

import numpy as np
import pytest
from scipy import ndimage

from darklung.core.checks import DarklungError
from darklung.evaluate.edges import find_edge, modulation
from darklung.simulate.overlap import plane_share

PIXEL = 1e-4
FREQUENCY = np.linspace(0, 0.5 / PIXEL, 26)


def gaussian(sigma):
    """Transfer of a Gaussian blur of so many pixels."""
    return np.exp(-2 * (np.pi * sigma * FREQUENCY * PIXEL) ** 2)


def mean_pixel():
    """Transfer of a square pixel, mean over directions."""
    angle = np.linspace(0, np.pi / 2, 181)[:, None]
    return np.mean(np.sinc(FREQUENCY * PIXEL * np.cos(angle)) * np.sinc(FREQUENCY * PIXEL * np.sin(angle)), axis=0)


def slanted(degrees, sigma, shape=(110, 90)):
    angle = np.deg2rad(degrees)
    plain = plane_share(tuple(n + 24 for n in shape), PIXEL, sides=[(-np.sin(angle), np.cos(angle))])
    return ndimage.gaussian_filter(plain, sigma, truncate=7)[12:-12, 12:-12] if sigma else plain[12:-12, 12:-12]


def ball(shape, radius, centre, axes, fine=6):
    """Share of each pixel within a distance of a centre along the last `axes` axes, in pixels."""
    grids = [(np.arange(n * fine) - (n * fine - 1) / 2) / fine - c for n, c in zip(shape[-axes:], centre)]
    inside = sum(g**2 for g in np.meshgrid(*grids, indexing="ij", sparse=True)) < radius**2
    folded = inside.reshape([k for n in shape[-axes:] for k in (n, fine)])
    return np.broadcast_to(folded.mean(axis=tuple(range(1, 2 * axes, 2))), shape)


@pytest.mark.parametrize(("degrees", "sigma"), [(3, 1.0), (5, 1.5), (10, 1.0)])
def test_a_blurred_edge_gives_the_blur_times_the_pixel(degrees, sigma):
    image = 1 + 2 * slanted(degrees, sigma)
    edge = find_edge(image, (PIXEL, PIXEL), kind="line")
    found = modulation(image, (PIXEL, PIXEL), edge, FREQUENCY)
    angle = np.deg2rad(degrees)
    pixel = np.sinc(FREQUENCY * PIXEL * np.cos(angle)) * np.sinc(FREQUENCY * PIXEL * np.sin(angle))
    np.testing.assert_allclose(found.value, pixel * gaussian(sigma), atol=0.01)
    assert np.sin(edge.parameters[0] - np.deg2rad(90 + degrees)) == pytest.approx(0, abs=1e-3)
    assert abs(found.contrast) == pytest.approx(2, rel=1e-3)
    half = np.interp(-0.5, -(pixel * gaussian(sigma)), FREQUENCY)
    assert found.at_half[0] == pytest.approx(half, rel=0.01)


def test_a_sharp_edge_gives_the_pixel_beyond_nyquist():
    image = slanted(4, 0)
    frequency = np.linspace(0, 0.9 / PIXEL, 31)
    found = modulation(image, (PIXEL, PIXEL), find_edge(image, (PIXEL, PIXEL), kind="line"), frequency)
    np.testing.assert_allclose(found.value, np.sinc(frequency * PIXEL), atol=0.02)


@pytest.mark.parametrize(
    ("radius", "centre", "within"),
    [(10.3, (0.13, 0.41), 0.02), (25.2, (0.13, 0.41), 0.01), (15.3, (0.0, 0.0), 0.05)],  # the last: few distances are seen
)
def test_a_disc_gives_the_blur_times_the_pixel_and_its_centre(radius, centre, within):
    image = ndimage.gaussian_filter(ball((93, 93), radius, centre, 2, fine=12), 1.0, truncate=7)
    edge = find_edge(image, (PIXEL, PIXEL), kind="circle")
    np.testing.assert_allclose(edge.parameters[:2] / PIXEL, centre, atol=0.02)
    assert edge.parameters[2] / PIXEL == pytest.approx(radius - 1 / (2 * radius), abs=0.03)  # (d − 1)σ²/2R
    found = modulation(image, (PIXEL, PIXEL), edge, FREQUENCY)
    np.testing.assert_allclose(found.value, mean_pixel() * gaussian(1.0), atol=within)


def test_a_sphere_gives_the_blur():
    image = ndimage.gaussian_filter(ball((44, 44, 44), 12.3, (0.2, -0.3, 0.4), 3, fine=3), 1.4, truncate=6)
    edge = find_edge(image, (PIXEL,) * 3, kind="sphere")
    np.testing.assert_allclose(edge.parameters[:3] / PIXEL, (0.2, -0.3, 0.4), atol=0.02)
    found = modulation(image, (PIXEL,) * 3, edge, FREQUENCY)
    assert found.at_half[0] == pytest.approx(np.interp(-0.5, -mean_pixel() * gaussian(1.4), FREQUENCY), rel=0.02)


def test_a_tilted_cylinder_in_noise_has_intervals_that_hold_the_truth():
    slices = [ball((60, 60), 15.2, (0.2 + 0.05 * (z - 15.5), -0.4), 2) for z in range(32)]
    clean = ndimage.gaussian_filter(np.stack(slices), (0, 1.2, 1.2), truncate=6)
    image = clean + np.random.default_rng(3).normal(0, 0.1, clean.shape)
    edge = find_edge(image, (PIXEL,) * 3, kind="circle")
    assert edge.parameters[2] == pytest.approx(0.05, abs=2e-3)
    found = modulation(image, (PIXEL,) * 3, edge, FREQUENCY)
    truth = mean_pixel() * gaussian(1.2)
    seen = truth > 0.05  # below, the magnitude of noise is no estimate of nothing
    np.testing.assert_allclose(found.value[seen], truth[seen], atol=0.03)
    inside = (found.low <= truth + 0.005) & (truth - 0.005 <= found.high)
    assert inside[seen].mean() > 0.8
    assert found.at_half[1] < np.interp(-0.5, -truth, FREQUENCY) < found.at_half[2]


def test_what_cannot_be_measured_is_refused():
    spacing = (PIXEL, PIXEL)
    noise = np.random.default_rng(0).normal(size=(80, 80))
    with pytest.raises(DarklungError, match="none stands out"):
        find_edge(noise, spacing, kind="line")
    with pytest.raises(DarklungError, match="all values are the same"):
        find_edge(np.ones((80, 80)), spacing, kind="circle")
    with pytest.raises(DarklungError, match="a sphere wants 3 axes, got 2"):
        find_edge(noise, spacing, kind="sphere")
    straight = slanted(0, 1.0)
    with pytest.raises(DarklungError, match="tilt it by 2 to 10 degrees"):
        modulation(straight, spacing, find_edge(straight, spacing, kind="line"), FREQUENCY)


def cone(along_z):
    """Directions from z within 20 degrees of it, or of the plane across it, evenly over the sphere."""
    share = np.linspace(np.cos(np.deg2rad(20)), 1, 41) if along_z else np.linspace(0, np.sin(np.deg2rad(20)), 41)
    angle = np.linspace(0, np.pi / 2, 23)
    z, turn = (a.ravel() for a in np.meshgrid(share, angle))
    across = np.sqrt(1 - z**2)
    return np.stack([z, across * np.sin(turn), across * np.cos(turn)])


def test_a_ball_tells_the_blur_along_z_and_that_in_the_plane():
    sigma = np.array([2.0, 1.0, 1.0])
    image = ndimage.gaussian_filter(ball((56, 52, 52), 14.3, (0.2, -0.3, 0.4), 3, fine=3), sigma, truncate=6)
    edge = find_edge(image, (PIXEL,) * 3, kind="sphere")
    half = {}
    for direction in ("z", "plane"):
        ways = cone(direction == "z")[:, :, None] * FREQUENCY * PIXEL
        truth = (np.exp(-2 * np.pi**2 * ((sigma[:, None, None] * ways) ** 2).sum(axis=0)) * np.sinc(ways).prod(axis=0)).mean(
            axis=0
        )
        found = modulation(image, (PIXEL,) * 3, edge, FREQUENCY, direction=direction)
        half[direction] = found.at_half[0]
        assert found.at_half[0] == pytest.approx(np.interp(-0.5, -truth, FREQUENCY), rel=0.04)
    assert half["plane"] > 1.6 * half["z"]
    with pytest.raises(DarklungError, match="direction: 'y' is not known"):
        modulation(image, (PIXEL,) * 3, edge, FREQUENCY, direction="y")


@pytest.mark.parametrize("spacing", [(PIXEL, PIXEL, PIXEL), (2 * PIXEL, PIXEL, PIXEL)])
def test_a_face_across_z_tells_the_blur_along_z(spacing):
    angle, sigma = np.deg2rad(5), np.array([1.5, 0.8])  # in pixels of its axis
    seen = plane_share((90, 120), PIXEL, sides=[(-np.sin(angle), np.cos(angle))]).T
    if spacing[0] > PIXEL:  # slices as thick as two pixels
        seen = seen.reshape(60, 2, 90).mean(axis=1)
    seen = ndimage.gaussian_filter(seen, sigma, truncate=7)[10:-10, 8:-8]
    image = np.broadcast_to(5 * seen[:, None], (len(seen), 12, seen.shape[1]))
    edge = find_edge(image, spacing, kind="plane")
    assert abs(edge.parameters[1]) == pytest.approx(np.tan(angle), abs=1e-3)
    assert edge.parameters[0] == pytest.approx(0, abs=1e-3)
    frequency = np.linspace(0, 0.5 / spacing[0], 26)
    found = modulation(image, spacing, edge, frequency)
    ways = np.array([np.cos(angle) * spacing[0], np.sin(angle) * spacing[2]])[:, None] * frequency
    truth = np.exp(-2 * np.pi**2 * ((sigma[:, None] * ways) ** 2).sum(axis=0)) * np.sinc(ways).prod(axis=0)
    np.testing.assert_allclose(found.value, truth, atol=0.015)
    with pytest.raises(DarklungError, match="this one lies along it"):
        find_edge(np.moveaxis(image, 0, 2), spacing, kind="plane")
