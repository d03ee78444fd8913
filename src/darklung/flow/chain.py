"""The tasks that make cases of each source: every kind of data enters the same flow where it belongs and goes to its end.

simulation → phantom → scan ─┐
frames ──────────────────────┴→ retrieve → align → correct ─┐
projections ────────────────────────────────────────────────┴→ reconstruct ─┐
volumes ────────────────────────────────────────────────────────────────────┴→ insert → cases
lobes ────────────────────────────────────────────────────────────────────────→ insert → cases
cases ──────────────────────────────────────────────────────────────────────────────────→ cases
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.random import derive_seed
from darklung.insert.lobes import UNKNOWN_ANIMAL
from darklung.io.case import CaseFacts, case_facts
from darklung.io.description import read_raw
from darklung.io.names import item_name, stem
from darklung.io.projections import open_projections
from darklung.learn.fits import SAME_ENERGY
from darklung.phantom.cohort import cohort_table
from darklung.pipeline import Task
from darklung.steps import align, cases, correct, phantom, radiograph, reconstruct, resample, retrieve, scan, volume
from darklung.steps.insertion.sources import STAGE as INSERT
from darklung.steps.insertion.sources import Found, find_lobes, insertion_task
from darklung.steps.members import Member
from darklung.steps.network_case import beam_of
from darklung.steps.recorded_energy import with_recorded_energy
from darklung.study.calibrations import CalibrationsPart, ReferencePart
from darklung.study.correction import CorrectionPart
from darklung.study.processing import SIMULATED, ProcessingPart
from darklung.study.sources import (
    CasesSource,
    FramesSource,
    LobesSource,
    ProjectionsSource,
    RadiographsPart,
    SimulatedSource,
    SubjectFacts,
    VolumesSource,
    found_files,
)
from darklung.study.study import Study
from darklung.tomo.methods import check_device


@dataclass
class Chain:
    """What the sources of a study come to."""

    tasks: list[Task] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    radiographs: list[Member] = field(default_factory=list)  # of the same animals, beside their volumes
    scans: dict[str, set[str]] = field(default_factory=dict)  # source -> names by which its subjects are told

    def add(self, *tasks: Task) -> str:
        """Add tasks; the last one's name."""
        self.tasks += tasks
        return tasks[-1].name


def build(study: Study) -> Chain:
    """All tasks up to the cases, inputs first.

    Raises
    ------
    DarklungError
        Files that are missing or of another kind, or two cases of one name.
    """
    chain = Chain()
    for name, source in study.sources.items():
        try:
            _BUILDERS[type(source)](chain, study, name, source)
            _check_subjects(chain, name, source)
        except DarklungError as error:
            # A simulated source has no file of its own that the line could name.
            own = isinstance(source, SimulatedSource) and not str(error).startswith("sources.")
            raise DarklungError(f"sources.{name}: {error}" if own else str(error)) from error
    seen: dict[str, str] = {}
    for task in chain.tasks:
        require(task.name not in seen, f"sources: two scans are called {task.item!r}; wanted each name once")
        seen[task.name] = task.name
    return chain


def _check_subjects(chain: Chain, name: str, source: Any) -> None:
    """Refuse an animal of a scan that is not there: a scan misnamed would be an animal of its own, in any fold."""
    for scan_name in getattr(source, "subjects", ()):
        check_one_of(f"sources.{name}.subjects", scan_name, chain.scans.get(name, set()))


