"""Denoising by total variation in a diagonal metric: the inner step of `darklung.tomo.iterative`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_shape, require
from darklung.tomo.projector import default_threads, run_tasks

_kernel = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
_SLAB = 4
_SMALL = 2**17  # voxels; below this a sweep takes less time than starting threads


def denoise(
    noisy: NDArray[np.float32],
    metric: NDArray[np.float32],
    strength: float,
    *,
    iterations: int = 10,
    nonnegative: bool = False,
    dual: NDArray[np.float32] | None = None,
    threads: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Minimise ½ Σ metric (x − noisy)² + strength Σ |∇x|, with forward differences and the isotropic norm.

    Accelerated projected gradient ascent in the dual, with a step for each voxel from a Gershgorin bound, so that voxels
    with a small metric do not slow down the others.

    Parameters
    ----------
    noisy, metric : (z, y, x) float32
        ``metric`` > 0.
    strength : float
        [unit of metric × unit of noisy], >= 0.
    iterations : int
    nonnegative : bool
        Also require x >= 0.
    dual : (3, z, y, x) float32, optional
        Where to start: the second result of an earlier call.

    Returns
    -------
    x : (z, y, x) float32
    dual : (3, z, y, x) float32
        |dual| <= strength; −div dual is the pull on each voxel.

    References
    ----------
    Beck, Teboulle 2009, IEEE Trans Image Process 18:2419, doi:10.1109/TIP.2009.2028250.
    """
    check_shape("metric", metric, "z, y, x", noisy.shape)
    require(strength >= 0, f"strength: wanted >= 0, got {strength}")
    noisy, metric = (np.ascontiguousarray(a, dtype=np.float32) for a in (noisy, metric))
    q = np.zeros((3, *noisy.shape), np.float32) if dual is None else dual.copy()
    ahead, x = q.copy(), np.empty_like(noisy)
    slabs = [(lo, min(lo + _SLAB, len(noisy))) for lo in range(0, len(noisy), _SLAB)]
    workers = 1 if noisy.size < _SMALL else threads or default_threads()
    momentum, limit = 1.0, float(strength)

    def descend(i: int) -> None:
        _primal(x, noisy, metric, ahead, nonnegative, *slabs[i])

    for _ in range(iterations):
        run_tasks(descend, len(slabs), workers)
        following = 0.5 + 0.5 * np.sqrt(1 + 4 * momentum**2)
        push = float(np.float32((momentum - 1) / following))

        def ascend(i: int, push: float = push) -> None:
            _dual(q, ahead, x, metric, limit, push, *slabs[i])

        run_tasks(ascend, len(slabs), workers)
        momentum = following
    ahead = q
    run_tasks(descend, len(slabs), workers)
    return x, q


@_kernel
def _primal(x: NDArray, noisy: NDArray, metric: NDArray, q: NDArray, nonnegative: bool, lo: int, hi: int) -> None:
    _, ny, nx = x.shape
    zero = np.float32(0)
    for z in range(lo, hi):
        for y in range(ny):
            for i in range(nx):
                pull = q[0, z, y, i] + q[1, z, y, i] + q[2, z, y, i]
                if z > 0:
                    pull -= q[0, z - 1, y, i]
                if y > 0:
                    pull -= q[1, z, y - 1, i]
                if i > 0:
                    pull -= q[2, z, y, i - 1]
                value = noisy[z, y, i] + pull / metric[z, y, i]
                x[z, y, i] = max(value, zero) if nonnegative else value


@_kernel
def _dual(q: NDArray, ahead: NDArray, x: NDArray, metric: NDArray, strength: float, push: float, lo: int, hi: int) -> None:
    nz, ny, nx = x.shape
    zero, one, six = np.float32(0), np.float32(1), np.float32(6)
    limit, carry = np.float32(strength), np.float32(push)
    for z in range(lo, hi):
        for y in range(ny):
            for i in range(nx):
                here = x[z, y, i]
                dz, dy, dx = zero, zero, zero
                soft = one / metric[z, y, i]
                worst = zero
                if z + 1 < nz:
                    dz = x[z + 1, y, i] - here
                    worst = max(worst, one / metric[z + 1, y, i])
                if y + 1 < ny:
                    dy = x[z, y + 1, i] - here
                    worst = max(worst, one / metric[z, y + 1, i])
                if i + 1 < nx:
                    dx = x[z, y, i + 1] - here
                    worst = max(worst, one / metric[z, y, i + 1])
                step = one / (six * (soft + worst))
                pz = ahead[0, z, y, i] + step * dz
                py = ahead[1, z, y, i] + step * dy
                px = ahead[2, z, y, i] + step * dx
                size = np.sqrt(pz * pz + py * py + px * px)
                shrink = limit / size if size > limit else one
                pz, py, px = pz * shrink, py * shrink, px * shrink
                ahead[0, z, y, i] = pz + carry * (pz - q[0, z, y, i])
                ahead[1, z, y, i] = py + carry * (py - q[1, z, y, i])
                ahead[2, z, y, i] = px + carry * (px - q[2, z, y, i])
                q[0, z, y, i], q[1, z, y, i], q[2, z, y, i] = pz, py, px


def total_variation(volume: NDArray) -> float:
    """Σ |∇x| with forward differences, zero across the end."""
    square = np.zeros(volume.shape, np.float64)
    for axis in range(3):
        last = np.take(volume, [-1], axis=axis)
        square += np.diff(volume, axis=axis, append=last).astype(np.float64) ** 2
    return float(np.sqrt(square).sum())
