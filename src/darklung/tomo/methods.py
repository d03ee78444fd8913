"""Reconstruction methods as one seam: projections of all grating directions in, volumes out.

A method is a function ``method(projections, *, options..., progress)`` that returns `Volumes`. Its keyword-only arguments
are what a study file or ``darklung reconstruct`` may set. `METHODS` lists the short names; any ``package.module:function``
of the same shape will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel, attenuation, dark_field_at
from darklung.core.checks import DarklungError, check_one_of, check_range, check_shape, require
from darklung.core.circle import wrapped
from darklung.core.geometry import ParallelGeometry
from darklung.core.seams import check_options, resolve
from darklung.core.types import Projections
from darklung.tomo.device import DEVICES, find_device

METHODS = {
    "fbp": "darklung.tomo.methods:fbp_method",
    "cgls": "darklung.tomo.methods:cgls_method",
    "pwls_tv": "darklung.tomo.methods:pwls_tv_method",
    "tensor": "darklung.tomo.tensor_method:tensor_method",
}
# Least and most of options that have bounds; a cutoff of 0 lets nothing pass.
_WITHIN = {
    "cutoff": (1e-6, 1.0),
    "iterations": (1, 100_000),
    "subsets": (1, 100_000),
    "tolerance": (0.0, 1.0),
    "attenuation_strength": (0.0, 1e9),
    "dark_field_strength": (0.0, 1e9),
    "smoothness": (0.0, 1e9),
    "isotropy": (0.0, 1e9),
    "support": (0.0, 1.0),
    "probes": (0, 10_000),
}
Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Volumes:
    """What a method gives, all (z, y, x) float32 on a grid of the detector's pixels, centred on the rotation axis.

    Parameters
    ----------
    attenuation : (z, y, x) float32 [1/m]
    dark_field : (direction, z, y, x) float32 [1/m]
        Scattering coefficient seen by each grating direction.
    extras : mapping
        Name -> (unit, volume): noise maps, tensor images.
    notes : mapping
        Plain numbers and words for the record, such as why an iteration stopped.
    """

    attenuation: NDArray[np.float32]
    dark_field: NDArray[np.float32]
    extras: Mapping[str, tuple[str, NDArray[np.float32]]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_shape("attenuation", self.attenuation, "z, y, x", (None, None, None))
        check_shape("dark_field", self.dark_field, "direction, z, y, x", (None, *self.attenuation.shape))
        for name, (_, volume) in self.extras.items():
            check_shape(name, volume, "z, y, x", self.attenuation.shape)


def find_method(name: str, options: Mapping[str, Any]) -> Callable[..., Volumes]:
    """The function that `name` stands for; raises if it does not take every one of `options`.

    Raises
    ------
    DarklungError
        Unknown name or option (with the known ones), or what else `check_options` refuses.
    """
    method = resolve("reconstruction method", name, METHODS)
    check_options(name, method, options, passed=("progress",), positional=1)
    if name in METHODS and "device" in options:
        check_one_of(f"option device of {name}", str(options["device"]), DEVICES)
    if name in METHODS:
        _check_values(name, options)
    return method


def _check_values(name: str, options: Mapping[str, Any]) -> None:
    """Refuse values that darklung's own methods would refuse once they compute."""
    from darklung.tomo.fbp import FILTERS, PADDINGS

    for key, value in options.items():
        where = f"option {key} of {name}"
        if key in ("filter", "padding"):
            check_one_of(where, value, FILTERS if key == "filter" else PADDINGS)
        elif key in _WITHIN:
            check_range(where, value, *_WITHIN[key])


def apply_method(
    name: str, options: Mapping[str, Any], projections: Projections, *, shape: tuple[int, ...], progress: Tell
) -> Volumes:
    """What the method gives for these projections.

    Parameters
    ----------
    name, options
        As in `find_method`.
    projections : Projections
    shape : (z, y, x)
        Of the grid that belongs to them.
    progress : callable

    Raises
    ------
    DarklungError
        What the method raises; of a function of the user also a result that is not `Volumes` of finite real numbers, one
        dark field a direction, on the grid.
    """
    method = find_method(name, options)
    if name in METHODS:
        return method(projections, **options, progress=progress)
    try:
        found = method(projections, **options, progress=progress)
    except DarklungError as error:
        raise DarklungError(f"{name}: {error}") from error
    return _checked(name, found, (len(projections.directions_rad), *shape))


def _checked(name: str, found: Any, wanted: tuple[int, ...]) -> Volumes:
    if not isinstance(found, Volumes):
        raise DarklungError(f"{name}: wanted Volumes to be returned, got {type(found).__name__}")
    extras = {key: (volume, wanted[1:]) for key, (_, volume) in found.extras.items()}
    every = {"attenuation": (found.attenuation, wanted[1:]), "dark_field": (found.dark_field, wanted), **extras}
    for key, (volume, shape) in every.items():
        if not isinstance(volume, np.ndarray):
            raise DarklungError(f"{name}: {key}: wanted a numpy array, got {type(volume).__name__}")
        require(volume.shape == shape, f"{name}: {key}: wanted shape {shape}, got {volume.shape}")
        require(volume.dtype.kind == "f", f"{name}: {key}: wanted real numbers, got {volume.dtype}")
        bad = int((~np.isfinite(volume)).sum())
        require(bad == 0, f"{name}: {key}: {bad} values are not finite")
    return found


