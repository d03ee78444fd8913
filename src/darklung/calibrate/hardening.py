"""Beam and visibility hardening taken out: one function for studies, radiographs and ``darklung calibrate apply``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from darklung.calibrate.file import Calibration, load_calibration
from darklung.core.checks import DarklungError, require
from darklung.core.contracts import check_projections
from darklung.core.types import Projections
from darklung.correct.ladder import METHODS, RECOMMENDED, Knowledge, Method, find_correction
from darklung.correct.response import SpectralResponse
from darklung.physics.instrument import Instrument
from darklung.physics.materials import MATERIALS

# Corrections that look at each pixel by itself, so that blocks of views can be corrected one after another.
BY_PIXEL = ("none", "look_up", "two_material", "factor", "inversion")
# What holds of an instrument without a calibration, for a mouse; `Knowledge` has the rest.
BELIEVED: Mapping[str, Any] = {"material": "soft_tissue", "max_thickness_m": 0.06}
SAME_ENERGY_KEV = 1e-6
CALIBRATED = "calibration"


class Said(Protocol):
    """What a user says of the correction, as `darklung.study.correction.CorrectionPart`; None where the file decides."""

    @property
    def hardening(self) -> str: ...
    @property
    def material(self) -> str | None: ...
    @property
    def second_material(self) -> str | None: ...
    @property
    def second_path(self) -> float: ...
    @property
    def exponent(self) -> float | None: ...
    @property
    def reach(self) -> float | None: ...
    @property
    def energy(self) -> float | None: ...


@dataclass(frozen=True)
class Hardening:
    """A hardening correction that is ready: call it with projections of all views, or of some unless it is `whole`.

    Parameters
    ----------
    method : str
        A key of `METHODS`, or ``package.module:function``.
    knowledge : Knowledge, optional
        What the method uses; None where nothing is known, and then the method is "none".
    source : str
        Where the spectra come from, for the record.
    overridden : tuple of str
        What the user said against the calibration file, one a line.
    """

    method: str
    knowledge: Knowledge | None
    source: str
    overridden: tuple[str, ...] = ()

    @property
    def calibrated(self) -> bool:
        """The spectra are those of a calibration."""
        return self.source.startswith(CALIBRATED)

    @property
    def whole(self) -> bool:
        """Wants all views at once: methods that segment, and a user's own."""
        return self.method not in BY_PIXEL

    def __call__(self, projections: Projections) -> Projections:
        """Projections at the reference energy.

        Raises
        ------
        DarklungError
            A user's own method returns something else than projections of the same views, in one line.
        """
        if self.knowledge is None:
            return projections
        method: Method = find_correction(self.method)
        found = method(projections, self.knowledge)
        if self.method not in METHODS:
            check_projections(self.method, found, projections.directions_rad, projections.geometry)
        return found

    def record(self) -> dict[str, Any]:
        """What was used, as JSON."""
        told: dict[str, Any] = {"method": self.method, "spectra": self.source, "overridden": list(self.overridden)}
        if self.knowledge is None:
            return told
        k = self.knowledge
        names = ("material", "second_material", "second_m", "exponent", "max_thickness_m")
        energy = k.response.reference_energy_kev
        return {**told, "energy_kev": energy, "wedge": k.wedge is not None, **{n: getattr(k, n) for n in names}}

    def told(self) -> list[str]:
        """The same as lines to print."""
        if self.knowledge is None:
            return [f"{self.method}: {self.source}"]
        k, overridden = self.knowledge, [f"overridden: {line}" for line in self.overridden]
        limit = "the wedge" if self.calibrated else f"{1e3 * k.max_thickness_m:g} mm"
        return [
            f"{self.method}: values at {k.response.reference_energy_kev:g} keV; beyond {limit} nothing is valid",
            *overridden,
        ]


