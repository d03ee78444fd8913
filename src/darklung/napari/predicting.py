"""`darklung predict` from within another program: the same steps in this process, which tell how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darklung.commands.predict import predict_files
from darklung.napari.folders import Subject
from darklung.pipeline.executors import Executor, Place, executor
from darklung.pipeline.progress import Progress
from darklung.pipeline.worker import Job, Outcome
from darklung.steps import cases, findings

# Called with what is done, from 0 to 1, and the task that runs.
Tell = Callable[[float, str], None]


def predict_subject(models: Path, subject: Subject, *, out: Path, arm: str = "", tell: Tell) -> Subject:
    """Predict a subject as `darklung predict` does and return it with its findings; what is done is not done again.

    Parameters
    ----------
    models : Path
        A run, or the folder of one model. One that names code of its maker's is refused: `darklung predict --code` runs it.
    subject : Subject
    out : Path
        Folder of predictions, which may hold those of other subjects.
    arm : str
        Of a run with several.
    tell : callable
        From the thread that calls this.

    Raises
    ------
    DarklungError
        As `darklung predict`, in one line.
    """
    listed = predict_files(models, subject.source, out=out, arm=arm, dry_run=True)
    name = next(Path(line).name for line in listed.splitlines() if line.startswith(f"{findings.STAGE}/"))
    predict_files(models, subject.source, out=out, arm=arm, workers=1, place=told(tell))
    found = out / findings.STAGE / name
    return Subject(subject.name, case=subject.case or out / cases.STAGE / name, findings=found, folder=subject.folder)


def told(tell: Tell) -> Place:
    """Tasks one after the other in this thread, each told when it begins and as it goes on."""

    @contextmanager
    def place(workers: int, folder: Path, progress: Progress) -> Iterator[Executor]:
        with executor(1, folder, _Telling(progress, tell)) as here:  # type: ignore[arg-type]
            yield _Told(here, progress, tell)

    return place


class _Telling:
    """The run's progress, which tells of it as well."""

    def __init__(self, progress: Progress, tell: Tell) -> None:
        self._progress, self._tell = progress, tell

    def update(self, name: str, fraction: float, text: str) -> None:
        """As `Progress.update`."""
        self._progress.update(name, fraction, text)
        self._tell(_share(self._progress, fraction), name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._progress, name)


class _Told:
    def __init__(self, here: Executor, progress: Progress, tell: Tell) -> None:
        self._here, self._progress, self._tell = here, progress, tell

    @property
    def slots(self) -> int:
        """As the executor's."""
        return self._here.slots

    def submit(self, job: Job) -> None:
        """As the executor's."""
        self._tell(_share(self._progress, 0.0), job.task.name)
        self._here.submit(job)

    def wait(self) -> list[tuple[Job, Outcome]]:
        """As the executor's."""
        return self._here.wait()


def _share(progress: Progress, fraction: float) -> float:
    return min(1.0, (progress.done + fraction) / max(progress.total, 1))
