"""What another scan of the same animal would have measured: noise that more of it has, another visibility, ξ or energy.

A value x with standard error σ becomes g x + e, with g the change of the signal by the forward model
(`darklung.learn.beams`) and e noise of variance max(F − g², 0) σ², F that of the other scan over this one's: its standard
error is then max(F, g²)^½ σ. What noise there is cannot be taken away: where g² > F, the other scan would have had less.

Noise is drawn for each channel that tells an error, as a back-projection correlates it (`darklung.learn.noise`); a mean of
directions gets the mean of theirs. Where each image is normalised by its own lung, location and scale are those that the
other scan's lung would have had. A factor of a whole channel is then nothing but another share of noise, as in a real scan.

Not modelled: bias of −ln D where counts are few, attenuation and dark field whose errors depend on each other (they do not
where counts are Poisson and steps equidistant), a dose that changes with the energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import Channel, errors_of
from darklung.core.checks import DarklungError, require
from darklung.learn.beams import Beam, attenuation_law, dark_field_factor, visibility_noise_factor
from darklung.learn.data import Case, Normalisation, in_units, normalised
from darklung.learn.noise import draw_noise
from darklung.learn.settings import MEASURED, SAME, AugmentationPart

Array = NDArray[np.float32]
PER_METRE = "1/m"


@dataclass(frozen=True)
class Measured:
    """A source's channels in their own units, and their standard errors.

    Parameters
    ----------
    channels : tuple of Channel
        In the model's order.
    scales : tuple of (location, scale)
        Of each channel's normalisation.
    own : bool
        Whether they are the image's own, which change with it.
    errors : (error, *spatial) float32
        Standard errors in the channels' units, one for each channel of the image that tells one.
    share : (channel, error) float64
        What of each error's noise a channel has: 1 of its own, 1/n of the n directions whose mean it is.
    variance : (channel,) float64
        Median over the lung of a channel's variance.
    beam : Beam, optional
        That the values refer to.
    """

    channels: tuple[Channel, ...]
    scales: tuple[tuple[float, float], ...]
    own: bool
    errors: Array
    share: NDArray[np.float64]
    variance: NDArray[np.float64]
    beam: Beam | None


@dataclass(frozen=True)
class Change:
    """How another scan differs: of each signal the variance F of its noise, and the law of its values.

    `above` is the slope of attenuation beyond `tissue`; up to there, and of dark fields everywhere, the slope is `gain`.
    """

    noise: float
    gain: float = 1.0
    above: float = 1.0
    tissue: float = np.inf

    def values(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What values become."""
        low = np.minimum(x, self.tissue)
        return np.asarray(self.gain * low + (self.above * (x - low) if np.isfinite(self.tissue) else 0.0))

    @property
    def added(self) -> float:
        """Variance of the noise that is added, over the image's own."""
        return max(self.noise - self.gain**2, 0.0)

    @property
    def error(self) -> float:
        """Factor of standard errors."""
        return float(np.sqrt(max(self.noise, self.gain**2)))


def measured(case: Case, normalisation: Normalisation, part: AugmentationPart) -> Measured:
    """What `rescanned` needs of a case.

    Raises
    ------
    DarklungError
        A channel that would have to be made again, without a standard error, or in a unit or of a beam that is not known.
    """
    names = normalisation.channels
    for name in names:
        reason = part.why_not(name)
        require(not reason, f"augmentation.{reason}")
    values = [n for n in names if is_measured(n)]
    told = {name: errors_of(name, _with_values(case.image.names)) for name in values}
    _check(case, part, told)
    errors = tuple(dict.fromkeys(error for own in told.values() for error in own))
    share = np.zeros((len(names), len(errors)))
    for name, own in told.items():
        share[names.index(name), [errors.index(e) for e in own]] = 1 / len(own)
    sigma = np.stack([np.asarray(case.image.channel(e), dtype=np.float32) for e in errors]) if errors else _none(case)
    typical = np.array([np.median(s[case.inside].astype(np.float64) ** 2) for s in sigma])
    known = case.energy_kev is not None and case.correlation_length_m is not None
    beam = Beam(float(case.energy_kev or 0), float(case.correlation_length_m or 0)) if known else None
    parsed = tuple(map(Channel.parse, names))
    own_scale = normalisation.per == "volume"
    return Measured(parsed, normalisation.scales(case), own_scale, sigma, share, share**2 @ typical, beam)


def _with_values(names: Sequence[str]) -> tuple[str, ...]:
    """Names of channels, and of the values whose errors are among them: a mean's directions need not be there themselves."""
    errors = [c for c in map(Channel.parse, names) if c.role == "noise"]
    return tuple(dict.fromkeys((*names, *(replace(c, role="value").name for c in errors))))


def _none(case: Case) -> Array:
    return np.zeros((0, *case.image.shape), np.float32)


