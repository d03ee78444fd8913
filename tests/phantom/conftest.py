"""Mice made once for all tests of the phantom."""

import pytest

from darklung.core.types import Phantom
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom

VOXEL_M = 2e-4
LESIONS = tuple(
    LesionRequest(tissue, size)
    for tissue, size in (
        ("solid", 1.6e-3),
        ("filled", 1.4e-3),
        ("papillary", 1.2e-3),
        ("lepidic", 1.5e-3),
        ("solid", 0.7e-3),
    )
)
MIMICS = tuple(LesionRequest(t, 1.4e-3) for t in ("atelectasis", "pneumonia", "emphysema", "vessel_cluster"))


@pytest.fixture(scope="session")
def mouse() -> Phantom:
    return make_phantom(seed=11, voxel_m=VOXEL_M, lesions=LESIONS, shams=2, mimics=MIMICS)


@pytest.fixture(scope="session")
def healthy() -> Phantom:
    return make_phantom(seed=11, voxel_m=VOXEL_M)


@pytest.fixture(scope="session")
def diseased() -> Phantom:
    return make_phantom(seed=11, voxel_m=VOXEL_M, variant="B")
