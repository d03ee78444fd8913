"""Protocol files: one instrument with one scan, and what of it is published and what assumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import darklung
from darklung.core.checks import DarklungError, check_one_of, require
from darklung.io.documents import Document, Length, Voltage, read_document, read_yaml, validate
from darklung.io.sections import Section
from darklung.simulate.effects import Gratings
from darklung.simulate.plan import ScanPlan, plan_scan
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart
from darklung.study.study import read_study


class SourcePart(Document):
    """The X-ray tube, for the question whether it is bright enough."""

    distance: Length = Field(
        1.0, gt=0, description="from the source to the animal; that of a divergent beam is scan.source_axis"
    )
    voltage: Voltage = Field(120.0, gt=0, description="of the tube that makes a band; a tube's own is instrument.high")
    transmission: Annotated[float, Field(gt=0, le=1)] = Field(
        0.4, description="of what stands between source and animal: source grating, phase grating"
    )


class Origin(Document):
    """Where a quantity comes from."""

    published: str = Field("", description="what is published of it")
    assumed: str = Field("", description="what is assumed")


class ProtocolFile(Document):
    """A scanner and a scan, to be planned or simulated."""

    kind: Literal["protocol"]
    title: str
    pixel: Length = Field(1.2e-4, gt=0, description="detector pixel, referred to the animal")
    instrument: InstrumentPart = InstrumentPart()
    scan: ScanPart = ScanPart()
    effects: EffectsPart = EffectsPart()
    source: SourcePart = SourcePart()
    transmission_behind: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="of what stands between animal and detector: analyser grating and substrates"
    )
    origin: dict[str, Origin] = Field({}, description="quantity -> what is published of it, what is assumed")

    def plan(self) -> ScanPlan:
        """What to expect of it on a mouse."""
        gratings = self.effects.gratings
        return plan_scan(
            instrument=self.instrument.instrument(),
            protocol=self.scan,
            pixel_m=self.pixel,
            behind_sample=self.transmission_behind,
            gratings=gratings if isinstance(gratings, Gratings) else None,
        )


def examples_folder() -> Path:
    """Where the examples are: in the installed package, or those of a checkout."""
    package = Path(darklung.__file__).parent
    installed = package / "examples"
    return installed if installed.is_dir() else package.parents[1] / "examples"


def ready_protocols() -> dict[str, Path]:
    """Name -> file of the ready protocols."""
    return {path.stem: path for path in sorted((examples_folder() / "protocols").glob("*.yaml"))}


def protocol_path(target: str | Path) -> Path:
    """The file itself, or that of a ready protocol."""
    path = Path(target)
    if path.suffix in (".yaml", ".yml"):
        return path
    return ready_protocols()[check_one_of("protocol", str(target), ready_protocols())]


def read_protocol(target: str | Path) -> ProtocolFile:
    """Read a protocol file, the scan of a study's simulated source, or a ready protocol by its name.

    Raises
    ------
    DarklungError
        Neither a file nor a known name, or a file that makes no sense (each mistake with its path).
    """
    path = protocol_path(target)
    content = read_yaml(path)
    if isinstance(content, dict) and content.get("kind") == "protocol":
        found: ProtocolFile = read_document(path, ProtocolFile)
        return found.model_copy(update={"instrument": found.instrument.located(path.parent)})
    study = read_study(path)
    simulated = study.simulated()
    if len(simulated) != 1:
        raise DarklungError(f"{path}: wanted a protocol, or a study with one simulated source, got {len(simulated)}")
    (source,) = simulated.values()
    return ProtocolFile(
        kind="protocol",
        title=f"Study {study.name}",
        pixel=f"{source.body.voxel * source.scan.supersampling!r} m",
        instrument=source.instrument,
        scan=source.scan,
        effects=source.effects,
    )


def numeric_keys(protocol: ProtocolFile) -> dict[str, str]:
    """Keys of one number each, and the part they belong to ("" for the protocol itself)."""
    parts: dict[str, Document] = {
        "": protocol,
        "instrument": protocol.instrument.document(),
        "scan": protocol.scan.document(),
        "source": protocol.source,
    }
    found: dict[str, str] = {}
    for name, part in parts.items():
        for key, value in part:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(key, name)
    return found


def has_unit(protocol: ProtocolFile, key: str) -> bool:
    """Whether a numeric key is written with a unit."""
    return isinstance(_written(protocol, key), str)


def is_whole(protocol: ProtocolFile, key: str) -> bool:
    """Whether a numeric key takes whole numbers alone."""
    return isinstance(_written(protocol, key), int)


def _written(protocol: ProtocolFile, key: str) -> Any:
    return _place(protocol.model_dump(mode="json"), protocol, key, "sweep")[key]


def changed(protocol: ProtocolFile, key: str, value: float | str, *, said: str = "sweep") -> ProtocolFile:
    """The protocol with one number changed: as text with its unit, or as a plain number in the file's inner units."""
    plain = protocol.model_dump(mode="json")
    place = _place(plain, protocol, key, said)
    if not isinstance(value, str):
        unit = place[key].split(maxsplit=1)[1] if isinstance(place[key], str) else ""
        require(unit != "" or not isinstance(place[key], int) or value == int(value), f"{key}: wanted a whole number")
        number = int(value) if isinstance(place[key], int) else float(value)
        value = f"{number!r} {unit}" if unit else number
    place[key] = value
    found: ProtocolFile = validate(plain, ProtocolFile, said)
    return found