def is_measured(name: str) -> bool:
    """Whether a channel is a value that a scan measures, and no error, control or map of others."""
    channel = Channel.parse(name)
    return channel.role == "value" and channel.signal in MEASURED


def _check(case: Case, part: AugmentationPart, told: dict[str, tuple[str, ...]]) -> None:
    change = ", ".join(part.rescans)
    for name, own in told.items():
        lack = f"augmentation.{change}: wanted the noise of {name} ({name}_noise), {case.subject} has none"
        require(bool(own), f"{lack} among {', '.join(case.image.names)}")
    known = case.energy_kev is not None and case.correlation_length_m is not None
    for name in told:
        reason = why_no_beam(part, name, case.image.unit(name), known=known)
        require(not reason, f"augmentation.{reason} ({case.subject})")


def why_no_beam(part: AugmentationPart, name: str, unit: str, *, known: bool) -> str:
    """Why a measured channel in another beam cannot be worked out, in words; empty where it can, or is not asked for.

    A unit with a zero of its own, as scatter units have, would move that with the signal. Line integrals of radiographs
    scale as ε does; what of an attenuation is bone, one path does not tell.
    """
    changed = [setting for setting in ("correlation_length", "energy") if getattr(part, setting) != SAME]
    dark = Channel.parse(name).signal == "dark_field"
    if not changed:
        return ""
    if not known:
        return f"{changed[0]}: energy and correlation length that {name} refers to are not known"
    fits = unit == PER_METRE or (unit == "1" if dark else "energy" not in changed)
    return "" if fits else f"{changed[-1]}: wanted {name} in {PER_METRE}, got {unit!r}"


def draw_changes(part: AugmentationPart, beam: Beam | None, rng: np.random.Generator) -> dict[str, Change]:
    """Another scan: the change of attenuation and that of dark fields. Always as many draws, whatever is on."""
    ranges = (part.dose, part.visibility, part.correlation_length, part.energy)
    dose, visibility, length, energy = (float(np.exp(rng.uniform(*np.log(r)))) for r in ranges)
    noise = dose * (1 + part.noise)
    dark = noise * (visibility_noise_factor(visibility, part.flat_visibility) if part.visibility != SAME else 1.0)
    if part.energy == SAME and part.correlation_length == SAME:
        return {"attenuation": Change(noise), "dark_field": Change(dark)}
    if beam is None:
        raise DarklungError("augmentation: energy and correlation length are not known")
    gain, above, tissue = attenuation_law(beam.energy_kev, beam.energy_kev * energy)
    law = Change(noise, gain, above, tissue) if part.energy != SAME else Change(noise)
    return {"attenuation": law, "dark_field": Change(dark, dark_field_factor(beam, beam.other(energy, length)))}


def rescanned(
    data: Array,
    errors: Array,
    of: Measured,
    part: AugmentationPart,
    rng: np.random.Generator,
    lost: NDArray[np.float32] | None = None,
) -> Array:
    """A patch as another scan would have measured it.

    Parameters
    ----------
    data : (channel, *patch) float32
        Normalised.
    errors : (error, *patch) float32
        `Measured.errors` of the same voxels.
    of : Measured
    part : AugmentationPart
    rng : Generator
    lost : (*patch) float32, optional
        Share of the noise's variance that interpolation took away, which is given back.

    Returns
    -------
    (channel, *patch) float32
    """
    changes = draw_changes(part, of.beam, rng)
    drawn = np.stack([sigma * draw_noise(rng, sigma.shape, part.texture) for sigma in errors]) if len(errors) else errors
    out = data.copy()
    for i, channel in enumerate(of.channels):
        change = changes.get(channel.signal)
        same = change == Change(1.0) and lost is None
        if change is None or same or not of.scales[i][1]:
            continue  # a control, what stays as it is, or a channel of zeros
        out[i] = _channel(data[i], i, of, change, drawn, lost)
    return out


def _channel(y: Array, i: int, of: Measured, change: Change, drawn: Array, lost: NDArray[np.float32] | None) -> Array:
    location, scale = of.scales[i]
    x = in_units(y, location, scale)
    if of.channels[i].role == "noise":
        return y if of.own else normalised(x * change.error, location, scale)
    new = change.values(x)
    more = change.added if lost is None else change.added + change.gain**2 * lost
    if np.any(more):
        new = new + np.sqrt(more) * np.tensordot(of.share[i], drawn, axes=1)
    if of.own:
        location = float(change.values(np.array(location)))
        scale = float(np.sqrt((change.gain * scale) ** 2 + change.added * of.variance[i]))
    return normalised(new, location, scale)


def padded(of: Measured, pad: Sequence[tuple[int, int]]) -> Measured:
    """The same with its errors continued beyond the edges as the channels are."""
    errors = np.pad(of.errors, [(0, 0), *pad], mode="edge")
    return Measured(of.channels, of.scales, of.own, errors, of.share, of.variance, of.beam)
