"""Directional dark-field tomography: the linear rank-2 model −ln D = ∫ uᵀ E u dl, and what one axis can know of E."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from darklung.core.axes import largest_positive
from darklung.core.checks import check_finite, check_one_of, check_shape, require
from darklung.core.geometry import Geometry, ParallelGeometry
from darklung.core.random import stream
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import Projector

if TYPE_CHECKING:
    from darklung.tomo.torch_operator import TorchOperator

COMPONENTS = ("zz", "yy", "xx", "zy", "zx", "yx")
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
# Off-diagonal components times √2 keep the norm of the tensor (Mandel), so that penalties do not depend on the axes.
_MANDEL = np.sqrt(np.array([1, 1, 1, 2, 2, 2], np.float64))


def tensor_weights(geometry: Geometry, directions_rad: Sequence[float] | NDArray) -> NDArray[np.float64]:
    """Weights a with −ln D = Σ_k a[direction, view, k] ∫ E_k dl, components in the order of `COMPONENTS`."""
    u = np.stack([geometry.sensitivity(float(a)) for a in np.atleast_1d(directions_rad)])
    return np.stack([u[..., i] * u[..., j] * (1 if i == j else 2) for i, j in _PAIRS], axis=-1)


@dataclass(frozen=True)
class TensorProjector:
    """Projection of a symmetric tensor field (6, z, y, x) [1/m] for several grating directions, and its transpose.

    Parameters
    ----------
    projector : Projector or ConeProjector
        Scalar line integrals.
    directions_rad : (direction,) array
        α of each grating direction; all share the views.
    """

    projector: Projector | ConeProjector | TorchOperator
    directions_rad: NDArray[np.float64]

    def __post_init__(self) -> None:
        directions = np.atleast_1d(np.asarray(self.directions_rad, np.float64))
        check_shape("directions_rad", directions, "direction", (None,))
        check_finite("directions_rad", directions)
        object.__setattr__(self, "directions_rad", directions)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(6, z, y, x)."""
        return (6, *self.projector.shape)

    @property
    def projection_shape(self) -> tuple[int, int, int, int]:
        """(direction, view, row, col)."""
        return (len(self.directions_rad), *self.projector.projection_shape)

    def forward(self, tensor: NDArray) -> NDArray[np.float32]:
        """−ln D (direction, view, row, col) of `tensor` (6, z, y, x)."""
        check_shape("tensor", tensor, "component, z, y, x", self.shape)
        weights = self._weights()
        out = np.zeros(self.projection_shape, np.float32)
        for k in np.flatnonzero(np.abs(weights).max(axis=(0, 1)) > 1e-7):
            out += weights[:, :, k, None, None] * self.projector.forward(tensor[k].astype(np.float32))
        return out

    def adjoint(self, projections: NDArray) -> NDArray[np.float32]:
        """The transpose: (direction, view, row, col) to (6, z, y, x)."""
        check_shape("projections", projections, "direction, view, row, col", self.projection_shape)
        weights = self._weights()
        out = np.zeros(self.shape, np.float32)
        for k in np.flatnonzero(np.abs(weights).max(axis=(0, 1)) > 1e-7):
            mixed = np.einsum("dv,dvrc->vrc", weights[:, :, k], projections.astype(np.float32))
            out[k] = self.projector.adjoint(mixed)
        return out

    def _weights(self) -> NDArray[np.float32]:
        return tensor_weights(self.projector.geometry, self.directions_rad).astype(np.float32)


@dataclass(frozen=True)
class Prior:
    """What is assumed where the data cannot tell; strengths relative to what one voxel adds to the data.

    Parameters
    ----------
    smoothness : float
        Weight of Σ |∇E|².
    isotropy : float
        Weight of Σ |E − (tr E / 3) I|²: without evidence of direction the result is isotropic. More than 0 keeps the
        problem regular.
    mask : (z, y, x) bool array, optional
        E is zero outside, for instance outside the sample seen in attenuation.
    """

    smoothness: float = 0.1
    isotropy: float = 1e-3
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name in ("smoothness", "isotropy"):
            value = getattr(self, name)
            require(np.isfinite(value) and value >= 0, f"{name}: wanted a number >= 0, got {value!r}")


