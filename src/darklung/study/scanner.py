"""A scanner in a file: instrument, protocol and flaws with units in the text; the same words in studies and protocols."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from darklung.io.documents import Angle, Document, Energy, Length, Time
from darklung.physics import instrument as physics
from darklung.physics.detector import Sensor
from darklung.physics.instrument import Instrument
from darklung.physics.spectrum import Spectrum, band, from_file, tube
from darklung.simulate.effects import Detector, Effects, Gratings, Stability
from darklung.simulate.protocol import Protocol

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class InstrumentPart(Document):
    """The grating interferometer with its beam and detector."""

    spectrum: Literal["band", "tube", "file"] = Field(
        "band", description="a flat band of energies, a filtered tungsten tube, or a file of energies and photons"
    )
    file: str = Field("", description="text or CSV of spectrum 'file': energy and photons, units in the header")
    low: Energy = Field(60.0, description="lowest photon energy")
    high: Energy = Field(80.0, description="highest photon energy (of a tube: its voltage)")
    bins: Count = Field(5, description="energy bins")
    filters: dict[str, Length] = Field({"al": 2e-3}, description="material -> thickness before the animal, of a tube")
    design_energy: Energy = Field(70.0, description="energy for which the gratings are made")
    visibility: Fraction = Field(0.15, description="mean flat visibility")
    correlation_length: Length = Field(3e-6, description="autocorrelation length at the reference energy")
    reference_energy: Energy = Field(70.0, description="energy that corrected values refer to")
    period: Length = Field(4.2e-6, description="period of the analyser grating; with the above it sets its distance")
    detector: Literal["counting", "integrating"] = Field("counting", description="how a photon becomes signal")
    sensor: Length = Field(1e-3, description="thickness of the CdTe sensor")
    threshold: Energy = Field(0.0, description="of a counting detector; 0 counts every photon absorbed")
    sensor_pixel: Length = Field(1e-4, description="pixel of the sensor itself, for charge that is shared")
    charge_cloud: Length = Field(0.0, description="standard deviation of the charge cloud; 0 shares no charge")

    @model_validator(mode="after")
    def _check(self) -> InstrumentPart:
        if (self.spectrum == "file") != bool(self.file):
            raise ValueError(f"file: belongs to spectrum 'file' and to no other, got {self.file!r} with {self.spectrum!r}")
        return self

    def located(self, folder: Path) -> InstrumentPart:
        """The same with a path of `file` that starts from `folder` made absolute."""
        return self.model_copy(update={"file": str((folder / self.file).resolve())}) if self.file else self

    def files(self) -> dict[str, Path]:
        """Files from outside that decide the spectrum."""
        return {"spectrum": Path(self.file)} if self.file else {}


class ScanPart(Document):
    """The protocol: what is exposed, how long, how often."""

    supersampling: int = Field(2, ge=1, le=8, description="phantom voxels along a detector pixel")
    views: int = Field(120, ge=1)
    arc: Angle = Field(3.141592653589793, description="angle over which the views are spread evenly")
    steps: int = Field(5, ge=3, description="phase steps a view")
    directions: tuple[Angle, ...] = Field((0.0, 1.5707963267948966), description="sensitivity from the rotation axis")
    counts: float = Field(1.5e7, gt=0, description="open-beam counts of a detector pixel in all views; flats come on top")
    flats: int = Field(6, ge=1, description="groups of flats in each direction, spread over the scan")
    flat_repeats: int = Field(4, ge=1, description="flats in a group, each a whole stepping curve without animal")
    exposure: Time = Field(0.4, gt=0, description="exposure of one frame of a view")
    dead_time: Time = Field(0.02, ge=0, description="time between frames")
    time_limit: Time = Field(1500.0, gt=0, description="the whole scan must fit")
    source_axis: Length | None = Field(None, description="distance of a point source from the axis; a parallel beam without")
    keep_frames: bool = Field(False, description="keep the raw frames (large) when the animal is reconstructed")

    @model_validator(mode="after")
    def _check(self) -> ScanPart:
        if not self.directions:
            raise ValueError("directions: wanted at least one grating direction, got none")
        return self


class EffectsPart(Document):
    """What goes wrong in a real scan; everything but the gratings' maps is off unless it is given."""

    blur: Length = Field(0.0, description="standard deviation of the detector's point spread")
    charge_sharing: Fraction = Field(0.0, description="probability that a photon is counted twice, in neighbouring pixels")
    electronic_noise: float = Field(0.0, ge=0, description="standard deviation of the read-out noise, counts a frame")
    dark_counts: float = Field(0.0, ge=0, description="offset of a frame without beam, counts")
    bad_pixels: Fraction = Field(0.0, description="part of the pixels that are dead or stuck")
    ring_gain: float = Field(0.0, ge=0, description="relative change of a pixel's gain between flats and views")
    saturation: float | None = Field(None, gt=0, description="most counts of a frame; none if not given")
    step_error: Angle = Field(0.0, description="standard deviation of a step's phase")
    dose_jitter: float = Field(0.0, ge=0, description="relative standard deviation of a frame's dose")
    phase_drift: Angle = Field(0.0, description="change of the reference phase over the scan")
    visibility_drift: float = Field(0.0, description="relative change of the visibility over the scan")
    flux_drift: float = Field(0.0, description="relative change of the flux over the scan")
    scatter_to_primary: float = Field(0.0, ge=0, description="mean scattered over primary intensity behind the animal")
    breathing: Length = Field(0.0, description="largest displacement by breathing")
    gate: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="part of the breath in which frames are taken")
    depth_dependent_correlation: bool = Field(False, description="each voxel's own distance to the analyser grating")
    unresolved_refraction: bool = Field(False, description="fringes bent within a pixel lose visibility, as at edges")
    uneven_flux: Annotated[float, Field(ge=0, le=0.3)] = Field(0.05, description="of the open beam, ± over the field")
    uneven_visibility: Annotated[float, Field(ge=0, le=0.5)] = Field(0.08, description="of the gratings, over the field")
    moire_fringes: float = Field(2.2, description="Moiré fringes across the field")


