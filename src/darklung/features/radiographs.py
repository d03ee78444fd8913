"""Radiographs of an animal as labelled cases beside its CT: searched in the shadow of its CT's region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from darklung.core.geometry import Geometry
from darklung.core.types import Image, Insertion
from darklung.core.views import pixel_position_m, shadow_of, view_facts
from darklung.features.channels import crop_to_region
from darklung.features.labels import hard_negatives, lesion_labels
from darklung.io.case import CaseFacts, LabelledCase

VIEW = "view"  # of a case's provenance: the beam that a radiograph was taken with


def radiograph_case(
    maps: Image,
    truth: Image,
    geometry: Geometry,
    ct: LabelledCase,
    insertions: Sequence[Insertion],
    *,
    about: CaseFacts,
    margin_m: float,
    least_path_m: float,
) -> LabelledCase:
    """A radiograph as a case: lung and search region are the shadows of those found in the CT, not of the truth.

    Parameters
    ----------
    maps : Image
        Channels of the whole detector, (channel, row, col).
    truth : Image
        Of `darklung.phantom.describe.radiograph_truth`, on the same pixels.
    geometry : Geometry
        Of its one view; kept in the provenance.
    ct : LabelledCase
        Of the same animal.
    insertions : sequence of Insertion
        Of the animal, in the volume's frame.
    about : CaseFacts
    margin_m : float
        Kept around the search region.
    least_path_m : float
        Rays with no longer path in lesions only graze one, and are not labelled.
    """
    lung, region = (shadow_of(mask, ct.channels, geometry, maps) for mask in (ct.lung, ct.region))
    crop = crop_to_region(maps, region, margin_m=margin_m)
    places = pixel_position_m(geometry, np.array([i.center_m for i in insertions]).reshape(-1, 3))
    thrown = tuple(replace(i, center_m=(float(z), 0.0, float(s))) for i, (z, s) in zip(insertions, places))
    instances = truth.channel("instance").astype(np.uint16)
    lesions = np.isin(instances, [i.number for i in insertions if i.kind == "lesion"])
    instances[lesions & (truth.channel("lesion_path") <= least_path_m)] = 0
    own = instances[crop.slices]
    return LabelledCase(
        channels=crop.image,
        labels=lesion_labels(own, thrown),
        lung=lung[crop.slices],
        region=crop.region,
        instances=own,
        hard=hard_negatives(thrown, own, crop.image),
        insertions=thrown,
        about=replace(about, provenance={**about.provenance, VIEW: {**view_facts(geometry)}}),
    )
