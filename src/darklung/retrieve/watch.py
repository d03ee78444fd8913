"""What is in the frames and should not be: placeholders instead of counts, saturation, curves that are no sinusoids.

`retrieve` looks at every view while it fits it. Whole steps, χ² and the second harmonic are judged by a spread sample of
pixels, which costs little; what makes single pixels invalid is looked for in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError
from darklung.core.fitting import Fit
from darklung.core.types import Scan
from darklung.retrieve.harmonic import Harmonics, StepModel, step_matrix

# Pixels by which a view is judged: χ² of 8 steps is then known to 0.014.
SAMPLE = 2048
# A step whose mean is below this share of the median step has no counts: shutter closed, file not written.
LOST = 0.02
# Photons expected at the least of a curve above which a count of exactly 0 stands for no count (it happens once in e²⁰).
LEAST_EXPECTED = 20.0
# A visibility above 1 by more standard errors than this is not noise.
BEYOND = 5.0
# Values at the highest level that make a pile, and those as close below it as its photon noise.
_PILE = 20
_GOLDEN = (np.sqrt(5) - 1) / 2
# What is kept of each view, (direction, view).
BY_VIEW = ("misfit", "uneven_steps", "second_power", "lost_steps", "saturated", "above_one")


def spread_pixels(good: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Flat indices of at most `SAMPLE` of the `good` pixels, spread so that they follow no rows or columns."""
    found = np.flatnonzero(good)
    if len(found) <= SAMPLE:
        return found
    chosen = np.unique((np.arange(SAMPLE) * _GOLDEN % 1.0 * len(found)).astype(np.intp))
    return found[chosen]


def saturation_of(curves: NDArray[Any]) -> float:
    """The count at which a detector ends, told by one stepping curve (step, row, col) of the flats; infinite if by none.

    That of the number type (255, 65535, ...) where it is reached; or the highest count, where more values lie on it than
    within its photon noise below, and most of its pixels reach it in two steps or more. Counts that are not whole numbers
    tell nothing.
    """
    if curves.dtype.kind not in "iu" or not curves.size:
        return np.inf
    most = int(curves.max())
    if most == np.iinfo(curves.dtype).max:
        return float(most)
    at = curves == most
    steps = at.sum(axis=0)
    if at.sum() < _PILE or np.median(steps[steps > 0]) < 2:
        return np.inf
    below = (curves >= most - np.sqrt(most)) & ~at
    return float(most) if at.sum() > below.sum() else np.inf


def lost_steps(curves: NDArray[Any], dark: NDArray[np.float64]) -> NDArray[np.intp]:
    """Steps of a sample of curves (step, pixel) that hold no counts beside the other steps' (all, where none has any)."""
    if not curves.size:
        return np.zeros(0, np.intp)
    means = curves.mean(axis=1, dtype=np.float64) - dark.mean()
    usual = float(np.median(means))
    return np.flatnonzero(means < LOST * usual) if usual > 0 else np.flatnonzero(~curves.any(axis=1))


def check_flat(name: str, curves: NDArray[Any], dark: NDArray[np.float64], bad: NDArray[np.bool_]) -> None:
    """Refuse a flat with a step without counts: every view would be wrong by it.

    Raises
    ------
    DarklungError
        Names the flat and the steps.
    """
    chosen = spread_pixels(~bad.reshape(-1))
    seen = curves.reshape(len(curves), -1)[:, chosen]
    lost = lost_steps(seen, dark.reshape(-1)[chosen])
    if len(lost):
        listed = "every step" if len(lost) == len(curves) else f"step{'s'[: len(lost) > 1]} {', '.join(map(str, lost))}"
        raise DarklungError(f"{name}: no pixel has counts in {listed}; a file not written? leave that flat out (leave_out)")


def placeholders(
    curves: NDArray[Any], amplitude: NDArray, visibility: NDArray | float, dark: NDArray, gain: float
) -> NDArray[np.bool_] | None:
    """Pixels (row, col) with a count of exactly 0 where the rest of the curve says otherwise; None if there are none.

    Parameters
    ----------
    amplitude : (row, col)
        Fitted mean; a zero among the counts makes it a little too small, which is on the safe side.
    visibility : (row, col) or float
        Not less than what the pixels can have: the flat's.
    """
    least = amplitude * (1 - np.minimum(visibility, 1.0)) + dark
    lost = (curves == 0).any(axis=0) & (least > LEAST_EXPECTED * gain)
    return lost if lost.any() else None


def usual_visibility(curves: NDArray[Any], coefficients: NDArray[np.float64]) -> float:
    """A visibility that hardly any pixel exceeds: 1.2 times the 90th percentile of those without a count of 0."""
    whole = (curves > 0).all(axis=0) & (coefficients[0] > 0)
    if not whole.any():
        return 1.0
    c0, c1, c2 = (c[whole] for c in coefficients)
    return min(1.0, 1.2 * float(np.quantile(np.hypot(c1, c2) / c0, 0.9)))


