"""A bank of lesions as objects that can be put into reconstructed volumes again and again, such as during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_positive, check_range, check_shape, require
from darklung.core.random import derive_seed, stream
from darklung.phantom.families import MM, family
from darklung.phantom.grid import Grid, make_grid, occupancy
from darklung.phantom.lesions import Growth, LesionRequest, draw_growth, lesion_fields
from darklung.physics.lung import INSERTABLE_MIMICS, LESIONS, RIM, SHAM_RATIO, find_class
from darklung.physics.scattering import two_phase

Field = NDArray[np.float32]
DRAWABLE = {**LESIONS, **INSERTABLE_MIMICS}


@dataclass(frozen=True)
class BankLesion:
    """One lesion, mimic or sham without a lung around it, drawn on voxels.

    Parameters
    ----------
    tissue : str
    diameter_m : float
        Of the sphere of the same volume.
    voxel_m : float
    share : (z, y, x) float32
        Part of each voxel that its core fills, 0 to 1.
    fraction : (z, y, x) float32
        Tissue fraction φ of the core.
    surface_ratio : (z, y, x) float32
        S_V of the core relative to the host's healthy lung.
    kind : {"lesion", "mimic", "sham"}
    rim : (z, y, x) float32
        Part of each voxel that is lung compressed by it; 0 where the class has none.
    rim_fraction, rim_surface : float
        φ of the rim, and its S_V relative to the host's healthy lung.
    sham_ratios : (attenuation, scattering)
        Of a sham over the lung that it replaces; its `fraction` and `surface_ratio` are not used.
    """

    tissue: str
    diameter_m: float
    voxel_m: float
    share: Field
    fraction: Field
    surface_ratio: Field
    kind: str = "lesion"
    rim: Field = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    rim_fraction: float = 0.5
    rim_surface: float = 1.0
    sham_ratios: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        check_positive("voxel_m", self.voxel_m)
        check_shape("share", self.share, "z, y, x", (None, None, None))
        if self.rim.size == 0:
            object.__setattr__(self, "rim", np.zeros_like(self.share))
        for name in ("fraction", "surface_ratio", "rim"):
            check_shape(name, getattr(self, name), "z, y, x", self.share.shape)

    @property
    def touched(self) -> Field:
        """Part of each voxel that is not the host's lung any more: core and rim."""
        return np.asarray(self.share + self.rim, dtype=np.float32)


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
    for name in classes:
        find_class("classes", name, LESIONS)
    require(0 < diameters_m[0] <= diameters_m[1], f"diameters_m: wanted 0 < low <= high, got {diameters_m}")
    lesions = []
    for number in range(count):
        rng = stream(seed, "bank", number)
        size = float(np.exp(rng.uniform(np.log(diameters_m[0]), np.log(diameters_m[1]))))
        request = LesionRequest(str(rng.choice(list(classes))), size)
        growth = draw_growth(request, "lesion", variant, derive_seed(seed, "bank", number))
        side = max(2 * reach_m(growth) + 2 * voxel_m, 8 * voxel_m)
        lesions.append(draw_lesion(growth, make_grid((side, side), voxel_m)))
    return tuple(lesions)


def reach_m(growth: Growth) -> float:
    """Radius of a sphere around the centre that holds all that an insertion changes."""
    width = _rim(growth)[0] if _has_rim(growth) else 0.5 * growth.tissue.edge_m
    return growth.blob.reach_m() + width


def _has_rim(growth: Growth) -> bool:
    return growth.tissue.rim and growth.kind != "sham"


def _rim(growth: Growth) -> tuple[float, float, float]:
    """Width [m], φ and relative S_V of the compressed rim, as `lesions.edit` draws them."""
    rng = stream(growth.seed, "rim")
    width = float(rng.uniform(*RIM.width_m))
    return width, float(rng.uniform(*RIM.fraction)), float(rng.uniform(*RIM.surface))


def draw_lesion(growth: Growth, grid: Grid) -> BankLesion:
    """An outline on the voxels of `grid`, whose coordinates count from the lesion's own centre.

    Not modelled, unlike in a phantom: airways that it fills, and the rim's flattened pores.

    Raises
    ------
    DarklungError
        A vessel cluster: it is made of vessels, not of a medium.
    """
    tissue = find_class("tissue", growth.request.tissue, DRAWABLE).name
    distance_m = growth.blob.distance(grid, (0.0, 0.0, 0.0))
    share = occupancy(distance_m, max(grid.voxel_m, growth.tissue.edge_m)).astype(np.float32)
    fraction, surface = lesion_fields(growth, grid)
    made = BankLesion(tissue, growth.request.diameter_m, grid.voxel_m, share, fraction, surface, growth.kind)
    if growth.kind == "sham":
        r_mu, r_epsilon = stream(growth.seed, "sham").uniform(*SHAM_RATIO, 2)
        return replace(made, sham_ratios=(float(r_mu), float(r_epsilon)))
    if _has_rim(growth):
        width, phi, ratio = _rim(growth)
        outside = np.clip(distance_m / np.float32(width), 0, 1)
        rim = ((1 - share) * (1 - outside) ** 2).astype(np.float32)
        return replace(made, rim=rim, rim_fraction=phi, rim_surface=ratio)
    return made


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


