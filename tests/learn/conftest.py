"""Small cases to learn from: bright blobs in noise."""

import numpy as np
import pytest

from darklung.core.types import Image
from darklung.learn.data import Case


def blob_case(number, shape=(20, 24), contrast=4.0, lesions=2):
    """A case with `lesions` bright balls in unit noise; channels a (bright), b (dark), c (noise)."""
    rng = np.random.default_rng(number)
    grid = np.indices(shape)
    target = np.zeros(shape, np.uint8)
    for _ in range(lesions):
        at = np.array([rng.uniform(3, n - 3) for n in shape]).reshape(-1, *[1] * len(shape))
        target[((grid - at) ** 2).sum(axis=0) < 4.5] = 1
    data = rng.normal(size=(3, *shape)) + contrast * np.array([1, -1, 0]).reshape(3, *[1] * len(shape)) * target
    region = np.ones(shape, bool)
    region[0] = False
    image = Image(data.astype(np.float32), ("a", "b", "c"), ("1",) * 3, (3e-4,) * len(shape))
    return Case(f"m{number}", image, target, region)


@pytest.fixture(scope="session")
def make_case():
    return blob_case
