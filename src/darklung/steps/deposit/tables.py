"""Tables of a deposit: those of the run with a flag in every row, metrics, and measurements of every subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darklung.core.checks import require
from darklung.core.types import Image
from darklung.io.case import case_insertions
from darklung.io.images import image_grid, load_image
from darklung.io.names import CASE, CHANNELS, COMPARISON, LABELS
from darklung.io.tables import load_table, read_rows
from darklung.publish.columns import ALLOWED, FLAG, FLAG_MEANING, channel_meaning, columns_of, unit_of
from darklung.publish.dataset import IMAGES, RUN, TABLES
from darklung.publish.fields import Field, Row
from darklung.publish.measured import INSERTION_PARTS, LAYERS, METRIC_PARTS, PARTS, QUANTITIES
from darklung.publish.tables import plain_rows
from darklung.steps import evaluate
from darklung.steps.card.files import read_written
from darklung.steps.deposit.contents import CASES, DICTIONARY_END, Contents

MICE = "mice"
INSERTIONS = f"{TABLES}/insertions"
METRICS, MEASUREMENTS = f"{TABLES}/metrics", f"{TABLES}/measurements"
RESULTS = f"{RUN}/{evaluate.STAGE}/{evaluate.ITEM}/{COMPARISON}"
MM3_PER_ML, MM = 1e3, 1e-3
Made = tuple[list[dict[str, Any]], tuple[Field, ...]]


def make_tables(found: Contents, images: Sequence[str]) -> tuple[dict[str, list[dict[str, Any]]], tuple[Field, ...]]:
    """Rows of every table by its name, and all fields: of columns, of quantities, and of the channels of images.

    Raises
    ------
    DarklungError
        A channel that has several units, or a column that its own dictionary does not have.
    """
    made = {}
    if rows := list(_measurements(found)):
        made[MEASUREMENTS] = _measured(rows, _of_mice(found)[1])
    if found.comparison is not None:
        made[METRICS] = _metrics(found, found.comparison)
    if rows := list(_insertions(found)):
        made[INSERTIONS] = plain_rows(rows), columns_of(INSERTIONS, plain_rows(rows), INSERTION_PARTS, f"{IMAGES}/*/{CASE}")
    for place in found.tables:
        made[f"{TABLES}/{place.name}"] = _table(found, place)
    fields = [f for _, own in made.values() for f in own] + list(_channels(found, images))
    return {name: rows for name, (rows, _) in made.items()}, tuple(fields)


def _table(found: Contents, place: Path) -> Made:
    """A table of the run; its flag of yes or no becomes one of three."""
    meanings, dtypes = _lines(place)
    said = {**meanings, FLAG: FLAG_MEANING}
    rows = plain_rows(load_table(place))
    rows = [{**row, FLAG: found.flag_of(row.get("subject"))} for row in rows]
    missing = [n for n in rows[0] if n not in said]
    require(not missing, f"{place}: its dictionary does not have {', '.join(missing)}")
    name, origin = f"{TABLES}/{place.name}", f"darklung {place.relative_to(found.run).as_posix()}"
    return rows, columns_of(name, rows, said, origin, dtypes)


def _metrics(found: Contents, file: Path) -> Made:
    """A row a split, arm and metric."""
    content = read_written(file)
    flag = found.flag_of(None)
    rows = [
        {"split": split, "arm": arm, "metric": name, **{k: m.get(k) for k in ("value", "low", "high")}}
        | {"subjects": (result.get("n") or {}).get("subjects"), FLAG: flag}
        for split, arms in content["results"].items()
        for arm, result in arms.items()
        for name, m in result["metrics"].items()
    ]
    rows = plain_rows(rows)
    return rows, columns_of(METRICS, rows, METRIC_PARTS, RESULTS)


def _measured(rows: Sequence[Row], meanings: Mapping[str, str]) -> Made:
    plain = plain_rows({name: row[name] for name in PARTS} for row in rows)
    columns = columns_of(MEASUREMENTS, plain, PARTS, "darklung deposit")
    # Values are of many quantities, each with its own unit.
    columns = tuple(f.model_copy(update={"unit": "see unit", "type": "number"}) if f.name == "value" else f for f in columns)
    for row in plain:
        row["value"] = float(row["value"])
    return plain, (*columns, *_quantities(plain, meanings))


def _quantities(rows: Sequence[Row], meanings: Mapping[str, str]) -> Iterator[Field]:
    """A line for each quantity that is there."""
    first = {row["quantity"]: row for row in reversed(rows)}
    for name, row in sorted(first.items()):
        signal, _, what = name.rpartition("_lung_")
        over = f"{'mean' if what == 'mean' else 'standard deviation'} of the channel {signal} over the lung"
        unit, allowed, told = QUANTITIES.get(name, (row["unit"], ALLOWED.get(name, ""), meanings.get(name, over)))
        own: dict[str, Any] = {"type": "number", "unit": unit, "allowed_values": allowed, "example": str(row["value"])}
        yield Field(table=MEASUREMENTS, kind="quantity", name=name, description=told, provenance="darklung deposit", **own)


def _insertions(found: Contents) -> Iterator[Row]:
    """What is known to be in each case, a row a thing; none where the run has a table of that name."""
    there = any(f"{TABLES}/{p.name}" == INSERTIONS for p in found.tables)
    cases = () if there else found.subjects
    for subject in (s for s in cases if (found.run / CASES / s.name).is_dir()):
        for one in case_insertions(found.run / CASES / subject.name):
            where = dict(zip(("z_mm", "y_mm", "x_mm"), (c / MM for c in one.center_m)))
            told = {"number": one.number, "kind": one.kind, "tissue": one.tissue, "diameter_mm": one.diameter_m / MM}
            yield {"subject": subject.name, **told, **where, FLAG: subject.flag}


def _of_mice(found: Contents) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of the table of simulated mice, and what its columns mean; none where there is none."""
    place = next((p for p in found.tables if p.name == MICE), None)
    return (plain_rows(load_table(place)), _lines(place)[0]) if place is not None else ([], {})


