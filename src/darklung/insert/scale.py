"""What turns a lesion's tissue into attenuation and dark field: energy and ξ that are known, or the lung itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from darklung.core.checks import require
from darklung.insert.bank import Host, interface_of
from darklung.phantom.families import MM
from darklung.physics.constants import wavenumber_per_m
from darklung.physics.instrument import Instrument
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import delta, linear_attenuation

# Where nothing tells energy and ξ: the ratio of scattering in a lesion to that in lung hardly depends on them.
ASSUMED_KEV, ASSUMED_XI_M = 70.0, 3e-6
DENSER, SAME_TISSUE = 1.3, 0.15  # than lung, of what is no lung; and how far tissue spreads about its most frequent value
TISSUE_SHELL_M = (0.4 * MM, 2.0 * MM)  # where soft tissue around the lungs is looked for


@dataclass(frozen=True)
class Scale:
    """What is known of the scan.

    Parameters
    ----------
    told : str
        Where it is from.
    energy_kev : float, optional
        That attenuation and dark field refer to; None where it is not known.
    correlation_length_m : float
        At that energy; assumed where it is not known.
    instrument : Instrument, optional
        With its spectrum; measured values are then taken to be corrected to its reference energy.
    """

    told: str
    energy_kev: float | None
    correlation_length_m: float
    instrument: Instrument | None = None

    @property
    def tissue_per_m(self) -> float | None:
        """Attenuation of unaerated tissue [1/m]."""
        if self.energy_kev is None:
            return None
        return float(linear_attenuation("soft_tissue", HEALTHY.tissue_density, self.energy_kev))

    @property
    def phase_per_tissue(self) -> float:
        """Fringe phase per gradient of ∫φ dl, kξδ; 0 where the energy is not known: the phase then stays as it is."""
        if self.energy_kev is None:
            return 0.0
        contrast = float(delta("soft_tissue", HEALTHY.tissue_density, self.energy_kev))
        return float(wavenumber_per_m(self.energy_kev)) * self.correlation_length_m * contrast

    def host_of(self, attenuation: NDArray, scattering: Sequence[NDArray], *, tissue_per_m: float) -> Host:
        """`host` of the medians of a lung's values [1/m]; there may be no scattering."""
        lung = [float(np.nanmedian(values)) for values in (attenuation, *scattering)]
        mean = float(np.mean(lung[1:])) if scattering else None
        return self.host(tissue_per_m=tissue_per_m, lung_per_m=lung[0], scattering_per_m=mean)

    def host(self, *, tissue_per_m: float, lung_per_m: float, scattering_per_m: float | None) -> Host:
        """The animal: with a known energy its S_V follows from its own ε, if it has one; else it is healthy lung's."""
        energy = self.energy_kev or ASSUMED_KEV
        contrast = float(delta("soft_tissue", HEALTHY.tissue_density, energy))
        known = Host(tissue_per_m, HEALTHY.interface_density_per_m, contrast, energy, self.correlation_length_m)
        if self.energy_kev is None or scattering_per_m is None:
            return known
        return interface_of(scattering_per_m, lung_per_m / tissue_per_m, known)


def own_tissue_per_m(attenuation: NDArray, region: NDArray[np.bool_], voxel_m: float) -> float:
    """Attenuation of the soft tissue around the lungs: the most frequent value of what is denser than lung beside them.

    Ribs are denser still and fewer. Tissue of a living mouse attenuates less than twice as much as its lung, so no multiple
    of the lung's level tells them apart.

    Raises
    ------
    DarklungError
        No such tissue (an excised lung, a cropped volume).
    """
    away = ndimage.distance_transform_edt(~region) * voxel_m
    lung = float(np.nanmedian(attenuation[region]))
    shell = (away > TISSUE_SHELL_M[0]) & (away < TISSUE_SHELL_M[1]) & (np.nan_to_num(attenuation) > DENSER * lung)
    require(int(shell.sum()) >= 100, "--scale own: no soft tissue around the lungs to measure; name an instrument")
    values = attenuation[shell]
    counts, edges = np.histogram(values, bins=64, range=(float(values.min()), float(np.percentile(values, 99))))
    most = float(edges[int(np.argmax(ndimage.uniform_filter1d(counts.astype(np.float64), 3)))] + (edges[1] - edges[0]) / 2)
    return float(np.median(values[np.abs(values - most) < SAME_TISSUE * most]))
