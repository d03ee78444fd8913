"""How a stepping curve is fitted: a choice that descriptions, studies and retrieval share."""

from __future__ import annotations

from dataclasses import dataclass

from darklung.core.checks import check_one_of, check_positive, require

METHODS = ("least_squares", "likelihood")
MOST_HARMONICS = 3


@dataclass(frozen=True)
class Fit:
    """How curves are fitted.

    Parameters
    ----------
    method : {"least_squares", "likelihood"}
        Unweighted least squares, or the maximum of the Poisson likelihood: less noise where the visibility is above a half
        or doses differ a lot between steps (decision 056).
    harmonics : int
        1 to 3; above 1, curves may have a second and third harmonic, which are fitted along and thrown away (decision 100).
    gain : float
        Counts per detected photon; variances scale with it.
    """

    method: str = "least_squares"
    harmonics: int = 1
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_one_of("method", self.method, METHODS)
        require(self.harmonics in range(1, MOST_HARMONICS + 1), f"harmonics: wanted 1 to 3, got {self.harmonics!r}")
        check_positive("gain", self.gain)

    @property
    def plain(self) -> bool:
        """One harmonic by least squares: the same matrix serves every pixel."""
        return self.method == "least_squares" and self.harmonics == 1


LEAST_SQUARES = Fit()
