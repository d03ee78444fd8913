"""What the channels of an image, the arms of a study and the columns of a table are called: written and parsed here alone.

A name is ``SIGNAL``, ``SIGNAL_<degrees>`` for signals that depend on the gratings' direction (`DIRECTED`), or
``tensor_<part>``; a standard error is the name with ``_noise`` behind it, and ``known_<part>`` is the share of a tensor's
component that the data know. What is made of other channels is a call, ``contrast(dark_field, 0.8 mm)``
(`darklung.core.recipe`). Any other text is a signal of its own, so that a user's channels keep their names.

``dark_field@0deg`` is another way to write ``dark_field_0``, and ``noise(X)`` one to write ``X_noise``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from darklung.core.checks import DarklungError, check_one_of, check_range, require
from darklung.core.recipe import Call, is_call, parse_call
from darklung.core.units import parse_quantity

ROLES = ("value", "noise", "known")
# Signals that a grating direction may follow: measured ones, and what `calibrate apply` makes of a dark field. Elsewhere a
# number at the end is part of the signal's name.
DIRECTED = (
    "dark_field",
    "refraction",
    "size",
    "size_error",
    "size_below_peak",
    "size_below_peak_low",
    "size_below_peak_high",
    "size_above_peak",
    "size_above_peak_low",
    "size_above_peak_high",
    "branch",
    "censored",
    "amount",
    "valid",
    "scatter_units",
    "scatter_units_error",
)
MIXED = "mixed"
_MODALITIES = {
    **dict.fromkeys((*DIRECTED, "tensor", "anisotropy"), "dark_field"),
    **{name: name for name in ("attenuation", "refraction")},
}
FULL_TURN = 360.0
DECIMALS = 4  # of a direction in degrees: finer than any mount, coarser than what single precision loses
_NOISE = "_noise"
_WITH_DIRECTION = re.compile(rf"({'|'.join(DIRECTED)})_(-?[0-9]+(?:\.[0-9]+)?)")
_AT = re.compile(rf"({'|'.join(DIRECTED)})@(.+)")
_WITH_PART = re.compile(r"(tensor|known)_(\w+)")
_NUMBERED_NOISE = re.compile(rf"(?:{'|'.join(DIRECTED)})_noise_[0-9]+")


@dataclass(frozen=True)
class Channel:
    """One channel: which signal, seen along which direction, and whether it is the value or says how good the value is.

    Two channels are equal if their names are; the unit is told beside them.

    Parameters
    ----------
    signal : str
        ``attenuation``, ``dark_field``, ``refraction``, ``tensor``, ``anisotropy``, ``noise`` (the control channel),
        ``logit``, ``lung_path``, a call in its one way to be written, or any other text.
    direction : float, optional
        α of the gratings [degrees], for `DIRECTED` signals, to 1e-4; as it was given: −45 stays −45, see `axis`.
    role : {"value", "noise", "known"}
        The signal itself, its standard error, or the share of it that comes from the data and not from a prior.
    part : str
        Of a tensor: a component (``zz``) or what is derived of it (``anisotropy``).
    unit : str
        Empty where it is not known.

    Raises
    ------
    DarklungError
        A role that is not known, a direction or part where the signal has none, or a signal whose name would be read as
        that of another channel.
    """

    signal: str
    direction: float | None = None
    role: str = "value"
    part: str = ""
    unit: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_one_of("channel role", self.role, ROLES)
        if self.direction is not None:
            check_one_of(f"channel with direction {self.direction!r}", self.signal, DIRECTED)
            degrees = check_range("channel direction [degrees]", float(self.direction), -FULL_TURN, FULL_TURN)
            object.__setattr__(self, "direction", round(degrees, DECIMALS) + 0.0)  # + 0 turns −0 into 0
        same = _fields_of(self.name) == (self.signal, self.direction, self.role, self.part)
        require(same, f"channel {self.name!r}: names another channel than signal {self.signal!r}, part {self.part!r}")

    @classmethod
    def parse(cls, name: str, unit: str = "") -> Channel:
        """The channel that `name` stands for; ``parse(channel.name) == channel``.

        Raises
        ------
        DarklungError
            An empty name, or noise of a numbered direction, which names no direction.

        Examples
        --------
        >>> Channel.parse("dark_field_22.5_noise").direction
        22.5
        """
        signal, direction, role, part = _fields_of(name)
        return cls(signal, direction, role, part, unit)

    @property
    def name(self) -> str:
        """How the channel is called in files."""
        stem = "known" if self.role == "known" else self.signal
        more = self.part if self.direction is None else f"{self.direction:.{DECIMALS}f}".rstrip("0").rstrip(".")
        return "_".join(t for t in (stem, more, "noise" if self.role == "noise" else "") if t)

    @property
    def axis(self) -> float | None:
        """The direction without its sign [degrees, 0 to 180): scattering along u and along −u is the same."""
        return None if self.direction is None else self.direction % 180.0

    def noise(self) -> Channel:
        """The channel of this one's standard error, in the same unit."""
        require(self.role == "value", f"channel {self.name!r}: only a value has noise, this is {self.role}")
        return replace(self, role="noise")

    def known(self) -> Channel:
        """The channel of the share of this component that the data know."""
        return replace(self, role="known", unit="1")


