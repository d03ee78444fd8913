"""Plan a cohort: who is in it, what each mouse carries, and on which side of the split it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from darklung.core.checks import check_one_of, check_range, require
from darklung.core.random import derive_seed, stream
from darklung.core.types import Phantom
from darklung.phantom.atlas import Atlas, phantom_from_atlas
from darklung.phantom.families import MM, family
from darklung.phantom.lesions import DIAMETER_RANGE_M, LOCATIONS, LesionRequest
from darklung.phantom.subject import FIELD_OF_VIEW_M, make_phantom
from darklung.physics.lung import HEALTHY, LESIONS, MIMICS, find_class

SPLITS = ("train", "test")

TABLE_COLUMNS: Mapping[str, str] = {
    "subject": "name of the animal, unique in the cohort",
    "seed": "seed that the animal is made from; it alone decides everything about the animal",
    "variant": "family of mice (see darklung.phantom.families)",
    "site": "scanner and protocol, one an animal; the study file describes it",
    "split": "train (to be divided further by animal) or test (held out)",
    "lesions": "number of lesions",
    "lesion_classes": "class of each lesion, in the order of their numbers in the label volume",
    "lesion_diameters_mm": "diameter asked for, of the sphere of the same volume; smaller where a lung had no room",
    "lesion_locations": "where each was asked for: any, pleura, airway",
    "shams": "number of places edited with healthy parameters; they have no label",
    "mimics": "number of things that look like a lesion and are none",
    "mimic_classes": "class of each mimic",
    "synthetic_flag": "true: the animal is simulated",
}


@dataclass(frozen=True)
class Subject:
    """One mouse of a plan; `make` builds it.

    Parameters
    ----------
    name : str
        Unique in the cohort.
    seed : int
        Of this mouse alone.
    variant : str
    split : {"train", "test"}
    lesions, shams, mimics : tuple of LesionRequest
    site : str
        Where it is scanned; changes nothing of the animal.

    Raises
    ------
    DarklungError
        More than one site: a scan is made at one.
    """

    name: str
    seed: int
    variant: str
    split: str
    lesions: tuple[LesionRequest, ...] = ()
    shams: tuple[LesionRequest, ...] = ()
    mimics: tuple[LesionRequest, ...] = ()
    site: str = ""

    def __post_init__(self) -> None:
        require(isinstance(self.site, str), f"site of {self.name}: a scan is made at one site, got {self.site!r}")

    def make(self, *, voxel_m: float, field_of_view_m: tuple[float, float] = FIELD_OF_VIEW_M) -> Phantom:
        """The phantom of this subject."""
        return make_phantom(
            seed=self.seed, voxel_m=voxel_m, variant=self.variant, lesions=self.lesions, shams=self.shams,
            mimics=self.mimics, field_of_view_m=field_of_view_m,
        )  # fmt: skip

    def make_from(self, atlas: Atlas, *, voxel_m: float, depth_m: float, multiple: int = 1) -> Phantom:
        """The phantom of this subject with the body of a label volume; see `atlas.phantom_from_atlas`."""
        return phantom_from_atlas(
            atlas, seed=self.seed, voxel_m=voxel_m, variant=self.variant, lesions=self.lesions, shams=self.shams,
            mimics=self.mimics, depth_m=depth_m, multiple=multiple,
        )  # fmt: skip


def _requests(
    seed: int, purpose: str, count: int, tissues: Sequence[str], options: CohortOptions
) -> tuple[LesionRequest, ...]:
    """`count` requests, largest first so that they are placed while there is room; small ones are as likely per octave."""
    rng = stream(seed, "plan", purpose)
    low, high = (math.log(value) for value in options.diameters_m)
    sizes = np.sort(np.exp(rng.uniform(low, high, count)))[::-1]
    return tuple(
        LesionRequest(
            str(rng.choice(list(tissues))),
            float(size),
            str(rng.choice(list(options.locations))),
            # A crowded lung takes a smaller one of the same range rather than stopping the whole cohort.
            least_diameter_m=float(min(size, options.diameters_m[0])),
        )
        for size in sizes
    )


def _with_surface(requests: tuple[LesionRequest, ...], surface: tuple[float, float] | None) -> tuple[LesionRequest, ...]:
    """Mimics that are denser than healthy lung with this S_V; emphysema and knots of vessels stay what they are."""
    densest = HEALTHY.tissue_fractions[1]
    dense = {name for name, one in MIMICS.items() if one.fraction[0] > densest}
    return tuple(replace(r, surface=surface) if surface is not None and r.tissue in dense else r for r in requests)


def _count(seed: int, purpose: str, bounds: tuple[int, int]) -> int:
    return int(stream(seed, "plan", purpose).integers(bounds[0], bounds[1] + 1))


def _check_bounds(name: str, bounds: tuple[float, float], low: float, high: float) -> None:
    require(len(bounds) == 2 and bounds[0] <= bounds[1], f"{name}: wanted (low, high) with low <= high, got {bounds}")
    for value in bounds:
        check_range(name, value, low, high)


@dataclass(frozen=True)
class CohortOptions:
    """What the mice of a cohort carry.

    Parameters
    ----------
    lesions_per_subject : (low, high) int
        Of a mouse that has any.
    diameters_m : (low, high)
        Of lesions, shams and mimics; drawn uniformly in the logarithm.
    classes, mimic_classes : tuple of str
    lesion_free_fraction : float
        Share of mice without a lesion.
    shams, mimics : (low, high) int
        In each mouse, with and without lesions alike.
    locations : tuple of str
        Of lesions, shams and mimics, drawn evenly; see `LesionRequest`.
    mimic_surface : (low, high), optional
        S_V of dense mimics relative to healthy lung, in place of their classes': whether they keep interfaces or lose them.
    """

    lesions_per_subject: tuple[int, int] = (1, 4)
    diameters_m: tuple[float, float] = (0.5 * MM, 2.0 * MM)
    classes: tuple[str, ...] = tuple(LESIONS)
    mimic_classes: tuple[str, ...] = tuple(MIMICS)
    lesion_free_fraction: float = 0.25
    shams: tuple[int, int] = (1, 2)
    mimics: tuple[int, int] = (0, 3)
    locations: tuple[str, ...] = LOCATIONS
    mimic_surface: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_bounds("lesions_per_subject", self.lesions_per_subject, 1, 50)
        _check_bounds("shams", self.shams, 0, 50)
        _check_bounds("mimics", self.mimics, 0, 50)
        _check_bounds("diameters_m", self.diameters_m, *DIAMETER_RANGE_M)
        check_range("lesion_free_fraction", self.lesion_free_fraction, 0, 1)
        for name, wanted, known in (("classes", self.classes, LESIONS), ("mimic_classes", self.mimic_classes, MIMICS)):
            require(len(wanted) > 0, f"{name}: wanted at least one of {', '.join(sorted(known))}, got none")
            for tissue in wanted:
                find_class(name, tissue, known)
        require(len(self.locations) > 0, f"locations: wanted at least one of {', '.join(sorted(LOCATIONS))}, got none")
        for location in self.locations:
            check_one_of("locations", location, LOCATIONS)


def plan_subject(*, name: str, seed: int, variant: str, split: str, options: CohortOptions, site: str = "") -> Subject:
    """What one mouse carries; depends on its own seed and the options alone."""
    check_one_of("split", split, SPLITS)
    family(variant)
    ill = stream(seed, "plan", "ill").uniform() >= options.lesion_free_fraction
    lesions = _count(seed, "lesions", options.lesions_per_subject) if ill else 0
    shams, mimics = _count(seed, "shams", options.shams), _count(seed, "mimics", options.mimics)
    return Subject(
        name, seed, variant, split,
        _requests(seed, "lesion", lesions, options.classes, options),
        _requests(seed, "sham", shams, options.classes, options),
        _with_surface(_requests(seed, "mimic", mimics, options.mimic_classes, options), options.mimic_surface),
        site,
    )  # fmt: skip


def plan_cohort(
    *,
    subjects: int,
    test_subjects: int,
    seed: int,
    variants: Mapping[str, str] | None = None,
    sites: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> list[Subject]:
    """Plan `subjects` training mice and `test_subjects` held-out ones.

    Parameters
    ----------
    subjects, test_subjects : int
        Mice in the training split (to be divided further by animal) and in the held-out test split.
    seed : int
        Subject i of a split draws from (seed, split, i) alone: a longer cohort begins with the same mice.
    variants : mapping, optional
        Split -> family of mice; by default {"train": "A", "test": "B"}.
    sites : mapping, optional
        Split -> sites, dealt to its mice in turn; a site that only the test split has is held out.
    **options
        Fields of `CohortOptions`: lesions_per_subject, diameters_m, classes, mimic_classes, lesion_free_fraction,
        shams, mimics, locations, mimic_surface.

    Raises
    ------
    DarklungError
        An empty cohort, an unknown option, class or variant.
    """
    require(
        subjects >= 0 and test_subjects >= 0 and subjects + test_subjects > 0,
        f"subjects, test_subjects: wanted at least one subject, got {subjects} and {test_subjects}",
    )
    chosen = {"train": "A", "test": "B", **(variants or {})}
    for name, given in (("variants", chosen), ("sites", sites or {})):
        for split in given:
            check_one_of(name, split, SPLITS)
    for name in options:
        check_one_of("option", name, CohortOptions.__dataclass_fields__)
    carries = CohortOptions(**options)
    plan = []
    for split, count in (("train", subjects), ("test", test_subjects)):
        for number in range(1, count + 1):
            own = derive_seed(seed, "subject", split, number)
            name = f"{split}-{number:04d}"
            places = (sites or {}).get(split) or ("",)
            site = places[(number - 1) % len(places)]
            plan.append(plan_subject(name=name, seed=own, variant=chosen[split], split=split, options=carries, site=site))
    return plan


def cohort_table(plan: Sequence[Subject]) -> list[dict[str, Any]]:
    """One row a subject, ready for a table: names, seeds, split, what it carries; all of it is synthetic."""
    return [
        {
            "subject": s.name,
            "seed": s.seed,
            "variant": s.variant,
            "site": s.site,
            "split": s.split,
            "lesions": len(s.lesions),
            "lesion_classes": " ".join(r.tissue for r in s.lesions),
            "lesion_diameters_mm": " ".join(f"{r.diameter_m / MM:.3f}" for r in s.lesions),
            "lesion_locations": " ".join(r.location for r in s.lesions),
            "shams": len(s.shams),
            "mimics": len(s.mimics),
            "mimic_classes": " ".join(r.tissue for r in s.mimics),
            "synthetic_flag": True,
        }
        for s in plan
    ]
