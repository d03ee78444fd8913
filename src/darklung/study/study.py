"""The study file: sources, what is done to them, what is put into them, what is learned, and how it is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from darklung.core.checks import DarklungError
from darklung.io.documents import Document, read_yaml, validate
from darklung.study.insertion import InsertOptions
from darklung.study.learning import EvaluationPart, LearningPart
from darklung.study.processing import ProcessingPart
from darklung.study.sources import CasesSource, SimulatedSource, Source

OLD = "studies list sources now, not a kind; examples/quick.yaml shows one, docs/studies.md how an old file is changed"


class Study(Document):
    """One study. Sources may be mixed, such as training on simulated and testing on measured animals."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100, description="of the run folder, unless another one is said"
    )
    seed: int = Field(1, ge=0, description="of everything that is drawn")
    sources: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")], Source] = Field(
        min_length=1, description="where data come from, each under a name"
    )
    processing: ProcessingPart = ProcessingPart()
    insertion: InsertOptions | None = Field(None, description="into measured sources; none if not given")
    learning: LearningPart | None = Field(None, description="what is trained; without it the study ends with its cases")
    evaluation: EvaluationPart = EvaluationPart()

    def located(self, folder: Path) -> Study:
        """The same with paths that start from `folder` made absolute."""
        return self.model_copy(update={"sources": {n: s.located(folder) for n, s in self.sources.items()}})

    def check_calibrations(self) -> None:
        """Read the calibration files of every source and site; each that does not fit is told in a line."""
        for name, source in self.sources.items():
            scanners = {f"sources.{name}": source}
            scanners |= {f"sources.{name}.sites.{n}": site for n, site in getattr(source, "sites", {}).items()}
            for place, scanner in scanners.items():
                if hasattr(scanner, "calibrations"):
                    scanner.calibrations.check(f"{place}.calibrations")

    def simulated(self) -> dict[str, SimulatedSource]:
        """Its simulated sources."""
        return {n: s for n, s in self.sources.items() if isinstance(s, SimulatedSource)}

    def trained_on(self) -> bool:
        """Whether any source gives training animals."""
        return any(
            s.cohort.animals > 0 if isinstance(s, SimulatedSource) else s.use == "train" for s in self.sources.values()
        )

    @model_validator(mode="after")
    def _check_folds(self) -> Study:
        # A learning part whose names cannot be there is refused where the channels are known, darklung.flow.door.
        folds = self.learning.folds if self.learning else 0
        ((name, only), *others) = self.sources.items()
        if not others and isinstance(only, SimulatedSource) and only.cohort.animals < folds:
            place = f"sources.{name}.cohort.animals"
            raise ValueError(f"{place}: wanted at least learning.folds = {folds}, got {only.cohort.animals}")
        return self

    @model_validator(mode="after")
    def _check_insertion(self) -> Study:
        if self.insertion and all(isinstance(s, SimulatedSource | CasesSource) for s in self.sources.values()):
            raise ValueError("insertion: nothing takes it; sources of frames, projections, volumes and lobes do")
        return self

    @model_validator(mode="after")
    def _check_absorbers(self) -> Study:
        parts = {name: getattr(source, "reference", None) for name, source in self.sources.items()}
        found = {name: part.absorber.energy for name, part in parts.items() if part is not None and part.absorber}
        if len(set(found.values())) > 1:
            told = ", ".join(f"{energy:g} keV ({name})" for name, energy in found.items())
            raise ValueError(f"sources: reference.absorber.energy: wanted one for all, got {told}")
        return self

    @model_validator(mode="after")
    def _check_bank(self) -> Study:
        if self.learning and self.learning.bank:
            for name, source in self.sources.items():
                if not isinstance(source, SimulatedSource) and source.use == "train":
                    # Its energy, and what a lesion of the cohort would be in it, are not known.
                    raise ValueError(
                        f"learning.bank: puts lesions into simulated volumes; sources.{name} trains on {source.origin}"
                    )
        return self


def read_study(path: Path) -> Study:
    """Read a study file; every mistake is told at once, each with its path.

    Raises
    ------
    DarklungError
        One line a mistake; a file of the former format is told how to be changed.
    """
    content = read_yaml(path)
    if isinstance(content, dict) and "kind" in content and "sources" not in content:
        raise DarklungError(f"{path}: kind: {OLD}")
    study: Study = validate(content, Study, str(path)).located(path.parent)
    study.check_calibrations()
    return study
