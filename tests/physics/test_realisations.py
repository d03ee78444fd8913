"""An oracle that knows no formula: random media as phase screens, D(ξ) = |<exp(i[φ(x) − φ(x + ξ)])>|.

Poisson spheres by FFT, equilibrated hard spheres by FFT, and the mosaic of random planes (whose covariance is exactly
exponential) along exact rays. Agreement is wanted within 3 % and within four standard errors of the realisations' mean.
"""

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.physics.constants import wavenumber_per_m
from darklung.physics.scattering import ellipsoidal, hard_spheres, shape_tensor, sphere, structure_factor, two_phase

ENERGY_KEV = 70.0
WAVENUMBER = float(wavenumber_per_m(ENERGY_KEV))
PATH = 200.0


def agrees(measured: np.ndarray, expected: np.ndarray, tolerance: float = 0.03) -> None:
    """Compare the mean over realisations (first axis) with the closed form."""
    mean, error = measured.mean(axis=0), measured.std(axis=0, ddof=1) / np.sqrt(len(measured))
    assert (error < tolerance / 2 * expected).all(), f"too noisy to tell: {error / expected}"
    assert_allclose(mean, expected, rtol=tolerance)
    assert (np.abs(mean - expected) < 4 * error + 0.01 * expected).all(), (mean / expected, error / expected)


def dark_field_by_fft(phase: np.ndarray, shifts: list[int]) -> np.ndarray:
    """−ln D at whole-pixel shifts along both axes of a periodic phase screen, averaged."""
    power = np.abs(np.fft.fft2(np.exp(1j * phase))) ** 2
    correlation = np.abs(np.fft.ifft2(power)) / phase.size
    return -np.log(np.array([(correlation[s, 0] + correlation[0, s]) / 2 for s in shifts]))


def projected_spheres(centres: np.ndarray, size: int, diameter: float) -> np.ndarray:
    """Thickness map of spheres [pixels] with sub-pixel centres, periodic."""
    image = np.zeros((size, size))
    reach = int(np.ceil(diameter / 2)) + 1
    offset = np.arange(-reach, reach + 1)
    for y, x in centres:
        iy, ix = int(y), int(x)
        dy, dx = offset - (y - iy), offset - (x - ix)
        chord = 2 * np.sqrt(np.maximum(diameter**2 / 4 - dy[:, None] ** 2 - dx[None, :] ** 2, 0))
        image[np.ix_((iy + offset) % size, (ix + offset) % size)] += chord
    return image


def test_poisson_spheres() -> None:
    # f = 0.1 of overlapping spheres is "dilute": their positions are independent
    rng = np.random.default_rng(11)
    diameter, size, depth = 20.0, 1024, 200.0
    shifts = [5, 16, 40]  # D/ξ = 4, 1.25, 0.5
    pixel_m, delta, f = 1e-7, 3e-8, 0.1
    number = f * size**2 * depth / (np.pi / 6 * diameter**3)
    measured = []
    for _ in range(12):
        centres = rng.uniform(0, size, (rng.poisson(number), 2))
        phase = WAVENUMBER * delta * pixel_m * projected_spheres(centres, size, diameter)
        measured.append(dark_field_by_fft(phase, shifts))
    xi = np.array(shifts) * pixel_m
    agrees(np.array(measured), sphere(diameter * pixel_m, f, delta, ENERGY_KEV, xi) * depth * pixel_m)


# numba knows the legacy generator's functions only
@njit(cache=True)
def shake(centres, diameter, box, sweeps, step, seed):  # type: ignore[no-untyped-def]
    """Metropolis moves of hard spheres in a periodic box."""
    np.random.seed(seed)  # noqa: NPY002
    for _ in range(sweeps * len(centres)):
        i = np.random.randint(len(centres))  # noqa: NPY002
        trial = (centres[i] + np.random.uniform(-step, step, 3)) % box  # noqa: NPY002
        free = True
        for j in range(len(centres)):
            if j != i:
                distance = 0.0
                for axis in range(3):
                    d = abs(trial[axis] - centres[j, axis])
                    d = min(d, box - d)
                    distance += d * d
                if distance < diameter * diameter:
                    free = False
                    break
        if free:
            centres[i] = trial


def test_hard_spheres() -> None:
    f, side, diameter = 0.3, 8, 16.0
    number = side**3
    box = diameter * (np.pi / 6 * number / f) ** (1 / 3)
    size = round(box)
    diameter *= size / box  # whole pixels in the periodic box
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5
    centres = grid * size / side
    shake(centres, diameter, float(size), 120, 0.25 * diameter, 1)
    pixel_m, delta = 1e-7, 3e-8
    shifts = [8, 20, 40]
    measured = []
    for snapshot in range(20):
        shake(centres, diameter, float(size), 12, 0.25 * diameter, 2 + snapshot)
        for axes in ((0, 1), (0, 2), (1, 2)):
            phase = WAVENUMBER * delta * pixel_m * projected_spheres(centres[:, axes], size, diameter)
            measured.append(dark_field_by_fft(phase, shifts))
    xi = np.array(shifts) * pixel_m
    expected = hard_spheres(diameter * pixel_m, f, delta, ENERGY_KEV, xi) * size * pixel_m
    assert (expected < 0.85 * sphere(diameter * pixel_m, f, delta, ENERGY_KEV, xi) * size * pixel_m)[1:].all()
    agrees(np.array(measured), expected)


