"""A planned insertion that finds no room becomes smaller, and is recorded as it was placed."""

import pytest

from darklung.core.checks import DarklungError
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import all_requests, make_phantom


def test_alternatives_go_anywhere_then_down_to_the_least():
    tried = list(LesionRequest("solid", 3e-3, "airway", 1.5e-3).alternatives())
    assert [(r.location, round(1e3 * r.diameter_m, 2)) for r in tried] == [
        ("airway", 3.0), ("any", 3.0), ("any", 2.4), ("any", 1.92), ("any", 1.54), ("any", 1.5),
    ]  # fmt: skip
    assert len(list(LesionRequest("solid", 3e-3, "airway").alternatives())) == 1
    with pytest.raises(DarklungError, match="least_diameter_m"):
        LesionRequest("solid", 1e-3, least_diameter_m=2e-3)


def test_a_lesion_too_large_for_the_lung_is_placed_smaller_only_where_that_was_allowed():
    with pytest.raises(DarklungError, match="no lobe has room for solid of 9 mm"):
        make_phantom(seed=2, voxel_m=4e-4, lesions=[LesionRequest("solid", 9e-3)])
    mouse = make_phantom(seed=2, voxel_m=4e-4, lesions=[LesionRequest("solid", 9e-3, least_diameter_m=1e-3)])
    (lesion,) = mouse.insertions
    assert 1e-3 <= lesion.diameter_m < 7e-3
    volume = mouse.lesion_mask().sum() * mouse.voxel_m**3
    assert volume == pytest.approx(0.5236 * lesion.diameter_m**3, rel=0.35)


def test_a_number_of_mimics_fits_into_a_crowded_lung_and_their_sizes_as_placed_are_told():
    """Not all of these thirty find room at the size that was drawn, which stopped the mouse."""
    mouse = make_phantom(seed=3, voxel_m=4e-4, mimics=30)
    asked = [request.diameter_m for _, request in all_requests(3, (), 0, 30)]
    placed = [insertion.diameter_m for insertion in mouse.insertions]
    assert len(placed) == 30
    assert min(placed) >= 0.7e-3 * 0.999
    smaller = [p for p, a in zip(placed, asked) if p < 0.99 * a]
    assert 0 < len(smaller) < 15
    assert all(p <= a * 1.001 for p, a in zip(placed, asked))