def hardening(
    part: Said,
    *,
    instrument: Instrument | None = None,
    calibration: Path | None = None,
    energy_kev: float | None = None,
) -> Hardening:
    """The correction that `part` asks for, with what is known of the beam.

    A calibration of wedges is used whole: spectra, measured look-up, materials, energy law, reach and recommended method.
    What `part` says overrides it. Of an object of another material the measured look-up is dropped for one computed from the
    calibrated spectra, and the reach is that of the same attenuation. Without a calibration the instrument's own spectra
    are believed, for soft tissue up to 6 cm and by inversion; without either there is no correction.

    Values refer to the calibration's reference energy. An instrument with another one is refused, unless `part.energy` says
    the instrument's: the spectra do not depend on it, so the same methods then refer to that energy exactly.

    Parameters
    ----------
    part : Said
    instrument : Instrument, optional
        Of a simulated or well-known scanner.
    calibration : Path, optional
        ``calibration.json`` of ``darklung calibrate wedges``.
    energy_kev : float, optional
        Reference energy of the scanner, where a calibration makes the rest of its instrument needless.

    Raises
    ------
    DarklungError
        A file of another kind, energies that differ, or a method without spectra.
    """
    if calibration is None and instrument is None:
        told = f"correction.hardening: {part.hardening} needs spectra: a calibration of wedges or an instrument, got neither"
        require(part.hardening in (RECOMMENDED, "none"), told)
        return Hardening("none", None, "no spectra are known")
    known = _known(calibration)
    method = known.method if part.hardening == RECOMMENDED else part.hardening
    base = known.knowledge or Knowledge(SpectralResponse.of(instrument), **BELIEVED)  # type: ignore[arg-type]
    wanted = energy_kev if instrument is None else instrument.reference_energy_kev
    response = replace(base.response, reference_energy_kev=_energy(part, method, base, wanted, calibration))
    said = {"material": part.material, "second_material": part.second_material, "exponent": part.exponent}
    changed: dict[str, Any] = {k: v for k, v in said.items() if v is not None and v != getattr(base, k)}
    if "material" in changed:
        ratio = response.attenuation_of(base.material)[1] / response.attenuation_of(changed["material"])[1]
        changed |= {"wedge": None, "max_thickness_m": base.max_thickness_m * ratio}
    if part.reach is not None:
        changed["max_thickness_m"] = part.reach
    second = part.second_path * MATERIALS[part.second_material or base.second_material].density_g_cm3
    overridden: tuple[str, ...] = ()
    if calibration is not None:
        overridden = _overridden(changed, base, response)
        overridden += (f"hardening: {method} (the file recommends {known.method})",) if method != known.method else ()
    source = f"{CALIBRATED} {calibration}" if calibration else "the instrument"
    return Hardening(method, replace(base, response=response, second_m=second, **changed), source, overridden)


def _known(calibration: Path | None) -> Calibration:
    if calibration is not None:
        return load_calibration(calibration, "wedges")
    return Calibration("wedges", "the instrument", {}, method="inversion")


def _energy(part: Said, method: str, base: Knowledge, wanted: float | None, calibration: Path | None) -> float:
    """The energy that values refer to; raises where file, instrument and `part` do not agree."""
    own = base.response.reference_energy_kev
    energy = own if part.energy is None else part.energy
    if method == "none" or wanted is None or abs(energy - wanted) <= SAME_ENERGY_KEV:
        return energy
    if part.energy is not None:
        raise DarklungError(
            f"correction.energy: wanted the instrument's reference energy, {wanted:g} keV, got {energy:g} keV"
        )
    raise DarklungError(
        f"{calibration}: its values refer to {own:g} keV, the instrument's to {wanted:g} keV; say "
        f"instrument.reference_energy: {own:g} keV, or correction.energy: {wanted:g} keV to have the file refer to that"
    )


def _overridden(changed: Mapping[str, Any], base: Knowledge, response: SpectralResponse) -> tuple[str, ...]:
    def line(name: str, value: Any) -> str:
        own = getattr(base, name)
        if name == "wedge":
            return "wedge: not used, it is of another material (the look-up is computed from the calibrated spectra)"
        return f"{name}: {value:.4g} (file: {own:.4g})" if isinstance(value, float) else f"{name}: {value} (file: {own})"

    lines = [line(name, value) for name, value in changed.items() if not (name == "wedge" and base.wedge is None)]
    if response.reference_energy_kev != base.response.reference_energy_kev:
        lines.append(f"energy: {response.reference_energy_kev:g} keV (file: {base.response.reference_energy_kev:g} keV)")
    return tuple(lines)