@dataclass(frozen=True)
class Texture:
    """How the lung that is replaced differs from its mean, voxel by voxel.

    Parameters
    ----------
    attenuation : (z, y, x) float64
        Relative deviation of the parenchyma.
    vessels : (z, y, x) float64
        Share of vessels that show.
    scattering : (direction, z, y, x) float64
        Relative deviation.
    """

    attenuation: NDArray[np.float64]
    vessels: NDArray[np.float64]
    scattering: NDArray[np.float64]


@dataclass(frozen=True)
class LungThere:
    """Means of the lung that an insertion replaces.

    Parameters
    ----------
    attenuation_per_m : float
        Of its parenchyma: vessels are left out.
    scattering_per_m : tuple of float
        One a grating direction; with what vessels take of it.
    vessels : float
        Share of vessels, which stay; of those that do not show, where a `Texture` tells of the others.
    """

    attenuation_per_m: float
    scattering_per_m: tuple[float, ...]
    vessels: float = 0.0

    def fraction(self, host: Host) -> float:
        """Its tissue fraction φ."""
        return self.attenuation_per_m / host.tissue_per_m


def lesion_changes(
    lesion: BankLesion, lung: LungThere, host: Host, texture: Texture | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Changes of attenuation (z, y, x) and of scattering (direction, z, y, x) [1/m] where a lesion replaces lung.

    Δμ = Σ w (1 − v)(φ μ_tissue − μ_lung) and Δε = Σ w ε_lung (ε(φ, S_V)/ε(φ_lung, S_V,lung) − 1) over core and rim of share
    w, v the share of vessels: the dark field is scaled by the lung's own in each direction, so that only the ratio is a
    model's. Where `texture` is given, the lesion replaces the texture too, and leaves the vessels where they are.

    Raises
    ------
    DarklungError
        What is replaced is no lung: a tissue fraction outside 0.02 to 0.98.
    """
    mu, own = lung.attenuation_per_m, np.asarray(lung.scattering_per_m, dtype=np.float64)
    if lesion.kind == "sham":
        r_mu, r_epsilon = lesion.sham_ratios
        share = lesion.share.astype(np.float64)
        return share * mu * (r_mu - 1), own[:, None, None, None] * share * (r_epsilon - 1)
    of_mu, shown, of_epsilon = np.zeros(1), np.zeros(1), np.zeros((len(own), 1, 1, 1))
    if texture is not None:
        of_mu, shown, of_epsilon = texture.attenuation, texture.vessels, texture.scattering
    phi = lung.fraction(host)
    require(0.02 < phi < 0.98, f"corner: wanted lung there, got a mean tissue fraction of {phi:.2f}")
    beam = (host.contrast, host.energy_kev, host.correlation_length_m)
    healthy = float(two_phase(phi, host.interface_density_per_m, *beam))
    ill = two_phase(lesion.fraction, lesion.surface_ratio * host.interface_density_per_m, *beam)
    squeezed = float(two_phase(lesion.rim_fraction, lesion.rim_surface * host.interface_density_per_m, *beam))
    there = mu * (1 + of_mu)
    attenuation = lesion.share * (lesion.fraction * host.tissue_per_m - there)
    attenuation = (attenuation + lesion.rim * (lesion.rim_fraction * host.tissue_per_m - there)) * (1 - lung.vessels - shown)
    relative = lesion.share * (ill / healthy - 1 - of_epsilon) + lesion.rim * (squeezed / healthy - 1 - of_epsilon)
    return np.asarray(attenuation, dtype=np.float64), own[:, None, None, None] * relative


def reinsert(
    attenuation: NDArray, scattering: NDArray, lesion: BankLesion, *, corner: tuple[int, int, int], host: Host
) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
    """Copies of two reconstructed volumes with a lesion in both, consistently; and its mask.

    The mean of the lung where the lesion goes is replaced by the lesion's; what deviates from that mean (noise, vessels)
    stays. NOT modelled: that the noise itself changes where a lesion attenuates, streaks, the scan's blur (blur `share` and
    `rim` first where that matters).

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
    weight = lesion.touched
    means = [float(np.sum(values[box] * weight) / weight.sum()) for values in (attenuation, scattering)]
    changes = lesion_changes(lesion, LungThere(means[0], (means[1],)), host)
    replaced, new = attenuation.astype(np.float64), scattering.astype(np.float64)
    replaced[box] += changes[0]
    new[box] += changes[1][0]
    mask = np.zeros(attenuation.shape, dtype=bool)
    mask[box] = lesion.share > 0.5
    return replaced.astype(attenuation.dtype), new.astype(scattering.dtype), mask


def interface_of(scattering_per_m: float, fraction: float, host: Host) -> Host:
    """`host` with the S_V for which lung of tissue fraction `fraction` scatters as measured.

    Within 50 to 3000 /cm, where ε rises with S_V; outside what those give, the nearest.
    """
    densities = np.geomspace(5e3, 3e5, 400)
    values = two_phase(fraction, densities, host.contrast, host.energy_kev, host.correlation_length_m)
    rising = slice(0, int(np.argmax(values)) + 1)
    found = float(np.interp(scattering_per_m, values[rising], densities[rising]))
    return replace(host, interface_density_per_m=found)
