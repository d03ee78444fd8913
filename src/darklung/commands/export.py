"""``darklung export``: an image of a run as NIfTI, or the cases of a run as nnU-Net and MONAI read them."""

from __future__ import annotations

from pathlib import Path

from darklung import __version__
from darklung.core.checks import DarklungError, check_one_of, require
from darklung.core.files import make_folder
from darklung.flow.plan import rounds_of
from darklung.io.documents import validate
from darklung.io.images import export_nifti, load_image
from darklung.io.tables import load_table
from darklung.pipeline.artefacts import CHANGED, RECORD, RUN_RECORD
from darklung.pipeline.folder import check_folder
from darklung.pipeline.record import read_json, seal_holds, write_record
from darklung.publish.datasets import LAYOUTS, About, safe_names
from darklung.steps import cohort
from darklung.steps.dataset import exported
from darklung.steps.members import Member
from darklung.study.learning import LearningPart
from darklung.study.study import Study

OWN = "darklung export"


def export_image(image: Path, out: Path) -> str:
    """Write each channel as a NIfTI file; returns their paths, a line each."""
    return "\n".join(map(str, export_nifti(load_image(image), out, stem=image.name.split(".")[0])))


def export_run(run: Path, out: Path, *, layout: str, arm: str = "", normalised: bool = False) -> str:
    """Write the cases of a run as a data set with the run's own folds; returns lines to print.

    Parameters
    ----------
    run : Path
        A run folder of a study with a part learning, up to its cases at least.
    out : Path
        A new folder, or one of an earlier export.
    layout : str
        A key of `darklung.publish.datasets.LAYOUTS`.
    arm : str
        Whose channels; not needed where there is one.
    normalised : bool
        Values as our networks see them instead of those of the cases.

    Raises
    ------
    DarklungError
        No run, an unknown arm or layout, cases that are not there, or two subjects of one name.
    """
    write = LAYOUTS[check_one_of("--layout", layout, LAYOUTS)]
    study, learning, members = _run(run)
    require(arm != "" or len(learning.arms) == 1, f"--arm: wanted one of {', '.join(learning.arms)}")
    arm = check_one_of("--arm", arm or next(iter(learning.arms)), learning.arms)
    told = "each fold has its own location and scale; export the values as they are"
    require(not normalised or learning.normalisation == "volume", f"--normalised: {run} normalises by its cohort: {told}")
    old = read_json(out / RECORD)
    own = str((old or {}).get("command", "")).startswith(OWN)
    empty = not out.exists() or all(f.name.startswith(".") for f in out.iterdir())
    require(own or empty, f"{out}: holds something else; wanted an empty folder, or one of an earlier export")
    names = safe_names([m.item for m in members])
    rounds = rounds_of(members, folds=learning.folds, seed=study.seed)
    folds = [tuple([names[m.item] for m in side] for side in sides[:2]) for sides in rounds]
    channels = learning.arms[arm]
    where = {"run": study.name, "arm": arm, "seed": study.seed, "darklung": __version__}
    about = About(f"{study.name} {arm}", channels, folds, normalised, where)  # type: ignore[arg-type]
    make_folder(out)
    if not own:  # so that the folder is known as one of ours also after a kill
        write_record(out / RECORD, {"command": OWN})
    uses = {m.item: m.use for m in members}
    counts = write(out, exported(run, uses, channels, names, normalised=normalised), about)
    lines = [f"{layout}: {', '.join(f'{n} {use}' for use, n in counts.items())}; {len(folds)} folds; arm {arm}"]
    lines += [f"channel {number:04d}: {name}" for number, name in enumerate(channels)]
    return "\n".join([*lines, f"written to {out}"])


def _run(folder: Path) -> tuple[Study, LearningPart, list[Member]]:
    """A run's study, what it learns, and its cases."""
    check_folder(folder)
    record = read_json(folder / RUN_RECORD)
    require(isinstance(record, dict), f"{folder}: wanted a run folder (with {RUN_RECORD}), or an image NAME.ome.zarr")
    require(seal_holds(folder / RUN_RECORD), f"{folder / RUN_RECORD}: {CHANGED}; darklung verify tells more")
    study: Study = validate((record or {}).get("study"), Study, str(folder / RUN_RECORD))
    if study.learning is None:
        raise DarklungError(f"{folder}: its study learns nothing, so that there are no arms and no folds to export")
    rows = load_table(folder / cohort.NAME / cohort.TABLE)
    members = [Member(f"cases/{row['subject']}", str(row["animal"]), str(row["split"]), row) for row in rows]
    missing = [m.item for m in members if not (folder / m.task).is_dir()]
    require(not missing, f"{folder}: {', '.join(missing[:5])} has no case yet; finish the run")
    return study, study.learning, members
