"""The run folder: whose it is, one process at a time, and nothing in it that the plan does not know.

``run.json`` tells what was computed, ``.owner`` the study file that the folder belongs to, ``.superseded`` holds outputs of
tasks that the study no longer has, ``.scratch`` checkpoints, ``.partial`` outputs being written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from darklung.core.checks import DarklungError, require
from darklung.core.files import make_folder, read_text, write_text
from darklung.pipeline.artefacts import RECORD, RUN_RECORD, Notes, look, note
from darklung.pipeline.keys import key_of
from darklung.pipeline.record import environment, read_json, read_record, write_record

# Raised when folders of before cannot be gone on with: the layout, or what is in the outputs.
FORMAT = 2
PARTIAL, SCRATCH, SUPERSEDED, OWNER = ".partial", ".scratch", ".superseded", ".owner"
OLD = "old"  # within `PARTIAL`: outputs that make room for newer ones
LOCK, WORKERS_LOCK, LOG = ".lock", ".workers.lock", "log.txt"
_KEY_SHOWN = 12


@dataclass(frozen=True)
class Owner:
    """Who asks for the tasks of a run folder.

    Parameters
    ----------
    command : str
        ``"run"``, ``"cohort"``: commands that share a folder, each with a plan of its own.
    file : Path, optional
        The study file. A folder belongs to one file; None (all from the command line) claims nothing.
    """

    command: str
    file: Path | None = None


def check_folder(folder: Path, owner: Owner | None = None) -> None:
    """Refuse a folder of an older format, and one that belongs to another study file which still exists.

    Raises
    ------
    DarklungError
        One line that says how to run elsewhere.
    """
    form = _format(folder)
    require(
        form in (None, FORMAT),
        f"{folder}: a run folder of format {form}, this darklung makes format {FORMAT}; "
        "run with another --out, or remove the folder",
    )
    marker = folder / OWNER
    if owner is None or owner.file is None or not marker.exists():
        return
    theirs = Path(read_text(marker).strip())
    # A study file that was moved or renamed is not there any more, and its folder goes on with the new one.
    require(
        not theirs.is_file() or (owner.file.exists() and theirs.samefile(owner.file)),
        f"{folder}: belongs to the study {theirs}; run {owner.file} with another --out, or remove {marker} to go on there",
    )


def _format(folder: Path) -> int | None:
    """Of the outputs in a folder; None if it has none."""
    about = read_json(folder / RUN_RECORD)
    if isinstance(about, dict):
        return int(about.get("format", 1))
    return 1 if next(_outputs(folder), None) else None


def _outputs(folder: Path) -> Iterator[str]:
    """Names of all tasks with an output in the folder."""
    for stage in _seen(folder):
        place = f"{folder}/{stage}"
        yield from (f"{stage}/{item}" for item in _seen(place) if os.path.exists(f"{place}/{item}/{RECORD}"))


def _seen(folder: Path | str) -> list[str]:
    """Names of what is in a folder and not hidden; none of what is no folder."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def mark(folder: Path, owner: Owner | None) -> None:
    """Write down, before anything is computed, the format and whose the folder is."""
    if read_json(folder / RUN_RECORD) is None:
        write_record(folder / RUN_RECORD, {"format": FORMAT})
    if owner is not None and owner.file is not None:
        write_text(folder / OWNER, f"{owner.file.resolve()}\n")


def set_aside(folder: Path, names: Collection[str], owner: Owner) -> list[str]:
    """Move outputs of tasks that are in no plan any more to ``.superseded``; returns their names.

    Plans of other commands of the same study count for stages that the present one does not have.
    """
    stages = {n.split("/")[0] for n in names}
    others = [plan for command, plan in plans_of(folder).items() if command != owner.command]
    wanted = {*names, *(n for plan in others for n in plan if n.split("/")[0] not in stages)}
    moved = []
    for name in sorted(set(_outputs(folder)) - wanted):
        record = read_json(folder / name / RECORD)
        if isinstance(record, dict) and "key" in record:
            _move(folder, folder / name, superseded(folder, name, record["key"]))
            moved.append(name)
    return moved


def take_back(folder: Path, keys: Mapping[str, str]) -> None:
    """Put set-aside outputs whose task is wanted again, with the same key, in their places."""
    for place in sorted((folder / SUPERSEDED).glob("*/*")):
        name = f"{place.parent.name}/{place.name.rpartition('.')[0]}"
        if name in keys and place == superseded(folder, name, keys[name]):
            _move(folder, place, folder / name)


def superseded(folder: Path, name: str, key: str) -> Path:
    """Where the output of a task goes when no plan has it any more."""
    return folder / SUPERSEDED / f"{name}.{key[:_KEY_SHOWN]}"


def earlier_outputs(folder: Path, name: str, surroundings: str) -> tuple[Path, ...]:
    """Finished outputs of a task, in its place or set aside, that differ from it in its parameters alone; oldest first.

    None that is not what was written: it may be why the task is due.
    """
    place, aside = folder / name, folder / SUPERSEDED / name
    found = []
    others = aside.parent.glob(f"{escape(aside.name)}.*") if os.path.isdir(aside.parent) else ()
    for path in (place, *others):
        record = read_record(path / RECORD)
        # The key is made of surroundings and parameters, so that it tells whether the first are the same.
        if record is None or record.get("removed") or key_of(surroundings, record.get("parameters", {})) != record["key"]:
            continue
        if not damage_of(path, record):
            found.append((record["started"], path))
    return tuple(path for _, path in sorted(found))


