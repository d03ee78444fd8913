"""Chunks of images answer for themselves, and other programs open what is written as the standard says."""

import random
import shutil
from itertools import pairwise

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image as Standard

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.images import create_image, finish_image, image_grid, load_image, open_array, save_image

NAMES = ("attenuation", "dark_field_0", "lung")


def image(shape=(70, 66, 65), channels=2, seed=0):
    data = np.random.default_rng(seed).normal(1, 0.2, (channels, *shape)).round(2).astype(np.float32)
    return Image(data, NAMES[:channels], ("1/m",) * channels, (1e-4,) * len(shape))


def slabs(path, values, slab):
    stored = create_image(
        path, names=NAMES[: len(values)], units=("1/m",) * len(values), shape=values.shape[1:], spacing_m=1e-4, slab=slab
    )
    for start in range(0, values.shape[1], slab):
        stored[:, start : start + slab] = values[:, start : start + slab]
    finish_image(path)


def test_every_flipped_bit_of_a_chunk_is_an_error_when_it_is_read(tmp_path):
    path, rng = tmp_path / "i.ome.zarr", random.Random(1)
    whole = image()
    save_image(path, whole)
    chunks = [p for p in (path / "0/c").rglob("*") if p.is_file()]
    for _ in range(150):
        file = rng.choice(chunks)
        content = file.read_bytes()
        bit = rng.randrange(8 * len(content))
        file.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
        with pytest.raises(DarklungError, match=r"i\.ome\.zarr"):
            load_image(path)
        file.write_bytes(content)
    np.testing.assert_array_equal(load_image(path).data, whole.data)


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan], ids=["zeros", "ones", "nothing"])
@pytest.mark.parametrize("by_slabs", [False, True])
def test_a_lost_chunk_is_an_error_and_no_values(tmp_path, value, by_slabs):
    path = tmp_path / "i.ome.zarr"
    data = np.full((2, 40, 30, 30), value, np.float32)
    if by_slabs:
        slabs(path, data, 16)
    else:
        save_image(path, Image(data, NAMES[:2], ("1/m",) * 2, (1e-4,) * 3))
    np.testing.assert_array_equal(load_image(path).data, data)
    sorted(p for p in (path / "0/c").rglob("*") if p.is_file())[-1].unlink()
    with pytest.raises(DarklungError, match="1 of its 2 files of chunks are missing" if not by_slabs else "of its 6 files"):
        load_image(path)
    with pytest.raises(DarklungError, match="1 of its 2 files of chunks are missing" if not by_slabs else "of its 6 files"):
        image_grid(path)


def test_a_chunk_cut_off_or_of_another_place_is_an_error(tmp_path):
    path = tmp_path / "i.ome.zarr"
    save_image(path, image())
    first, second = sorted(p for p in (path / "0/c").rglob("*") if p.is_file())[:2]
    content = first.read_bytes()
    for other in (content[:-1], content[: len(content) // 2], b"", content + b"\0"):
        first.write_bytes(other)
        with pytest.raises(DarklungError):
            load_image(path)
    first.write_bytes(content)
    assert second.read_bytes() != content
    load_image(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: save_image(path, image()),
        lambda path: save_image(path, image((30, 40), 3)),
        lambda path: save_image(path, Image(np.ones((1, 4, 4, 4), np.float32), ("attenuation",), ("1/m",), (1e-3,) * 3)),
        lambda path: save_image(
            path, image((5, 6, 7), 2).with_data(np.zeros((2, 5, 6, 7), np.uint16), ("a", "b"), ("", ""))
        ),
        lambda path: save_image(path, Image(np.full((1, 4, 4), np.nan, np.float32), ("phase",), ("rad",), (1e-3,) * 2)),
        lambda path: slabs(path, image((40, 20, 20)).data, 16),
    ],
    ids=["volume", "radiograph", "constant", "labels", "nothing finite", "by slabs"],
)
def test_the_standards_own_schema_and_a_reader_take_it(tmp_path, make):
    path = tmp_path / "i.ome.zarr"
    make(path)
    group = zarr.open_group(str(path), mode="r")
    Standard.from_zarr(group)
    channels = group.attrs["ome"]["omero"]["channels"]
    names = list(image_grid(path).names)
    assert [c["label"] for c in channels] == names
    for channel in channels:
        assert len(bytes.fromhex(channel["color"])) == 3
        window = channel["window"]
        assert window["min"] <= window["start"] < window["end"] <= window["max"]
    (node,) = Reader(parse_url(str(path)))()
    assert node.data[0].shape == open_array(path).shape
    shown = node.metadata
    # What napari asks for: one colour map and one pair of limits a channel, or it refuses the image.
    assert len(shown["colormap"]) == len(shown["contrast_limits"]) == len(shown["channel_names"]) == len(names)
    assert all(low < high for low, high in shown["contrast_limits"])
    np.testing.assert_array_equal(np.asarray(node.data[0]), np.asarray(group["0"]))


def test_what_is_shown_are_the_values_of_the_channel(tmp_path):
    path = tmp_path / "i.ome.zarr"
    ramp = np.linspace(-1, 3, 32 * 20 * 20, dtype=np.float32).reshape(32, 20, 20)
    ramp[0, 0, 0] = np.nan
    values = np.stack([ramp, 0 * ramp])
    values[1, 5, 5, 5] = 1
    save_image(path, Image(values, NAMES[:2], ("1/m",) * 2, (1e-4,) * 3))
    first, second = (c["window"] for c in zarr.open_group(str(path), mode="r").attrs["ome"]["omero"]["channels"])
    assert (first["min"], first["max"]) == (float(ramp.ravel()[1]), 3.0)
    assert first["start"] == pytest.approx(-0.96, abs=0.08)
    assert first["end"] == pytest.approx(2.96, abs=0.08)
    assert second == {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}  # one voxel of a mask is seen


def test_images_of_before_are_read_as_they_were(tmp_path):
    path = tmp_path / "i.ome.zarr"
    save_image(path, image())
    group = zarr.open_group(str(path), mode="r+")
    exact = {k: v for k, v in dict(group.attrs["darklung"]).items() if k != "whole"}
    shutil.rmtree(path / "0")
    whole = image().data
    group.create_array("0", shape=whole.shape, dtype=whole.dtype, chunks=(1, 64, 64, 64))[...] = whole
    group.attrs["darklung"] = exact
    np.testing.assert_array_equal(load_image(path).data, whole)


def test_colours_are_apart(tmp_path):
    path = tmp_path / "i.ome.zarr"
    save_image(path, image((4, 4, 4), 3))
    colours = [c["color"] for c in zarr.open_group(str(path), mode="r").attrs["ome"]["omero"]["channels"]]
    assert all(a != b for a, b in pairwise(colours))
