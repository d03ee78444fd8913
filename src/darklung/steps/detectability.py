"""What model observers see of lesions at one place of a protocol's sweep; the places are tasks of one run folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter as clock
from typing import Any

from darklung.core.checks import require
from darklung.core.random import stream
from darklung.evaluate.lesion_observers import LEAST_REALISATIONS, arms_of, contrast_to_noise, observe
from darklung.io.documents import Document
from darklung.io.tables import save_json
from darklung.physics.dose import mean_dose_gy
from darklung.pipeline import Context, Task
from darklung.pipeline.bar import time_left
from darklung.simulate.effects import Gratings
from darklung.simulate.lesion_task import check_task, lesion_task
from darklung.study.protocols import ProtocolFile, changed

STAGE, ROWS = "detectability", "rows.json"
FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # of the counts, where no sweep is asked for
Progress = Callable[[int, int], None]
Place = tuple[dict[str, float], ProtocolFile]


class Parameters(Document):
    """One place: a protocol, which lesions (diameters [m]), how many draws of the noise and their seed."""

    protocol: ProtocolFile
    classes: tuple[str, ...]
    diameters_m: tuple[float, ...]
    realisations: int
    seed: int


MEANINGS = {
    "dose_mgy": "mean dose of the views [mGy], +- 40 %",
    "time_s": "time of the scan [s]",
    "lesion": "class of the lesion, the middle of its ranges",
    "size_mm": "its diameter [mm]",
    "arm": "what is seen: attenuation, the mean dark field, both, or attenuation and each direction's dark field",
    "d_prime": "d' of the channelised Hotelling observer, photon noise alone, place and signal known exactly",
    "d_low": "lower end of its 95 % interval",
    "d_high": "upper end of its 95 % interval",
    "auc": "area under its ROC curve",
    "auc_low": "lower end of its 95 % interval",
    "auc_high": "upper end of its 95 % interval",
    "d_eye": "d' of the non-prewhitening observer with an eye filter",
    "cnr_attenuation": "contrast to noise of a voxel in attenuation, as darklung check has it",
    "cnr_dark_field": "the same in the mean dark field",
}


def planned_places(protocol: ProtocolFile, wanted: Mapping[str, Sequence[float]]) -> list[Place]:
    """The protocol at each combination of values of its keys; of none, at `FACTORS` of its counts.

    Raises
    ------
    DarklungError
        A value that the protocol cannot have.
    """
    keys = wanted or {"counts": [factor * protocol.scan.counts_per_pixel for factor in FACTORS]}
    places = []
    for values in itertools.product(*keys.values()):
        one = protocol
        for key, value in zip(keys, values):
            one = changed(one, key, value)
        places.append((dict(zip(keys, values)), one))
    return places


def check_places(places: Sequence[Place], classes: tuple[str, ...], diameters_m: tuple[float, ...], count: int) -> None:
    """Refuse before anything is computed what `see` would refuse."""
    require(count >= LEAST_REALISATIONS, f"realisations: wanted at least {LEAST_REALISATIONS}, got {count}")
    require(bool(classes and diameters_m), "wanted at least one class and one size, got none")
    for _, one in places:
        check_task(one.scan, one.pixel, classes, diameters_m)
        require(one.instrument.instrument().flat_visibility > 0, "visibility: wanted above 0: there is no dark field else")


def task(number: int, parameters: Parameters) -> Task:
    """One place of a sweep."""
    files = parameters.protocol.instrument.files()
    return Task(
        STAGE, f"place-{number:04d}", "darklung.steps.detectability:see", parameters.model_dump(mode="json"), files=files
    )


def see(context: Context) -> None:
    """Write the place's rows (columns: `MEANINGS`)."""
    p, started = Parameters.model_validate(context.parameters), clock()

    def told(done: int, total: int) -> None:
        context.progress(done / total, time_left(clock() - started, done, total))

    save_json(context.out / ROWS, _rows(p.protocol, p.classes, p.diameters_m, p.realisations, p.seed, told))


def _rows(
    one: ProtocolFile, classes: tuple[str, ...], diameters_m: tuple[float, ...], count: int, seed: int, told: Progress
) -> list[dict[str, Any]]:
    gratings, instrument = one.effects.gratings, one.instrument.instrument()
    task = lesion_task(
        instrument=instrument,
        protocol=one.scan,
        pixel_m=one.pixel,
        gratings=gratings if isinstance(gratings, Gratings) else None,
        classes=classes,
        diameters_m=diameters_m,
        realisations=count,
        generator=stream(seed, "detectability"),
        progress=told,
    )
    counts, behind = one.scan.counts_per_pixel, one.transmission_behind
    dose = mean_dose_gy(instrument, counts_per_pixel=counts, pixel_m=one.pixel, behind_sample=behind)
    cost = {"dose_mgy": 1e3 * dose, "time_s": one.scan.total_time_s}
    rows = []
    for (name, diameter), signal in task.signals.items():
        ratios = contrast_to_noise(signal, task.lung_noise, pixel_m=one.pixel, diameter_m=diameter)
        for arm in arms_of(len(one.scan.directions_rad)):
            found, eye = observe(signal, task.noise, arm=arm, pixel_m=one.pixel, diameter_m=diameter)
            row = {**cost, "lesion": name, "size_mm": 1e3 * diameter, "arm": arm}
            row |= dict(zip(("d_prime", "d_low", "d_high"), (found.value, found.low, found.high)))
            row |= dict(zip(("auc", "auc_low", "auc_high"), found.auc))
            rows.append({**row, "d_eye": eye, "cnr_attenuation": ratios[0], "cnr_dark_field": ratios[1]})
    return rows
