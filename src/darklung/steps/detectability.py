"""What model observers see of lesions at one place of a protocol's sweep; the places are tasks of one run folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import DarklungError, require
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.evaluate.lesion_observers import (
    LEAST_REALISATIONS,
    arms_of,
    contrast_to_noise,
    least_clutter,
    observe,
    observe_in_clutter,
    observe_lines,
)
from darklung.io.documents import Document
from darklung.io.images import load_image
from darklung.io.tables import save_json
from darklung.physics.dose import mean_dose_gy
from darklung.pipeline import Context, Task
from darklung.pipeline.bar import TimeLeft
from darklung.simulate.clutter import background_patches
from darklung.simulate.effects import Gratings
from darklung.simulate.lesion_task import LesionTask, check_task, lesion_task
from darklung.steps import backgrounds
from darklung.steps.backgrounds import without_counts
from darklung.study.protocols import ProtocolFile, changed

STAGE, ROWS = "detectability", "rows.json"
FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # of the counts, where no sweep is asked for
Progress = Callable[[int, int], None]
Place = tuple[dict[str, float], ProtocolFile]
Drawn = tuple[NDArray[Any], NDArray[np.int64]]  # backgrounds, and the mouse of each


class Parameters(Document):
    """One place: a protocol, which lesions (diameters [m]), how many draws of the noise and backgrounds, and their seed."""

    protocol: ProtocolFile
    classes: tuple[str, ...]
    diameters_m: tuple[float, ...]
    realisations: int
    seed: int
    clutter: int = 0
    mimics: tuple[str, ...] = ()


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
    "d_ideal": "d' of the ideal linear observer of the line integrals that the image is made of: no observer does better",
    "cnr_attenuation": "contrast to noise of a voxel or pixel in attenuation, as darklung check has it",
    "cnr_dark_field": "the same in the mean dark field",
}

CLUTTER = {
    "d_clutter": "d' where the lung about the lesion is one of many, noise and anatomy; without bias of few; or empty",
    "clutter_low": "lower end of its 95 % interval, jackknife over mice",
    "clutter_high": "upper end of its 95 % interval",
    "clutter_two_fold": "d' of the observer that half of the mice trained, on the other half: too low",
    "auc_clutter": "area under the ROC curve of d_clutter, were outputs normal",
    "backgrounds": "places in lungs of simulated mice",
}
AGAINST = {
    "d_mimics": "d' in clutter where images without the lesion hold one of the mimics that were asked for; or empty",
    "mimics_low": "lower end of its 95 % interval, jackknife over mice",
    "mimics_high": "upper end of its 95 % interval",
    "auc_mimics": "area under the ROC curve of d_mimics, were outputs normal",
}
FINEST_M = 8e-5  # a whole mouse of finer voxels does not fit into a laptop


def planned_places(protocol: ProtocolFile, wanted: Mapping[str, Sequence[float]]) -> list[Place]:
    """The protocol at each combination of values of its keys; of none, at `FACTORS` of its counts.

    Raises
    ------
    DarklungError
        A value that the protocol cannot have.
    """
    keys = wanted or {"counts": [factor * protocol.scan.counts_per_pixel for factor in FACTORS]}
    return [_place(protocol, dict(zip(keys, values))) for values in itertools.product(*keys.values())]


def _place(protocol: ProtocolFile, values: dict[str, float]) -> Place:
    for key, value in values.items():
        protocol = changed(protocol, key, value)
    return values, protocol


def searched_places(protocol: ProtocolFile, wanted: Mapping[str, Sequence[float]]) -> list[Place]:
    """As `planned_places`, at counts that make the protocol's own dose, without what takes longer than it or cannot be.

    Raises
    ------
    DarklungError
        Nothing or counts are to be changed, or no place is left.
    """
    require(bool(wanted) and "counts" not in wanted, "search: wanted a sweep of other keys than counts, which keep the dose")
    dose, time, found = _dose_gy(protocol), protocol.scan.total_time_s, []
    for combined in itertools.product(*wanted.values()):
        try:
            values, one = _place(protocol, dict(zip(wanted, combined)))
            one = changed(one, "counts", one.scan.counts_per_pixel * dose / _dose_gy(one))
        except DarklungError:
            continue
        if one.scan.total_time_s <= time * (1 + 1e-9):
            found.append((values, one))
    require(bool(found), f"search: every place takes longer than the protocol's {time:.0f} s, or cannot be")
    return found


def _dose_gy(one: ProtocolFile) -> float:
    return mean_dose_gy(
        one.instrument.instrument(),
        counts_per_pixel=one.scan.counts_per_pixel,
        pixel_m=one.pixel,
        behind_sample=one.transmission_behind,
    )


def check_places(
    places: Sequence[Place],
    classes: tuple[str, ...],
    diameters_m: tuple[float, ...],
    count: int,
    clutter: int = 0,
    mimics: tuple[str, ...] = (),
) -> None:
    """Refuse before anything is computed what `see` would refuse."""
    require(count >= LEAST_REALISATIONS, f"realisations: wanted at least {LEAST_REALISATIONS}, got {count}")
    require(bool(classes and diameters_m), "wanted at least one class and one size, got none")
    require(
        clutter > 0 or not mimics, "mimic: wanted --clutter too, since mimics are told from lesions in the lungs of mice"
    )
    for _, one in places:
        check_task(one.pixel, classes, diameters_m, mimics)
        require(one.instrument.instrument().flat_visibility > 0, "visibility: wanted above 0: there is no dark field else")
        if clutter:
            least = least_clutter(len(one.scan.directions_rad))
            require(least <= clutter <= count, f"clutter: wanted {least} to {count} (realisations), got {clutter}")
            require(
                one.pixel >= FINEST_M,
                f"clutter: wanted pixels of at least {1e6 * FINEST_M:g} um, got {1e6 * one.pixel:g} um",
            )


def tasks(parameters: Sequence[Parameters]) -> list[Task]:
    """Places of a sweep, and before them the backgrounds that they share."""
    scans: dict[str, list[Task]] = {}
    found = []
    for number, one in enumerate(parameters):
        inputs: dict[str, tuple[str, ...]] = {}
        if one.clutter:
            scan = without_counts(one.protocol)
            mice = scans.setdefault(scan.model_dump_json(), backgrounds.tasks(len(scans), scan))
            inputs["backgrounds"] = tuple(mouse.name for mouse in mice)
        words, files = one.model_dump(mode="json"), one.protocol.instrument.files()
        found.append(
            Task(STAGE, f"place-{number:04d}", "darklung.steps.detectability:see", words, inputs=inputs, files=files)
        )
    return [*(mouse for mice in scans.values() for mouse in mice), *found]


def see(context: Context) -> None:
    """Write the place's rows (columns: `MEANINGS`)."""
    p, left = Parameters.model_validate(context.parameters), TimeLeft()

    def told(done: int, total: int) -> None:
        context.progress(done / total, left(done, total))

    mice = [load_image(folder / backgrounds.SLICES) for folder in context.inputs.get("backgrounds", ())]
    save_json(context.out / ROWS, _rows(p, mice, told))


