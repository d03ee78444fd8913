"""Whether grey values mean something: the units of attenuation that images may have, and the door for what needs 1/m."""

from __future__ import annotations

from darklung.core.checks import DarklungError
from darklung.core.types import Image

# Grey values of a scanner that nobody calibrated: only comparisons inside one volume mean something.
ARBITRARY = "a.u."
# 1000 (μ − μ_water)/(μ_water − μ_air).
HOUNSFIELD = "HU"


def is_calibrated(image: Image, channel: str = "attenuation") -> bool:
    """Whether the same grey value means the same in another volume; False for the unit "a.u.".

    What compares volumes (a network, a threshold) normalises each by itself where this is False.
    """
    return image.unit(channel) != ARBITRARY


def require_unit(image: Image, channel: str, unit: str, *, origin: str) -> None:
    """Raise unless `channel` has `unit`; `origin` names what wants it.

    Raises
    ------
    DarklungError
        One line that says what came and how grey values are given a unit.
    """
    require_same_unit(image.unit(channel), channel, unit, origin=origin)


def require_same_unit(came: str, channel: str, unit: str, *, origin: str) -> None:
    """The same for a unit that is known before the image is read."""
    if came != unit:
        hint = "; tell two materials in it (grey: materials, energy)" if came in (ARBITRARY, HOUNSFIELD) else ""
        raise DarklungError(f"{origin}: wanted {channel} in {unit}, got {came}{hint}")