def asked_for(name: str) -> str:
    """The name of the channel that a user asks for, in its one way to be written.

    Raises
    ------
    DarklungError
        Also a call that cannot be read: in an image that somebody else wrote it would be a signal of its own.

    Examples
    --------
    >>> asked_for("contrast(dark_field@0deg, 800um)")
    'contrast(dark_field_0, 0.8 mm)'
    """
    channel = Channel.parse(name)
    if is_call(channel.signal):
        parse_call(channel.signal)
    return channel.name


def call_of(name: str) -> Call | None:
    """The call that a value's name stands for; None where it is no call."""
    try:
        return parse_call(name, _spelled) if is_call(name) else None
    except DarklungError:
        return None


def directions_in(name: str) -> tuple[float, ...]:
    """All directions [degrees] that a channel's name tells of, those in a call included."""
    channel = Channel.parse(name)
    if channel.direction is not None:
        return (channel.direction,)
    call = call_of(channel.signal)
    inner = [str(a) for a in call.arguments if isinstance(a, str | Call)] if call else []
    return tuple(d for one in inner for d in directions_in(one))


def modality(name: str) -> str:
    """What was measured to make a channel: ``attenuation``, ``refraction``, ``dark_field``, or ``mixed``.

    Mixed is what is made of several, and what does not tell in its name, such as ``ratio``.

    Examples
    --------
    >>> [modality(n) for n in ("dark_field_90_noise", "contrast(attenuation, 0.8 mm)", "ratio")]
    ['dark_field', 'attenuation', 'mixed']
    """
    channel = Channel.parse(name)
    call = call_of(channel.signal)
    if call is None:
        return _MODALITIES.get(channel.signal, MIXED)
    inner = {modality(str(a)) for a in call.arguments if isinstance(a, Call) or (isinstance(a, str) and _is_measured(a))}
    return inner.pop() if len(inner) == 1 else MIXED


def _is_measured(word: str) -> bool:
    """Whether a word in a call is a channel, and no word such as ``entropy``."""
    return Channel.parse(word).signal in _MODALITIES


def attenuation(unit: str = "") -> Channel:
    """−ln T of a radiograph, μ of a volume."""
    return Channel("attenuation", unit=unit)


def dark_field(direction: float | None = None, unit: str = "") -> Channel:
    """−ln(V/V0) of a radiograph, ε of a volume, along a direction [degrees], or the mean over directions."""
    return Channel("dark_field", direction, unit=unit)


def dark_field_at(angle_rad: float, unit: str = "") -> Channel:
    """The dark field along a direction α in radians, as scans and projections keep it."""
    return dark_field(float(np.degrees(angle_rad)), unit)


