"""``darklung pack``: the models of a run as a small folder that ``darklung predict`` takes as it takes the run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darklung.commands.recorded import recorded
from darklung.core.checks import check_one_of, require
from darklung.core.extras import require_extra
from darklung.core.files import check_replaceable, make_folder, whole

if TYPE_CHECKING:
    from darklung.commands.chosen import Chosen
    from darklung.publish.card import Card
    from darklung.study.study import Study


@recorded
def pack(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path, typer.Option(help="A new folder, or one of an earlier pack.")],
    arm: Annotated[list[str] | None, typer.Option(help="Once for each; all by default.")] = None,
    license: Annotated[str, typer.Option(help="Of the models, for their cards, such as cc-by-4.0.")] = "",
    ethics: Annotated[Path | None, typer.Option(help="What you say of measured animals (YAML), for their cards.")] = None,
) -> None:
    """Pack a run's models with what it fixed for them and their cards: small enough to send, and all that predict needs."""
    require_extra("pack", "torch", "sklearn")
    typer.echo(pack_models(run, out, arms=arm or (), license=license, ethics=ethics))


def pack_models(run: Path, out: Path, *, arms: Sequence[str] = (), license: str = "", ethics: Path | None = None) -> str:
    """Write the models of a run and what their prediction takes of it; returns a table to print.

    Parameters
    ----------
    run : Path
        Finished, since thresholds, probabilities and lists come from its comparison.
    out : Path
        Gets ``models.json``, ``cards/ARM.md`` and ``.json``, ``train/ARM.foldN/``; all of them or, after a kill, none.
    arms : sequence of str
        All by default.
    license, ethics
        As `darklung card` takes them.

    Raises
    ------
    DarklungError
        No finished run, an unknown arm, code of somebody's own, which a pack does not carry, or a folder with other things.
    """
    from darklung.commands.chosen import models_of
    from darklung.commands.packed import ARMS_FILE
    from darklung.steps.card.make import make_card
    from darklung.steps.evaluate import ITEM, STAGE
    from darklung.study.study import read_study

    finished = (run / "study.yaml").is_file() and (run / STAGE / ITEM).is_dir()
    require(finished, f"{run}: wanted a finished run folder, with study.yaml and {STAGE}/{ITEM}")
    empty = not out.exists() or (out / ARMS_FILE).is_file() or not any(out.iterdir())
    require(empty, f"{out}: holds something else; wanted a new folder, or one of an earlier pack")
    found = {one.arm: one for one in models_of(run, "")}
    wanted = [check_one_of("--arm", name, found) for name in arms] or list(found)
    for name in wanted:
        code = ", ".join(found[name].code().values())
        require(not code, f"{run}: arm {name} needs {code}, code that a pack does not carry")
    cards = {name: make_card(run, arm=name, ethics=ethics, license=license) for name in wanted}
    check_replaceable(out)
    make_folder(out.absolute().parent)
    with whole(out.absolute()) as partial:
        sizes = _write(partial, read_study(run / "study.yaml"), [found[name] for name in wanted], cards)
    rows = [f"{'arm':<24}{'models':>8}{'MB':>8}"]
    rows += [f"{name:<24}{len(found[name].folders):8d}{size / 1e6:8.2f}" for name, size in sizes.items()]
    return "\n".join([*rows, f"written to {out}; next: darklung predict {out} SOURCE --out FOLDER"])


def _write(out: Path, study: Study, arms: Sequence[Chosen], cards: Mapping[str, Card]) -> dict[str, int]:
    """The folder of a pack; bytes of each arm's models."""
    from darklung.commands.packed import ARMS_FILE, CARDS, Pack, PackedArm
    from darklung.io.documents import validate
    from darklung.pipeline.record import write_json
    from darklung.steps.card.make import write_card
    from darklung.steps.training import STAGE

    sizes, packed = {}, {}
    make_folder(out / CARDS)
    for one in arms:
        models, rule = tuple(folder.name for folder in one.folders), one.rule
        fixed = {"threshold": rule.threshold, "curve": rule.curve, "lists": rule.lists, **vars(one.how)}
        packed[one.arm] = PackedArm(models=models, notes=one.notes, **fixed).model_dump(mode="json")
        sizes[one.arm] = sum(_copied(folder, out / STAGE / folder.name) for folder in one.folders)
        write_card(cards[one.arm], out / CARDS / f"{one.arm}.md")
    content: dict[str, Any] = {"study": study.name, "tile": f"{study.evaluation.tile!r} m", "arms": packed}
    content["processing"] = arms[0].processing.model_dump(mode="json")
    write_json(out / ARMS_FILE, validate(content, Pack, ARMS_FILE).model_dump(mode="json"))
    return sizes


def _copied(source: Path, place: Path) -> int:
    """Bytes of a model that was copied."""
    from darklung.steps.predict import MODEL_FILES

    place.mkdir(parents=True, exist_ok=True)
    for name in MODEL_FILES:
        shutil.copyfile(source / name, place / name)
    return sum((place / name).stat().st_size for name in MODEL_FILES)