def _simulated(chain: Chain, study: Study, name: str, source: SimulatedSource) -> None:
    several = len(study.simulated()) > 1
    seed = derive_seed(study.seed, "source", name) if several else study.seed
    animals = phantom.plan_subjects(source, seed)
    scanners = {site: source.at(site) for site in {animal.site for animal in animals}}
    known = {
        site: correct.known_of(study.processing.correction, at.instrument, at.calibrations) for site, at in scanners.items()
    }
    beams = {site: beam_facts(known[site], at.calibrations) for site, at in scanners.items()}
    chains = {site: simulated_tasks(at, study.processing, known[site], study.seed) for site, at in scanners.items()}
    for animal in animals:
        own = replace(animal, name=f"{name}-{animal.name}") if several else animal
        item, site = own.name, own.site
        made = chains[site](phantom.plain(own))
        if study.processing.voxel is not None:
            made.append(resample.task(item, study.processing.voxel, made[-1].name))
        chain.add(*made)
        about = {"subject": item, "animal": item, "site": site, "source": name, "synthetic": True, "provenance": beams[site]}
        unit = scanners[site].calibrations.unit
        case = _case(study, item, about, made[-1].name, phantom_task=f"phantom/{item}", unit=unit)
        (row,) = cohort_table([own])
        chain.members.append(Member(chain.add(case), item, own.split, {**row, "site": site or study.name, "source": name}))
        if source.radiographs is not None:
            for task in radiographs_of(source, source.radiographs, phantom.plain(own), study, about):
                chain.radiographs.append(Member(chain.add(task), item, own.split, {"source": name}))


def radiographs_of(
    source: SimulatedSource, part: RadiographsPart, animal: Mapping[str, Any], study: Study, about: Mapping[str, Any]
) -> Iterator[Task]:
    """The radiographs of one simulated animal beside its CT case: ``NAME.x0``, ``NAME.x1``, ... at the angles."""
    for number, angle in enumerate(part.angles):
        told = {**about, "subject": f"{animal['name']}.x{number}"}
        yield radiograph.task(source, animal, study.processing, study.seed, angle_rad=angle, counts=part.counts, about=told)


def simulated_tasks(
    at: SimulatedSource, processing: ProcessingPart, known: correct.Parameters, seed: int
) -> Callable[[Mapping[str, Any]], list[Task]]:
    """What makes the chain of one simulated animal, from its seed to its volume; `at` is the source as its site has it.

    What is the same for all animals of a site is checked and written out once.
    """
    method = processing.reconstruction
    check_device(method.method, method.options, cone=at.scan.source_axis_m < math.inf)
    transient = not at.scan.keep_frames
    phantom_of, scan_of = phantom.tasks(at), scan.tasks(at)
    retrieval_of = retrieve.tasks_of_scans(processing.retrieval_of(SIMULATED), transient=transient)
    processed_of = processed(processing, known, transient=transient, pictures=False)

    def make(animal: Mapping[str, Any]) -> list[Task]:
        name = animal["name"]
        first = [phantom_of(animal), scan_of(name, derive_seed(seed, "scan", name)), retrieval_of(name)]
        return [*first, *processed_of(name, first[-1].name)]

    return make


def beam_facts(known: correct.Parameters, calibrations: CalibrationsPart) -> dict[str, Any]:
    """Energy and ξ that corrected values refer to, and what a calibration did; nothing without a correction."""
    energy, xi = correct.energy_kev(known), calibrations.correlation_length_m()
    if xi is None and known.instrument is not None:
        xi = known.instrument.correlation_length_m
    told: dict[str, Any] = {"energy_kev": energy, "correlation_length_m": xi}
    if known.calibrations.wedges:
        told["correction"] = correct.ready(known.model_dump_json()).record()
    return {} if energy is None else {name: value for name, value in told.items() if value is not None}


def own_beam(source: FramesSource | ProjectionsSource | VolumesSource | LobesSource) -> dict[str, Any]:
    """Energy that the source says its values refer to, with ξ of a calibration by spheres; nothing where it says none."""
    calibrations = getattr(source, "calibrations", None)
    xi = calibrations.correlation_length_m() if calibrations is not None and source.energy else None
    told = {"energy_kev": source.energy, "correlation_length_m": xi}
    return {name: value for name, value in told.items() if value is not None}


def processed(
    processing: ProcessingPart, known: correct.Parameters, *, transient: bool = False, pictures: bool = True
) -> Callable[[str, str | Path], list[Task]]:
    """What leads from retrieved projections to a volume; a file of projections is read where it lies."""
    steps: list[Callable[[str, str | Path], Task]] = []
    if processing.alignment is not None:
        alignment = processing.alignment
        steps.append(lambda name, projections: align.task(name, alignment, projections))
    if correct.needed(known):
        steps.append(correct.tasks(known, transient=transient))
    steps.append(reconstruct.tasks(processing.reconstruction, pictures=pictures))

    def make(name: str, projections: str | Path) -> list[Task]:
        tasks: list[Task] = []
        for step in steps:
            tasks.append(step(name, tasks[-1].name if tasks else projections))
        return tasks

    return make


