"""What a detector makes of the photons that reach it: efficiency, threshold, charge shared between pixels, integration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Interval
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from darklung.core.checks import check_fields, check_one_of, check_range, require
from darklung.physics.materials import MATERIALS
from darklung.physics.spectrum import absorbed_fraction

Array = NDArray[np.float64]

_HITS = 32  # places of interaction along a pixel's edge


@dataclass(frozen=True)
class Sensor:
    """A detector's sensor and how it is read.

    Parameters
    ----------
    kind : {"counting", "integrating"}
        Counting: each pixel whose share of a photon's charge exceeds the threshold counts one. Integrating: a photon gives
        a signal in proportion to its energy.
    material : str
        A key of `darklung.physics.materials.MATERIALS`.
    thickness_m : float
        Of the sensor.
    threshold_kev : float
        Of a counting detector; 0 counts every photon absorbed, once.
    pixel_m : float
        Pixel of the sensor itself (not referred to the object), for charge that is shared.
    cloud_m : float
        Standard deviation of the charge cloud where it is collected; 0 shares no charge.
    """

    kind: Literal["counting", "integrating"] = "counting"
    material: str = "cdte"
    thickness_m: Annotated[float, Gt(0)] = 1e-3
    threshold_kev: Annotated[float, Interval(ge=0, le=500)] = 0.0
    pixel_m: Annotated[float, Gt(0)] = 100e-6
    cloud_m: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_one_of("material", self.material, MATERIALS)
        check_range("cloud_m", self.cloud_m, 0, self.pixel_m / 2)
        sharing = self.cloud_m > 0 or self.threshold_kev > 0
        require(self.kind == "counting" or not sharing, "threshold_kev, cloud_m: belong to a counting detector")
        require(
            self.cloud_m == 0 or self.threshold_kev > 0,
            "threshold_kev: wanted > 0 where charge is shared, since every pixel would count its part",
        )


def responses(sensor: Sensor, energies_kev: ArrayLike, photons: ArrayLike) -> tuple[Array, Array]:
    """Signal per photon that reaches the detector, and the part of the counted photons that is counted twice.

    Counting: Q(E) P(E), Q = 1 − e^{−μt}, P the probability that at least one pixel counts. Integrating: Q(E) E/g with
    g = <E²>/<E> over the absorbed `photons`, so that the open beam's signal has the noise of as many Poisson counts.

    Not modelled: escape of fluorescence (above the K edges of CdTe at 26.7 and 31.8 keV), energy resolution, pile-up, dead
    time, depth of interaction; of an integrating detector the change of its noise behind the object, where the spectrum is
    harder.

    Parameters
    ----------
    sensor : Sensor
    energies_kev, photons : (bin,) arrays
        Spectrum that reaches the detector.

    Returns
    -------
    signal, twice : (bin,) arrays
    """
    energies, flux = np.asarray(energies_kev, dtype=np.float64), np.asarray(photons, dtype=np.float64)
    absorbed = absorbed_fraction(energies, thickness_m=sensor.thickness_m, material=sensor.material)
    if sensor.kind == "integrating":
        quanta = flux * absorbed
        unit = (quanta * energies**2).sum() / (quanta * energies).sum()
        return absorbed * energies / unit, np.zeros_like(energies)
    if sensor.cloud_m == 0:
        counted = (energies >= sensor.threshold_kev).astype(float)
        return absorbed * counted, np.zeros_like(energies)
    once, more = counts_per_photon(energies, sensor)
    return absorbed * (once + more), np.divide(more, once + more, out=np.zeros_like(more), where=once + more > 0)


def counts_per_photon(energies_kev: ArrayLike, sensor: Sensor) -> tuple[Array, Array]:
    """Probability that an absorbed photon is counted by one pixel, and by more than one, (bin,) each.

    A Gaussian charge cloud around the place of interaction, which is anywhere in a square pixel; the pixel and its eight
    neighbours each get the charge that falls onto them and count where it is at least threshold/E.
    """
    energies = np.atleast_1d(np.asarray(energies_kev, dtype=np.float64))
    place = (np.arange(_HITS) + 0.5) / _HITS
    edges = np.array([-1.0, 0.0, 1.0, 2.0])
    below = ndtr((edges[:, None] - place) * (sensor.pixel_m / sensor.cloud_m))
    part = np.diff(below, axis=0)  # share of the charge in the pixel to the left, itself, to the right; (3, place)
    share = (part[:, None, :, None] * part[None, :, None, :]).reshape(9, -1)
    counts = (energies[:, None, None] * share >= sensor.threshold_kev).sum(axis=1)
    return np.asarray((counts == 1).mean(axis=1)), np.asarray((counts > 1).mean(axis=1))
