"""What the commands of ``darklung calibrate`` print: tables of what was fitted, judged, applied, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from darklung.calibrate.beam_fits import Belief, PowderRows
from darklung.calibrate.file import CALIBRATION, FIGURE
from darklung.calibrate.measurements import Measurements
from darklung.calibrate.recommend import CANDIDATES, Judged, WedgeSeries
from darklung.calibrate.sizes import BRANCHES, SizeMaps
from darklung.calibrate.sphere_fits import ModelRow, leave_one_out
from darklung.calibrate.spheres import SphereCalibration
from darklung.correct.ladder import METHODS, TREATS
from darklung.steps.calibrate.apply import CORRECTED, OUTPUT, PICTURE, Applied, Corrected, Oriented, Scaled, Sized
from darklung.steps.calibrate.fibres import FibresMade
from darklung.steps.calibrate.spheres import SpheresMade
from darklung.steps.calibrate.unit import UnitMade
from darklung.steps.calibrate.wedges import WedgesMade


def spheres_told(made: SpheresMade) -> str:
    """Each scan beside what the others predict, the fit, and all models."""
    pairs = zip(made.series, made.curves)
    lines = [line for m, c in pairs for line in (*_left_out(m, c, made.belief), *_curve(c))]
    return "\n".join([*lines, *_gains(made), *_compared(made.rows), _saved(made.out, CALIBRATION, FIGURE)])


def _gains(made: SpheresMade) -> list[str]:
    """Each gain of V0 as it was given and as it is fitted."""
    beam, given = made.curves[0].beam, made.belief.gains if made.belief else ()
    return [f"V0 behind {t}: x {beam.gain(t) / beam.gain(''):.3f} fitted, x {g:g} given" for t, g in given if beam]


def fibres_told(made: FibresMade) -> str:
    """Each bundle's angle as known and as found, and the gratings' turn."""
    fit = made.fit
    lines = [f"{'bundle':<22}{'known deg':>11}{'found':>9}{'error':>9}{'mean -ln D':>12}{'modulation':>12}"]
    for row, known, error, mean, m in zip(made.measured.rows, fit.angle_rad, fit.angle_error_rad, fit.mean, fit.modulation):
        found = np.degrees(known + error)
        lines.append(f"{row['name']:<22}{np.degrees(known):11.2f}{found:9.2f}{np.degrees(error):9.2f}{mean:12.4f}{m:12.4f}")
    spread = np.degrees(np.sqrt((fit.angle_error_rad**2).mean()))
    turn, turn_error = np.degrees(-fit.turn_rad), np.degrees(fit.turn_error_rad)
    lines += [
        f"gratings turned by {turn:.2f} +- {turn_error:.2f} deg from where they are said to be; angle errors with that "
        f"taken off: {spread:.2f} deg RMS",
        f"modulation {fit.reference_modulation:.4f} +- {fit.reference_modulation_error:.4f}; misfit of -ln D "
        + (f"{fit.misfit:.4f}" if np.isfinite(fit.misfit) else "not known with three directions"),
        f"mean -ln D from {fit.range[0]:.3f} to {fit.range[1]:.3f}: outside it apply flags",
        _saved(made.out, CALIBRATION, FIGURE),
    ]
    return "\n".join(lines)


def wedges_told(made: WedgesMade) -> str:
    """All methods on held-out steps, the recommendation, and how to use it."""
    means = [[float((s.energies_kev * w).sum()) for w in (s.weights, s.visible)] for s in (made.nominal, made.response)]
    file = made.out / CALIBRATION
    lines = [
        *_judged(made.judged, made.series),
        f"recommended: {made.best}: {made.why}",
        f"mean energies of beam and modulation: believed {means[0][0]:.1f} and {means[0][1]:.1f} keV, calibrated "
        f"{means[1][0]:.1f} and {means[1][1]:.1f} keV",
        f"in a study: calibrations: {{wedges: {file}}}; its correction is then {CANDIDATES[made.best][0]}",
        f"on retrieved projections: darklung calibrate apply {file} projections.h5 --out corrected",
        _saved(made.out, CALIBRATION, FIGURE),
    ]
    return "\n".join(lines)


def unit_told(made: UnitMade) -> str:
    """What 0 and 1000 scatter units are, and what attenuation is told by."""
    unit, scale = made.unit, made.attenuation
    zero = f"0 SU: {unit.zero_per_m:.4g} +- {unit.zero_error_per_m:.2g} /m"
    reference = f"{unit.reference_per_m:.4g} +- {unit.reference_error_per_m:.2g} /m"
    lines = [f"{zero}; 1000 SU ({unit.reference}): {reference}, from {made.channel}"]
    if scale is not None:
        pairs = (scale.zero_per_m, scale.zero_error_per_m), (scale.reference_per_m, scale.reference_error_per_m)
        air, solid = (f"{mean:.4g} +- {error:.2g} /m" for mean, error in pairs)
        told = f"{scale.told:.4g} /m, its value at {scale.energy_kev:g} keV"
        lines.append(f"attenuation: air reads {air}, {scale.material} {solid} and is told as {told}")
    return "\n".join([*lines, _saved(made.out, CALIBRATION)])


def applied_told(made: Applied) -> str:
    """What came of a calibration, by its kind."""
    match made:
        case Sized():
            lines = _sizes(made)
        case Oriented():
            lines = _orientations(made)
        case Scaled():
            lines = _units(made)
        case Corrected():
            return "\n".join([*made.lines, _saved(made.out, CORRECTED)])
    return "\n".join([*lines, _saved(made.out, OUTPUT, PICTURE)])


def _saved(out: Path, *names: str) -> str:
    return f"saved: {', '.join(str(out / name) for name in names)}"


def _left_out(measured: Measurements, fit: SphereCalibration, belief: Belief | None) -> list[str]:
    if len(np.unique(fit.diameter_m)) < (4 if belief else fit.free + 2):
        return [f"leaving one out takes {4 if belief else int(fit.free) + 2} different diameters"]
    attenuation = measured.column("attenuation") if belief and belief.material else None
    rows = PowderRows(fit.diameter_m, fit.signal, fit.thickness_m, fit.filters, attenuation)
    predicted, inside = leave_one_out(rows, offset=fit.free == 3, shape=fit.shape, belief=belief)
    title = f"{fit.setting}: " if fit.setting else ""
    several = len(set(zip(fit.thickness_m, fit.filters))) > 1
    lines = [f"{title}{'scan':<22}{'diameter um':>12}{'-ln D':>9}{'left out':>10}{'error':>9}"]
    for number, (d, s, p, between) in enumerate(zip(fit.diameter_m, fit.signal, predicted, inside)):
        note = f"   {1e3 * fit.thickness_m[number]:g} mm {fit.filters[number]}".rstrip() if several else ""
        note += "" if between else "   (outside the others' range)"
        lines.append(f"{measured.rows[number]['name']:<22}{1e6 * d:12.3f}{s:9.4f}{p:10.4f}{p - s:9.4f}{note}")
    error = np.sqrt(np.mean((predicted - fit.signal)[inside] ** 2))
    return [*lines, f"left out: predicted by the fit to all other diameters; inner ones within {error:.4f} RMS"]


def _curve(fit: SphereCalibration) -> list[str]:
    errors = np.sqrt(np.diag(fit.covariance))
    offset = f"offset {fit.offset:.4f} +- {errors[2]:.4f}" if fit.free == 3 else "no offset"
    which = "xi at the reference energy" if fit.beam else "effective xi"
    low, high = (1e6 * d for d in fit.range_m)
    thin, thick = (1e3 * t for t in fit.thickness_range_m)
    behind = ", ".join(text or "none" for text in fit.holds["filters"])
    beam = [_beam(fit)] if fit.beam else []
    return [
        f"{fit.shape.model} spheres: scale {fit.scale_per_m2:.4g} +- {errors[0]:.2g} /m2, {which} "
        f"{1e6 * fit.correlation_length_m:.3f} +- {1e6 * errors[1]:.3f} um, {offset}, residual {fit.residual:.4f}",
        *beam,
        f"holds from {low:.3g} to {high:.3g} um, {thin:g} to {thick:g} mm, filter: {behind}, -ln D {fit.signal.min():.3f} "
        f"to {fit.signal.max():.3f}",
        f"largest signal at {1e6 * fit.peak_m:.2f} um: below and above it two diameters give the same signal",
    ]


def _beam(fit: SphereCalibration) -> str:
    """What the fit made of the visibility spectrum."""
    beam = fit.beam
    if beam is None:
        return ""
    mean, soft = float(beam.energies_kev @ beam.visible), beam.visible[beam.energies_kev < 0.35 * beam.reference_energy_kev]
    return (
        f"V(E) S(E) as fitted: mean energy {mean:.1f} keV, {100 * float(soft.sum()):.0f} % below "
        f"{0.35 * beam.reference_energy_kev:.0f} keV; the data settle {fit.free:.1f} of {len(fit.covariance) - 1} parameters"
    )


def _compared(rows: Sequence[ModelRow]) -> list[str]:
    if not rows:
        return ["models not compared: that takes 6 different diameters"]
    head = f"{'model':<10}{'offset':>18}{'scale /m2':>22}{'xi um':>16}{'residual':>10}{'left out':>10}{'score':>8}"
    lines = ["models of this series, the best first:", head + f"{'p of offset':>13}"]
    for row in rows:
        errors = np.sqrt(np.diag(row.fit.covariance))
        offset = f"{row.fit.offset:.3f} +- {errors[2]:.3f}" if row.offset else "none"
        scale = f"{row.fit.scale_per_m2:.3g} +- {errors[0]:.1g}"
        xi = f"{1e6 * row.fit.correlation_length_m:.2f} +- {1e6 * errors[1]:.2f}"
        p = f"{row.offset_p:13.1e}" if row.offset else ""
        lines.append(
            f"{row.fit.shape.model:<10}{offset:>18}{scale:>22}{xi:>16}{row.fit.residual:10.4f}{row.left_out:10.4f}"
            f"{row.score - rows[0].score:8.1f}{p}"
        )
    score = "-2 ln of the evidence" if rows[0].fit.beam else "AICc"
    told = "residual: standard deviation about the fit; left out: RMS of inner diameters predicted by the others; score: "
    return [*lines, f"{told}{score} above the best"]


def _judged(judged: tuple[Judged, ...], series: WedgeSeries) -> list[str]:
    plain_steps, foam = int(series.plain.sum()), int(series.foam.sum())
    lines = [
        f"{plain_steps} steps of {series.material} to {1e3 * series.thickness_m[series.plain].max():.1f} mm (at 1 g/cm3), "
        f"{int((series.second_m > 0).sum())} with {series.second_material}, {foam} with foam; "
        "each corrected by a fit without it",
        f"{'method':<32}{'bias':>9}{'RMS':>9}{'-ln T':>9}{'2 mat.':>9}{'foam':>9}{'noise':>8}   treats",
    ]

    def number(value: float, form: str = "9.4f") -> str:
        return format(value, form) if np.isfinite(value) else f"{'-':>9}"

    for row in judged:
        foam_text = f"{100 * row.foam:8.2f}%" if np.isfinite(row.foam) else f"{'-':>9}"
        numbers = number(row.bias) + number(row.bias_rms) + number(row.attenuation) + number(row.second)
        lines.append(f"{row.told:<32}{numbers}{foam_text}{row.noise:8.2f}   {TREATS[CANDIDATES[row.told][0]]}")
    for method in (m for m in METHODS if m not in {c[0] for c in CANDIDATES.values()}):
        lines.append(f"{method:<32}{'needs a CT scan':>45}{'':>8}   {TREATS[method]}")
    return [
        *lines,
        "bias: largest false |-ln D| of held-out steps; -ln T: its error at the reference energy; 2 mat.: false |-ln D|",
        "with the second material; foam: largest deviation of its -ln D from the mean; noise: growth of the error of -ln D",
    ]


def _sizes(made: Sized) -> list[str]:
    found, read = made.found, made.read
    lines = [f"{'channel':<18}{'-ln D':>9}{'+-':>8}   sizes that agree with the mean signal (90 %)"] if made.regions else []
    for name, (mean, error, region) in zip(read.names, made.regions):
        lines.append(f"{name:<18}{mean:9.4f}{error:8.4f}   {_told_size(region)}")
    lines.append(f"{'each pixel':<18}{'told':>9}{'below peak':>12}{'above':>9}{'either':>9}{'none':>9}{'censored':>10}")
    known = np.isfinite(read.epsilon)
    for number, name in enumerate(read.names):
        branch, inside = found.branch[number], known[number]
        parts = [found.valid[number], branch == 1, branch == 2, branch == 3, branch == 0, found.censored[number] > 0]
        shares = [_share(part, inside) for part in parts]
        lines.append(f"{name:<18}" + "".join(f"{v:{w}.1f}%" for v, w in zip(shares, (8, 11, 8, 8, 8, 9))))
    low, high = (1e6 * d for d in made.calibration.curves[0].range_m)
    branches = ", ".join(f"{k} {v}" for k, v in BRANCHES.items())
    return [
        *([f"outside the calibration, nothing is told: {made.outside}"] if made.outside else []),
        *lines,
        f"shares of what has a value; none: no diameter from {low:.3g} to {high:.3g} um agrees; censored: the interval ends",
        f"where the calibration does; sizes are those of spheres that scatter alike; branch: {branches}",
    ]


def _told_size(region: SizeMaps) -> str:
    """A size with its interval, or the intervals alone; of a censored one where it may go on."""
    ends = [pair for pair in (region.below_m, region.above_m) if np.isfinite(pair[0])]
    if not ends:
        return "none: no calibrated diameter gives this signal"
    if region.branch == 3 and np.isclose(ends[0][1], ends[1][0], rtol=0.03):
        ends = [np.array([ends[0][0], ends[1][1]])]
    texts = [f"{1e6 * low:.3g} to {1e6 * high:.3g} um" for low, high in ends]
    if region.censored & 1:
        texts[0] += " or less"
    if region.censored & 2:
        texts[-1] += " or more"
    told = ", or ".join(texts)
    return f"{1e6 * float(region.size_m):.3g} um ({told})" if region.valid else f"{told}; no single size is told"


def _orientations(made: Oriented) -> list[str]:
    found = made.found
    known = np.isfinite(found.mean)
    lines = [
        f"angles for {_share(found.valid, known):.1f} % of the pixels, {_share(found.in_range, known):.1f} % within the "
        "signals of the calibration"
    ]
    if found.valid.any():
        angle, error = found.angle_rad[found.valid], found.angle_error_rad[found.valid]
        mean = 0.5 * np.angle(np.exp(2j * angle).mean()) % np.pi
        lines.append(
            f"mean angle {np.degrees(mean):.2f} deg from the rotation axis, median error {np.degrees(np.median(error)):.2f} "
            f"deg, modulation {np.median(found.relative[found.valid]):.2f} of the bundles'"
        )
    return lines


def _units(made: Scaled) -> list[str]:
    unit = made.unit
    lines = [f"0 SU = {unit.zero_per_m:.4g} /m, 1000 SU = {unit.reference_per_m:.4g} /m ({unit.reference})"]
    for name, values in zip(made.read.names, made.units):
        inside = values[np.isfinite(values)]
        numbers = " ".join(f"{v:.0f}" for v in np.percentile(inside, [5, 50, 95])) if len(inside) else "no values"
        lines.append(f"{name}: 5, 50 and 95 % of the voxels: {numbers} SU")
    common = float(unit.scale_error(np.array(1000.0)))
    return [*lines, f"common to all voxels: +- {common:.0f} SU at 1000 SU"]


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return 100 * float((part & whole).sum()) / max(int(whole.sum()), 1)
