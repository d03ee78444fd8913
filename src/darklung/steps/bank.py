"""Training animals with fresh lesions from a bank, drawn again every so many steps while a network learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklung.core.checks import require
from darklung.core.random import derive_seed, stream
from darklung.core.types import LESION
from darklung.insert.bank import BankLesion, draw_bank
from darklung.insert.reuse import Reused, reuse_in_image, with_reused
from darklung.insert.scale import Scale
from darklung.io.case import LabelledCase, load_case
from darklung.steps.network_case import network_case
from darklung.study.learning import BankPart

if TYPE_CHECKING:  # what plans the step must not decide its key
    from darklung.learn.data import Case, Redraw


def make_redraw(
    folders: Sequence[Path],
    *,
    channels: tuple[str, ...],
    part: BankPart,
    facts: Mapping[str, Any],
    seed: int,
) -> Redraw:
    """Cases of `folders` with other lesions and shams at every draw.

    Animal and step decide what is drawn, with `seed`: the channels that a network sees do not, so every arm learns from the
    same lesions. Cases are read anew at each draw, so that no more than one of them is held with all channels.

    Parameters
    ----------
    folders : sequence of Path
        Stored training cases.
    channels : tuple of str
        That the cases shall have.
    part : BankPart
    facts : mapping
        Of `darklung.flow.plan.bank_facts`.
    seed : int
        Of the fold.

    Raises
    ------
    DarklungError
        From the first draw, if lesions are wanted and none finds room in any animal.
    """
    from darklung.learn.data import Redraw

    low, high = facts["diameter_m"]
    bank = draw_bank(
        count=part.lesions, seed=derive_seed(seed, "bank"), voxel_m=load_case(folders[0]).channels.spacing_m[0],
        variant=facts["variant"], classes=facts["tissues"], diameters_m=(low, high),
    )  # fmt: skip

    def cases(step: int) -> list[Case]:
        drawn, wanted, found = [], 0, 0
        for folder, beam in zip(folders, facts["beams"]):
            own = derive_seed(seed, "redraw", step, folder.name)
            count = int(stream(own, "count").integers(part.per_case[0], part.per_case[1] + 1))
            stored = load_case(folder)
            made = fresh_lesions(stored, bank=bank, count=count, beam=beam, seed=own)
            wanted, found = wanted + count, found + int(made.lesions.max())
            drawn.append(case_with(stored, made, channels))
        none = step == 0 and wanted > 0 and found == 0
        require(not none, f"learning.bank: no lesion of {1e3 * low:g} to {1e3 * high:g} mm finds room in a training animal")
        return drawn

    return Redraw(part.every, cases)


def fresh_lesions(
    stored: LabelledCase, *, bank: Sequence[BankLesion], count: int, beam: tuple[float, float], seed: int
) -> Reused:
    """`count` lesions of the bank and as many shams in the lung of a case, clear of what is in it already.

    `beam` is the energy [keV] and ξ [m] that attenuation and dark field refer to. They must be corrected to that energy: the
    attenuation of tissue is computed for it.
    """
    taken = (stored.instances > 0) | stored.hard | stored.unknown
    return reuse_in_image(
        stored.channels, stored.lung, bank=bank, count=count, taken=taken, scale=Scale("the study", *beam), seed=seed
    )


def case_with(stored: LabelledCase, made: Reused, channels: tuple[str, ...]) -> Case:
    """The case as the networks take it, with what was reused: its channels change alike, lesions are targets, shams hard."""
    target = np.where(made.lesions > 0, np.uint8(LESION), stored.labels)
    image = with_reused(stored.channels, made, channels)
    return replace(network_case(stored), image=image, target=target, hard=stored.hard | (made.shams > 0))
