"""Families of mice: what differs from animal to animal, over what range, and in what kind the variants differ.

Ranges are half-widths, lengths and fractions of adult laboratory mice of about 20–30 g. Sources, by name:
[Irvin2003] C.G. Irvin, J.H.T. Bates, Respir Res 2003, 10.1186/rr199 (lung volumes of mice);
[Dogdas2007] B. Dogdas et al., Phys Med Biol 2007, 10.1088/0031-9155/52/3/003 (Digimouse, size of organs);
[Camara2022] J.A. Camara et al., J Imaging 2022, 10.3390/jimaging8080204 (healthy mice: lungs of 0.554 ml in micro-CT);
[design] chosen here, within what those sources allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from darklung.core.checks import check_one_of
from darklung.core.random import stream
from darklung.physics.lung import HEALTHY

MM = 1e-3


@dataclass(frozen=True)
class Anatomy:
    """The numbers of one mouse; lengths in metres, angles in radians, interface densities in 1/m.

    ``tissue_fraction`` and ``interface_density_per_m`` are means over its healthy parenchyma at half breath.
    """

    body_half_width_m: float
    body_half_depth_m: float
    neck_taper: float
    skin_m: float
    fat_m: float
    cavity_half_width_m: float
    cavity_half_depth_m: float
    lung_length_m: float
    apex_z_m: float
    dome_height_m: float
    breath: float
    roll_rad: float
    lean: float
    heart_long_m: float
    heart_short_m: float
    heart_left_m: float
    vertebra_m: float
    rib_radius_m: float
    bone_density: float
    trachea_radius_m: float
    tissue_fraction: float
    interface_density_per_m: float
    texture: float
    gravity: float
    rim: float
    vessel_fraction: float
    aspect_low: float
    aspect_high: float
    disease: float


RANGES: Mapping[str, tuple[float, float]] = {
    "body_half_width_m": (10.0 * MM, 11.0 * MM),  # [Dogdas2007]
    "body_half_depth_m": (8.6 * MM, 9.6 * MM),
    "neck_taper": (0.10, 0.22),
    "skin_m": (0.30 * MM, 0.45 * MM),
    "fat_m": (0.25 * MM, 0.75 * MM),
    "cavity_half_width_m": (6.2 * MM, 6.8 * MM),  # with length and depth: lungs of 0.55 ml on average [Camara2022]
    "cavity_half_depth_m": (5.1 * MM, 5.7 * MM),
    "lung_length_m": (11.6 * MM, 12.8 * MM),
    "apex_z_m": (6.6 * MM, 7.2 * MM),
    "dome_height_m": (3.6 * MM, 5.0 * MM),
    "breath": (0.0, 1.0),  # 0 = end of expiration, 1 = mild inspiration
    "roll_rad": (-0.09, 0.09),
    "lean": (-0.03, 0.03),
    "heart_long_m": (3.7 * MM, 4.2 * MM),
    "heart_short_m": (2.6 * MM, 3.0 * MM),
    "heart_left_m": (0.5 * MM, 1.1 * MM),
    "vertebra_m": (1.55 * MM, 1.75 * MM),
    "rib_radius_m": (0.20 * MM, 0.27 * MM),
    "bone_density": (1.45, 1.75),  # g/cm³, cortical mouse bone with its pores [design]
    "trachea_radius_m": (0.55 * MM, 0.70 * MM),
    "tissue_fraction": HEALTHY.tissue_fractions,
    "interface_density_per_m": HEALTHY.interface_densities_per_m,
    "texture": (0.08, 0.12),
    "gravity": (0.06, 0.14),
    "rim": (0.15, 0.30),
    "vessel_fraction": (0.042, 0.068),
    "aspect_low": (1.04, 1.06),
    "aspect_high": (1.14, 1.20),
    "disease": (0.0, 0.0),
}

# Family B is another colony: a deep, narrow chest lying prone, and lungs with emphysema and fibrosis in patches.
RANGES_B: Mapping[str, tuple[float, float]] = {
    **RANGES,
    "body_half_width_m": (9.3 * MM, 10.1 * MM),
    "body_half_depth_m": (9.4 * MM, 10.4 * MM),
    "fat_m": (0.5 * MM, 1.1 * MM),
    "cavity_half_width_m": (5.6 * MM, 6.1 * MM),
    "cavity_half_depth_m": (5.7 * MM, 6.3 * MM),
    "dome_height_m": (2.8 * MM, 4.0 * MM),
    "heart_left_m": (0.2 * MM, 0.7 * MM),
    "gravity": (-0.14, -0.06),
    "vessel_fraction": (0.038, 0.055),
    "aspect_low": (1.05, 1.09),
    "aspect_high": (1.18, 1.28),
    "disease": (0.5, 1.0),
}


# Family C differs in anatomy and in how things grow: barrel chest, high dome, airways with a stem and side branches.
FINER = 1.08  # its airspaces are smaller: S_V over that of the other families [design]
RANGES_C: Mapping[str, tuple[float, float]] = {
    **RANGES,
    "body_half_width_m": (10.4 * MM, 11.2 * MM),
    "body_half_depth_m": (9.6 * MM, 10.5 * MM),
    "neck_taper": (0.02, 0.10),
    "fat_m": (0.8 * MM, 1.4 * MM),
    "cavity_half_width_m": (6.7 * MM, 7.2 * MM),
    "cavity_half_depth_m": (5.9 * MM, 6.5 * MM),
    "lung_length_m": (10.8 * MM, 12.0 * MM),
    "dome_height_m": (4.6 * MM, 5.8 * MM),
    "heart_long_m": (4.2 * MM, 4.7 * MM),
    "heart_short_m": (3.0 * MM, 3.4 * MM),
    "heart_left_m": (1.0 * MM, 1.6 * MM),
    "interface_density_per_m": (FINER * HEALTHY.interface_densities_per_m[0], FINER * HEALTHY.interface_densities_per_m[1]),
    "texture": (0.10, 0.16),
}


@dataclass(frozen=True)
class Family:
    """A kind of mouse.

    Parameters
    ----------
    name : str
    texture : {"smooth", "patchy", "acinar"}
        Law of the parenchyma: a Gaussian field; emphysematous holes and fibrotic strands; bright cells with dark seams.
    share, exponent : float
        Law of the trees, see `tubes.grow_tree`.
    growth : {"harmonic", "budding"}
        Outline of lesions: one wavy surface, or overlapping buds.
    ranges : mapping
        Name of an `Anatomy` field -> (low, high), drawn uniformly.
    """

    name: str
    texture: str
    share: float
    exponent: float
    growth: str
    ranges: Mapping[str, tuple[float, float]] = field(repr=False)


FAMILIES = {
    "A": Family("A", "smooth", 0.5, 3.0, "harmonic", RANGES),
    "B": Family("B", "patchy", 0.5, 3.0, "harmonic", RANGES_B),
    "C": Family("C", "acinar", 0.28, 2.6, "budding", RANGES_C),
}


def family(variant: str) -> Family:
    """The family called `variant`, or one clear line."""
    return FAMILIES[check_one_of("variant", variant, FAMILIES)]


def draw_anatomy(variant: str, seed: int) -> Anatomy:
    """One mouse of a family. Each number has its own stream, so a new one changes none of the others."""
    ranges = family(variant).ranges
    drawn = {f.name: float(stream(seed, "anatomy", f.name).uniform(*ranges[f.name])) for f in fields(Anatomy)}
    return Anatomy(**drawn)
