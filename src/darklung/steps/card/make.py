"""A card of a model, or of an arm's models in a run, put together of what their files tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung import __version__
from darklung.core.checks import require
from darklung.core.files import make_folder, reading, write_text
from darklung.io.names import COMPARISON
from darklung.learn.files import DESCRIPTION_FILE
from darklung.learn.fits import SAME_ENERGY, SAME_SPACING
from darklung.pipeline.artefacts import RUN_RECORD
from darklung.pipeline.record import read_json
from darklung.publish.card import Animals, Card, Data, Source
from darklung.publish.ethics import EthicsFile, ethics_of, read_ethics
from darklung.publish.markdown import markdown
from darklung.publish.words import limits_of, use_of
from darklung.steps import evaluate
from darklung.steps.card.files import read_model, writable
from darklung.steps.card.model import MEASURED, architecture_of, channels_of, images_of, member_of, training_of
from darklung.steps.card.run import NOT_KNOWN, about_run, atlases_of, comparison_of, evaluation_of, run_of, sources_of

TRAIN = "train"
MARKDOWN, JSON = ".md", ".json"


def make_card(
    model: Path,
    *,
    arm: str = "",
    ethics: Path | EthicsFile | None = None,
    license: str = "",
    animals: Mapping[str, Animals] | None = None,
) -> Card:
    """The card of a folder with model.json, or of one arm of a run, whose folds' models are averaged.

    Parameters
    ----------
    model : Path
        A model's folder, in a run or alone, or a run folder.
    arm : str
        Row of the comparison, such as ``hybrid`` or ``hybrid.boosting``; needed where the run has several.
    ethics : Path or EthicsFile, optional
        What its maker says of measured animals.
    license : str
        Of the model.
    animals : mapping, optional
        Source -> whether its animals were simulated or measured, where files do not tell.

    Raises
    ------
    DarklungError
        One line: no model there, files that are not what was written, an arm that is not there, folds of different
        trainings, or measured animals without a reference of their approval in `ethics`.
    """
    with reading(model, "a model", named=True):
        made = _made(*_chosen(model, arm), ethics, license, animals or {})
        return Card.model_validate(writable(made.model_dump()))  # names of cases and folders may hold halves of characters


def _made(
    run: Path | None,
    folders: list[Path],
    row: str,
    ethics: Path | EthicsFile | None,
    license: str,
    animals: Mapping[str, Animals],
) -> Card:
    descriptions = [read_model(folder) for folder in folders]
    given = read_ethics(ethics) if isinstance(ethics, Path) else ethics
    about = about_run(run) if run is not None else None
    data, evaluation = _data(run, about, folders, descriptions, row)
    data = data.model_copy(update={"sources": _told(data.sources, animals)})
    architecture, training = _same(folders, descriptions)
    dims = int(descriptions[0]["dims"])
    return Card(
        name=_name(run, about, folders, row),
        license=license or None,
        version=__version__,
        architecture=architecture,
        training=training,
        members=tuple(member_of(f, d) for f, d in zip(folders, descriptions)),
        evaluation=evaluation,
        data=data,
        run=run_of(run, about) if run is not None and about is not None else None,
        ethics=_ethics(data, given, ethics if isinstance(ethics, Path) else None),
        use=use_of(data, dims),
        limits=limits_of(data, evaluation, refusals(descriptions[0])),
    )


def _name(run: Path | None, about: Mapping[str, Any] | None, folders: Sequence[Path], row: str) -> str:
    if run is None or about is None:
        return row
    return f"{about['name']}: {folders[0].name if _alone(run, folders, row) else row}"


def _alone(run: Path, folders: Sequence[Path], row: str) -> bool:
    """Whether the card is of one fold of several."""
    return len(folders) < len(_rows(run).get(row, ()))


def write_card(card: Card, out: Path) -> tuple[Path, Path]:
    """Write a card as Markdown at `out` and as JSON beside it; see `check_out`."""
    beside = out.with_suffix(JSON)
    make_folder(out.parent)
    write_text(out, markdown(card))
    write_text(beside, card.model_dump_json(indent=1, by_alias=True) + "\n")
    return out, beside


def check_out(out: Path) -> None:
    """Refuse to write a card over anything but a card.

    Raises
    ------
    DarklungError
        Another ending than .md, or a folder or a file of something else in the place of the JSON, such as model.json.
    """
    require(out.suffix == MARKDOWN, f"--out: wanted a file that ends in {MARKDOWN}, got {out.name}")
    beside = out.with_suffix(JSON)
    content = read_json(beside) if beside.is_file() else None
    free = not beside.exists() or (isinstance(content, dict) and "darklung_card" in content)
    require(free, f"{beside}: is there and is no card; wanted another --out, since the card's JSON goes there")
    require(not out.is_dir(), f"{out}: is a folder; wanted a file that ends in {MARKDOWN}")


def refusals(description: Mapping[str, Any]) -> tuple[str, ...]:
    """What `darklung.learn.fits.why_not` refuses of a model, in words."""
    images = description.get("images") or {}
    cohort = (description.get("normalisation") or {}).get("per") != "volume"
    told = [f"images of other than {description['dims']} spatial axes", "images without one of its channels"]
    if images.get("spacing_m"):
        told.append(f"voxels that differ by more than {SAME_SPACING:.0%}, unless they are resampled")
    if any(b and b[0] is not None for b in images.get("beams") or ()):
        told.append(f"images at an energy that differs by more than {SAME_ENERGY:.0%}")
        told += ["images whose energy is not known"] if cohort else []
    if cohort:
        told.append("channels in another unit")
    return tuple(told)


def _chosen(model: Path, arm: str) -> tuple[Path | None, list[Path], str]:
    """The run, if there is one, the folders of the models, and the row that they are of."""
    if (model / DESCRIPTION_FILE).is_file():
        folder = model.resolve()
        above = folder.parent.parent
        run = above if folder.parent.name == TRAIN and (above / RUN_RECORD).is_file() else None
        row = folder.name.rpartition(".fold")[0] if run else folder.name
        require(not arm or arm == row, f"--arm: {model} is a model of {row}, not of {arm}")
        return run, [model], row
    rows = _rows(model)
    wanted = f"wanted a folder with {DESCRIPTION_FILE}, or a run with {TRAIN}/ARM.foldN"
    require(bool(rows), f"{model}: {wanted}")
    require(arm in rows or (not arm and len(rows) == 1), f"--arm: wanted one of {', '.join(rows)}, got {arm or 'none'}")
    row = arm or next(iter(rows))
    return model, rows[row], row


def _rows(run: Path) -> dict[str, list[Path]]:
    """Row of the comparison -> folders of its models."""
    rows: dict[str, list[Path]] = {}
    for path in sorted((run / TRAIN).glob(f"*.fold*/{DESCRIPTION_FILE}")):
        rows.setdefault(path.parent.name.rpartition(".fold")[0], []).append(path.parent)
    return rows


def _same(folders: Sequence[Path], descriptions: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Architecture and hyper-parameters, which all models of a row must have in common."""
    found = [(architecture_of(f, d), training_of(f, d)) for f, d in zip(folders, descriptions)]
    first, training = found[0]
    for folder, (own, how) in zip(folders, found):
        alike = own.model_copy(update={name: getattr(first, name) for name in MEASURED if hasattr(own, name)})
        told = f"{folder}: its architecture or hyper-parameters are not those of {folders[0]}"
        require((alike, how) == (first, training), f"{told}; make a card of each model alone")
    built = [architecture for architecture, _ in found]
    return first.model_copy(update={name: _joined(built, name) for name in MEASURED if hasattr(first, name)}), training


