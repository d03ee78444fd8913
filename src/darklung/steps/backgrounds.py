"""Lungs of simulated mice as backgrounds of a lesion task: one task a mouse and scan."""

from __future__ import annotations

from typing import Any

from darklung.io.documents import Document
from darklung.io.images import save_image
from darklung.phantom.families import FAMILIES
from darklung.phantom.subject import make_phantom
from darklung.pipeline import Context, Task
from darklung.simulate.clutter import lung_radiograph, lung_slices
from darklung.simulate.effects import Gratings
from darklung.study.protocols import ProtocolFile, changed

STAGE, SLICES = "backgrounds", "slices.ome.zarr"
MICE = 12  # in turn of each family
COUNT = 12  # slices of a mouse in a CT
_FIRST_SEED = 7001  # of the mice: not those of a study
_COUNTS = 1e7


class Parameters(Document):
    """One mouse in one scan."""

    protocol: ProtocolFile
    mouse: int
    family: str
    slices: int


def without_counts(protocol: ProtocolFile) -> ProtocolFile:
    """The protocol with counts that do not matter to slices without noise, so that doses share them."""
    return changed(protocol, "counts", _COUNTS)


def tasks(scan: int, protocol: ProtocolFile) -> list[Task]:
    """The mice in one scan, which `without_counts` gave."""
    families = sorted(FAMILIES)
    found = []
    for mouse in range(MICE):
        own = Parameters(protocol=protocol, mouse=mouse, family=families[mouse % len(families)], slices=COUNT)
        item, files = f"scan-{scan:04d}-mouse-{mouse:02d}", protocol.instrument.files()
        found.append(Task(STAGE, item, "darklung.steps.backgrounds:slices", own.model_dump(mode="json"), files=files))
    return found


def slices(context: Context) -> None:
    """Make a mouse and write its slices, or its radiograph where the scan has one view."""
    p = Parameters.model_validate(context.parameters)
    gratings = p.protocol.effects.gratings
    mouse = make_phantom(seed=_FIRST_SEED + p.mouse, voxel_m=p.protocol.pixel, variant=p.family)
    context.progress(0.5, "scan")
    scan: dict[str, Any] = {
        "instrument": p.protocol.instrument.instrument(),
        "protocol": p.protocol.scan,
        "gratings": gratings if isinstance(gratings, Gratings) else None,
    }
    radiograph = p.protocol.scan.views == 1
    found = lung_radiograph(mouse, **scan) if radiograph else lung_slices(mouse, count=p.slices, **scan)
    save_image(context.out / SLICES, found)
