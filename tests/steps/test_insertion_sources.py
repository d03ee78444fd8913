"""Which channels and files an insertion looks at."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.insert.maps import dark_channels
from darklung.io.hdf5 import written_hdf5
from darklung.io.labels import read_lung
from darklung.steps.insertion.sources import find_sources


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


def test_one_volume_is_not_taken_for_the_reconstruction_of_several_scans(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "retrieve" / name).mkdir(parents=True)
        with written_hdf5(tmp_path / "retrieve" / name / "projections.h5") as file:
            file.attrs["darklung_type"] = "Projections"
    (tmp_path / "volume.ome.zarr").mkdir()
    with pytest.raises(DarklungError, match=r"is the reconstruction of one scan, .* holds 2; give them one by one"):
        find_sources(tmp_path, region=None, volume=tmp_path / "volume.ome.zarr", pixel_m=1e-4)
    assert len(find_sources(tmp_path, region=None, volume=None, pixel_m=1e-4)) == 2
    one = tmp_path / "retrieve" / "a" / "projections.h5"
    assert len(find_sources(one, region=None, volume=tmp_path / "volume.ome.zarr", pixel_m=1e-4)) == 1