def _lines(place: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Meaning and type of the columns of a table, as its own dictionary tells them."""
    lines = read_rows(place.with_name(place.name + DICTIONARY_END))
    return {row["column"]: row["meaning"] for row in lines}, {row["column"]: row["type"] for row in lines}


def _measurements(found: Contents) -> Iterator[Row]:
    for subject in found.subjects:
        folder = found.run / CASES / subject.name
        for name, value, unit, file in case_measurements(folder) if folder.is_dir() else ():
            source = f"{IMAGES}/{subject.name}/{file}"
            yield _measurement(found, subject.name, name, value, unit=unit, source=source)
    rows, meanings = _of_mice(found)
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                unit, source = unit_of(name, meanings[name]), f"{TABLES}/{MICE}.csv"
                yield _measurement(found, row["subject"], name, value, unit=unit, source=source)
    yield from _results(found) if found.comparison is not None else ()


def _measurement(found: Contents, who: str, quantity: str, value: float, **more: Any) -> dict[str, Any]:
    """A row; of an animal where `who` is no scan."""
    animal = next((s.animal for s in found.subjects if s.name == who), who)
    own = {"subject_id": who, "animal": animal, FLAG: found.flag_of(who), "quantity": quantity, "value": value}
    return {**dict.fromkeys(PARTS), **own, **more}


def case_measurements(folder: Path) -> Iterator[tuple[str, float, str, str]]:
    """Quantity, value, unit and file, of one case, of a volume or of a radiograph; channels are read one by one."""
    truth = load_image(folder / LABELS, ("labels", "lung"))
    lung = truth.channel("lung") > 0
    solid = len(truth.shape) == 3
    size = float(np.prod(truth.spacing_m)) / (MM**3 * MM3_PER_ML if solid else MM**2)
    what, unit = ("volume", "mL") if solid else ("area", "mm2")
    lesions = [i for i in case_insertions(folder) if i.kind == "lesion"]
    yield f"lung_{what}", float(lung.sum()) * size, unit, LABELS
    yield "lesions", len(lesions), "1", "case.json"
    yield f"lesion_{what}", float((truth.channel("labels") == 1).sum()) * size, unit, LABELS
    yield from (("lesion_diameter", i.diameter_m / MM, "mm", "case.json") for i in lesions)
    for name in image_grid(folder / CHANNELS).names if (folder / CHANNELS).exists() else ():
        image = load_image(folder / CHANNELS, (name,))
        inside = image.data[0][lung & np.isfinite(image.data[0])].astype(np.float64)
        if inside.size:
            yield f"{name}_lung_mean", float(inside.mean()), image.units[0] or "1", CHANNELS
            yield f"{name}_lung_sd", float(inside.std()), image.units[0] or "1", CHANNELS


def _results(found: Contents) -> Iterator[Row]:
    """Dice of every animal by every arm."""
    content = read_written(found.comparison or found.run)
    for split, arms in content["results"].items():
        for arm, result in arms.items():
            for row in (r for r in result.get("by_animal") or () if r.get("dice") is not None):
                where = {"split": split, "arm": arm, "source": RESULTS, "unit": "1"}
                yield _measurement(found, str(row["animal"]), "dice", row["dice"], **where)


def _channels(found: Contents, images: Sequence[str]) -> Iterator[Field]:
    """A line for each channel of the images that are deposited, the same for all subjects."""
    units: dict[tuple[str, str], str] = {}
    for file in (f for n, f in (("channels", CHANNELS), ("labels", LABELS)) if n in images):
        for subject in found.subjects:
            place = found.run / CASES / subject.name / file
            grid: Image | None = image_grid(place) if place.exists() else None
            for name, unit in zip(grid.names, grid.units) if grid is not None else ():
                known = units.setdefault((f"{IMAGES}/{file}", name), unit)
                require(known == unit, f"{place}: channel {name} is in {unit}, in others in {known}; wanted one unit")
    yield from (channel_field(table, name, unit) for (table, name), unit in units.items())


def channel_field(table: str, name: str, unit: str) -> Field:
    """The dictionary's line of a channel."""
    layer = table.endswith(LABELS)
    allowed, told = LAYERS.get(name, ("", name)) if layer else ("", channel_meaning(name))
    return Field(
        table=table,
        kind="channel",
        name=name,
        description=told,
        type="integer" if layer else "number",
        unit=unit or "1",
        allowed_values=allowed,
        provenance="darklung cases; record in run/cases",
    )
