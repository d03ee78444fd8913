"""A bank puts nothing where nobody knows what is there already."""

from dataclasses import replace

import numpy as np
import pytest

from darklung.core.geometry import centred_axis
from darklung.core.types import LESION, UNKNOWN, Image
from darklung.insert.bank import draw_bank
from darklung.insert.scale import Scale
from darklung.io.case import CaseFacts, LabelledCase
from darklung.steps.bank import case_with, fresh_lesions

VOXEL_M, SHAPE, BEAM = 3e-4, (24, 26, 28), (70.0, 3e-6)
NAMES = ("attenuation", "dark_field", "dark_field_22.5", "dark_field_90")


def lung_case():
    z, y, x = np.meshgrid(*(centred_axis(n, VOXEL_M) for n in SHAPE), indexing="ij")
    region = (z / 3e-3) ** 2 + (y / 3.4e-3) ** 2 + (x / 3.6e-3) ** 2 < 1
    tissue = Scale("test", *BEAM).tissue_per_m
    noise = 1 + 0.03 * np.random.default_rng(0).standard_normal((4, *SHAPE))
    levels = np.array([0.3 * tissue, 36.0, 40.0, 32.0])[:, None, None, None]
    data = np.where(region, levels, np.array([tissue, 5, 5, 5])[:, None, None, None]) * noise
    image = Image(data.astype(np.float32), NAMES, ("1/m",) * 4, (VOXEL_M,) * 3)
    labels, instances, none = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, bool)
    return LabelledCase(image, labels, region, region, instances, none, (), CaseFacts("m", "m"))


def test_lesions_of_a_bank_keep_off_the_unknown_which_stays_unknown():
    bank = draw_bank(count=3, seed=1, voxel_m=VOXEL_M, variant="A", classes=("solid",), diameters_m=(1.2e-3, 1.6e-3))
    case = lung_case()
    labels = case.labels.copy()
    labels[:, :13] = UNKNOWN
    half = replace(case, labels=labels)
    in_half = 0
    for seed in range(4):
        free = case_with(case, fresh_lesions(case, bank=bank, count=2, beam=BEAM, seed=seed), NAMES)
        in_half += int((free.target[:, :13] == LESION).any())
        made = fresh_lesions(half, bank=bank, count=2, beam=BEAM, seed=seed)
        found = case_with(half, made, NAMES)
        assert (found.target == LESION).any()
        np.testing.assert_array_equal(found.target == UNKNOWN, half.unknown)
        assert not found.hard[half.unknown].any()
    assert in_half > 0  # where all is known lesions lie there, too


@pytest.mark.parametrize("kept", [1, 2])
def test_a_bank_works_with_attenuation_alone_and_with_a_dark_field_without_directions(kept):
    bank = draw_bank(count=3, seed=1, voxel_m=VOXEL_M, variant="A", classes=("solid",), diameters_m=(1.2e-3, 1.6e-3))
    whole = lung_case()
    image = whole.channels.with_data(whole.channels.data[:kept], NAMES[:kept], ("1/m",) * kept)
    case = replace(whole, channels=image)
    found = case_with(case, fresh_lesions(case, bank=bank, count=2, beam=BEAM, seed=0), NAMES[:kept])
    lesion = found.target == LESION
    assert lesion.any()
    change = found.image.data - image.data
    assert np.isfinite(change).all()
    assert change[0][lesion].mean() > 0.1 * image.channel("attenuation")[case.lung].mean()
    assert (change[1:, lesion].mean(axis=1) < 0).all()
