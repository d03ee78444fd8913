"""Energy of a volume that lies in a run folder, by the records of what made it."""

from __future__ import annotations

import re
from pathlib import Path

from darklung.core.checks import DarklungError
from darklung.pipeline.artefacts import RECORD
from darklung.pipeline.record import read_record
from darklung.steps import correct
from darklung.study.sources import VolumesSource

BACK = 4  # tasks from a volume to what corrected it, at most
_TASK = re.compile(r"[\w-]+/(?!\.)[^/\\]+")


def with_recorded_energy(source: VolumesSource, path: Path) -> VolumesSource:
    """The source with the energy of `recorded_energy_kev` for this file, where it says none itself."""
    energy = None if source.energy else recorded_energy_kev(path)
    return source if energy is None else source.model_copy(update={"energy": energy})


def recorded_energy_kev(path: Path) -> float | None:
    """Energy that the values of a volume in a run folder refer to: that of the correction which its records lead to.

    None of volumes from elsewhere, of records that are not what was written, and of corrections by wedges, whose energy is
    in a file that a record may not make us read.
    """
    place = path.resolve().parent
    for _ in range(BACK):
        record = read_record(place / RECORD)
        if record is None:
            return None
        if place.parent.name == correct.STAGE:
            return _energy_kev(record.get("parameters"))
        names = [name for own in dict(record.get("inputs") or {}).values() for name in own]
        if len(names) != 1 or not _TASK.fullmatch(str(names[0])):
            return None
        place = place.parent.parent / names[0]
    return None


def _energy_kev(parameters: object) -> float | None:
    """Of a correction's parameters; None where they are of another version, or files belong to them."""
    try:
        known = correct.Parameters.model_validate(parameters)
        return None if known.files() else correct.energy_kev(known)
    except (ValueError, DarklungError):
        return None
