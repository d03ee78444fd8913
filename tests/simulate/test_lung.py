"""The fast kernel of the ellipsoidal model against the slow exact one."""

import numpy as np
from numpy.testing import assert_allclose

from darklung.physics.constants import wavenumber_per_m
from darklung.physics.scattering import debye_shape, ellipsoidal, shape_tensor
from darklung.simulate.lung import ScatterColumns, scattering_coefficient


def test_kernel_is_the_ellipsoidal_model() -> None:
    rng = np.random.default_rng(1)
    count = 2000
    a, q = 10 ** rng.uniform(-7, -3, count), rng.uniform(0.5, 2, count)
    phi = rng.uniform(0.05, 0.95, count)
    f = rng.normal(size=(count, 3))
    f /= np.linalg.norm(f, axis=1)[:, None]
    across, along = (a * q ** (-1 / 3)) ** -2, (a * q ** (2 / 3)) ** -2
    columns = ScatterColumns(
        columns_yx=np.zeros((count, 2), np.int64),
        strength=(2 * phi * (1 - phi))[:, None].astype(np.float32),
        across=across[:, None].astype(np.float32),
        excess=(along - across)[:, None].astype(np.float32),
        axis=np.ascontiguousarray(f.T[:, :, None], np.float32),
    )
    n = np.array([0, np.cos(0.3), -np.sin(0.3)])
    u = np.array([np.cos(1.0), np.sin(1.0) * np.sin(0.3), np.sin(1.0) * np.cos(0.3)])
    contrast, xi = np.array([1e8, 2e8]), np.array([3e-6, 2e-6])
    fast = scattering_coefficient(
        columns, beam=n, sensitivity=u[None], squared_contrast_per_m2=contrast, correlation_length_m=xi
    )[:, 0, :, 0]
    delta = np.sqrt(contrast) / wavenumber_per_m(70.0)
    exact = [ellipsoidal(shape_tensor(a, q, f), phi, d, 70.0, x, n, u) for d, x in zip(delta, xi)]
    assert_allclose(fast, np.array(exact).T, rtol=1e-5)


def test_table_covers_every_size() -> None:
    # From structures 1e6 times coarser than ξ to 60 times finer, and beyond
    s = 10 ** np.linspace(-5.9, 2.5, 400)
    columns = ScatterColumns(
        columns_yx=np.zeros((len(s), 2), np.int64),
        strength=np.ones((len(s), 1), np.float32),
        across=(s[:, None] ** 2).astype(np.float32),
        excess=np.zeros((len(s), 1), np.float32),
        axis=np.ones((3, len(s), 1), np.float32),
    )
    n, u = np.array([0.0, 1, 0]), np.array([1.0, 0, 0])
    fast = scattering_coefficient(
        columns, beam=n, sensitivity=u[None], squared_contrast_per_m2=np.ones(1), correlation_length_m=np.ones(1)
    )[:, 0, 0, 0]
    assert_allclose(fast * s, debye_shape(s), rtol=1e-5)
