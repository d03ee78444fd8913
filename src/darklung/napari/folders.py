"""Where all of one subject lies in a folder of darklung."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darklung.core.checks import DarklungError, require
from darklung.io.names import CASE, LOGITS, MAPS
from darklung.napari.kinds import ENDING, IMAGE, LABELLED, PREDICTION, RUN, folders_in, images_in, kind_of
from darklung.steps import cases, findings, predict, reconstruct, resample, training, volume

# Where volumes of a subject lie that is no case, the last to be made first.
VOLUMES = (resample.STAGE, reconstruct.STAGE, volume.STAGE)


@dataclass(frozen=True)
class Subject:
    """What there is of one subject.

    Parameters
    ----------
    name : str
        Of its folders.
    case : Path, optional
        A labelled case.
    images : tuple of Path
        OME-Zarr images, where there is no case.
    findings : Path, optional
        Of `darklung predict`: maps and candidates.
    logits : tuple of (arm, Path)
        Of a run: what its models said.
    folder : Path, optional
        The run that it is of.
    """

    name: str
    case: Path | None = None
    images: tuple[Path, ...] = ()
    findings: Path | None = None
    logits: tuple[tuple[str, Path], ...] = ()
    folder: Path | None = None

    @property
    def source(self) -> Path:
        """What `darklung predict` takes of it."""
        return self.case or self.images[0]


def subjects_of(path: Path) -> tuple[Subject, ...]:
    """All subjects of a folder, by name.

    Raises
    ------
    DarklungError
        Not of darklung, or a run without any case or volume yet.
    """
    kind = kind_of(path)
    require(kind != "", f"{path}: wanted a run, a prediction, a labelled case or an OME-Zarr image of darklung")
    if kind == RUN:
        names = {p.name for stage in (cases.STAGE, *VOLUMES) for p in folders_in(path / stage)}
        found = tuple(s for s in (_of_run(path, name) for name in sorted(names)) if s.case or s.images)
        require(bool(found), f"{path}: no case and no volume in it yet")
        return found
    return (_alone(path, kind),)


def arms_of(models: Path) -> tuple[str, ...]:
    """Arms that were trained in a run folder; none of the folder of one model."""
    folders = (p.parent.name for p in (models / training.STAGE).glob(f"*.fold*/{predict.MODEL_FILES[0]}"))
    return tuple(sorted({name.rpartition(".fold")[0] for name in folders}))


def has_models(folder: Path) -> bool:
    """Whether `darklung predict` finds models there."""
    return (folder / predict.MODEL_FILES[0]).is_file() or bool(arms_of(folder))


def subject_of(folder: Path, name: str) -> Subject:
    """One subject of a run folder."""
    found = next((s for s in subjects_of(folder) if s.name == name), None)
    if found is None:
        raise DarklungError(f"{folder}: no subject {name!r} in it")
    return found


def _alone(path: Path, kind: str) -> Subject:
    if kind == PREDICTION:
        run = path.resolve().parent.parent
        case = run / cases.STAGE / path.name
        return Subject(path.name, case=case if (case / CASE).is_file() else None, findings=path, folder=run)
    if kind == LABELLED:
        return Subject(path.name, case=path)
    name = path.name.removesuffix(ENDING)
    return Subject(name, images=(path,) if kind == IMAGE else tuple(images_in(path)))


def _of_run(run: Path, name: str) -> Subject:
    case, found = run / cases.STAGE / name, run / findings.STAGE / name
    if (case / CASE).is_file():
        maps = found if (found / MAPS).is_dir() else None
        return Subject(name, case=case, findings=maps, logits=tuple(_logits(run, name)), folder=run)
    folder = next((run / stage / name for stage in VOLUMES if next(images_in(run / stage / name), None)), None)
    return Subject(name, images=tuple(images_in(folder)) if folder else (), folder=run)


def _logits(run: Path, name: str) -> Iterator[tuple[str, Path]]:
    """One prediction an arm: that by all its models before that by one fold's."""
    known: dict[str, Path] = {}
    for path in sorted(folders_in(run / predict.STAGE), key=lambda p: (not p.name.endswith(".test"), p.name)):
        arm = path.name.rpartition(".")[0]
        head, _, fold = arm.rpartition(".fold")
        arm = head if fold.isdigit() else arm
        if (path / f"{name}{LOGITS}").is_dir():
            known.setdefault(arm, path / f"{name}{LOGITS}")
    yield from sorted(known.items())