def tensor(part: str, unit: str = "") -> Channel:
    """A component of the scattering tensor, or what is derived of it."""
    return Channel("tensor", part=part, unit=unit)


def values_of(names: Sequence[str], signal: str) -> tuple[str, ...]:
    """Those of `names` that are values of a signal, in any direction or without one, in their order."""
    channels = [(name, Channel.parse(name)) for name in names]
    return tuple(name for name, c in channels if c.signal == signal and c.role == "value")


def directed(names: Sequence[str], signal: str = "dark_field") -> tuple[str, ...]:
    """Those of `names` that are values of a signal along a direction, in their order."""
    return tuple(name for name in values_of(names, signal) if Channel.parse(name).direction is not None)


def directions_of(names: Sequence[str], signal: str = "dark_field") -> tuple[float, ...]:
    """The direction [degrees] of each of `directed`."""
    found = [Channel.parse(name).direction for name in directed(names, signal)]
    return tuple(d for d in found if d is not None)


def noise_of(name: str, names: Sequence[str]) -> str | None:
    """The one of `names` that holds the standard error of the channel `name`; None where there is none."""
    wanted = Channel.parse(name).noise()
    return next((other for other in names if Channel.parse(other) == wanted), None)


def errors_of(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that tell a value's standard error: its own, or those of all directions whose mean it is."""
    channel = Channel.parse(name)
    if channel.role != "value":
        return ()
    if (own := channel.noise().name) in names:
        return (own,)
    mean = channel == Channel("dark_field")
    errors = tuple(Channel.parse(one).noise().name for one in directed(names)) if mean else ()
    return errors if set(errors) <= set(names) else ()


def _fields_of(name: str) -> tuple[str, float | None, str, str]:
    """Signal, direction, role and part of a name."""
    require(bool(name.strip()) and name == name.strip(), f"channel: wanted a name without blanks around it, got {name!r}")
    numbered = _NUMBERED_NOISE.fullmatch(name) is not None
    require(not numbered, f"channel {name!r}: noise of which direction? wanted such as dark_field_90_noise")
    stem, role = (name[: -len(_NOISE)], "noise") if name.endswith(_NOISE) else (name, "value")
    if not stem:
        return name, None, "value", ""
    if stem.endswith(")") and (called := _called(stem)):
        require(role == "value" or called[2] == "value", f"channel {name!r}: only a value has noise")
        return (*called[:2], role if role == "noise" else called[2], called[3])
    if found := _AT.fullmatch(stem):
        return found[1], _degrees(found[2], name), role, ""
    if (found := _WITH_DIRECTION.fullmatch(stem)) and abs(float(found[2])) <= FULL_TURN:
        return found[1], round(float(found[2]), DECIMALS) + 0.0, role, ""
    if (found := _WITH_PART.fullmatch(stem)) and (found[1] == "tensor" or role == "value"):
        return "tensor", None, "known" if found[1] == "known" else role, found[2]
    return stem, None, role, ""


def _spelled(name: str) -> str:
    return Channel.parse(name).name


def _degrees(text: str, name: str) -> float:
    try:
        return round(float(np.degrees(parse_quantity(text, "angle"))), DECIMALS) + 0.0
    except DarklungError as error:
        raise DarklungError(f"channel {name!r}: {error}") from None


def _called(stem: str) -> tuple[str, float | None, str, str] | None:
    """The fields of a call, those of X with the role of noise for ``noise(X)``; None for what cannot be read as one."""
    call = call_of(stem)
    if call is None:
        return None
    if call.function != "noise":
        return str(call), None, "value", ""
    require(
        len(call.arguments) == 1 and isinstance(call.arguments[0], str | Call), f"channel {stem!r}: noise is of a channel"
    )
    inner = Channel.parse(str(call.arguments[0])).noise()
    return inner.signal, inner.direction, inner.role, inner.part
