"""CT and radiographs of the same animals as one arm: both logits of each place, joined by a model fitted on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from darklung.core.files import read_object
from darklung.core.types import Image
from darklung.evaluate.lifted import SEEN
from darklung.io.case import LabelledCase, load_case
from darklung.io.documents import Document
from darklung.io.images import load_image, save_image
from darklung.io.names import LOGITS
from darklung.io.tables import save_json
from darklung.pipeline import Context, Task
from darklung.steps.arm_reading import known_of

if TYPE_CHECKING:
    import pandas as pd

STAGE = "joint"
SHARES = "shares.json"


class Parameters(Document):
    """Which prediction it is; of the fit alone the arm."""

    arm: str
    fold: int | None = None
    role: str = ""


def fit_task(arm: str, cases: Sequence[str], volumes: Sequence[str], radiographs: Sequence[str]) -> Task:
    """The shares of an arm, from the validation predictions of both, one a fold in the order of the folds."""
    inputs = {"cases": tuple(cases), "volumes": tuple(volumes), "radiographs": tuple(radiographs)}
    return Task(STAGE, f"{arm}.shares", "darklung.steps.joint:fit", Parameters(arm=arm).model_dump(mode="json"), inputs)


def task(what: tuple[str, int | None, str], shares: str, volumes: str, radiographs: str) -> Task:
    """The joint prediction (arm, fold, role) of one fold's models, or of the mean of all (fold None)."""
    arm, fold, role = what
    item = f"{arm}.{role}" if fold is None else f"{arm}.fold{fold}.{role}"
    inputs = {"shares": (shares,), "volumes": (volumes,), "radiographs": (radiographs,)}
    plain = Parameters(arm=arm, fold=fold, role=role).model_dump(mode="json")
    return Task(STAGE, item, "darklung.steps.joint:join", plain, inputs)


def fit(context: Context) -> None:
    """``shares.json``: of each joined map, how much the radiographs count in each fold, and on how many candidates."""
    from darklung.evaluate.joint import OWN, shares_by_fold

    cases = {path.name: path for path in context.inputs["cases"]}
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in OWN}
    for volumes, radiographs in zip(context.inputs["volumes"], context.inputs["radiographs"]):
        rows: dict[str, list[pd.DataFrame]] = {name: [] for name in OWN}
        for file in sorted(volumes.glob(f"*{LOGITS}")):
            case = load_case(cases[file.name.removesuffix(LOGITS)], ())
            both = load_image(file), load_image(radiographs / file.name)
            for name in OWN:
                if all(name in image.names for image in both):
                    rows[name].append(candidates(name, *both, case))
        for name, own in rows.items():
            found[name] += [_joined(own)] if own else []
    shares = {name: shares_by_fold(tables) for name, tables in found.items() if tables}
    save_json(context.out / SHARES, {name: [asdict(s) for s in own] for name, own in shares.items()})


def candidates(name: str, volume: Image, radiographs: Image, case: LabelledCase) -> pd.DataFrame:
    """Candidates of a volume's map with what both say there, ``first`` and ``second``, and what each hits, ``kind``.

    Places that no radiograph sees are left out.
    """
    import pandas as pd

    from darklung.evaluate.tables import subject_tables

    tables = subject_tables(subject=case.about.subject, logits=volume.channel(name), **known_of(case))
    found = pd.DataFrame(tables.candidates)
    at = tuple(found[f"axis{a}"].to_numpy(dtype=np.int64) for a in range(3))
    second = radiographs.channel(name)[at].astype(np.float64)
    table = found[["subject", "kind"]].assign(first=found["score"], second=second)
    seen: pd.DataFrame = table[radiographs.channel(SEEN)[at] > 0]
    return seen


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


def join(context: Context) -> None:
    """``NAME.logits.ome.zarr`` of each volume, with the channels that its CT's prediction has."""
    from darklung.evaluate.joint import Share, joined

    p = Parameters.model_validate(context.parameters)
    stored = read_object(context.input("shares") / SHARES)
    shares = {name: [Share(**one) for one in own] for name, own in stored.items()}
    files = sorted(context.input("volumes").glob(f"*{LOGITS}"))
    for i, file in enumerate(files):
        context.progress(i / len(files), file.name)
        radiographs = load_image(context.input("radiographs") / file.name)
        save_image(context.out / file.name, joined(load_image(file), radiographs, shares, p.fold))