def reconstruct_tensor(
    operator: TensorProjector,
    projections: NDArray,
    *,
    weights: NDArray | None = None,
    prior: Prior | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
    progress: Callable[[int, float], None] | None = None,
) -> NDArray[np.float32]:
    """E (6, z, y, x) [1/m] from the dark field of all grating directions at once.

    Minimises Σ weights (−ln D − model)² plus the penalties of `prior`, by conjugate gradients. **One rotation axis does not
    determine E**: of every spatial frequency k in the plane only E_zz, k̂·(E_zx, E_zy) and k̂ᵀE_plane k̂ leave a trace in
    the data. The rest comes from the prior (support, smoothness, isotropy); `identifiable_share` and `identifiability` say
    how much. Components that no direction sees are what the prior makes of the others.

    Parameters
    ----------
    operator : TensorProjector
    projections : (direction, view, row, col) array
        −ln D. Values of weight zero are not looked at.
    weights : array of the same shape, optional
        1/variance, zero where invalid.
    prior : Prior, optional
    iterations, tolerance
        Ends when the gradient has fallen by `tolerance`.
    progress : callable, optional
        Called with the iteration and the gradient's norm relative to the first.

    References
    ----------
    Graetz 2021, Sci Rep 11:18477, doi:10.1038/s41598-021-97389-7 (linear models: orientation well, eigenvalues roughly).
    """
    check_shape("projections", projections, "direction, view, row, col", operator.projection_shape)
    w = np.ones(operator.projection_shape, np.float32) if weights is None else np.asarray(weights, np.float32)
    check_shape("weights", w, "direction, view, row, col", operator.projection_shape)
    require(bool((w >= 0).all() and w.any()), "weights: wanted numbers >= 0, not all 0")
    data = np.where(w > 0, projections, 0).astype(np.float32)
    check_finite("projections", data)
    normal, inside = _normal(operator, w, prior or Prior())
    right = inside * operator.adjoint(w * data) / _shaped(_MANDEL)
    found = _conjugate_gradients(normal, right.astype(np.float32), iterations, tolerance, progress)
    return np.asarray(found / _shaped(_MANDEL), np.float32)


def identifiability(
    operator: TensorProjector,
    *,
    weights: NDArray | None = None,
    prior: Prior | None = None,
    probes: int = 4,
    seed: int = 0,
    iterations: int = 60,
) -> NDArray[np.float32]:
    """How much of each component at each voxel comes from the data, 0 (from the prior alone) to 1: (6, z, y, x).

    The diagonal of the resolution matrix (BᵀWB + prior)⁻¹ BᵀWB at the scale of single voxels (where pixel and voxel damp
    even the axial component somewhat), from `probes` random sign vectors. Each voxel's value is
    an estimate whose spread falls as 1/√probes: average over a neighbourhood before reading it.

    References
    ----------
    Bekas, Kokiopoulou, Saad 2007, Appl Numer Math 57:1214, doi:10.1016/j.apnum.2007.01.003 (diagonal estimator).
    """
    w = np.ones(operator.projection_shape, np.float32) if weights is None else np.asarray(weights, np.float32)
    prior = prior or Prior()
    normal, inside = _normal(operator, w, prior)
    evidence, _ = _normal(operator, w, Prior(smoothness=0.0, isotropy=0.0, mask=prior.mask))
    total = np.zeros(operator.shape, np.float64)
    for i in range(probes):
        sign = inside * stream(seed, "identifiability", i).choice([-1.0, 1.0], size=operator.shape).astype(np.float32)
        total += sign * _conjugate_gradients(normal, evidence(sign), iterations, 1e-4, None)
    return (total / probes).astype(np.float32)


def identifiable_share(geometry: ParallelGeometry, directions_rad: Sequence[float] | NDArray) -> dict[str, float]:
    """Share of each component that a dense full turn determines, from theory: the mean over all frequencies k.

    In the plane wave k only the view with e_s ∥ k measures; the combinations it sees span a subspace of the six
    (norm-preserving) components, and this is the mean diagonal of the projection onto that subspace. Their sum is the number
    of unknowns that are measured, at most 3 of 6 for one axis.
    """
    weights = tensor_weights(geometry, directions_rad) / _MANDEL
    angles = np.mod(geometry.angles_rad, np.pi)
    total = np.zeros(6)
    for i in range(geometry.views):
        apart = np.abs(angles - angles[i])
        same = np.minimum(apart, np.pi - apart) < 1e-6  # a view and its opposite see the same plane waves
        rows = weights[:, same].reshape(-1, 6)
        total += np.diag(np.linalg.pinv(rows, rcond=1e-6) @ rows)
    return dict(zip(COMPONENTS, (float(v) for v in total / geometry.views)))