def damage_of(place: Path, record: dict[str, Any], *, settle: bool = False) -> str:
    """What is wrong with a finished output, in words; empty if nothing is. With `settle` times of copied files are noted."""
    if record.get("removed"):
        return ""
    if "outputs" not in record:
        return "its record, of an older darklung, does not tell its contents"
    wrong, later = look(place, record["outputs"])
    if later and settle:
        record["outputs"] |= later
        write_record(place / RECORD, record)
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return next((f"{name} {how}{more}" for name, how in wrong.items()), "")


def out_of_date(folder: Path, name: str) -> str:
    """The task, of those that an output was made from, which was done anew since; empty if there is none.

    A run that was stopped, or that wanted less, leaves outputs of before beside newer ones.
    """
    pending, seen = [name], {name}
    while pending:
        record = read_json(folder / pending.pop() / RECORD) or {}
        for source, key in record.get("made_from", {}).items():
            there = read_json(folder / source / RECORD)
            if there is not None and there.get("key") != key:
                return str(source)
            pending += {source} - seen
            seen.add(source)
    return ""


def require_up_to_date(folder: Path, name: str) -> None:
    """Refuse an output that is `out_of_date`."""
    newer = out_of_date(folder, name)
    require(not newer, f"{folder / name}: was made of another {newer} than the one there now; darklung run makes it anew")


def _move(folder: Path, source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        # In one step: what is half removed must not look like an output.
        gone = folder / PARTIAL / f"{place.parent.name}__{place.name}.gone"
        gone.parent.mkdir(exist_ok=True)
        os.replace(place, gone)
        shutil.rmtree(gone)
    os.replace(source, place)


def plans_of(folder: Path) -> dict[str, list[str]]:
    """Command -> the tasks that it asked for last."""
    about = read_json(folder / RUN_RECORD) or {}
    plans: dict[str, list[str]] = about.get("plans", {})
    return plans


def write_run_record(
    folder: Path,
    *,
    names: Sequence[str],
    records: Mapping[str, Any],
    about: Mapping[str, Any],
    owner: Owner | None,
    settings: Collection[Path] = (),
) -> None:
    """Sum up the run in ``run.json``: the key and cost of every task that is up to date, the totals, and what it was told.

    `settings` are files in which the user said what to do; that of the owner is one of them.
    """
    columns = ("key", "started", "wall_s", "peak_memory_mib")
    rows = [{"task": name, **{k: records[name][k] for k in columns}} for name in names if name in records]
    plans = {**plans_of(folder), **({owner.command: list(names)} if owner else {})}
    files: Notes = (read_json(folder / RUN_RECORD) or {}).get("files", {})
    told = [*settings, *([owner.file] if owner and owner.file else [])]
    write_record(
        folder / RUN_RECORD,
        {
            "format": FORMAT,
            **about,
            "environment": environment(),
            "total_task_s": round(sum(r["wall_s"] for r in rows), 1),
            "peak_memory_mib": max((r["peak_memory_mib"] for r in rows), default=0.0),
            "tasks": rows,
            "plans": plans,
            "finished": sorted(_outputs(folder)),
            "files": files,
            "settings": note({str(path.resolve()): path for path in told}),
        },
    )


def note_files(folder: Path, names: Iterable[str], *, gone: Collection[str] = ()) -> None:
    """Note in ``run.json`` what a command wrote into the folder beside the outputs of tasks, and what it took away."""
    about = read_json(folder / RUN_RECORD) or {}
    kept = {name: known for name, known in about.get("files", {}).items() if name not in gone}
    write_record(folder / RUN_RECORD, {**about, "files": {**kept, **note({name: folder / name for name in names})}})


def strip(place: Path) -> None:
    """Remove a transient output, keeping its record with a note."""
    record = read_json(place / RECORD)
    if record is None:
        return
    # The note comes first: a crash in between leaves an output that is computed again, never one that is half there.
    if not record.get("removed"):
        write_record(place / RECORD, {**record, "removed": True})
    for path in place.iterdir():
        if path.name != RECORD:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def sweep(folder: Path, spent: Sequence[str], done: Mapping[str, str]) -> None:
    """Remove what a run that was killed had no time to: transient outputs that are `spent`, and scratch of tasks `done`."""
    for name in spent:
        if len(os.listdir(folder / name)) > 1:
            strip(folder / name)
    left = set(os.listdir(folder / SCRATCH)) if (folder / SCRATCH).is_dir() else set()
    for name, key in done.items() if left else ():
        if (own := scratch_name(name, key)) in left:
            shutil.rmtree(folder / SCRATCH / own)


def scratch_name(name: str, key: str) -> str:
    """Of a task's folder in ``.scratch``."""
    return f"{name.replace('/', '__')}.{key[:_KEY_SHOWN]}"


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Lock the run folder; waits a little for workers that a killed run left behind, and clears what they left."""
    make_folder(folder)
    with (folder / LOCK).open("a") as lock, (folder / WORKERS_LOCK).open("a") as workers_lock:
        if not _try_lock(lock, seconds=1):
            raise DarklungError(f"{folder}: another darklung process works in this folder")
        if not _try_lock(workers_lock, seconds=20):
            raise DarklungError(f"{folder}: processes of an earlier run still work in this folder")
        _unlock(workers_lock)
        for old in (folder / PARTIAL / OLD).glob("*/*"):
            # It was moved out of the way by a run that was killed before the newer one came.
            if not (place := folder / old.parent.name / old.name).exists():
                os.replace(old, place)
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        yield
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        scratch = folder / SCRATCH
        if scratch.exists() and not any(scratch.iterdir()):
            scratch.rmdir()


def share_lock(file: Any) -> None:
    """Mark the run folder as still worked in (where the system has advisory locks)."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_SH)


def _try_lock(file: Any, seconds: float) -> bool:
    try:
        import fcntl
    except ImportError:  # no advisory locks on this system; two runs in one folder are then the user's care
        return True
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)


def _unlock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_UN)
