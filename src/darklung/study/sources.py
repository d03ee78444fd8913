"""Where data come from: simulated animals, raw frames, projections, volumes, labelled cases, measured lobes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from darklung.core.checks import DarklungError, require
from darklung.io.description import resolve_path
from darklung.io.documents import Angle, Document, Energy, validate
from darklung.io.patterns import matching
from darklung.io.volumes import VolumeOptions
from darklung.study.calibrations import CalibrationsPart, ReferencePart
from darklung.study.cohort import BodyPart, CohortPart
from darklung.study.processing import located
from darklung.study.scanner import EffectsPart, InstrumentPart, ScanPart

SITE_PARTS = ("instrument", "scan", "effects")
# The networks take the same channels on the same grid from every site.
SAME_AT_ALL_SITES = ("directions", "supersampling")
Use = Literal["train", "test", "predict"]


class SitePart(Document):
    """A scanner: what it changes of the source's instrument, scan and effects. Values are written as in those parts."""

    subjects: tuple[str, ...] = Field((), description="animals scanned here whatever their turn, such as test-0001")
    instrument: dict[str, Any] = Field({}, description="changes to instrument")
    scan: dict[str, Any] = Field({}, description="changes to scan, the grating directions and supersampling excepted")
    effects: dict[str, Any] = Field({}, description="changes to effects")
    calibrations: CalibrationsPart = CalibrationsPart()


class RadiographsPart(Document):
    """Radiographs of each animal, in the geometry of its scan."""

    angles: tuple[Annotated[Angle, Field(ge=-6.3, le=6.3)], ...] = Field(
        (0.0,), min_length=1, max_length=16, description="one radiograph each; 0 deg is the first view of a scan"
    )
    counts: float = Field(1e5, gt=0, description="open beam, per detector pixel, in all steps and directions of one view")

    @model_validator(mode="after")
    def _check(self) -> RadiographsPart:
        if len(set(self.angles)) < len(self.angles):
            raise ValueError("angles: wanted each once")
        return self


class SimulatedSource(Document):
    """Simulated animals, scanned at one or several sites."""

    origin: Literal["simulation"] = Field(alias="from")
    cohort: CohortPart = CohortPart()
    body: BodyPart = BodyPart()
    instrument: InstrumentPart = InstrumentPart()
    scan: ScanPart = ScanPart()
    effects: EffectsPart = EffectsPart()
    calibrations: CalibrationsPart = CalibrationsPart()
    sites: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")], SitePart] = Field(
        {}, description="scanners; each animal is scanned at one"
    )
    radiographs: RadiographsPart | None = Field(None, description="of each animal beside its scan; none if not given")

    def at(self, site: str) -> SimulatedSource:
        """The source as one site has it; ``""`` where there are no sites."""
        if not site:
            return self
        parts: dict[str, Any] = {"calibrations": self.sites[site].calibrations}
        for name in SITE_PARTS:
            own = getattr(self, name)
            merged = {**own.model_dump(mode="json"), **getattr(self.sites[site], name)}
            parts[name] = validate(merged, type(own), f"sites.{site}.{name}")
        return self.model_copy(update=parts)

    def located(self, folder: Path) -> SimulatedSource:
        """The same with paths made absolute from `folder`."""
        own: dict[str, Any] = {name: getattr(self, name).located(folder) for name in ("instrument", "body", "calibrations")}
        sites = {}
        for name, site in self.sites.items():
            changes: dict[str, Any] = {"calibrations": site.calibrations.located(folder)}
            if site.instrument.get("file"):
                changes["instrument"] = {**site.instrument, "file": located(site.instrument["file"], folder)}
            sites[name] = site.model_copy(update=changes)
        return self.model_copy(update={**own, "sites": sites})

    @model_validator(mode="after")
    def _check(self) -> SimulatedSource:
        if self.sites and self.calibrations.given():
            raise ValueError("calibrations: belong to one scanner; with sites give them at each site")
        for split in ("sites", "test_sites"):
            for name in getattr(self.cohort, split):
                if name not in self.sites:
                    known = ", ".join(self.sites) or "none; name them under sites"
                    raise ValueError(
                        f"cohort.{split}: wanted one site an animal, each a key of sites ({known}), got {name!r}"
                    )
        listed: dict[str, str] = {}
        for name, site in self.sites.items():
            for key in SAME_AT_ALL_SITES:
                if key in site.scan:
                    raise ValueError(f"sites.{name}.scan.{key}: all sites share the source's, so that their images compare")
            for subject in site.subjects:
                if subject in listed:
                    raise ValueError(f"sites: {subject} is at {listed[subject]} and at {name}; a scan is made at one site")
                listed[subject] = name
            try:
                self.at(name)
            except DarklungError as error:
                raise ValueError(str(error)) from None
        return self


class SubjectFacts(Document):
    """What the files of a scan do not say of its animal."""

    animal: str = Field("", description="folds and intervals go by it; the scan's own name if not given")
    time_point: str = Field("", description="such as 'day 14'; several scans of one animal share its fold")