def _rows(p: Parameters, mice: Sequence[Image], told: Progress) -> list[dict[str, Any]]:
    one = p.protocol
    gratings, instrument = one.effects.gratings, one.instrument.instrument()
    task = lesion_task(
        instrument=instrument,
        protocol=one.scan,
        pixel_m=one.pixel,
        gratings=gratings if isinstance(gratings, Gratings) else None,
        classes=p.classes,
        diameters_m=p.diameters_m,
        realisations=p.realisations,
        mimics=p.mimics,
        generator=stream(p.seed, "detectability"),
        progress=told,
    )
    cost = {"dose_mgy": 1e3 * _dose_gy(one), "time_s": one.scan.total_time_s}
    drawn = {diameter: _patches(mice, diameter, p) for diameter in p.diameters_m if mice}
    rows = []
    for (name, diameter), signal in task.signals.items():
        ratios = contrast_to_noise(signal, task.lung_noise, pixel_m=one.pixel, diameter_m=diameter, core=task.core)
        lines = (task.lines.changes[name, diameter], task.lines.variance, task.lines.flat_variance)
        for arm in arms_of(len(one.scan.directions_rad)):
            found, eye = observe(signal, task.noise, arm=arm, pixel_m=one.pixel, diameter_m=diameter)
            row = {**cost, "lesion": name, "size_mm": 1e3 * diameter, "arm": arm}
            row |= dict(zip(("d_prime", "d_low", "d_high"), (found.value, found.low, found.high)))
            row |= dict(zip(("auc", "auc_low", "auc_high"), found.auc))
            row |= {
                "d_eye": eye,
                "d_ideal": observe_lines(*lines, arm=arm),
                "cnr_attenuation": ratios[0],
                "cnr_dark_field": ratios[1],
            }
            if mice:
                row |= _cluttered(signal, task, drawn[diameter], arm, diameter, p.seed)
            rows.append(row)
    return rows


def _patches(mice: Sequence[Image], diameter_m: float, p: Parameters) -> Drawn:
    """Backgrounds of a size, as many of each mouse, and their mice."""
    each = p.clutter // len(mice)
    parts = [
        background_patches(mouse, diameter_m=diameter_m, wanted=each, generator=stream(p.seed, "places", k, str(diameter_m)))
        for k, mouse in enumerate(mice)
    ]
    return np.concatenate(parts), np.repeat(np.arange(len(mice)), [len(part) for part in parts])


def _cluttered(
    signal: NDArray[Any],
    task: LesionTask,
    drawn: tuple[NDArray[Any], NDArray[np.int64]],
    arm: str,
    diameter_m: float,
    seed: int,
) -> dict[str, Any]:
    """Columns `CLUTTER`, empty where lungs have too few places for a lesion so large."""
    patches, animals = drawn
    row: dict[str, Any] = {**dict.fromkeys(CLUTTER), "backgrounds": len(patches)}
    mimics = task.mimics[diameter_m]
    row |= dict.fromkeys(AGAINST) if len(mimics) else {}
    place: dict[str, Any] = {"arm": arm, "pixel_m": task.pixel_m, "diameter_m": diameter_m}
    images = (signal, task.noise[: len(patches)], patches, animals)
    try:
        found = observe_in_clutter(*images, generator=stream(seed, "splits"), **place)
    except DarklungError:
        return row
    d = found.found
    row |= {"d_clutter": d.value, "clutter_low": d.low, "clutter_high": d.high, "clutter_two_fold": found.two_fold}
    row |= {"auc_clutter": d.auc[0]}
    if len(mimics):
        m = observe_in_clutter(*images, generator=stream(seed, "mimics"), mimics=mimics, **place).found
        row |= {"d_mimics": m.value, "mimics_low": m.low, "mimics_high": m.high, "auc_mimics": m.auc[0]}
    return row