def check_device(name: str, options: Mapping[str, Any], *, cone: bool) -> None:
    """Raise if a method of darklung is asked to compute where it cannot on this machine: to be called before any work."""
    if name in METHODS and "device" in options:
        find_device(options["device"], analytic_cone=cone and name == "fbp")


def noted(device: str, told: str) -> dict[str, str]:
    """For the record, where a device was asked for."""
    return {} if device == "cpu" else {"device": told}


def fbp_method(
    projections: Projections,
    *,
    filter: str = "ramp",
    cutoff: float = 1.0,
    padding: str = "zero",
    noise: bool = False,
    phase: bool = False,
    device: str = "cpu",
    progress: Tell | None = None,
) -> Volumes:
    """Filtered back-projection of attenuation and of each direction's dark field: `darklung.tomo.fbp.fbp`, or `fdk`.

    Exact for a sensitivity along the rotation axis; in other directions the scattering that a view sees turns with the
    gantry, and the result is a mean over views (docs/decisions/061). Invalid pixels must hold values (`fill_invalid`).

    Parameters
    ----------
    projections : Projections
    filter, cutoff, padding
        As in `fbp`.
    noise : bool
        Also give standard errors ``attenuation_noise`` and ``dark_field_<degrees>_noise`` of each direction.
    phase : bool
        Also give ``refraction_<degrees>`` [rad] of each direction across the axis: δ times 2π distance / period of the
        analyser grating, by Hilbert filtering of the phase; the same at 90° and at 270°. The median of each row and view is
        taken for its zero. Parallel beam only.
    device : {"cpu", "cuda", "auto", "torch-cpu"}
        Where back-projection is computed (`darklung.tomo.device.find_device`); noise and phase are on the CPU.
    progress : callable, optional
        Called with the fraction done and a word.
    """
    from darklung.tomo.beams import filtered, filtered_variance
    from darklung.tomo.fbp import fbp_gradient

    g, tell = projections.geometry, progress or silent
    where, told = find_device(device, analytic_cone=not isinstance(g, ParallelGeometry))
    mean, variance = plain_attenuation(projections)
    require(not phase or isinstance(g, ParallelGeometry), "phase: the Hilbert filter is for a parallel beam, this is a cone")
    require(not noise or bool(np.isfinite(variance).all()), "noise: wanted finite variances with the projections")
    count = (1 + len(projections.directions_rad)) * (2 if noise else 1)
    done = 0

    def run(function: Callable[..., NDArray[np.float32]], values: NDArray) -> NDArray[np.float32]:
        nonlocal done
        tell(done / count, "back-projection")
        done += 1
        more = {"padding": padding, "device": where} if function is filtered else {}
        return function(values, g, filter=filter, cutoff=cutoff, **more)

    volume = run(filtered, mean)
    dark = np.stack([run(filtered, d) for d in projections.dark_field])
    extras = {}
    if noise:
        signals = (attenuation(), *(dark_field_at(float(a)) for a in projections.directions_rad))
        for signal, values in zip(signals, (variance, *projections.dark_field_variance)):
            extras[signal.noise().name] = ("1/m", np.sqrt(run(filtered_variance, values)))
    for d, angle in enumerate(projections.directions_rad if phase else ()):
        if abs(np.sin(angle)) > 0.999:
            # Phase grows along u, which at 270° is against the columns.
            shifts = np.sign(np.sin(angle)) * _without_offset(projections.phase[d])
            name = Channel("refraction", float(np.degrees(angle))).name
            extras[name] = ("rad", fbp_gradient(shifts, projections.parallel()))
    return Volumes(volume, dark, extras, noted(device, told))


