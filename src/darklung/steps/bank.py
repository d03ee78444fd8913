"""Training animals with fresh lesions from a bank, drawn again every so many steps while a network learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from darklung.core.channel import directed
from darklung.core.checks import require
from darklung.core.random import derive_seed, stream
from darklung.core.types import LESION
from darklung.insert.bank import BankLesion, Host, draw_bank
from darklung.insert.reuse import Reused, reuse_lesions
from darklung.insert.scale import Scale
from darklung.insert.volume import volume_grid
from darklung.io.case import LabelledCase, load_case
from darklung.study.learning import BankPart

if TYPE_CHECKING:  # what plans the step must not decide its key
    from darklung.learn.data import Case, Redraw

BLUR_VOXELS = (0.0, 0.5, 0.5)  # z, y, x: of a reconstruction on its own pixels, docs/insertion.md


def make_redraw(
    folders: Sequence[Path],
    animals: Sequence[str],
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
    animals : sequence of str
        Of each case.
    channels : tuple of str
        That the cases shall have.
    part : BankPart
    facts : mapping
        Of `darklung.steps.plan.bank_facts`.
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
        for folder, animal, beam in zip(folders, animals, facts["beams"]):
            own = derive_seed(seed, "redraw", step, folder.name)
            count = int(stream(own, "count").integers(part.per_case[0], part.per_case[1] + 1))
            stored = load_case(folder)
            made = fresh_lesions(stored, bank=bank, count=count, beam=beam, seed=own)
            wanted, found = wanted + count, found + int(made.lesions.max())
            drawn.append(case_with(stored, made, animal, channels))
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
    image, grid = stored.channels, volume_grid(stored.channels)
    attenuation, scattering = image.channel("attenuation"), [image.channel(n) for n in directed(image.names)]
    blur = (BLUR_VOXELS[0] * grid.voxel_m, BLUR_VOXELS[1] * grid.voxel_m, BLUR_VOXELS[2] * grid.voxel_m)
    return reuse_lesions(
        attenuation, scattering, stored.lung, grid, bank=bank, count=count,
        taken=(stored.instances > 0) | stored.hard | stored.unknown, host=_host(stored, beam), seed=seed, blur_m=blur,
    )  # fmt: skip


def _host(stored: LabelledCase, beam: tuple[float, float]) -> Host:
    image = stored.channels
    scale = Scale("the study", *beam)
    lung = [float(np.median(image.channel(n)[stored.lung])) for n in ("attenuation", *directed(image.names))]
    tissue = scale.tissue_per_m or 0.0
    return scale.host(tissue_per_m=tissue, lung_per_m=lung[0], scattering_per_m=float(np.mean(lung[1:])))


def case_with(stored: LabelledCase, made: Reused, animal: str, channels: tuple[str, ...]) -> Case:
    """The case as the networks take it, with what was reused: its channels change alike, lesions are targets, shams hard.

    ``dark_field``, the mean of the directions, changes by their mean; other channels than attenuation and dark fields stay.
    """
    from darklung.learn.data import Case

    image = stored.channels
    changes = {"attenuation": made.attenuation, "dark_field": made.scattering.mean(axis=0)}
    changes |= dict(zip(directed(image.names), made.scattering))
    data = np.stack([image.channel(name) + changes.get(name, 0) for name in channels]).astype(np.float32)
    return Case(
        subject=animal,
        image=image.with_data(data, channels, tuple(image.unit(name) for name in channels)),
        target=np.where(made.lesions > 0, np.uint8(LESION), stored.labels),
        region=stored.region,
        hard=stored.hard | (made.shams > 0),
        lung=stored.lung,
    )