def _frames(chain: Chain, study: Study, name: str, source: FramesSource) -> None:
    for description in found_files(source.files, f"sources.{name}.files"):
        for raw, columns in read_raw(description):
            options = study.processing.retrieval_of(raw.retrieval)
            first = retrieve.task_of_raw(raw, columns, description, options)
            chain.add(first)
            _projected(chain, study, name, source, first.item, first.name)


def _projections(chain: Chain, study: Study, name: str, source: ProjectionsSource) -> None:
    for path in found_files(source.files, f"sources.{name}.files"):
        views = open_projections(path).geometry.views
        require(views > 1, f"{path}: one view is a radiograph; wanted projections of a turn")
        _projected(chain, study, name, source, item_name(stem(path)), path)


def _projected(
    chain: Chain, study: Study, name: str, source: FramesSource | ProjectionsSource, item: str, projections: str | Path
) -> None:
    known = correct.known_of(study.processing.correction, source.instrument, source.calibrations)
    last = chain.add(*processed(study.processing, known)(item, projections))
    _measured(chain, study, name, source, item, last)


def _volumes(chain: Chain, study: Study, name: str, source: VolumesSource) -> None:
    files = found_files(source.files, f"sources.{name}.files")
    for what in ("labels", "region"):
        own = len(files) == 1 or "{name}" in getattr(source, what) or not getattr(source, what)
        require(own, f"sources.{name}.{what}: one file for {len(files)} volumes; wanted {{name}} in it, the name of each")
    for path in files:
        item = item_name(stem(path))
        task = volume.task(item, path, source.reading)
        given = {k: getattr(source, k).replace("{name}", item) for k in ("labels", "region")}
        for what, text in given.items():
            require(not text or Path(text).exists(), f"sources.{name}.{what}: {text}: no such file")
        known = with_recorded_energy(source, path)
        _measured(chain, study, name, known, item, chain.add(task), **given)


def _measured(
    chain: Chain, study: Study, name: str, source: Any, item: str, image: str, *, labels: str = "", region: str = ""
) -> None:
    """The cases of a measured volume: with insertions, or as it is."""
    if study.processing.voxel is not None:
        image = chain.add(resample.task(item, study.processing.voxel, image))
    chain.scans.setdefault(name, set()).add(item)
    facts, about = _about(name, source, item, study.processing.correction)
    if study.insertion is None:
        unit, reference = source.calibrations.unit, source.reference
        case = _case(study, item, about, image, labels=labels, region=region, unit=unit, reference=reference)
        _member(chain, study, name, source, facts, case, site=source.site)
        return
    require(not labels, f"sources.{name}.labels: a volume with labels of its own takes no insertions")
    paths = {"paths": {"region": region}} if region else {}
    found = Found(item, facts.animal, "volume", paths, data=(Path(region),) if region else ())
    _inserted(chain, study, name, source, found, facts, about, image=image, region=region)


def _lobes(chain: Chain, study: Study, name: str, source: LobesSource) -> None:
    if study.insertion is None:
        raise DarklungError(f"sources.{name}: measured lobes have no labels; wanted a section insertion")
    data, beam = Path(source.data), own_beam(source)
    chain.scans[name] = {path.stem for path in data.glob("*.npz")}  # also those that cannot be used
    for found in find_lobes(data, study.insertion.pixel):
        facts = source.facts(found.name, found.animal)
        if facts.animal == UNKNOWN_ANIMAL:
            continue  # it may be of an animal that is in another fold; the report's table of sources tells it
        about: dict[str, Any] = {"subject": found.name, "animal": facts.animal, "site": source.site, "source": name}
        about |= {"provenance": beam} if beam else {}
        _inserted(chain, study, name, source, found, facts, about)