NO_FLAWS = EffectsPart(uneven_flux=0, uneven_visibility=0, moire_fringes=0)
"""A perfect scan: even the gratings' maps are off."""


def make_sensor(part: InstrumentPart) -> Sensor:
    """The detector's sensor that a file describes."""
    return Sensor(
        kind=part.detector,
        thickness_m=part.sensor,
        threshold_kev=part.threshold,
        pixel_m=part.sensor_pixel,
        cloud_m=part.charge_cloud,
    )


def make_spectrum(part: InstrumentPart) -> Spectrum:
    """The beam before the detector that a file describes."""
    if part.spectrum == "band":
        return band(low_kev=part.low, high_kev=part.high, bins=part.bins)
    if part.spectrum == "tube":
        return tube(kvp=part.high, low_kev=part.low, bins=part.bins, filters_m=part.filters)
    return from_file(part.file, low_kev=part.low, high_kev=part.high, bins=part.bins)


def make_instrument(part: InstrumentPart) -> Instrument:
    """The instrument that a file describes."""
    return physics.make_instrument(
        spectrum=make_spectrum(part),
        design_energy_kev=part.design_energy,
        flat_visibility=part.visibility,
        correlation_length_m=part.correlation_length,
        reference_energy_kev=part.reference_energy,
        period_m=part.period,
        sensor=make_sensor(part),
    )


def make_protocol(part: ScanPart) -> Protocol:
    """The protocol that a file describes."""
    return Protocol(
        views=part.views,
        arc_rad=part.arc,
        steps=part.steps,
        directions_rad=part.directions,
        flats=part.flats,
        flat_repeats=part.flat_repeats,
        counts_per_pixel=part.counts,
        exposure_s=part.exposure,
        dead_time_s=part.dead_time,
        time_limit_s=part.time_limit,
        supersampling=part.supersampling,
        source_axis_m=math.inf if part.source_axis is None else part.source_axis,
    )


def make_effects(part: EffectsPart) -> Effects:
    """What goes wrong in a scan, as a file says."""
    return Effects(
        detector=Detector(
            blur_m=part.blur,
            charge_sharing=part.charge_sharing,
            electronic_noise_counts=part.electronic_noise,
            dark_counts=part.dark_counts,
            bad_pixels=part.bad_pixels,
            ring_gain=part.ring_gain,
            saturation_counts=math.inf if part.saturation is None else part.saturation,
        ),
        stability=Stability(
            step_error_rad=part.step_error,
            dose_jitter=part.dose_jitter,
            phase_drift_rad=part.phase_drift,
            visibility_drift=part.visibility_drift,
            flux_drift=part.flux_drift,
        ),
        scatter_to_primary=part.scatter_to_primary,
        gratings=Gratings(
            uneven_flux=part.uneven_flux, uneven_visibility=part.uneven_visibility, moire_fringes=part.moire_fringes
        ),
        breathing_m=part.breathing,
        gate=part.gate,
        depth_dependent_correlation=part.depth_dependent_correlation,
        unresolved_refraction=part.unresolved_refraction,
    )