def _joined(own: Sequence[Any], name: str) -> tuple[int, ...] | None:
    """What was measured of each model, where it was of all."""
    values = [getattr(one, name) for one in own]
    return None if None in values else tuple(v for value in values for v in value)


def _data(
    run: Path | None,
    about: Mapping[str, Any] | None,
    folders: Sequence[Path],
    descriptions: Sequence[Mapping[str, Any]],
    row: str,
) -> tuple[Data, Any]:
    """What the models learned from, and what the run's comparison says of them."""
    own = {"channels": channels_of(folders[0], descriptions[0]), **images_of(folders[0], descriptions[0])}
    own["normalisation"] = str(descriptions[0]["normalisation"]["per"])
    if run is None or about is None:
        return Data(sources=None, **own), None
    content = comparison_of(run, row)
    origin = str(run / evaluate.STAGE / evaluate.ITEM / COMPARISON)
    learned = {str(n) for d in descriptions for k in ("train", "validation") for n in d.get(f"subjects_{k}") or ()}
    sources = sources_of(run, about, learned, content, row) or None
    data = Data(sources=sources, atlases=atlases_of(about), **own)
    alone = _alone(run, folders, row)
    return data, evaluation_of(content, row, origin, alone=alone) if content is not None else None


def _told(sources: Sequence[Source] | None, animals: Mapping[str, Animals]) -> tuple[Source, ...] | None:
    """Sources with what is said of those whose files do not tell."""
    if sources is None:
        return None
    said = ((s, animals.get(s.name, NOT_KNOWN) if s.animals == NOT_KNOWN else s.animals) for s in sources)
    return tuple(s.model_copy(update={"animals": kind}) for s, kind in said)


def _ethics(data: Data, given: EthicsFile | None, path: Path | None) -> Any:
    return ethics_of(data.sources, atlases=data.atlases, given=given, origin=str(path or "--ethics"))