class FrameWatch:
    """What one direction's views show while they are fitted; `found` has an array (view,) for each of `BY_VIEW`."""

    def __init__(self, scan: Scan, direction: int, *, dark: NDArray, bad: NDArray[np.bool_], fit: Fit) -> None:
        self.found = {name: np.full(scan.geometry.views, np.nan, np.float32) for name in BY_VIEW}
        self._dark, self._fit = dark, fit
        self._chosen = spread_pixels(~bad.reshape(-1))
        self._dark_chosen = dark.reshape(-1)[self._chosen]
        self._model: StepModel | None = None
        self._designs: dict[str, Design] = {}
        first = np.asarray(scan.flats[direction, 0])
        self.saturation = saturation_of(first[:, ~bad] if first.ndim == 3 else first)
        self._flat_over = (first >= self.saturation).any(axis=0)

    def judge(self, view: int, frames: NDArray[Any], model: StepModel, maps: NDArray, valid: NDArray[np.bool_]) -> None:
        """Look at a view whose ratios and variances are in `maps`, as `stepping` has them before the logarithms.

        Pixels with placeholders, saturation or V > 1 become invalid, and all of a view that lacks a step.
        """
        curves = frames.reshape(len(frames), -1)[:, self._chosen]
        lost = lost_steps(curves, self._dark_chosen)
        if len(lost):
            valid[:] = False
        self._note(view, "lost_steps", len(lost))
        self._note(view, "saturated", self._saturated(frames, valid))
        self._note(view, "above_one", _above_one(maps, valid))
        if not len(lost):
            if model is not self._model:
                self._model, self._designs = model, designs_of(model, self._fit.harmonics)
            for name, value in curve_numbers(curves, self._dark_chosen, self._designs, self._fit.gain).items():
                self._note(view, name, value)

    def zeros(self, frames: NDArray[Any], flat: Harmonics, maps: NDArray, valid: NDArray[np.bool_]) -> None:
        """Make pixels invalid whose curve holds a 0 that stands for no count."""
        with np.errstate(divide="ignore", invalid="ignore"):
            amplitude = np.where(maps[6] > 0, flat.amplitude.reshape(valid.shape) / maps[0], 0.0)
        lost = placeholders(frames, amplitude, flat.visibility.reshape(valid.shape), self._dark, self._fit.gain)
        if lost is not None:
            valid &= ~lost

    def _note(self, view: int, name: str, value: float) -> None:
        self.found[name][view] = value

    def _saturated(self, frames: NDArray[Any], valid: NDArray[np.bool_]) -> float:
        """Share of pixels at the detector's end, here or in the first flat; they are not valid."""
        if self.saturation == np.inf:
            return 0.0
        over = (frames >= self.saturation).any(axis=0) | self._flat_over
        share = float((over & valid).sum()) / max(int(valid.sum()), 1)
        valid &= ~over
        return share


def _above_one(maps: NDArray, valid: NDArray[np.bool_]) -> float:
    """Share of pixels with V or V0 above 1 beyond noise; they are not valid."""
    above = (maps[6] > 1) | (maps[7] > 1)
    if not above.any():
        return 0.0
    highest = np.maximum(maps[6], maps[7])
    above &= valid & ((highest - 1) ** 2 > BEYOND**2 * highest**2 * maps[4])
    share = float(above.sum()) / max(int(valid.sum()), 1)
    valid &= ~above
    return share


Design = tuple[NDArray[np.float64], NDArray[np.float64]]


def designs_of(model: StepModel, harmonics: int) -> dict[str, Design]:
    """Matrix and inverse of the fit whose residuals are judged, and of one with two harmonics; as far as steps allow."""
    found, steps = {}, len(model.phases_rad)
    for name, orders in (("misfit", harmonics), ("second_power", 2)):
        matrix = step_matrix(model.phases_rad, model.dose, orders)
        if steps >= matrix.shape[1] + (name == "misfit") and np.linalg.cond(matrix) < 1e3:
            found[name] = matrix, np.asarray(np.linalg.pinv(matrix), dtype=np.float64)
    return found


def curve_numbers(
    curves: NDArray[Any], dark: NDArray[np.float64], designs: Mapping[str, Design], gain: float
) -> dict[str, float]:
    """Mean reduced χ² of a sample of curves (step, pixel), their second harmonic's power over the first's, freed of noise,
    and by how much the residuals of the worst step exceed those of the median step.

    Each as far as the number of steps allows (4, 5 and 6). A step's tilt over the detector is left out.
    """
    steps, found = len(curves), {}
    net = curves - dark
    for name, (matrix, inverse) in designs.items():
        c = inverse @ net
        good = c[0] > 0
        if not good.any():
            continue
        if name == "second_power":
            found[name] = _second_over_first(c[:, good], inverse, gain * (c[0] + dark)[good])
            continue
        fitted = matrix @ c
        square = ((net - fitted) ** 2 / (gain * np.maximum(fitted + dark, gain)))[:, good].mean(axis=1)
        found[name] = float(square.sum() / (steps - matrix.shape[1]))
        # With fewer steps what is left of one is spread over all.
        if steps >= 6 and square.any():
            found["uneven_steps"] = float(np.sqrt(square.max() / np.median(square)))
    return found


def _second_over_first(c: NDArray[np.float64], inverse: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Ratio of the mean powers, below 0 where noise was more than there is; NaN where the first is no more than noise."""
    power = []
    for rows in (slice(1, 3), slice(3, 5)):
        power.append(float(((c[rows] ** 2).sum(axis=0) - (inverse[rows] ** 2).sum() * variance).mean()))
    return power[1] / power[0] if power[0] > 0 else float("nan")
