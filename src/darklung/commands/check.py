"""``darklung check``: what a protocol can be expected to give, before anyone builds or runs it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklung.commands.sweep import parse_sweeps, swept
from darklung.core.checks import require
from darklung.core.files import make_folder, write_text
from darklung.physics.binning import FINE_BINS

if TYPE_CHECKING:
    from darklung.simulate.plan import ScanPlan
    from darklung.study.protocols import ProtocolFile


def list_protocols() -> str:
    """Names and titles of the ready protocols."""
    from darklung.study.protocols import read_protocol, ready_protocols

    told = [f"{name:22}{read_protocol(path).title}" for name, path in ready_protocols().items()]
    return "\n".join(["ready protocols, for darklung check and darklung simulate:", *told])


def check_protocol(
    target: str, *, sweep: Sequence[str] = (), settings: Sequence[str] = (), out: Path | None = None, advise: bool = True
) -> str:
    """Plan a scan and return the text to print.

    Parameters
    ----------
    target : str
        A protocol file, a study file with one simulated source, or the name of a ready protocol (examples/protocols).
    sweep : sequence of str
        Up to two ``key=first:last:count``: plan once for each value (or pair of values), evenly spaced, and draw the
        trade-off. The key is one of the file's, the values may have units: ``correlation_length=1 um:5 um:5``.
    settings : sequence of str
        ``key=value``, numbers of the file that are changed before anything is planned.
    out : Path, optional
        Folder for ``plan.json`` and, of a sweep, ``sweep.png`` and ``sweep.csv``.
    advise : bool
        Plan again with single changes, to tell what would improve it.

    Raises
    ------
    DarklungError
        Neither a file nor a known name, a wrong sweep, or a protocol that makes no sense.
    """
    from darklung.simulate.advice import improvements, table, warnings
    from darklung.study.protocols import changed, read_protocol

    protocol = read_protocol(target)
    for text in settings:
        key, equals, value = text.partition("=")
        require(bool(equals and value), f"set: wanted key=value, such as visibility=0.2, got {text!r}")
        protocol = changed(protocol, key.strip(), value.strip(), said="set")
    wanted = parse_sweeps(sweep, protocol)
    plan = protocol.plan()
    flux = _flux(protocol, plan)
    noted = (*warnings(plan, protocol.scan), *_waiting(protocol, plan), *filter(None, (protocol.instrument.bins_note(),)))
    better: list[dict[str, Any]] = []
    parts = [
        protocol.title,
        *_origin(protocol),
        "",
        table(plan),
        _energies(protocol),
        _gratings(protocol),
        _detector(protocol),
        f"flux        {flux['text']}",
    ]
    parts += [f"note        {text}" for text in noted]
    if advise:
        found = improvements(instrument=protocol.instrument.instrument(), protocol=protocol.scan, pixel_m=protocol.pixel)
        better = [asdict(one) for one in found]
        parts += _improvements(better, [lesion.name for lesion in plan.lesions])
    parts += [_verdict(plan, flux, plan.total_time_s / _gate(protocol))]
    if out is not None:
        make_folder(out)
        record = {"protocol": protocol.model_dump(mode="json"), "plan": asdict(plan), "flux": flux, "notes": noted}
        write_text(out / "plan.json", json.dumps(_plain({**record, "improvements": better}), indent=1))
        parts.append(f"saved       {out / 'plan.json'}")
    if wanted:
        parts += ["", *swept(protocol, wanted, out)]
    return "\n".join(parts)


def _origin(protocol: ProtocolFile) -> Iterator[str]:
    """What is published and what assumed, side by side."""
    widths = (24, 44, 52)

    def wrapped(*cells: str) -> Iterator[str]:
        columns = [textwrap.wrap(cell, width - 2) for cell, width in zip(cells, widths)]
        for row in zip_longest(*columns, fillvalue=""):
            yield "".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip()

    if protocol.origin:
        yield from ("", *wrapped("", "published", "assumed"))
    for name, origin in protocol.origin.items():
        yield from wrapped(name, origin.published or "–", origin.assumed or "–")


def _energies(protocol: ProtocolFile) -> str:
    """How many energy bins, why, and how wrong they make −ln D."""
    part = protocol.instrument
    count, error = len(part.instrument().energies_kev), part.binning_error()
    why = "as the file says" if part.bins else "chosen by a bound on the error"
    return f"energies    {count} bins, {why}: −ln D behind water with lung is within {error:.1g} of that of {FINE_BINS} bins"


def _gratings(protocol: ProtocolFile) -> str:
    """Where the analyser grating stands, and how far from ideal the visibility is."""
    from darklung.physics.interferometer import visibility_spectrum

    part, instrument = protocol.instrument, protocol.instrument.instrument()
    ideal = float((instrument.weights * visibility_spectrum(instrument.energies_kev, part.design_energy_kev, 1)).sum())
    return (
        f"gratings    period {1e6 * part.period_m:.3g} µm, {instrument.distance_m:.3g} m behind the animal; "
        f"V0 is {100 * instrument.flat_visibility / ideal:.0f} % of the ideal interferometer's {ideal:.2f}"
    )


def _detector(protocol: ProtocolFile) -> str:
    """What the sensor makes of the photons that reach it."""
    from darklung.physics.detector import responses

    source, sensor = protocol.instrument.source(), protocol.instrument.sensor
    if sensor.kind == "integrating":
        return "detector    integrates; counts are those of equal noise"
    signal, twice = responses(sensor, source.energies_kev, source.weights)
    counted = source.weights * signal / source.weights.sum()
    shared = float((counted * twice).sum() / counted.sum())
    text = f"detector    counts {100 * counted.sum():.0f} % of the photons that reach it"
    if sensor.cloud_m > 0:
        told = protocol.effects.detector.charge_sharing
        text += f", {100 * shared:.0f} % of them twice (effects.charge_sharing: {told:g})"
    return text


def _flux(protocol: ProtocolFile, plan: ScanPlan) -> dict[str, Any]:
    """Photons that must come, and the tube current that brings them."""
    from darklung.physics.spectrum import tube_output

    part, source = protocol.instrument, protocol.source
    need = f"{plan.fluence_rate * 1e-6:.3g} photons/(s mm²) must reach the animal"
    if part.spectrum == "file":
        return {"photons_per_s_m2": plan.fluence_rate, "text": f"{need}; what the source of a file gives is not known"}
    kvp = part.high_kev if part.spectrum == "tube" else source.voltage
    require(kvp > part.low_kev, f"source.voltage: wanted more than the band's {part.low_kev:g} keV, got {kvp:g} kV")
    one_ma = tube_output(kvp=kvp, low_kev=part.low_kev, high_kev=min(part.high_kev, kvp), filters_m=part.filters_m)
    distance = protocol.scan.source_axis_m if protocol.scan.source_axis_m < np.inf else source.distance
    current = plan.fluence_rate * distance**2 / (one_ma * source.transmission)
    text = (
        f"{need}: {current:.2g} mA or {1e-3 * kvp * current:.2g} kW of a tungsten tube at {kvp:g} kV, "
        f"{distance:g} m away, {100 * source.transmission:.0f} % passing its gratings"
    )
    return {"photons_per_s_m2": plan.fluence_rate, "tube_kv": kvp, "tube_ma": current, "text": text}


def _gate(protocol: ProtocolFile) -> float:
    """Part of the time in which a gated scan of a breathing animal exposes."""
    return protocol.effects.gate if protocol.effects.breathing_m > 0 else 1.0


def _waiting(protocol: ProtocolFile, plan: ScanPlan) -> tuple[str, ...]:
    gate = _gate(protocol)
    if gate == 1:
        return ()
    return (f"waiting for {100 * gate:.0f} % of the breath makes the scan {plan.total_time_s / gate:.0f} s long",)


def _verdict(plan: ScanPlan, flux: Mapping[str, Any], time_s: float) -> str:
    """The honest answer in one line."""
    fits = "fits into" if time_s <= plan.time_limit_s else "does not fit into"
    power = f", if the source gives {1e-3 * flux['tube_kv'] * flux['tube_ma']:.2g} kW" if "tube_ma" in flux else ""
    valid = "every ray can be retrieved" if plan.valid > 0.999 else f"{100 * plan.valid:.0f} % of the rays can be retrieved"
    return (
        f"verdict     the scan {fits} {plan.time_limit_s / 60:.3g} min ({time_s / 60:.3g} min) "
        f"at {1e3 * plan.dose_gy:.2g} mGy (± 40 %){power}; {valid}; photon noise alone, no clutter of anatomy"
    )


def _improvements(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    first, last = names[0], names[-1]
    lines = [
        "what would improve it: factor on the CNR of",
        f"  {'':28}{first + ': att.':>16}{'dark':>7}{last + ': att.':>20}{'dark':>7}{'dose':>7}{'time':>7}",
    ]
    for row in rows:
        values = (row["attenuation"][0], row["dark_field"][0], row["attenuation"][-1], row["dark_field"][-1])
        lines.append(
            f"  {row['change']:28}{values[0]:16.2f}{values[1]:7.2f}{values[2]:20.2f}{values[3]:7.2f}"
            f"{row['dose']:7.2f}{row['time']:7.2f}"
        )
    return lines


def _plain(value: Any) -> Any:
    """JSON types; NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