def derived_images(tensor: NDArray) -> dict[str, NDArray[np.float32]]:
    """Images of a tensor field (6, z, y, x) that can be read.

    Returns
    -------
    dict
        ``mean`` (tr E / 3), ``axial`` (E_zz), ``anisotropy`` (fractional, 0 to 1 for positive E), ``in_plane_angle_rad``
        (direction of *least* scattering in the plane, where fibres point, from +x towards +y in [0, π)),
        ``in_plane_anisotropy`` (difference over sum of the two in-plane eigenvalues), ``main_axis`` (3, z, y, x): unit
        vector (z, y, x) of least scattering, with the sign that makes its largest part positive, and ``inclination_rad``:
        its angle from the rotation axis, in [0, π/2].
    """
    check_shape("tensor", tensor, "component, z, y, x", (6, None, None, None))
    zz, yy, xx, _, _, yx = np.asarray(tensor, np.float64)
    full = np.empty((*zz.shape, 3, 3))
    for (i, j), part in zip(_PAIRS, tensor):
        full[..., i, j] = full[..., j, i] = part
    values, vectors = np.linalg.eigh(full)
    mean = values.mean(axis=-1)
    size = np.sqrt((values**2).sum(axis=-1))
    spread = np.sqrt(1.5 * ((values - mean[..., None]) ** 2).sum(axis=-1))
    axis = vectors[..., 0]
    plane = np.hypot(xx - yy, 2 * yx)
    images = {
        "mean": mean,
        "axial": zz,
        "anisotropy": np.divide(spread, size, out=np.zeros_like(mean), where=size > 0),
        "in_plane_angle_rad": np.mod(0.5 * np.arctan2(2 * yx, xx - yy) + np.pi / 2, np.pi),
        "in_plane_anisotropy": np.divide(plane, np.abs(xx + yy), out=np.zeros_like(mean), where=np.abs(xx + yy) > 0),
        "main_axis": np.moveaxis(largest_positive(axis), -1, 0),
        "inclination_rad": np.arccos(np.minimum(np.abs(axis[..., 0]), 1.0)),
    }
    return {name: np.asarray(image, np.float32) for name, image in images.items()}


def orientation_rgb(angle_rad: NDArray, saturation: NDArray, strength: NDArray) -> NDArray[np.float32]:
    """Colour image (..., 3) in 0 to 1: hue = angle over half a turn, saturation and value as given (in 0 to 1)."""
    for name, part in (("saturation", saturation), ("strength", strength)):
        require(bool((part >= 0).all() and (part <= 1).all()), f"{name}: wanted values in 0 to 1")
    sector = np.mod(np.asarray(angle_rad) / np.pi, 1.0)[..., None] * 6
    ramp = np.mod(np.array([5.0, 3.0, 1.0]) + sector, 6)
    depth = np.clip(np.minimum(ramp, 4 - ramp), 0, 1)
    return np.asarray(strength[..., None] * (1 - saturation[..., None] * depth), np.float32)


def component(tensor: NDArray, name: str) -> NDArray:
    """One component (z, y, x) by its name in `COMPONENTS`."""
    return tensor[COMPONENTS.index(check_one_of("component", name, COMPONENTS))]


def _shaped(values: NDArray) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(6, 1, 1, 1)


def _normal(
    operator: TensorProjector, weights: NDArray, prior: Prior
) -> tuple[Callable[[NDArray], NDArray], NDArray[np.float32]]:
    """Normal operator BᵀWB + penalties in norm-preserving components, and the support as 0 or 1."""
    shape = operator.projector.shape
    if prior.mask is not None:
        check_shape("mask", prior.mask, "z, y, x", shape)
    inside = np.ones(shape, np.float32) if prior.mask is None else prior.mask.astype(np.float32)
    views = weights.shape[0] * weights.shape[1]
    unit = np.float32(views * weights.mean() * operator.projector.scale_m**2)
    mandel = _shaped(_MANDEL)

    def normal(m: NDArray) -> NDArray:
        out = operator.adjoint(weights * operator.forward(m * inside / mandel)) / mandel
        if prior.smoothness:
            out += np.float32(prior.smoothness) * unit * _laplacian(m, inside)
        if prior.isotropy:
            odd = m.copy()
            odd[:3] -= m[:3].mean(axis=0)
            out += np.float32(prior.isotropy) * unit * odd
        return np.asarray(out * inside, np.float32)

    return normal, inside


def _laplacian(m: NDArray, inside: NDArray) -> NDArray:
    """∇ᵀ∇ over neighbours that are both inside."""
    out = np.zeros_like(m)
    for axis in (1, 2, 3):
        low = [slice(None)] * 4
        high = [slice(None)] * 4
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        both = inside[tuple(low[1:])] * inside[tuple(high[1:])]
        step = (m[tuple(high)] - m[tuple(low)]) * both
        out[tuple(high)] += step
        out[tuple(low)] -= step
    return out


def _conjugate_gradients(
    normal: Callable[[NDArray], NDArray],
    right: NDArray,
    iterations: int,
    tolerance: float,
    progress: Callable[[int, float], None] | None,
) -> NDArray:
    x = np.zeros_like(right)
    residual, direction = right.copy(), right.copy()
    size = first = float(np.sum(residual**2, dtype=np.float64))
    for i in range(iterations):
        if size <= tolerance**2 * first:
            break
        seen = normal(direction)
        step = np.float32(size / float(np.sum(direction * seen, dtype=np.float64)))
        x += step * direction
        residual -= step * seen
        size, before = float(np.sum(residual**2, dtype=np.float64)), size
        direction = residual + np.float32(size / before) * direction
        if progress is not None:
            progress(i, float(np.sqrt(size / first)))
    return x