class _Measured(Document):
    """What every measured source says beside its files."""

    use: Use = Field("train", description="train: training and validation folds; test: held out; predict: no labels needed")
    site: str = Field("", description="where it was scanned; results are told by site")
    subjects: dict[str, SubjectFacts] = Field({}, description="scan -> its animal and time point")
    energy: Energy | None = Field(None, gt=0, description="that values refer to, where nothing else tells it")
    scale: str = Field(
        "own", description="for insertion: own, a protocol file, a ready protocol, or calibration.json: energy and ξ"
    )

    def scale_text(self) -> str:
        """`scale`, or the scanner's calibration by spheres where nothing is said."""
        spheres = getattr(getattr(self, "calibrations", None), "spheres", "")
        return spheres if spheres and self.scale == "own" else self.scale

    def facts(self, name: str, animal: str = "") -> SubjectFacts:
        """Of one scan, whose animal is `animal` where the study does not say it, or the scan alone."""
        found = self.subjects.get(name, SubjectFacts())
        return found if found.animal else found.model_copy(update={"animal": animal or name})

    def _located(self, folder: Path, *names: str) -> Any:
        changes: dict[str, Any] = {}
        for name in names:
            value = getattr(self, name)
            if isinstance(value, str):
                changes[name] = str(resolve_path(value, folder / "study.yaml")) if value else value
            else:
                changes[name] = tuple(str(resolve_path(v, folder / "study.yaml")) for v in value)
        if self.scale.endswith((".json", ".yaml", ".yml")):
            changes["scale"] = located(self.scale, folder)
        return self.model_copy(update=changes)


class _Referred(_Measured):
    """Volumes, or what they are made of: their dark fields may have a unit of the scanner or of the scan."""

    calibrations: CalibrationsPart = CalibrationsPart()
    reference: ReferencePart | None = Field(
        None, description="an object in every scan that gives scatter units; none if not given"
    )

    @model_validator(mode="after")
    def _one_unit(self) -> _Referred:
        if self.reference is not None and self.calibrations.unit:
            raise ValueError("reference: calibrations.unit gives scatter units too; wanted one of them")
        return self


class _Scanned(_Referred):
    """Frames and projections: a scanner whose spectra may be known."""

    files: tuple[str, ...] = Field(min_length=1, description="files; * and ? stand for any characters")
    instrument: InstrumentPart | None = Field(None, description="believed spectra; corrections can then use them")

    def located(self, folder: Path) -> Any:
        """The same with paths made absolute from `folder`."""
        found = self._located(folder, "files")
        instrument = self.instrument.located(folder) if self.instrument else None
        return found.model_copy(update={"calibrations": self.calibrations.located(folder), "instrument": instrument})


class FramesSource(_Scanned):
    """Raw stepping frames, by their descriptions (YAML, docs/raw-scans.md)."""

    origin: Literal["frames"] = Field(alias="from")


class ProjectionsSource(_Scanned):
    """Retrieved projections (HDF5), of darklung or of other software."""

    origin: Literal["projections"] = Field(alias="from")


class VolumesSource(_Referred):
    """Reconstructed volumes in any format that darklung reads (docs/volumes.md)."""

    origin: Literal["volumes"] = Field(alias="from")
    files: tuple[str, ...] = Field(min_length=1, description="files or folders; * and ? stand for any characters")
    reading: VolumeOptions = Field(VolumeOptions(), description="what the files do not say: spacing, axes, grey, ...")
    labels: str = Field("", description="lesions of a volume, {name} its name; none: the volume is not labelled")
    region: str = Field("", description="where lung is, {name} the volume's name; found in the volume if not given")

    def located(self, folder: Path) -> Any:
        """The same with paths made absolute from `folder`."""
        found = self._located(folder, "files", "labels", "region")
        return found.model_copy(update={"calibrations": self.calibrations.located(folder)})


class CasesSource(_Measured):
    """Labelled cases of darklung (folders with case.json), such as those of insert, or of another run."""

    origin: Literal["cases"] = Field(alias="from")
    files: tuple[str, ...] = Field(min_length=1, description="folders; * and ? stand for any characters")
    radiographs: tuple[str, ...] = Field((), description="folders of labelled radiographs of the same animals")

    def located(self, folder: Path) -> Any:
        """The same with paths made absolute from `folder`."""
        return self._located(folder, "files", "radiographs")


class LobesSource(_Measured):
    """Measured radiographs of excised lobes (.npz beside index.csv, examples/real/README.md)."""

    origin: Literal["lobes"] = Field(alias="from")
    data: str = Field(description="folder of the maps; ${NAME:-default} is replaced by the environment")

    def located(self, folder: Path) -> Any:
        """The same with paths made absolute from `folder`."""
        return self._located(folder, "data")


Source = Annotated[
    SimulatedSource | FramesSource | ProjectionsSource | VolumesSource | CasesSource | LobesSource,
    Field(discriminator="origin"),
]


def found_files(patterns: tuple[str, ...], what: str) -> list[Path]:
    """Files that the patterns name, each once, a pattern's in natural order; a pattern that finds nothing is an error."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        own = matching(Path(pattern))
        require(bool(own), f"{what}: {pattern}: no such file or folder")
        found.update(dict.fromkeys(own))
    return list(found)