def _inserted(
    chain: Chain,
    study: Study,
    name: str,
    source: Any,
    found: Found,
    facts: SubjectFacts,
    about: Mapping[str, Any],
    *,
    image: str = "",
    region: str = "",
) -> None:
    options = study.insertion
    if options is None:
        return
    first = sum(t.stage == INSERT for t in chain.tasks)
    for copy in range(options.copies):
        task = insertion_task(found, copy, first + copy, options=options, scale=source.scale_text(), image=image)
        own = {**about, "subject": task.item, "synthetic": True}
        unit, reference = (source.calibrations.unit, source.reference) if image else ("", None)
        case = _case(study, task.item, own, chain.add(task), region=region, unit=unit, reference=reference)
        _member(chain, study, name, source, facts, case, site=source.site, synthetic=True)


def _cases(chain: Chain, study: Study, name: str, source: CasesSource) -> None:
    for key, stage in (("files", cases.STAGE), ("radiographs", radiograph.STAGE)):
        for folder in found_files(getattr(source, key), f"sources.{name}.{key}"):
            stored = case_facts(folder)
            given = source.subjects.get(stored.subject, SubjectFacts())
            facts = SubjectFacts(animal=given.animal or stored.animal, time_point=given.time_point or stored.time_point)
            site, beam = source.site or stored.site, case_beam(source, folder, stored)
            about: dict[str, Any] = {"animal": facts.animal, "time_point": facts.time_point, "source": name, "site": site}
            about |= {"provenance": {**stored.provenance, **beam}} if beam else {}
            chain.scans.setdefault(name, set()).add(stored.subject)
            case = cases.task_of_case(folder, item_name(stored.subject), about, stage)
            if stage == cases.STAGE:
                _member(chain, study, name, source, facts, case, site=site, synthetic=stored.synthetic)
            else:
                row = {"source": name, "time_point": facts.time_point}
                chain.radiographs.append(Member(chain.add(case), facts.animal, source.use, row))


def case_beam(source: CasesSource, folder: Path, stored: CaseFacts) -> dict[str, Any]:
    """Energy that the source says of a case which tells none itself.

    Raises
    ------
    DarklungError
        The case tells another.
    """
    energy, _ = beam_of(stored)
    if source.energy is None or energy is not None:
        other = source.energy is not None and energy is not None and abs(source.energy / energy - 1) > SAME_ENERGY
        require(not other, f"{folder}: its values are at {energy} keV; energy: wanted none beside that, got {source.energy}")
        return {}
    return {"energy_kev": source.energy}


def _about(name: str, source: Any, item: str, correction: CorrectionPart) -> tuple[SubjectFacts, dict[str, Any]]:
    facts = source.facts(item)
    about: dict[str, Any] = {"subject": item, "animal": facts.animal, "time_point": facts.time_point, "source": name}
    beam = own_beam(source)
    if isinstance(source, FramesSource | ProjectionsSource):
        beam |= beam_facts(correct.known_of(correction, source.instrument, source.calibrations), source.calibrations)
    about |= {"site": source.site, "provenance": beam}
    return facts, about


def _case(
    study: Study,
    item: str,
    about: Mapping[str, Any],
    image: str,
    *,
    phantom_task: str = "",
    labels: str = "",
    region: str = "",
    unit: str = "",
    reference: ReferencePart | None = None,
) -> Task:
    parameters = cases.Parameters(
        channels=study.processing.channels,
        about=dict(about),
        seed=derive_seed(study.seed, "noise", item),
        labels=labels,
        region=region,
        resampled=study.processing.voxel is not None,
        calibrations=CalibrationsPart(unit=unit),
        reference=reference,
    )
    return cases.task(item, parameters, image, phantom=phantom_task)


def _member(
    chain: Chain,
    study: Study,
    name: str,
    source: Any,
    facts: SubjectFacts,
    case: Task,
    *,
    site: str,
    synthetic: bool = False,
) -> None:
    row = {"site": site or study.name, "source": name, "time_point": facts.time_point, "synthetic_flag": synthetic}
    chain.members.append(Member(chain.add(case), facts.animal, source.use, row))


_BUILDERS: dict[type[Any], Any] = {
    SimulatedSource: _simulated,
    FramesSource: _frames,
    ProjectionsSource: _projections,
    VolumesSource: _volumes,
    CasesSource: _cases,
    LobesSource: _lobes,
}
