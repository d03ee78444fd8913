"""Healthy lung and the classes of lesions and mimics: what they are made of, said once for everything that uses it.

The planner, the simulated mice, insertion into measured scans and into radiographs take φ (tissue fraction), S_V (interface
area in a volume) and density from here; how they are drawn and placed is theirs. Reasons for the numbers:
docs/decisions/042-classes.md and 058-healthy-lung-and-classes-once.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from darklung.core.checks import DarklungError, check_one_of, check_positive, check_range, require
from darklung.physics.scattering import two_phase

Range = tuple[float, float]


@dataclass(frozen=True)
class Medium:
    """Tissue and air in each other.

    Parameters
    ----------
    tissue_fraction : float
        φ, 0 to 1.
    interface_density_per_m : float
        S_V [1/m].
    """

    tissue_fraction: float
    interface_density_per_m: float

    def __post_init__(self) -> None:
        check_range("tissue_fraction", self.tissue_fraction, 0.0, 1.0)
        check_positive("interface_density_per_m", self.interface_density_per_m)

    def ratios_to(self, lung: Medium, *, correlation_length_m: float) -> tuple[float, float]:
        """Attenuation and scattering over those of `lung`: φ/φ_lung, and ε/ε_lung of the two-phase medium at ξ.

        Both are of one tissue, so that its μ and δ, and with them the energy, drop out.

        Examples
        --------
        >>> [round(r, 3) for r in Medium(0.8, 2.4e4).ratios_to(HEALTHY, correlation_length_m=3e-6)]
        [2.667, 0.48]
        """
        own, other = (
            float(two_phase(m.tissue_fraction, m.interface_density_per_m, 1e-7, 70.0, correlation_length_m))
            for m in (self, lung)
        )
        return self.tissue_fraction / lung.tissue_fraction, own / other


@dataclass(frozen=True)
class HealthyLung(Medium):
    """Parenchyma of healthy adult mice, without its larger vessels: the means, and how far animals differ.

    Parameters
    ----------
    tissue_density : float
        Of lung tissue, vessels and lesions alike [g/cm³].
    tissue_fractions, interface_densities_per_m : (low, high)
        Over animals; evenly about the means.
    source : str
        Where the numbers are from.
    """

    tissue_density: float
    tissue_fractions: Range
    interface_densities_per_m: Range
    source: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("tissue_density", self.tissue_density)
        for name, mean, (low, high) in (
            ("tissue_fractions", self.tissue_fraction, self.tissue_fractions),
            ("interface_densities_per_m", self.interface_density_per_m, self.interface_densities_per_m),
        ):
            middle = (low + high) / 2
            require(low <= mean <= high and abs(middle / mean - 1) < 1e-6, f"{name}: wanted a range about {mean:g}")


HEALTHY = HealthyLung(
    tissue_fraction=0.30,
    interface_density_per_m=6.5e4,
    tissue_density=1.05,
    tissue_fractions=(0.275, 0.325),
    interface_densities_per_m=(5.6e4, 7.4e4),
    source="S_V: 802 ± 33 /cm at postnatal day 14 (Hoang et al. 2018, 10.1111/joa.12773), taken to fall to 500–700 /cm in "
    "adults; φ: CT of living adult mice, −650 to −400 HU with larger vessels; density: ICRU Report 44, lung tissue",
)


@dataclass(frozen=True)
class TissueClass:
    """What a class of lesion or mimic is made of.

    Parameters
    ----------
    name : str
    kind : {"lesion", "mimic"}
    fraction : (low, high)
        Tissue fraction φ.
    surface : (low, high)
        S_V relative to the animal's own healthy mean, so that a class means the same loss of interfaces in every mouse.
    irregular, stretch : (low, high)
        Of the outline: waviness, and longest over shortest axis.
    edge_m : float
        Width over which it passes into lung; 0 = sharp.
    rim : bool
        Lung around it is compressed, see `RIM`.
    airway_fill : float
        Share of the small airways in it that it fills, and of the pores' direction that it takes away.
    vessel_fill : (low, high), optional
        It is a knot of vessels that fill this share of it, in lung as it was: no medium of its own.
    """

    name: str
    kind: str
    fraction: Range
    surface: Range
    irregular: Range = (0.06, 0.16)
    stretch: Range = (1.0, 1.4)
    edge_m: float = 0.0
    rim: bool = False
    airway_fill: float = 0.0
    vessel_fill: Range | None = None

    def __post_init__(self) -> None:
        check_one_of("kind", self.kind, ("lesion", "mimic"))
        for name in ("fraction", "surface", "irregular", "stretch"):
            low, high = getattr(self, name)
            require(0 < low <= high, f"{self.name}: {name}: wanted 0 < low <= high, got {low:g}, {high:g}")
        check_range(f"{self.name}: fraction", self.fraction[1], 0.0, 1.0)

    def medium(self, lung: Medium, *, fraction_share: float = 0.5, surface_share: float = 0.5) -> Medium:
        """The medium at these shares of its ranges (the middle by default) in an animal of that healthy lung."""
        fraction, surface = (
            low + share * (high - low)
            for (low, high), share in ((self.fraction, fraction_share), (self.surface, surface_share))
        )
        return Medium(fraction, surface * lung.interface_density_per_m)


@dataclass(frozen=True)
class CompressedRim:
    """Lung that a growing lesion squeezes: φ, S_V over that of the lung before, width, and aspect ratio that it gains."""

    fraction: Range
    surface: Range
    width_m: Range
    aspect: float


RIM = CompressedRim(fraction=(0.40, 0.60), surface=(1.1, 1.4), width_m=(1e-4, 3e-4), aspect=0.15)
SHAM_RATIO: Range = (0.95, 1.05)  # attenuation and scattering of a sham in a measured scan over the lung it replaces

_ALL = (
    TissueClass("solid", "lesion", (0.95, 0.99), (0.008, 0.06), rim=True, airway_fill=1.0),
    TissueClass("filled", "lesion", (0.70, 0.90), (0.25, 0.50), rim=True, airway_fill=0.8),
    TissueClass("papillary", "lesion", (0.50, 0.70), (0.38, 0.87), (0.10, 0.20), rim=True, airway_fill=0.3),
    TissueClass("lepidic", "lesion", (0.40, 0.55), (0.75, 1.12), (0.12, 0.24), edge_m=1.5e-4),
    TissueClass("atelectasis", "mimic", (0.60, 0.90), (0.80, 1.50), (0.08, 0.20), (1.6, 2.6), edge_m=1e-4),
    TissueClass("pneumonia", "mimic", (0.55, 0.85), (0.60, 1.00), (0.18, 0.30), (1.0, 1.8), edge_m=3.5e-4, airway_fill=0.3),
    TissueClass("emphysema", "mimic", (0.15, 0.24), (0.50, 0.80), (0.15, 0.28), (1.0, 1.6), edge_m=3e-4),
    TissueClass("vessel_cluster", "mimic", (0.25, 0.35), (0.90, 1.10), (0.05, 0.15), (1.0, 1.5), vessel_fill=(0.15, 0.30)),
)
Classes = Mapping[str, TissueClass]
CLASSES: Classes = MappingProxyType({one.name: one for one in _ALL})
LESIONS: Classes = MappingProxyType({name: one for name, one in CLASSES.items() if one.kind == "lesion"})
MIMICS: Classes = MappingProxyType({name: one for name, one in CLASSES.items() if one.kind == "mimic"})
INSERTABLE_MIMICS: Classes = MappingProxyType({name: one for name, one in MIMICS.items() if one.vessel_fill is None})
"""Mimics that are a medium, so that they can be put into a measured scan."""
RENAMED: Mapping[str, str] = MappingProxyType(
    {"partly_filled": "filled", "partly filled": "filled", "ground_glass": "lepidic", "ground glass": "lepidic"}
)
"""Names that classes had before."""


def find_class(field: str, name: str, known: Classes = CLASSES) -> TissueClass:
    """The class called `name` among `known`.

    Raises
    ------
    DarklungError
        No such class, or one of another kind: one line that lists the known ones, with the new name of a renamed one.
    """
    if name in known:
        return known[name]
    listed = f"known: {', '.join(sorted(known))}"
    now = RENAMED.get(name)
    require(now not in known, f"{field}: {name!r} is not known, it is now called {now!r}; {listed}")
    if name in CLASSES and name not in known:
        kind, wanted = CLASSES[name].kind, {one.kind for one in known.values()}
        told = f"is a {kind}, not a {' or '.join(sorted(wanted))}" if kind not in wanted else "is vessels and no medium"
        raise DarklungError(f"{field}: {name!r} {told}; {listed}")
    raise DarklungError(f"{field}: {name!r} is not known; {listed}")
