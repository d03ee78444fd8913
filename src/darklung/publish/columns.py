"""The fields of the tables that darklung writes: their units, from names and meanings, and what is allowed in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from darklung.core.channel import Channel
from darklung.publish.fields import BOUND, Field, Row, Type, words

FLAG = "synthetic_flag"
SYNTHETIC, ANNOTATED, REAL = "synthetic", "phantom-annotated", "real"
FLAGS: Mapping[str, str] = {
    SYNTHETIC: "the animal is simulated",
    ANNOTATED: "the animal was measured; what is labelled is a phantom that was put into its scan",
    REAL: "the animal was measured, and so is what is labelled",
}
MIXED = "mixed"
FLAG_MEANING = "; ".join(f"{name}: {told}" for name, told in FLAGS.items()) + f"; {MIXED}: a row over several of these"
_UNIT = re.compile(r"\[([^\[\]]+)\]")
_ENDS = {
    "mm": "mm",
    "um": "um",
    "m": "m",
    "ml": "mL",
    "g": "g",
    "g/cm3": "g/cm3",
    "/cm": "1/cm",
    "%": "%",
    "kev": "keV",
    "s": "s",
}
_KINDS = words("lesion", "mimic", "sham")
# What is allowed in columns of that name; of one table alone under TABLE.NAME.
ALLOWED: Mapping[str, str] = {
    FLAG: words(*FLAGS, MIXED),
    "split": words("train", "validation", "test", "predict"),
    "kind": _KINDS,
    "units.kind": words("lesion", "mimic", "sham", "tile"),
    "candidates.kind": words("lesion", "mimic", "none", "unknown"),
    "outlines.kind": words("lesion", "outline"),
    "label": words(0, 1),
    "fold": "-1..",
    "surface_share": "0..1",
    "tissue_fraction": "0..1",
    **dict.fromkeys(("number", "axis0", "axis1", "axis2", "true", "predicted", "overlap", "copy"), "0.."),
    **dict.fromkeys(("lesions", "shams", "mimics", "diameter_m", "diameter_mm", "distance_m", "lung_volume_ml"), "0.."),
}  # fmt: skip
_DTYPES: Mapping[str, Type] = {"float": "number", "int": "integer", "uint": "integer", "bool": "boolean"}
# Signal -> what it is; in a radiograph its integral along the ray, which its unit tells.
SIGNALS: Mapping[str, str] = {
    "attenuation": "attenuation coefficient",
    "dark_field": "linear diffusion coefficient (dark field)",
    "refraction": "differential phase",
    "noise": "noise without signal, a control",
    "tensor": "scattering tensor",
    "known": "share of a tensor's component that the data know",
    "lung_path": "path through the lung",
}
VOXELS = ("axis0", "axis1", "axis2", "true", "predicted", "overlap")


def columns_of(
    table: str, rows: Sequence[Row], meanings: Mapping[str, str], provenance: str, dtypes: Mapping[str, str] | None = None
) -> tuple[Field, ...]:
    """Fields of a table with one row or more, of what its own dictionary says.

    Parameters
    ----------
    meanings : mapping
        Column -> what it holds.
    dtypes : mapping, optional
        Column -> its type as the dictionary has it, for columns without any value.
    """
    own = dtypes or {}
    return tuple(_column(table, n, [r[n] for r in rows], meanings[n], provenance, own.get(n, "")) for n in rows[0])


def _column(table: str, name: str, values: Sequence[Any], meaning: str, provenance: str, dtype: str) -> Field:
    known = [v for v in values if v is not None]
    kind = type_of(known) if known else _DTYPES.get(dtype.rstrip("0123456789"), "text")
    number = kind in ("integer", "number")
    stem = table.rpartition("/")[2]
    allowed = ALLOWED.get(f"{stem}.{name}", ALLOWED.get(name, ""))
    return Field(
        table=table,
        kind="column",
        name=name,
        description=meaning,
        type=kind,
        unit=unit_of(name, meaning) if number else "",
        allowed_values=words(True, False) if kind == "boolean" else allowed if number or BOUND not in allowed else "",
        empty=len(known) < len(values),
        example=str(known[0]) if known else "",
        provenance=provenance,
    )


def type_of(values: Sequence[Any]) -> Type:
    """The narrowest type that all values are of; text where there are none."""
    kinds = {type(v) for v in values}
    if not kinds or str in kinds:
        return "text"
    if kinds == {bool}:
        return "boolean"
    return "integer" if kinds == {int} else "number"


def unit_of(name: str, meaning: str) -> str:
    """Of a column of numbers: what its meaning has in brackets, or its name at its end.

    Examples
    --------
    >>> unit_of("diameter_m", "diameter [m]"), unit_of("lung_volume_ml", "volume of all lobes"), unit_of("fold", "fold")
    ('m', 'mL', '1')
    """
    if found := _UNIT.search(meaning):
        return found[1]
    if name in VOXELS:
        return "voxel"
    return _ENDS.get(name.rpartition("_")[2].lower(), "1") if "_" in name else "1"


def channel_meaning(name: str) -> str:
    """What a channel is, of its name.

    Examples
    --------
    >>> channel_meaning("dark_field_90_noise")
    'standard error of: linear diffusion coefficient (dark field), gratings at 90 degrees'
    """
    channel = Channel.parse(name)
    told = SIGNALS.get(channel.signal, channel.signal)
    told += f", {channel.part}" if channel.part else ""
    told += f", gratings at {channel.direction:g} degrees" if channel.direction is not None else ""
    return f"standard error of: {told}" if channel.role == "noise" else told