def one_view(protocol: ProtocolFile) -> ProtocolFile:
    """A radiograph with the protocol's scanner: one view, with all steps and directions, at a view's dose."""
    counts = protocol.scan.counts_per_pixel / protocol.scan.views
    return changed(changed(protocol, "views", 1, said="radiograph"), "counts", counts, said="radiograph")


def _place(plain: dict[str, Any], protocol: ProtocolFile, key: str, said: str) -> dict[str, Any]:
    """The part of a protocol written out that holds a numeric key."""
    known = numeric_keys(protocol)
    part = known[check_one_of(f"{said} key", key, known)]
    found: dict[str, Any] = plain[part] if part else plain
    return found


def unit_of(protocol: ProtocolFile, key: str) -> str:
    """The inner unit of a numeric key, empty of a plain number."""
    held = _place(protocol.model_dump(mode="json"), protocol, key, "sweep")[key]
    return held.split(maxsplit=1)[1] if isinstance(held, str) else ""


def number_of(protocol: ProtocolFile, key: str) -> float:
    """The value of a numeric key, in inner units."""
    name = numeric_keys(protocol)[key]
    part = getattr(protocol, name) if name else protocol
    return float(getattr(part.document() if isinstance(part, Section) else part, key))


@dataclass(frozen=True)
class Swept:
    """One place of a sweep: the values of its keys, and the plan, or why there is none."""

    values: tuple[float, ...]
    plan: ScanPlan | None
    problem: str = ""


def sweep(
    protocol: ProtocolFile, keys: Mapping[str, Sequence[float]], *, progress: Callable[[int, int], None] | None = None
) -> tuple[Swept, ...]:
    """Plan a protocol once for each combination of values of its numbers; the last key changes fastest.

    A value that the protocol cannot have (a visibility of 0) ends nothing: its place says so.
    """
    require(bool(keys) and all(keys.values()), "values: wanted at least one of each key, got none")
    every = list(itertools.product(*keys.values()))
    found = []
    for number, values in enumerate(every, start=1):
        try:
            one = protocol
            for key, value in zip(keys, values):
                one = changed(one, key, value)
            found.append(Swept(values, one.plan()))
        except DarklungError as error:
            found.append(Swept(values, None, str(error).splitlines()[0]))
        if progress is not None:
            progress(number, len(every))
    return tuple(found)
