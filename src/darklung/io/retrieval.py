"""How stepping curves become attenuation, dark field and phase: one set of options for raw descriptions and studies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from darklung.core.fitting import METHODS as FITS
from darklung.core.fitting import Fit
from darklung.io.documents import Document

Column = Annotated[int, Field(ge=0, le=10**6)]


class Retrieval(Document):
    """What is asked of retrieval, whatever the scan comes from; see `darklung.retrieve.stepping.retrieve`."""

    method: str = Field(
        "least_squares",
        description="least_squares, likelihood (visibilities above a half, unequal doses), or package.module:function",
    )
    options: dict[str, bool | int | float | str] = Field({}, description="keyword arguments of a function of one's own")
    reference: Literal["mean", "interpolate", "eigenflats"] = Field(
        "mean", description="mean of all flats, interpolated in time, or with the patterns by which flats differ"
    )
    steps: Literal["nominal", "estimate", "ramp"] = Field(
        "nominal", description="as set, or phase and dose of each step found from the frames; ramp: also its tilt"
    )
    air_cols: tuple[tuple[Column, Column], ...] = Field(
        (), description="ranges of columns without object, first and last, counted in what the region leaves"
    )
    air_lines: tuple[tuple[Column, Column], ...] = Field(
        (), description="ranges of rows without object, first and last, for normalise: air_around"
    )
    variance: Literal["pixel", "neighbourhood"] = Field(
        "neighbourhood", description="whose visibility the dark field's variance and validity come from"
    )
    harmonics: int = Field(1, ge=1, le=3, description="harmonics that are fitted along, for uneven steps")
    gain: float = Field(1.0, gt=0, le=1e9, description="counts per photon")
    least_strength: float = Field(10.0, description="N V² that a valid pixel exceeds, N the photons of its curve")
    most_misfit: Annotated[float, Field(gt=0)] | None = Field(
        None, description="reduced chi square above which a pixel is not valid"
    )
    find_bad_pixels: bool = Field(False, description="dead, hot and unsteady pixels found in the flats")
    normalise: Literal["none", "air", "air_rows", "air_around", "monitor"] = Field(
        "none",
        description="dose of each view by its air, by the air of each row, of each row and column, or by view_doses and"
        " flat_doses",
    )
    covariance: bool = Field(False, description="covariances between the signals in a file of their own")

    @model_validator(mode="after")
    def _check(self) -> Retrieval:
        # Which names there are is known where the methods are, `darklung.retrieve.methods.find_retrieval`.
        if self.covariance and self.method not in FITS:
            raise ValueError(f"covariance: belongs to {' and '.join(FITS)}, not to {self.method}")
        for name in ("air_cols", "air_lines"):
            if turned := [span for span in getattr(self, name) if span[0] > span[1]]:
                raise ValueError(f"{name}: wanted first and last, the smaller number first, got {turned[0]}")
        if bool(self.air_lines) != (self.normalise == "air_around"):
            raise ValueError("air_lines: rows without object belong to normalise: air_around, which wants them")
        if self.options and self.method in FITS:
            raise ValueError(f"options: belong to a function of one's own; {self.method} takes the keys beside it")
        return self

    @property
    def own(self) -> bool:
        """The method is a function of the user's."""
        return ":" in self.method

    def plugins(self) -> tuple[str, ...]:
        """Functions of the user that retrieval runs, as ``package.module:function``."""
        return (self.method,) if self.own else ()

    def air(self) -> tuple[int, ...]:
        """Columns of `air_cols`, one by one."""
        return _listed(self.air_cols)

    def lines(self) -> tuple[int, ...]:
        """Rows of `air_lines`, one by one."""
        return _listed(self.air_lines)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `retrieve`; a function of one's own may take any of them too (`fit`: gain and harmonics)."""
        return {
            "reference": self.reference,
            "fit": Fit(method=self.method if self.method in FITS else FITS[0], harmonics=self.harmonics, gain=self.gain),
            "least_strength": self.least_strength,
            "steps": self.steps,
            "air_cols": list(self.air()) or None,
            "most_misfit": float("inf") if self.most_misfit is None else self.most_misfit,
            "variance": self.variance,
        }

    def changed(self) -> tuple[str, ...]:
        """Names of `arguments` that are not as they are by default."""
        plain = Retrieval().arguments()
        return tuple(name for name, value in self.arguments().items() if value != plain[name])


def _listed(ranges: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    return tuple(number for first, last in ranges for number in range(first, last + 1))
