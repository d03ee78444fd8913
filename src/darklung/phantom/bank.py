"""A bank of lesions as objects that can be put into reconstructed volumes again and again, such as during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_range, check_shape, require
from darklung.core.random import derive_seed, stream
from darklung.phantom.families import MM, family
from darklung.phantom.grid import Grid, make_grid, occupancy
from darklung.phantom.lesions import LESIONS, LesionRequest, draw_growth, lesion_fields
from darklung.physics.scattering import two_phase

Field = NDArray[np.float32]


@dataclass(frozen=True)
class BankLesion:
    """One lesion without a lung around it.

    Parameters
    ----------
    tissue : str
    diameter_m : float
        Of the sphere of the same volume.
    voxel_m : float
    share : (z, y, x) float32
        Part of each voxel that it fills, 0 to 1.
    fraction : (z, y, x) float32
        Its tissue fraction φ.
    surface_ratio : (z, y, x) float32
        Its S_V relative to the host's healthy lung.
    """

    tissue: str
    diameter_m: float
    voxel_m: float
    share: Field
    fraction: Field
    surface_ratio: Field

    def __post_init__(self) -> None:
        check_positive("voxel_m", self.voxel_m)
        check_shape("share", self.share, "z, y, x", (None, None, None))
        for name in ("fraction", "surface_ratio"):
            check_shape(name, getattr(self, name), "z, y, x", self.share.shape)


def draw_bank(
    *,
    count: int,
    seed: int,
    voxel_m: float,
    variant: str = "A",
    classes: Sequence[str] = tuple(LESIONS),
    diameters_m: tuple[float, float] = (0.5 * MM, 2.0 * MM),
) -> tuple[BankLesion, ...]:
    """`count` lesions; lesion i depends on (seed, i) alone. Outlines grow as in the family `variant`."""
    check_range("count", count, 1, 1_000_000)
    family(variant)
    require(0 < diameters_m[0] <= diameters_m[1], f"diameters_m: wanted 0 < low <= high, got {diameters_m}")
    lesions = []
    for number in range(count):
        rng = stream(seed, "bank", number)
        size = float(np.exp(rng.uniform(np.log(diameters_m[0]), np.log(diameters_m[1]))))
        request = LesionRequest(str(rng.choice(list(classes))), size)
        require(request.kind == "lesion", f"classes: {request.tissue!r} is a mimic, not a lesion")
        lesions.append(_lesion(request, variant, derive_seed(seed, "bank", number), voxel_m))
    return tuple(lesions)


def _lesion(request: LesionRequest, variant: str, seed: int, voxel_m: float) -> BankLesion:
    growth = draw_growth(request, "lesion", variant, seed)
    side = 2 * growth.blob.reach_m() + growth.tissue.edge_m + 2 * voxel_m
    grid: Grid = make_grid((max(side, 8 * voxel_m), max(side, 8 * voxel_m)), voxel_m)
    share = occupancy(growth.blob.distance(grid, (0.0, 0.0, 0.0)), max(voxel_m, growth.tissue.edge_m))
    fraction, ratio = lesion_fields(growth, grid)
    return BankLesion(request.tissue, request.diameter_m, voxel_m, share.astype(np.float32), fraction, ratio)


@dataclass(frozen=True)
class Host:
    """What a scan of lung is made of, for putting lesions into it.

    Parameters
    ----------
    tissue_per_m : float
        Attenuation of unaerated tissue in this reconstruction [1/m].
    interface_density_per_m : float
        S_V of this animal's healthy lung.
    contrast : float
        δ of tissue at `energy_kev`.
    energy_kev, correlation_length_m : float
    """

    tissue_per_m: float
    interface_density_per_m: float
    contrast: float
    energy_kev: float
    correlation_length_m: float


def reinsert(
    attenuation: NDArray, scattering: NDArray, lesion: BankLesion, *, corner: tuple[int, int, int], host: Host
) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Copies of two reconstructed volumes with a lesion in both, consistently; and its mask.

    The mean of the lung where the lesion goes is replaced by the lesion's; what deviates from that mean (noise, vessels)
    stays. NOT modelled: that the noise itself changes where a lesion attenuates, streaks, the scan's blur (blur `share`
    first where that matters), the compressed rim.

    Parameters
    ----------
    attenuation, scattering : (z, y, x) arrays [1/m]
    lesion : BankLesion
        With the volumes' voxel size.
    corner : (z, y, x)
        Voxel that the lesion's first voxel lands on.
    host : Host

    Raises
    ------
    DarklungError
        Different shapes, or a lesion that does not fit.
    """
    check_shape("scattering", scattering, "z, y, x", attenuation.shape)
    ends = tuple(c + n for c, n in zip(corner, lesion.share.shape))
    fits = all(c >= 0 and e <= n for c, e, n in zip(corner, ends, attenuation.shape))
    require(fits, f"corner: a lesion of {lesion.share.shape} voxels at {corner} leaves the volume {attenuation.shape}")
    box = tuple(slice(c, e) for c, e in zip(corner, ends))
    weight = lesion.share
    replaced, new = attenuation.astype(np.float64), scattering.astype(np.float64)
    mean_mu = float(np.sum(replaced[box] * weight) / weight.sum())
    mean_epsilon = float(np.sum(new[box] * weight) / weight.sum())
    phi = mean_mu / host.tissue_per_m
    require(0.02 < phi < 0.98, f"corner: wanted lung there, got a mean tissue fraction of {phi:.2f}")
    beam = (host.contrast, host.energy_kev, host.correlation_length_m)
    healthy = float(two_phase(phi, host.interface_density_per_m, *beam))
    ill = two_phase(lesion.fraction, lesion.surface_ratio * host.interface_density_per_m, *beam)
    replaced[box] += weight * (lesion.fraction * host.tissue_per_m - mean_mu)
    new[box] += weight * mean_epsilon * (ill / healthy - 1)
    mask = np.zeros(attenuation.shape, dtype=bool)
    mask[box] = weight > 0.5
    return replaced.astype(attenuation.dtype), new.astype(scattering.dtype), mask
