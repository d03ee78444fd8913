"""From an image to a labelled case: what is known of it, or what is put into it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from darklung.api.images import NOTHING, Settings
from darklung.core.checks import check_shape, require
from darklung.core.types import Image, Phantom
from darklung.io.case import CaseFacts, LabelledCase
from darklung.io.documents import validate

SUBJECT = "image"


def make_case(
    image: Image,
    truth: Phantom | NDArray[Any] | None = None,
    *,
    subject: str = SUBJECT,
    region: NDArray[np.bool_] | None = None,
    margin_m: float = 1e-3,
    seed: int = 1,
) -> LabelledCase:
    """An image as networks and evaluation take it: channels cropped to the search region, and what is known of lesions.

    Parameters
    ----------
    image : Image
        With ``attenuation``, in which lung and search region are found unless `region` is given.
    truth : Phantom, array or None
        The animal that was simulated; or labels (*spatial), 0 and 255 (unknown) and other numbers for lesions; None: nothing
        is known, so that the case can be predicted alone.
    subject : str
        Name of the case and its animal.
    region : (*spatial) bool, optional
        Where lung is; radiographs need it.
    margin_m : float
        Kept around the search region [m].
    seed : int
        Of the control channel ``noise``.

    Raises
    ------
    DarklungError
        No lung in the image, or shapes that differ.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[("solid", 3e-3)])
    >>> values = 20 * mouse.density.sum(axis=0, keepdims=True)
    >>> image = darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    >>> case = darklung.make_case(image, mouse, region=mouse.lobes > 0)
    >>> case.channels.names, bool(case.lesion.any())
    (('attenuation', 'noise'), True)
    """
    from darklung.features.labels import no_truth, truth_of_labels, truth_of_phantom
    from darklung.features.lung import find_lungs
    from darklung.io.labels import check_unknown
    from darklung.steps.cases import labelled

    if region is None:
        require(len(image.shape) == 3, "make_case: a radiograph does not tell where lung is; wanted a region")
        found = find_lungs(image)
        lung, search = found.lung, found.search
    else:
        check_shape("region", region, "*spatial", image.shape)
        lung = search = np.asarray(region, dtype=bool)
    if truth is not None and not isinstance(truth, Phantom):
        check_shape("truth", truth, "*spatial", image.shape)
        check_unknown(truth, "truth")

    def known(box: tuple[slice, ...], grid: Image) -> Any:
        if truth is None:
            return no_truth(grid)
        return truth_of_phantom(truth, grid) if isinstance(truth, Phantom) else truth_of_labels(truth[box], grid)

    facts = CaseFacts(subject, subject, synthetic=isinstance(truth, Phantom))
    return labelled(image, lung, search, known, about=facts, margin_m=margin_m, seed=seed)


def insert(
    image: Image,
    *,
    lesions: int = 1,
    shams: int = 0,
    mimics: int = 0,
    region: NDArray[np.bool_] | None = None,
    scale: str = "own",
    seed: int = 1,
    subject: str = SUBJECT,
    settings: Settings = NOTHING,
) -> LabelledCase:
    """Synthetic lesions, shams and mimics in a measured or simulated volume, the same ones in all channels.

    Parameters
    ----------
    image : Image
        A volume with ``attenuation`` and none, one or several dark fields.
    lesions, shams, mimics : int
        How many.
    region : (z, y, x) bool, optional
        Where lung is; found in the image if not given.
    scale : str
        What energy and ξ are known from: ``own`` (the lung itself), a protocol, or a calibration (docs/insertion.md).
    seed : int
    subject : str
    settings : mapping
        Further keys of ``insertion``, such as ``{"classes": ["solid"], "diameter": ["1 mm", "2 mm"]}``.

    Raises
    ------
    DarklungError
        No lung, or insertions that find no room.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[])
    >>> values = 20 * mouse.density.sum(axis=0, keepdims=True)
    >>> image = darklung.Image(values, ("attenuation",), ("1/m",), (mouse.voxel_m,) * 3)
    >>> case = darklung.insert(image, region=mouse.lobes > 0, settings={"classes": ["solid"], "diameter": ["2 mm", "3 mm"]})
    >>> [(i.kind, i.tissue) for i in case.insertions]
    [('lesion', 'solid')]
    """
    from darklung.insert.planned import changed_image, drawn_changes, volume_noise
    from darklung.steps.insertion.parameters import Parameters
    from darklung.steps.insertion.rows import copy_case
    from darklung.steps.insertion.volumes import plan_image, volume_blur
    from darklung.study.insertion import InsertOptions

    said = {**settings, "lesions": lesions, "shams": shams, "mimics": mimics, "seed": seed}
    options: InsertOptions = validate(said, InsertOptions, "insert")
    p = Parameters(
        source=subject, animal=subject, copy_number=0, wanted=options.wanted(0), options=options, scale=scale
    )  # fmt: skip
    plan = plan_image(p, image, region, name=subject)
    changes = drawn_changes(plan, volume_blur(p, plan.grid.voxel_m), volume_noise(plan))
    placed = [one.insertion for one in plan.placed]
    return copy_case(p, changed_image(plan, changes), placed, instances=changes.instances, region=plan.region)
