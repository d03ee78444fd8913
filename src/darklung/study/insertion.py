"""What may be said of synthetic insertions into measured or simulated images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from darklung.core.checks import check_one_of
from darklung.core.random import stream
from darklung.io.documents import Document, Length
from darklung.phantom.families import FAMILIES
from darklung.physics.lung import INSERTABLE_MIMICS, LESIONS
from darklung.study.classes import LesionNames, MimicNames


def _both(value: Any) -> Any:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Count = Annotated[tuple[int, int], BeforeValidator(_both)]


class InsertOptions(Document):
    """What is put into each copy, and what is assumed."""

    classes: LesionNames = Field(tuple(LESIONS), description="lesion classes, dealt in turn")
    lesions: Count = Field((1, 1), description="lesions in each copy: a number, or fewest and most")
    mimic_classes: MimicNames = Field(tuple(INSERTABLE_MIMICS), description="mimics, dealt in turn")
    mimics: Count = Field((0, 0), description="mimics in each copy, likewise")
    shams: Count = Field((0, 0), description="shams in each copy, likewise")
    diameter: tuple[Length, Length] = Field((0.5e-3, 1.5e-3), description="smallest and largest")
    copies: int = Field(1, ge=1, le=10_000, description="copies of each scan, each with its own insertions")
    seed: int = Field(1, ge=0, description="of outlines, places and sizes")
    growth: str = Field("A", description="family whose law of growth the outlines follow: A, B or C")
    across_edge: bool = Field(False, description="put them across the lung region's edge, cut by it")
    thickness: Length = Field(3e-3, gt=0, description="thickness of an excised lobe where it attenuates most")
    blur: Length | None = Field(
        None,
        ge=0,
        description="standard deviation of the scan's blur, given to what is put in; volumes have 0.5 voxel by default",
    )
    pixel: Length = Field(7.5e-5, gt=0, description="detector pixel of .npz lobes, which do not say it")

    @model_validator(mode="after")
    def _check(self) -> InsertOptions:
        for name in ("lesions", "mimics", "shams"):
            few, most = getattr(self, name)
            if not 0 <= few <= most <= 200:
                raise ValueError(f"{name}: wanted 0 to 200, the smaller number first, got {few}, {most}")
        if self.lesions[1] + self.mimics[1] + self.shams[1] == 0:
            raise ValueError("lesions, mimics, shams: nothing to put in, all are 0")
        check_one_of("growth", self.growth, FAMILIES)
        low, high = self.diameter
        if not 0 < low <= high:
            raise ValueError(f"diameter: wanted 0 < smallest <= largest, got {low:g}, {high:g} m")
        if (self.lesions[1] + self.shams[1] and not self.classes) or (self.mimics[1] and not self.mimic_classes):
            raise ValueError("classes: wanted at least one")
        return self

    def wanted(self, number: int) -> tuple[tuple[str, str], ...]:
        """(kind, class) of everything in copy `number` of all, lesions first; classes are dealt in turn."""

        def deal(kind: str, names: Sequence[str], counts: tuple[int, int]) -> list[tuple[str, str]]:
            few, most = counts
            drawn = stream(self.seed, "count", kind, number).integers(few, most + 1)
            return [(kind, names[(number * most + k) % len(names)]) for k in range(int(drawn))]

        return (
            *deal("lesion", self.classes, self.lesions),
            *deal("mimic", self.mimic_classes, self.mimics),
            *deal("sham", self.classes, self.shams),
        )
