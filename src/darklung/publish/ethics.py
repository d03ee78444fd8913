"""Animals in a card: a statement on the 3Rs where all are simulated, the ARRIVE items where some were measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, model_validator

from darklung.core.checks import check_one_of, require
from darklung.io.documents import Document, read_document
from darklung.publish.card import Asked, Ethics, Source

# ARRIVE 2.0, Percie du Sert et al. 2020, 10.1371/journal.pbio.3000410: the essential ten, then the recommended set.
ARRIVE = (
    "study design",
    "sample size",
    "inclusion and exclusion criteria",
    "randomisation",
    "blinding",
    "outcome measures",
    "statistical methods",
    "experimental animals",
    "experimental procedures",
    "results",
    "abstract",
    "background",
    "objectives",
    "ethical statement",
    "housing and husbandry",
    "animal care and monitoring",
    "interpretation",
    "generalisability",
    "protocol registration",
    "data access",
    "declaration of interests",
)
# What people write where a reference is asked for and they have none.
NO_REFERENCE = ("", "-", "?", "none", "n/a", "na", "todo", "tbd", "pending", "to be filled in", "unknown")
MOST_TEXT = 10_000


class EthicsFile(Document):
    """``--ethics FILE.yaml``."""

    approval: str = Field("", max_length=MOST_TEXT, description="reference of the approval")
    authority: str = Field("", max_length=MOST_TEXT, description="who gave it")
    justification: str = Field("", max_length=MOST_TEXT, description="why animals were needed")
    welfare: str = Field("", max_length=MOST_TEXT, description="anaesthesia, humane end points, what they went through")
    arrive: dict[str, str] = Field({}, description="item of ARRIVE 2.0 -> text")

    @model_validator(mode="after")
    def _known_items(self) -> EthicsFile:
        for item in self.arrive:
            check_one_of("arrive", item, ARRIVE)
        return self


def read_ethics(path: Path) -> EthicsFile:
    """The file of ``--ethics``.

    Raises
    ------
    DarklungError
        One line for each mistake, with the item's name.
    """
    found: EthicsFile = read_document(path, EthicsFile)
    return found


def ethics_of(
    sources: Sequence[Source] | None,
    *,
    atlases: Sequence[str] = (),
    given: EthicsFile | None = None,
    origin: str = "--ethics",
) -> Ethics:
    """What the card says of animals.

    Parameters
    ----------
    sources : sequence of Source, optional
        None where nothing tells what the model learned from.
    atlases : sequence of str
        Files of anatomy that animals were simulated with.
    given : EthicsFile, optional
        What the user says.
    origin : str
        Its name in errors.

    Raises
    ------
    DarklungError
        Measured animals, and a file without a reference of the approval.
    """
    counts = {kind: _count(sources or (), kind) for kind in ("simulated", "measured", "not known")}
    measured = counts["measured"]
    names = ", ".join(s.name for s in sources or () if s.animals == "measured")
    if given is not None and measured:
        told = f"wanted the reference of its approval: {measured} measured animal(s) are among the sources ({names})"
        require(given.approval.strip().lower() not in NO_REFERENCE, f"{origin}: approval: {told}, got {given.approval!r}")
    said = given or EthicsFile()
    asked = tuple(Asked(number=i, item=item, told=said.arrive.get(item, "")) for i, item in enumerate(ARRIVE, 1))
    return Ethics(
        simulated=counts["simulated"],
        measured=measured,
        not_known=counts["not known"],
        statement=_statement(counts, atlases, known=bool(sources)),
        approval=said.approval or None,
        authority=said.authority or None,
        justification=said.justification or None,
        welfare=said.welfare or None,
        arrive=asked if measured or said.arrive else (),
    )


def unfilled(ethics: Ethics) -> list[str]:
    """What of a card with measured animals is still to be filled in by its maker; nothing where there are none."""
    if not ethics.measured:
        return []
    parts = [name for name in ("approval", "justification", "welfare") if not getattr(ethics, name)]
    return parts + [a.item for a in ethics.arrive if not a.told.strip()]


def _count(sources: Sequence[Source], kind: str) -> int:
    """Animals, each once: some are in several sources, or in training and in a test by another fold's model."""
    return len({name for s in sources if s.animals == kind for name in s.names})


def _statement(counts: dict[str, int], atlases: Sequence[str], *, known: bool) -> tuple[str, ...]:
    simulated, measured, not_known = counts["simulated"], counts["measured"], counts["not known"]
    if not known:
        return ("The files of the model do not tell what animals it learned from: whether any was measured is not known.",)
    told = []
    if measured or not_known:
        told += [f"{simulated} animal(s) were simulated."] if simulated else []
        told += [f"{measured} animal(s) were measured."] if measured else []
        told += [f"Of {not_known} animal(s) the files do not tell whether they were simulated."] if not_known else []
        return tuple(told)
    told += [
        f"Replacement: all {simulated} animals are simulated; none was bred, imaged or killed to train or test this model.",
        "Reduction: how many animals a measured study would need is not told by this card.",
        "Refinement: nothing was done to any animal.",
    ]
    if atlases:
        told.append(f"Their anatomy is from an atlas ({', '.join(atlases)}), whose animals are not counted here.")
    return tuple(told)
