"""Which file belongs to which case, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from darklung.core.checks import require
from darklung.io.names import LOGITS
from darklung.io.volumes import volume_kind

ENDINGS = (
    ".ome.zarr", ".zarr", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr", ".ome.tiff", ".ome.tif", ".tiff", ".tif",
)  # fmt: skip
# Of maps that darklung writes; another channel of a prediction is no map.
PROBABILITY, NOT_A_MAP = "_probability", ("_logit_spread",)


def bare_name(path: Path) -> str:
    """A file's name without the ending of its format."""
    name = path.name.removesuffix(LOGITS)
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def volumes_in(folder: Path) -> list[Path]:
    """The volumes that lie in a folder: files, and folders of slices or of OME-Zarr; headers and data count once."""
    found = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.suffix.lower() not in (".raw", ".zraw")]
    return [p for p in found if (p.is_dir() or p.name.lower().endswith(ENDINGS)) and volume_kind(p) != ""]


def case_of_file(bare: str, cases: Collection[str]) -> str:
    """The case whose name a file's is, or starts with before a separator (the longest); empty where there is none."""
    if bare in cases:
        return bare
    starts = [c for c in cases if bare.startswith(c) and re.match(r"[._-]", bare[len(c) :])]
    return max(starts, key=len, default="")


def by_case(
    files: Iterable[Path], cases: Collection[str], *, better: Callable[[Path], bool], where: Path
) -> dict[str, Path]:
    """One file a case.

    Parameters
    ----------
    files : iterable of Path
    cases : collection of str
        Names of the labelled cases.
    better : callable
        Which of two files of a case is taken; neither or both is an error.
    where : Path
        For the error lines.

    Raises
    ------
    DarklungError
        A file of no case, two of one, or none at all.
    """
    listed = list(files)
    require(len(listed) > 0, f"{where}: no maps and no tables of candidates in it")
    if len(listed) == len(cases) == 1:
        return {next(iter(cases)): listed[0]}
    found: dict[str, Path] = {}
    for file in listed:
        case = case_of_file(bare_name(file), cases)
        require(case != "", f"{file}: belongs to no labelled case; these are {_some(cases)}")
        other = found.get(case)
        if other is not None:
            require(
                better(file) != better(other), f"{where}: {other.name} and {file.name} are both maps of {case}; keep one"
            )
        if other is None or better(file):
            found[case] = file
    return found


def _some(names: Collection[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f", ... ({len(listed)})" if len(listed) > 5 else "")
