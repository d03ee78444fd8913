"""What a mouse and its insertions turned out to be: numbers measured on the phantom, for tables and for checks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.geometry import Geometry
from darklung.core.types import Image, Insertion, Phantom
from darklung.phantom.families import MM
from darklung.phantom.thorax import LOBES
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase
from darklung.tomo.beams import projector_of

ML = 1e-6
MOUSE_MEANINGS = {
    "subject": "name of the animal",
    "site": "where it is scanned",
    "variant": "family of mice",
    "lung volume ml": "volume of all lobes",
    "lung tissue g": "mass inside the lungs, lesions and vessels included",
    "lung density g/cm3": "that mass over that volume",
    "tissue fraction": "median of healthy parenchyma alone",
    "interface density /cm": "area of the air-tissue interface in a volume, median of healthy parenchyma alone",
    "chord of airspace um": "mean linear intercept of airspace, 4 (1 - tissue fraction) / interface density",
    "texture %": "standard deviation of the logarithm of the tissue fraction",
    "mu of lung /cm": "attenuation coefficient of healthy parenchyma, 70 keV",
    "epsilon of lung /cm": "linear diffusion coefficient of healthy parenchyma, 70 keV, correlation length 3 um",
    "body mass g": "of the simulated part of the body",
    **{f"lobe {name} %": "share of the lungs' volume" for name in LOBES},
    "synthetic_flag": "true: the animal is simulated",
}
INSERTION_MEANINGS = {
    "subject": "name of the animal",
    "number": "number in the label volume; a sham has none there",
    "kind": "lesion, mimic or sham",
    "tissue": "class",
    "diameter_mm": "diameter that was placed, of the sphere of the same volume",
    "measured_diameter_mm": "the same, from the voxels of its label",
    "lobe": "lobe that holds it",
    "place": "pleura where it touches the lungs' surface, else inside",
    "mu_ratio": "attenuation of its core over that of the lung around it",
    "epsilon_ratio": "diffusion coefficient of its core over that of the lung around it",
    "synthetic_flag": "true: it is simulated",
}
PURE = 0.01  # a voxel is all parenchyma where its mass follows from φ to this share


def _pure(phantom: Phantom) -> NDArray[np.bool_]:
    """Voxels of parenchyma alone: no vessel, airway or edge in them."""
    expected = np.maximum(HEALTHY.tissue_density * phantom.tissue_fraction, 1e-6)
    same = np.abs(phantom.density[0] / expected - 1) < PURE
    return np.asarray(same & (phantom.lobes > 0) & (phantom.interface_density_per_m > 0))


def scattering_map(phantom: Phantom, *, energy_kev: float, correlation_length_m: float) -> NDArray[np.float64]:
    """ε [1/m] of each voxel by the isotropic two-phase model, (z, y, x)."""
    contrast = delta("soft_tissue", HEALTHY.tissue_density, energy_kev)
    return two_phase(phantom.tissue_fraction, phantom.interface_density_per_m, contrast, energy_kev, correlation_length_m)


def describe_mouse(phantom: Phantom, *, energy_kev: float = 70.0, correlation_length_m: float = 3e-6) -> dict[str, float]:
    """Numbers of one mouse: volumes, tissue fraction, interface density, chord length, μ and ε of its healthy lung.

    Parameters
    ----------
    phantom : Phantom
    energy_kev : float
    correlation_length_m : float
        ξ at that energy.

    Returns
    -------
    dict
        Name with unit -> value. Medians are over voxels of healthy parenchyma alone.
    """
    inside = phantom.lobes > 0
    healthy = _pure(phantom) & (phantom.instances == 0)
    phi = float(np.median(phantom.tissue_fraction[healthy]))
    surface = float(np.median(phantom.interface_density_per_m[healthy]))
    epsilon = scattering_map(phantom, energy_kev=energy_kev, correlation_length_m=correlation_length_m)
    mass = phantom.density.sum(axis=0)
    volume_ml = np.count_nonzero(inside) * phantom.voxel_m**3 / ML
    row = {
        "lung volume ml": volume_ml,
        "lung tissue g": float(mass[inside].sum()) * phantom.voxel_m**3 / ML,
        "lung density g/cm3": float(mass[inside].mean()),
        "tissue fraction": phi,
        "interface density /cm": surface / 100,
        "chord of airspace um": 4 * (1 - phi) / surface * 1e6,
        "texture %": 100 * float(np.std(np.log(phantom.tissue_fraction[healthy]))),
        "mu of lung /cm": float(linear_attenuation("soft_tissue", HEALTHY.tissue_density * phi, energy_kev)) / 100,
        "epsilon of lung /cm": float(np.median(epsilon[healthy])) / 100,
        "body mass g": float(mass.sum()) * phantom.voxel_m**3 / ML,
    }
    shares = {f"lobe {name} %": 100 * float(np.mean(phantom.lobes[inside] == k)) for k, name in enumerate(LOBES, start=1)}
    return {**row, **shares}


def describe_insertions(
    phantom: Phantom, *, energy_kev: float = 70.0, correlation_length_m: float = 3e-6
) -> list[dict[str, Any]]:
    """One row for each insertion: kind, class, place, measured size, and contrast to the lung around it.

    ``mu_ratio`` and ``epsilon_ratio`` compare medians of the core, without its outermost voxels, and of
    a shell of lung 0.4–1 mm around it; a sham has neither.
    """
    epsilon = scattering_map(phantom, energy_kev=energy_kev, correlation_length_m=correlation_length_m)
    return [_row(phantom, insertion, epsilon) for insertion in phantom.insertions]


def _row(phantom: Phantom, insertion: Insertion, epsilon: NDArray[np.float64]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": insertion.number,
        "kind": insertion.kind,
        "tissue": insertion.tissue,
        "diameter_mm": insertion.diameter_m / MM,
        "measured_diameter_mm": None,
        "lobe": None,
        "place": None,
        "mu_ratio": None,
        "epsilon_ratio": None,
        "synthetic_flag": True,
    }
    mask = phantom.instances == insertion.number
    if not mask.any():
        return row
    margin = round(1.2 * MM / phantom.voxel_m)
    ends = zip(np.argwhere(mask).min(axis=0), np.argwhere(mask).max(axis=0) + 1)
    box = tuple(slice(max(int(low) - margin, 0), int(high) + margin) for low, high in ends)
    core = mask[box]
    away = ndimage.distance_transform_edt(~core, sampling=phantom.voxel_m)
    lobes = phantom.lobes[box]
    shell = (away > 0.4 * MM) & (away < 1.0 * MM) & (lobes > 0) & (phantom.instances[box] == 0)
    touching = (away > 0) & (away < 1.8 * phantom.voxel_m) & (lobes == 0)
    label = int(np.bincount(lobes[core]).argmax())
    row["measured_diameter_mm"] = float(np.cbrt(core.sum() * 6 / np.pi)) * phantom.voxel_m / MM
    row["lobe"] = LOBES[label - 1]
    row["place"] = "pleura" if touching.any() else "inside"
    deep = ndimage.distance_transform_edt(core) > 1.5  # without the edge's mixed voxels
    middle = deep if deep.any() else core
    if shell.any():
        mass = phantom.density[(slice(None), *box)].sum(axis=0)
        row["mu_ratio"] = float(np.median(mass[middle]) / np.median(mass[shell]))
        row["epsilon_ratio"] = float(np.median(epsilon[box][middle]) / np.median(epsilon[box][shell]))
    return row


def radiograph_truth(animal: Phantom, pixels: Image, fine: Geometry) -> Image:
    """Paths through lung and lesions [m] and the insertion with the longest path, on the pixels of a radiograph.

    `fine` is the beam of its one view on pixels of one voxel (`darklung.simulate.scan.fine_geometry`); of them a pixel takes
    the mean.
    """
    depth, height, width = animal.lobes.shape
    projector = projector_of(fine, (depth, height, width), animal.voxel_m)
    (rows, cols), size = pixels.shape, fine.rows // pixels.shape[0]

    def path(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        through = projector.forward(mask.astype(np.float32))[0].astype(np.float64)
        return np.asarray(through.reshape(rows, size, cols, size).mean(axis=(1, 3)))

    # Rays that only rounding takes into a voxel have no insertion
    longest, number = np.full(pixels.shape, 1e-3 * animal.voxel_m), np.zeros(pixels.shape)
    for k in np.unique(animal.instances[animal.instances > 0]):
        own = path(animal.instances == k)
        number[own > longest] = k
        longest = np.maximum(longest, own)
    layers = {"lung_path": path(animal.lobes > 0), "lesion_path": path(animal.lesion_mask()), "instance": number}
    data = np.stack([v.astype(np.float32) for v in layers.values()])
    return pixels.with_data(data, tuple(layers), ("m", "m", "1"))