@njit(cache=True)
def tissue_length(start, direction, length, normals, offsets, keys, fraction):  # type: ignore[no-untyped-def]
    """Length in tissue of a ray through the mosaic of planes; each cell is tissue by the hash of the sides it lies on."""
    crossing = np.empty(len(offsets))
    which = np.empty(len(offsets), np.int64)
    state = np.uint64(0x9E3779B97F4A7C15)
    count = 0
    for i in range(len(offsets)):
        height, slope = 0.0, 0.0
        for axis in range(3):
            height += normals[i, axis] * start[axis]
            slope += normals[i, axis] * direction[axis]
        if height > offsets[i]:
            state ^= keys[i]
        place = (offsets[i] - height) / slope
        if 0 < place < length:
            crossing[count], which[count] = place, i
            count += 1
    total, before = 0.0, 0.0
    for i in np.argsort(crossing[:count]):
        if (state >> np.uint64(11)) * 2.0**-53 < fraction:
            total += crossing[i] - before
        state ^= keys[which[i]]
        before = crossing[i]
    if (state >> np.uint64(11)) * 2.0**-53 < fraction:
        total += length - before
    return total


@njit(cache=True)
def lengths(starts, direction, length, normals, offsets, keys, fraction):  # type: ignore[no-untyped-def]
    """Tissue length of every ray, (ray,)."""
    out = np.empty(len(starts))
    for ray in range(len(starts)):
        out[ray] = tissue_length(starts[ray], direction, length, normals, offsets, keys, fraction)
    return out


def mosaic_dark_field(b: np.ndarray, n: np.ndarray, shifts_m: list[np.ndarray], strength: float) -> np.ndarray:
    """−ln D of 180 realisations at some shifts, (realisation, shift); `strength` = k δ, the path is `PATH` lengths long.

    The medium with C = exp(−sqrt(rᵀ B r)) is the isotropic one of unit length in the coordinates B^{1/2} r. Every plane
    crosses all rays, so many realisations of few rays tell more than few of many.
    """
    rng = np.random.default_rng(17)
    values, vectors = np.linalg.eigh(b)
    root = (vectors * np.sqrt(values)) @ vectors.T
    direction = root @ n
    scale = float(np.linalg.norm(direction))  # isotropic units per metre along the beam
    direction = direction / scale
    length, radius = PATH, 135.0
    results = []
    for _ in range(180):
        number = rng.poisson(2 * 2 * radius)  # planes of density 2 cross a unit of length once on average
        normals = rng.normal(size=(number, 3))
        normals /= np.linalg.norm(normals, axis=1)[:, None]
        offsets = rng.uniform(-radius, radius, number)
        keys = rng.integers(0, 2**64, number, dtype=np.uint64)
        starts = rng.uniform(-45, 45, (200, 3))
        starts -= np.outer(starts @ direction + length / 2, direction)
        geometry = (direction, length, normals, offsets, keys, 0.3)
        first = lengths(starts, *geometry)
        shifted = [lengths(starts + root @ shift, *geometry) for shift in shifts_m]
        phases = strength / scale * (np.array(shifted) - first)
        results.append(-np.log(np.abs(np.exp(1j * phases).mean(axis=1))))
    return np.array(results)


def test_two_phase_medium() -> None:
    a, phi, delta = 10e-6, 0.3, 2e-8
    xi = np.array([0.3, 1.0, 2.0]) * a
    u = np.array([1.0, 0, 0])
    measured = mosaic_dark_field(np.eye(3) / a**2, np.array([0, 1.0, 0]), [x * u for x in xi], WAVENUMBER * delta)
    area = 4 * phi * (1 - phi) / a
    agrees(measured, two_phase(phi, area, delta, ENERGY_KEV, xi) * PATH * a)


def test_ellipsoidal_medium() -> None:
    a, phi, delta, xi = 10e-6, 0.3, 2e-8, 6e-6
    b = shape_tensor(a, 1.8, [np.cos(0.5), np.sin(0.5), 0.0])
    n = np.array([0.0, 1.0, 0.0])
    directions = [np.array([1.0, 0, 0]), np.array([0.0, 0, 1])]
    measured = mosaic_dark_field(b, n, [xi * u for u in directions], WAVENUMBER * delta)
    expected = np.array([float(ellipsoidal(b, phi, delta, ENERGY_KEV, xi, n, u)) for u in directions])
    assert expected[1] > 1.1 * expected[0]
    agrees(measured, expected * PATH / np.sqrt(n @ b @ n))


def test_structure_factor_limits() -> None:
    assert_allclose(structure_factor(0.0, 0.3), (1 - 0.3) ** 4 / (1 + 0.6) ** 2, rtol=1e-3)
    assert_allclose(structure_factor([1.0, 50.0], 0.0), 1)
    assert_allclose(structure_factor(1e4, 0.4), 1, atol=1e-3)
    assert_allclose(hard_spheres(3e-6, 1e-6, 1e-7, 45, 2e-6), sphere(3e-6, 1e-6, 1e-7, 45, 2e-6), rtol=1e-4)
    with pytest.raises(DarklungError, match="volume_fraction: wanted 0 to"):
        hard_spheres(3e-6, 0.7, 1e-7, 45, 2e-6)
    with pytest.raises(DarklungError, match="correlation_length_m"):
        hard_spheres(1e-8, 0.1, 1e-7, 45, 2e-6)
