"""Which channels and files an insertion looks at."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.insert.maps import dark_channels
from darklung.io.labels import read_lung


def test_every_direction_is_a_dark_field_and_noise_is_none():
    names = ("attenuation", "dark_field", "dark_field_-45", "dark_field_90", "dark_field_90_noise")
    image = Image(np.zeros((5, 2, 2), np.float32), names, ("1",) * 5, (1e-4, 1e-4))
    assert dark_channels(image) == ("dark_field", "dark_field_-45", "dark_field_90")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_a_broken_region_is_told_in_one_line(tmp_path, content):
    (tmp_path / "region.npy").write_bytes(content)
    with pytest.raises(DarklungError, match=r"region\.npy: cannot be read as npy") as caught:
        read_lung(tmp_path / "region.npy", (2, 2))
    assert "\n" not in str(caught.value)
