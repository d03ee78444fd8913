"""Ready set-ups: instrument and protocol together, with what is published and what we assume side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from darklung.core.checks import check_one_of, check_positive, require
from darklung.physics.instrument import Instrument, make_instrument
from darklung.physics.spectrum import tube
from darklung.simulate.plan import ScanPlan, plan_scan
from darklung.simulate.protocol import Protocol


@dataclass(frozen=True)
class Setup:
    """One instrument with one protocol; plain numbers, so that it can be written to and read from a file.

    Parameters
    ----------
    title : str
    protocol : Protocol
    spectrum : {"band", "tube"}
    low_kev, high_kev : float
        A tube's voltage is `high_kev`.
    bins : int
    filters_m : tuple of (material, thickness)
        Of a tube.
    design_energy_kev, flat_visibility, correlation_length_m, reference_energy_kev, period_m, sensor_m
        As in `darklung.physics.instrument.make_instrument`.
    pixel_m : float
        Detector pixel, referred to the object.
    published, assumed : tuple of str
        Where the numbers come from.
    """

    title: str
    protocol: Protocol
    spectrum: str = "band"
    low_kev: float = 60.0
    high_kev: float = 80.0
    bins: int = 5
    filters_m: tuple[tuple[str, float], ...] = (("al", 2e-3),)
    design_energy_kev: float = 70.0
    flat_visibility: float = 0.15
    correlation_length_m: float = 3e-6
    reference_energy_kev: float = 70.0
    period_m: float = 4.2e-6
    sensor_m: float = 1e-3
    pixel_m: float = 120e-6
    published: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_one_of("spectrum", self.spectrum, ("band", "tube"))
        check_positive("pixel_m", self.pixel_m)

    def instrument(self) -> Instrument:
        """The instrument of this set-up."""
        source = (
            tube(kvp=self.high_kev, low_kev=self.low_kev, bins=self.bins, filters_m=dict(self.filters_m))
            if self.spectrum == "tube"
            else "band"
        )
        return make_instrument(
            spectrum=source,
            low_kev=self.low_kev,
            high_kev=self.high_kev,
            bins=self.bins,
            design_energy_kev=self.design_energy_kev,
            flat_visibility=self.flat_visibility,
            correlation_length_m=self.correlation_length_m,
            reference_energy_kev=self.reference_energy_kev,
            period_m=self.period_m,
            sensor_m=self.sensor_m,
        )

    def plan(self) -> ScanPlan:
        """What to expect of it on a mouse."""
        return plan_scan(instrument=self.instrument(), protocol=self.protocol, pixel_m=self.pixel_m)


def sweep(setup: Setup, *, key: str, values: Sequence[float]) -> tuple[tuple[float, ScanPlan], ...]:
    """Plan a set-up once for each value of one of its numbers, or of its protocol's.

    Parameters
    ----------
    setup : Setup
    key : str
        A numeric field of `Setup` (such as ``flat_visibility``) or of `Protocol` (such as ``counts_per_pixel``, ``views``).
    values : sequence of float

    Returns
    -------
    tuple of (value, ScanPlan)
    """
    require(len(values) > 0, "values: wanted at least one, got none")
    own = _numeric(setup)
    known = own | _numeric(setup.protocol)
    check_one_of("sweep key", key, known)
    plans = []
    for value in values:
        number = int(value) if isinstance(known[key], int) else float(value)
        require(number == value, f"{key}: wanted a whole number, got {value!r}")
        if key in own:
            changed = replace(setup, **{key: number})  # type: ignore[arg-type]
        else:
            changed = replace(setup, protocol=replace(setup.protocol, **{key: number}))  # type: ignore[arg-type]
        plans.append((float(value), changed.plan()))
    return tuple(plans)


def _numeric(part: Setup | Protocol) -> dict[str, float | int]:
    values = {item.name: getattr(part, item.name) for item in fields(part)}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


_MISSION = Setup(
    title="Directional dark-field CT of a mouse, 60–80 keV, 120 µm, within 25 min",
    protocol=Protocol(views=360, flats=8, flat_repeats=6, counts_per_pixel=1.5e7, exposure_s=0.34, dead_time_s=0.02),
    assumed=(
        "flat band of 60–80 keV, five bins",
        "V0 = 0.15 (0.10 to 0.20 is realistic, 0.30 optimistic), ξ = 3 µm at 70 keV",
        "p2 = 4.2 µm, 71 cm from sample to G2, 1 mm CdTe",
        "0.34 s a frame and 0.02 s dead time; half of the photons pass what stands behind the animal",
    ),
)

_LOBE_GRATINGS = ("design energy 45 keV, gratings of 5.4 µm, 26 cm between them (ξ = 1.33 µm at 45 keV)",)

SETUPS: Mapping[str, Setup] = MappingProxyType(
    {
        "mission_ct": _MISSION,
        "tube_ct": replace(
            _MISSION,
            title="The same with a tube of 90 kV",
            spectrum="tube",
            low_kev=30.0,
            high_kev=90.0,
            bins=12,
            filters_m=(("al", 2e-3), ("cu", 0.2e-3)),
            design_energy_kev=60.0,
            reference_energy_kev=60.0,
            assumed=(
                "90 kV, 2 mm Al and 0.2 mm Cu",
                "design energy 60 keV, V0 = 0.15, ξ = 3 µm at 60 keV",
                *_MISSION.assumed[3:],
            ),
        ),
        "dey_2025_radiograph": Setup(
            title="Paired radiographs of euthanized mice (Dey, Meyer & Taqi 2025, arXiv 2510.27679)",
            protocol=Protocol(views=1, directions_rad=(0.0,), flats=1, flat_repeats=10, counts_per_pixel=1e5),
            spectrum="tube",
            low_kev=20.0,
            high_kev=60.0,
            bins=10,
            design_energy_kev=40.0,
            flat_visibility=0.2,
            correlation_length_m=1.5e-6,
            reference_energy_kev=40.0,
            pixel_m=100e-6,
            published=(
                "Talbot–Lau radiographs, attenuation and dark field",
                "inserted tumours of 0.75–1.5 mm, irregular borders",
            ),
            assumed=(
                "60 kV, 2 mm Al, design energy 40 keV, V0 = 0.2, ξ = 1.5 µm, 100 µm pixels, 1e5 counts: not in the abstract",
                "five steps, one direction",
            ),
        ),
        "mouse_lobes": Setup(
            title="Radiographs of excised, dried mouse lung lobes",
            protocol=Protocol(views=1, steps=31, directions_rad=(0.0,), flats=1, flat_repeats=1, counts_per_pixel=1e5),
            spectrum="tube",
            low_kev=15.0,
            high_kev=100.0,
            bins=24,
            filters_m=(("al", 2e-3), ("si", 1e-3)),
            design_energy_kev=45.0,
            flat_visibility=0.13,
            correlation_length_m=1.327e-6,
            reference_energy_kev=45.0,
            period_m=5.4e-6,
            pixel_m=75e-6,
            published=("100 kVp", *_LOBE_GRATINGS, "CdTe, 75 µm pixels, 31 steps, V0 = 0.12–0.14"),
            assumed=("filtered by 2 mm Al and 1 mm Si of gratings", "1 mm sensor", "1e5 counts a pixel"),
        ),
        "microspheres": Setup(
            title="Powders of silica microspheres in a 12 mm cell",
            protocol=Protocol(views=1, steps=19, directions_rad=(0.0,), flats=1, flat_repeats=10, counts_per_pixel=1.4e5),
            spectrum="tube",
            low_kev=20.0,
            high_kev=160.0,
            bins=28,
            design_energy_kev=100.0,
            flat_visibility=0.077,
            correlation_length_m=7.0e-7,
            reference_energy_kev=100.0,
            period_m=2.8e-6,
            sensor_m=0.75e-3,
            published=("160 kVp, design energy 100 keV, gratings of 2.8 µm", "19 steps", "V0 about 0.077 (from the data)"),
            assumed=("2 mm Al", "15.8 cm from sample to G2", "0.75 mm sensor", "pixel not used"),
        ),
    }
)
"""Set-ups by name."""
