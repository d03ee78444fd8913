"""T3–T7, T16, T17: closed forms against printed numbers and quadrature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import k1

from darklung.core.checks import DarklungError
from darklung.physics.constants import wavenumber_per_m
from darklung.physics.scattering import (
    debye_shape,
    ellipsoidal,
    power_law,
    shape_tensor,
    sphere,
    sphere_shape,
    two_phase,
)

WATER_DELTA_70 = 4.700e-8


def test_t3_sphere_shape() -> None:
    assert_allclose(sphere_shape([1, 2, 5, 10, 20, 50]), [1, 1.2861, 0.9108, 0.5975, 0.3686, 0.1842], atol=5e-5)
    assert_allclose(sphere_shape([0.3, 1.771]), [0.3, 1.2957], atol=5e-5)


def test_t4_spheres() -> None:
    diameters = np.array([30e-6, 3e-6, 1.3e-6, 0.5e-6])
    assert_allclose(sphere(diameters, 0.5, 1e-7, 45, 1.327e-6), [87.216, 326.03, 253.53, 97.511], rtol=2e-5)


@pytest.mark.parametrize("diameter", [0.4e-6, 1.9e-6, 12e-6])
def test_sphere_is_the_projected_covariance(diameter: float) -> None:
    xi, f, delta, energy = 1.327e-6, 0.05, 1e-7, 45.0

    def covariance(r: float) -> float:
        x = r / diameter
        return f * (1 - 1.5 * x + 0.5 * x**3) if x < 1 else 0.0

    edge = np.sqrt(max(diameter**2 - xi**2, 0.0))
    near = quad(covariance, 0, diameter, epsabs=0, epsrel=1e-11)[0]
    far = quad(lambda z: covariance(np.hypot(z, xi)), 0, edge, epsabs=0, epsrel=1e-11)[0] if edge > 0 else 0.0
    expected = (wavenumber_per_m(energy) * delta) ** 2 * 2 * (near - far)
    assert_allclose(sphere(diameter, f, delta, energy, xi), expected, rtol=2e-7)


def test_t5_debye_shape() -> None:
    assert_allclose(debye_shape([0.1, 0.2, 0.5, 1]), [0.014616, 0.044805, 0.171779, 0.398093], atol=5e-7)
    x = np.linspace(0.019, 0.021, 21)
    assert_allclose(debye_shape(x), 1 - x * k1(x), rtol=1e-8)
    assert debye_shape(0.0) == 0


@pytest.mark.parametrize(
    ("energy", "row"),
    [
        (60, [0.239, 0.728, 1.344, 2.748]),
        (70, [0.176, 0.535, 0.987, 2.019]),
        (80, [0.134, 0.409, 0.756, 1.546]),
    ],
)
def test_t6_lung_table(energy: float, row: list[float]) -> None:
    delta = WATER_DELTA_70 * 1.05 * (70 / energy) ** 2
    xi = np.array([1e-6, 2e-6, 3e-6, 5e-6])
    assert_allclose(two_phase(0.25, 8.02e4, delta, energy, xi) / 100, row, atol=6e-4)


def exponent(values: np.ndarray, energies: np.ndarray) -> float:
    return float(np.diff(np.log(values))[0] / np.diff(np.log(energies))[0])


def test_t7_energy_exponents() -> None:
    energies = np.array([69.9, 70.1])
    delta = 1e-7 * (70 / energies) ** 2
    xi = 2e-6 * 70 / energies
    assert_allclose(exponent(sphere(0.5e-6, 0.1, delta, energies, xi), energies), -2.0, atol=1e-9)
    assert_allclose(exponent(two_phase(0.25, 8.02e4, delta, energies, xi), energies), -3.55, atol=0.01)


def test_thin_limit_of_the_two_phase_medium() -> None:
    xi, area, phi, delta, energy = 1e-9, 8.02e4, 0.25, 5e-8, 70.0
    a = 4 * phi * (1 - phi) / area
    limit = (wavenumber_per_m(energy) * delta * xi) ** 2 * area / 4 * (np.log(2 * a / xi) + 0.5 - np.euler_gamma)
    assert_allclose(two_phase(phi, area, delta, energy, xi), limit, rtol=1e-6)


def test_t16_asymmetry_of_an_elongated_medium() -> None:
    a, energy, phi = 10e-6, 70.0, 0.25
    for aspect, expected in ((1.05, 0.038), (1.1, 0.074), (1.2, 0.142), (1.5, 0.307)):
        b = shape_tensor(a, aspect, [1.0, 0.0, 0.0])
        along = ellipsoidal(b, phi, 5e-8, energy, 0.2 * a, [0.0, 0, 1], [1.0, 0, 0])
        across = ellipsoidal(b, phi, 5e-8, energy, 0.2 * a, [0.0, 0, 1], [0.0, 1, 0])
        assert_allclose((across - along) / (across + along), expected, atol=2.2e-3 if aspect > 1.2 else 6e-4)


def random_frame(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q[0], q[1]


@pytest.mark.parametrize("case", range(4))
def test_t17_ellipsoid_is_its_quadrature(case: int) -> None:
    rng = np.random.default_rng(case)
    m = rng.normal(size=(3, 3))
    b = (m @ m.T + 0.3 * np.eye(3)) / (8e-6) ** 2
    n, u = random_frame(rng)
    xi, phi, delta, energy = 3e-6, 0.3, 5e-8, 70.0
    unit = 8e-6

    def radius(z: float, x: float) -> float:
        r = (z * n + x * u) * unit
        return float(np.sqrt(r @ b @ r))

    centre = -(xi / unit) * float(u @ b @ n) / float(n @ b @ n)  # where the shifted line passes closest to the origin

    def integral(x: float, middle: float) -> float:
        parts = [
            quad(lambda z: np.exp(-radius(z, x)), lo, hi, epsabs=1e-14, epsrel=1e-12, limit=400)[0]
            for lo, hi in ((middle - 80, middle), (middle, middle + 80))
        ]
        return sum(parts)

    difference = unit * (integral(0.0, 0.0) - integral(xi / unit, centre))
    expected = (wavenumber_per_m(energy) * delta) ** 2 * phi * (1 - phi) * difference
    assert_allclose(ellipsoidal(b, phi, delta, energy, xi, n, u), expected, rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    phi=st.floats(0.02, 0.98),
    area=st.floats(1e2, 1e6),
    xi=st.floats(1e-8, 1e-4),
    seed=st.integers(0, 1000),
)
def test_isotropic_ellipsoid_is_the_two_phase_medium(phi: float, area: float, xi: float, seed: int) -> None:
    n, u = random_frame(np.random.default_rng(seed))
    b = shape_tensor(4 * phi * (1 - phi) / area, 1.0, n)
    assert_allclose(ellipsoidal(b, phi, 5e-8, 70, xi, n, u), two_phase(phi, area, 5e-8, 70, xi), rtol=1e-9)


def test_ellipsoid_turns_with_the_scene() -> None:
    rng = np.random.default_rng(5)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    n, u = random_frame(rng)
    b = shape_tensor(9e-6, 1.7, [0.6, 0.0, 0.8])
    turned = ellipsoidal(turn @ b @ turn.T, 0.3, 5e-8, 70, 2e-6, turn @ n, turn @ u)
    assert_allclose(turned, ellipsoidal(b, 0.3, 5e-8, 70, 2e-6, n, u), rtol=1e-10)


def test_nothing_to_scatter() -> None:
    assert two_phase(0.3, 0.0, 5e-8, 70, 3e-6) == 0
    assert_allclose(two_phase([0.0, 1.0], 8e4, 5e-8, 70, 3e-6), 0)
    assert sphere(1e-6, 0.1, 1e-7, 70, 0.0) == 0
    assert_allclose(power_law(50.0, 80.0, 70.0, -3.0), 50 * (7 / 8) ** 3)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: sphere(-1e-6, 0.1, 1e-7, 70, 1e-6), "diameter_m"),
        (lambda: sphere(1e-6, 1.1, 1e-7, 70, 1e-6), "volume_fraction"),
        (lambda: sphere(1e-6, 0.1, np.nan, 70, 1e-6), "delta"),
        (lambda: two_phase(0.3, -1.0, 1e-7, 70, 1e-6), "interface_density_per_m"),
        (lambda: two_phase(0.3, 8e4, 1e-7, 0, 1e-6), "energy_kev"),
        (lambda: two_phase(0.3, 8e4, 1e-7, 70, -1e-6), "correlation_length_m"),
        (lambda: ellipsoidal(np.eye(3) * 1e10, 0.3, 1e-7, 70, 1e-6, [1, 0, 0], [1, 0, 0]), "sensitivity"),
        (lambda: ellipsoidal(-np.eye(3) * 1e10, 0.3, 1e-7, 70, 1e-6, [1, 0, 0], [0, 1, 0]), "shape_per_m2"),
        (lambda: ellipsoidal(np.eye(3) * 1e10, 0.3, 1e-7, 70, 1e-6, [2, 0, 0], [0, 1, 0]), "beam"),
        (lambda: shape_tensor(1e-6, 0.0, [1.0, 0, 0]), "aspect"),
    ],
)
def test_impossible_input_names_the_field(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DarklungError, match=f"^{field}"):
        call()