def _without_offset(phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """Phases (view, row, col) less the median of each row and view, on the circle wherever the offset lies on it."""
    mean = np.exp(1j * phase.astype(np.float64)).mean(axis=2, keepdims=True)
    near = wrapped(phase - np.angle(mean))
    return wrapped(near - np.median(near, axis=2, keepdims=True))


def cgls_method(
    projections: Projections,
    *,
    iterations: int = 20,
    tolerance: float = 1e-3,
    depth_slope_per_m: float = 0.0,
    device: str = "cpu",
    progress: Tell | None = None,
) -> Volumes:
    """Weighted least squares by conjugate gradients, ended when the data are explained to within their noise.

    Invalid pixels have no weight. See `darklung.tomo.iterative.cgls`; not regularised but by stopping early.

    Parameters
    ----------
    projections : Projections
    iterations, tolerance
        As in `cgls`.
    depth_slope_per_m : float
        Relative change of ε along the beam, since the correlation length changes (`darklung.tomo.depth.depth_slope`: minus
        exponent over the distance from the axis to G2). For scans that are no full turns.
    device
        Where projections are computed, as in `fbp_method`.
    """
    from darklung.tomo.iterative import cgls

    def solve(projector: Any, data: NDArray, weights: NDArray, name: str, tell: Callable[[int, float], None]) -> Any:
        return cgls(projector, data, weights=weights, iterations=iterations, tolerance=tolerance, progress=tell)

    return _each(projections, solve, iterations, (depth_slope_per_m, device), progress)


def pwls_tv_method(
    projections: Projections,
    *,
    attenuation_strength: float = 0.3,
    dark_field_strength: float = 0.03,
    iterations: int = 20,
    subsets: int = 8,
    nonnegative_attenuation: bool = False,
    tolerance: float = 1e-3,
    depth_slope_per_m: float = 0.0,
    device: str = "cpu",
    progress: Tell | None = None,
) -> Volumes:
    """Penalised weighted least squares with total variation; weights are 1/variance from the retrieval, 0 where invalid.

    See `darklung.tomo.iterative.pwls_tv`; starts from filtered back-projection where the views allow one.

    Parameters
    ----------
    projections : Projections
    attenuation_strength, dark_field_strength : float
        Weight of the total variation [m]. The defaults suit 5e7 counts a pixel and scan at 120 um; the best ones grow about
        as the square root of the counts.
    iterations, subsets, tolerance
        Passes over all views at most, groups of views, and the relative change of a pass that ends it.
    nonnegative_attenuation : bool
        Attenuation cannot be negative; the dark field of noisy data is never forced.
    depth_slope_per_m, device
        As in `cgls_method`.
    """
    from darklung.tomo.beams import filtered
    from darklung.tomo.iterative import pwls_tv

    def solve(projector: Any, data: NDArray, weights: NDArray, name: str, tell: Callable[[int, float], None]) -> Any:
        try:
            start = filtered(data, projector.geometry, device=find_device(device)[0])
        except DarklungError:  # angles that leave a gap
            start = None
        return pwls_tv(
            projector,
            data,
            weights=weights,
            strength=attenuation_strength if name == "attenuation" else dark_field_strength,
            iterations=iterations,
            subsets=min(subsets, projector.geometry.views),
            nonnegative=nonnegative_attenuation and name == "attenuation",
            start=start,
            tolerance=tolerance,
            progress=tell,
        )

    return _each(projections, solve, iterations, (depth_slope_per_m, device), progress)


def plain_attenuation(projections: Projections) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean attenuation over the directions and its variance: every direction exposes alike, so all photons count."""
    count = len(projections.directions_rad)
    return projections.attenuation.mean(axis=0), projections.attenuation_variance.sum(axis=0) / count**2


def _each(
    projections: Projections, solve: Callable[..., Any], iterations: int, how: tuple[float, str], progress: Tell | None
) -> Volumes:
    """`solve` for attenuation (mean of the directions where each is valid) and for each dark field."""
    from darklung.tomo.beams import projector_for
    from darklung.tomo.depth import DepthProjector

    (depth_slope_per_m, device), tell = how, progress or silent
    where, told = find_device(device)
    plain = projector_for(projections.geometry, where)
    deep = DepthProjector(plain, depth_slope_per_m) if depth_slope_per_m else plain
    maps = [("attenuation", *_weighted_mean(projections))]
    for angle, values, *known in zip(
        projections.directions_rad, projections.dark_field, projections.dark_field_variance, projections.valid
    ):
        maps.append((dark_field_at(float(angle)).name, values, usable_weights(*known)))
    volumes: list[NDArray[np.float32]] = []
    notes: dict[str, Any] = {}
    for i, (name, values, weights) in enumerate(maps):

        def step(k: int, chi: float, i: int = i, name: str = name) -> None:
            tell((i + (k + 1) / iterations) / len(maps), f"{name}, pass {k + 1}, chi-square {chi:.3f}")

        found = solve(plain if name == "attenuation" else deep, values, weights, name, step)
        volumes.append(found.volume)
        notes[name] = {"stopped": found.stopped, "passes": len(found.chi_square), "chi_square": found.chi_square[-1:]}
    return Volumes(volumes[0], np.stack(volumes[1:]), {}, notes | noted(device, told))


def _weighted_mean(projections: Projections) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Attenuation, the mean of the valid directions, and its weights; where none is valid the weight is zero."""
    count = projections.valid.sum(axis=0)
    total = np.where(projections.valid, projections.attenuation, 0).sum(axis=0, dtype=np.float32)
    variance = np.where(projections.valid, projections.attenuation_variance, 0).sum(axis=0, dtype=np.float32)
    at_least = np.maximum(count, 1)
    return (total / at_least).astype(np.float32), usable_weights(variance / at_least**2, count > 0)


def usable_weights(variance: NDArray, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1/variance, zero where invalid or where the variance says nothing."""
    usable = valid & np.isfinite(variance) & (variance > 0)
    require(bool(usable.any()), "projections: no valid pixel with a variance > 0; this method needs variances, fbp does not")
    out = np.zeros(variance.shape, np.float32)
    np.divide(1.0, variance, out=out, where=usable, casting="unsafe")
    return out


def silent(fraction: float, text: str) -> None:
    """No progress wanted."""
