"""What others measured in lungs of mice, to stand beside one's own numbers; each with where it is from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One statement.

    Parameters
    ----------
    quantity : str
    value : str
    animals : str
    source : str
        With its DOI.
    read : bool
        Whether the number was read in the source; else it is from memory or from a secondary statement.
    """

    quantity: str
    value: str
    animals: str
    source: str
    read: bool

    def told(self) -> str:
        """The source, and whether the number was read in it."""
        return self.source + ("" if self.read else " (not read in a source)")


PUBLISHED = (
    Published("S_V", "802 ± 33 /cm (lobes 749 to 849)", "C57BL/6J, postnatal day 14", "Hoang 2018, 10.1111/joa.12773", True),
    Published("S_V", "500 to 800 /cm", "adult mice, before the shrinkage of paraffin", "the project's expectation", False),
    Published("intercept", "35 to 60 um", "adult mice, chord of airspace", "from memory, no source read", False),
    Published(
        "intercept",
        "not one number: smaller within 300 um of the pleura, larger along one axis",
        "normal mice",
        "Mitzner 2008, 10.1007/s10439-008-9538-4",
        True,
    ),
)
