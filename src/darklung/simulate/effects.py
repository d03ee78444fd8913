"""What goes wrong in a real scan. Every effect can be switched by itself.

All but the gratings' maps and refraction within pixels are off by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from darklung.core.checks import check_fields, check_finite, check_shape, require


@dataclass(frozen=True)
class FlatMaps:
    """Relative flux and visibility (mean 1) and fringe phase [rad] of the open beam, one (row, col) map each direction.

    All arrays (direction, row, col).
    """

    flux: NDArray[np.float64]
    visibility: NDArray[np.float64]
    phase_rad: NDArray[np.float64]

    def __post_init__(self) -> None:
        check_shape("flux", self.flux, "direction, row, col", (None, None, None))
        for name in ("flux", "visibility", "phase_rad"):
            values = getattr(self, name)
            check_shape(name, values, "direction, row, col", self.flux.shape)
            check_finite(name, values)
            if name != "phase_rad":
                require(bool((values > 0).all()), f"{name}: wanted maps > 0")
                mean = float(values.mean())
                require(abs(mean - 1) < 1e-3, f"{name}: wanted maps relative to their mean, got a mean of {mean:g}")


@dataclass(frozen=True)
class Detector:
    """Flaws of the detector; 0 (or infinity for `saturation_counts`) switches one off.

    Parameters
    ----------
    blur_m : float
        Standard deviation of a Gaussian point spread, light or geometry: photons move before they are counted.
    charge_sharing : float
        Probability that a photon is counted a second time, in one of the four neighbours. Blurs and correlates noise.
    electronic_noise_counts : float
        Standard deviation of Gaussian read-out noise a frame.
    dark_counts : float
        Mean offset a frame; each pixel has its own, within ± 10 %. `Scan.dark_frame` holds the offsets.
    bad_pixels : float
        Fraction of pixels that are dead (0) or stuck at a constant; `Scan.bad_pixels` marks them.
    ring_gain : float
        Standard deviation of a pixel's gain between flats and views: gives rings that flats cannot remove.
    saturation_counts : float
        Frames do not exceed this.
    """

    blur_m: Annotated[float, Ge(0)] = 0.0
    charge_sharing: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    electronic_noise_counts: Annotated[float, Interval(ge=0, le=1e9)] = 0.0
    dark_counts: Annotated[float, Interval(ge=0, le=1e9)] = 0.0
    bad_pixels: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    ring_gain: Annotated[float, Interval(ge=0, le=0.1)] = 0.0
    saturation_counts: Annotated[float, Gt(0)] = np.inf

    def __post_init__(self) -> None:
        check_fields(self)
        require(
            self.dark_counts >= 8 * self.electronic_noise_counts,
            f"dark_counts: wanted at least 8 electronic_noise_counts = {8 * self.electronic_noise_counts:g} so that no "
            f"frame falls below 0, got {self.dark_counts:g}",
        )


@dataclass(frozen=True)
class Stability:
    """Flaws of gratings and source in time.

    Parameters
    ----------
    step_error_rad : float
        Standard deviation of each step's phase around the nominal one.
    dose_jitter : float
        Relative standard deviation of each frame's dose.
    phase_drift_rad : float
        Change of the reference phase over the scan.
    visibility_drift : float
        Relative change of the visibility over the scan; may be negative.
    flux_drift : float
        Relative change of the flux over the scan; may be negative.
    stripes : float
        Standard deviation of stripes of the beam, relative to the flux.
    stripe_width_m : float
        Of a stripe, about half a wavelength.
    stripe_drift_m : float
        How far the stripes move across themselves over the scan, and at random a third of that from view to view.
    stripe_angle_rad : float
        Of the stripes from the detector rows towards the columns.
    """

    step_error_rad: Annotated[float, Interval(ge=0, le=1)] = 0.0
    dose_jitter: Annotated[float, Interval(ge=0, le=0.15)] = 0.0
    phase_drift_rad: Annotated[float, Interval(ge=-100, le=100)] = 0.0
    visibility_drift: Annotated[float, Interval(ge=-0.7, le=0.7)] = 0.0
    flux_drift: Annotated[float, Interval(ge=-0.7, le=0.7)] = 0.0
    stripes: Annotated[float, Interval(ge=0, le=0.2)] = 0.0
    stripe_width_m: Annotated[float, Gt(0)] = 0.5e-3
    stripe_drift_m: Annotated[float, Interval(ge=-0.1, le=0.1)] = 0.0
    stripe_angle_rad: Annotated[float, Interval(ge=-np.pi, le=np.pi)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Gratings:
    """Open beam of real gratings, smooth over the field and fixed; the only flaws that are on by default.

    Parameters
    ----------
    uneven_flux : float
        Relative flux from the middle to the edge along z (heel effect).
    uneven_visibility : float
        Relative loss of visibility from the middle to the edge along the sensitivity (duty cycle, tilt).
    moire_fringes : float
        Fringes across the field along the sensitivity, slightly bent.
    """

    uneven_flux: Annotated[float, Interval(ge=0, le=0.3)] = 0.05
    uneven_visibility: Annotated[float, Interval(ge=0, le=0.5)] = 0.08
    moire_fringes: Annotated[float, Interval(ge=-1e3, le=1e3)] = 2.2

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Effects:
    """Everything that can be switched on in `simulate_scan`.

    Parameters
    ----------
    detector : Detector
    stability : Stability
    scatter_to_primary : float
        Mean scattered over mean primary intensity, both behind the object: over the pixels that lose more than 2 % of the
        beam, and of what passes, not of the open beam. Smooth, without fringes, not in the flats.
    depth_dependent_correlation : bool
        ξ = λ d/p2 with each voxel's own distance d to G2, instead of that of the rotation axis.
    breathing_m : float
        Largest displacement along z by breathing. Every step of every view sees another moment of the breath, which rests
        at the end of expiration (sin⁶, Lujan's law). The whole shadow moves.
    gate : float
        Part of the breath, around the end of expiration, in which frames are taken: 1 is an ungated scan. Waiting makes a
        gated scan 1/gate times longer, which has to be told to the protocol as dead time.
    unresolved_refraction : bool
        Visibility lost because the fringe phase changes within a phantom's voxel: at rims of rounded surfaces (ribs,
        vessels, the body's outline) and where the path bends (`darklung.simulate.refraction`). Without it only refraction
        that the voxels resolve counts (see `Protocol.supersampling`).
    gratings : Gratings or FlatMaps
        Open beam; measured maps may be given as `FlatMaps`.
    """

    detector: Detector = field(default_factory=Detector)
    stability: Stability = field(default_factory=Stability)
    scatter_to_primary: Annotated[float, Interval(ge=0, le=5)] = 0.0
    depth_dependent_correlation: bool = False
    breathing_m: Annotated[float, Interval(ge=0, le=5e-3)] = 0.0
    gate: Annotated[float, Interval(ge=1e-3, le=1)] = 1.0
    unresolved_refraction: bool = True
    gratings: Gratings | FlatMaps = field(default_factory=Gratings)

    def __post_init__(self) -> None:
        check_fields(self)
