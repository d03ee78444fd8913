"""Pictures of sections: levels, boxes and pixels as written; bombs, broken and huge files end in one line or stay small."""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from darklung.core.checks import DarklungError
from darklung.slides.opening import open_slide
from darklung.slides.slide import averaged, mirrored, whole_factor, with_pixel
from darklung.slides.write import write_pyramid

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (1210, 1730, 3)).astype(np.uint8)


def pyramid(path, told=None):
    def render(box):
        row, col, rows, cols = box
        return PICTURE[row : row + rows, col : col + cols]

    write_pyramid(path, render, shape=PICTURE.shape[:2], pixel_m=0.75e-6, told=told or {"synthetic": True})
    return path


def test_a_pyramid_comes_back_box_by_box(tmp_path):
    slide = open_slide(pyramid(tmp_path / "a.ome.tif"))
    assert [level.factor for level in slide.levels] == [1, 4]
    assert slide.pixel() == pytest.approx(0.75e-6)
    assert slide.told == {"synthetic": True}
    assert slide.kind == "OME-TIFF"
    for row, col, rows, cols in ((0, 0, 1210, 1730), (500, 511, 20, 514), (1200, 1700, 10, 30)):
        np.testing.assert_array_equal(slide.region((row, col, rows, cols)), PICTURE[row : row + rows, col : col + cols])
    np.testing.assert_array_equal(slide.region((8, 16, 400, 800), 4), averaged(PICTURE[8:408, 16:816], 4))
    np.testing.assert_array_equal(slide.region((9, 16, 400, 800), 2), averaged(PICTURE[9:409, 16:816], 2))
    assert slide.region((-20, 1700, 40, 60))[:20].min() == 255  # beyond the picture it is white
    assert slide.overview(8).shape == (152, 217, 3)
    assert "pixel: 0.75 um" in "\n".join(slide.lines())


def test_the_pixel_is_the_picture_s_own_and_not_that_of_a_macro_behind_it(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, (picture, pixel) in enumerate(((PICTURE, 0.25), (PICTURE[:300, :900], 12.0), (PICTURE[:90, :90], 3.0))):
            size = {"PhysicalSizeX": pixel, "PhysicalSizeY": pixel, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
            metadata = {"axes": "YXS", "Name": ("slide", "macro", "label")[number], **size}
            file.write(picture, photometric="rgb", tile=(256, 256), metadata=metadata)
    assert open_slide(path).pixel_m == pytest.approx(0.25e-6)


def test_mirrored_twice_is_the_same(tmp_path):
    slide = open_slide(pyramid(tmp_path / "a.ome.tif"))
    for axis, turn in (("up-down", np.flipud), ("left-right", np.fliplr)):
        once = mirrored(slide, axis)
        np.testing.assert_array_equal(once.region((0, 0, 1210, 1730)), turn(PICTURE))
        np.testing.assert_array_equal(mirrored(once, axis).region((3, 5, 70, 90)), PICTURE[3:73, 5:95])
    with pytest.raises(DarklungError, match="flip: wanted up-down or left-right"):
        mirrored(slide, "round")


@pytest.mark.parametrize(
    ("options", "pixel"),
    [
        ({"metadata": {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, "ome": True}, 0.5e-6),
        ({"metadata": {"axes": "YXS", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 500,
                       "PhysicalSizeYUnit": "nm"}, "ome": True}, 0.5e-6),
        ({"description": "Aperio Image Library v1\n10x10|AppMag = 20|MPP = 0.4990"}, 0.499e-6),
        ({"resolution": (20000.0, 20000.0), "resolutionunit": "CENTIMETER"}, 0.5e-6),
        ({"resolution": (72.0, 72.0), "resolutionunit": "INCH"}, None),  # a screen's, no microscope's
        ({"resolution": (600.0, 600.0), "resolutionunit": "INCH"}, None),  # a flatbed's or printer's, as in a PNG
        ({}, None),
    ],
)  # fmt: skip
def test_the_pixel_is_read_where_it_is_told(tmp_path, options, pixel):
    path = tmp_path / ("a.ome.tif" if options.pop("ome", False) else "a.tif")
    options.setdefault("metadata", None)
    tifffile.imwrite(path, PICTURE, photometric="rgb", tile=(256, 256), compression="zlib", **options)
    slide = open_slide(path)
    assert slide.pixel_m == (None if pixel is None else pytest.approx(pixel))
    np.testing.assert_array_equal(slide.region((10, 20, 300, 500)), PICTURE[10:310, 20:520])
    assert ("dots per inch" in " ".join(slide.notes)) == (options.get("resolutionunit") == "INCH")
    if pixel is None:
        with pytest.raises(DarklungError, match=r"a.tif: pixel: the file does not tell it; give it \('0.5 um'\)"):
            slide.pixel()
    given = with_pixel(slide, 1e-6, "given")
    assert given.pixel() == 1e-6
    assert ("one of them is wrong" in " ".join(given.notes)) == (pixel is not None)


PACKINGS = [{}, {"rowsperstrip": 64}, {"compression": "zlib", "predictor": True}, {"photometric": "minisblack"}]


@pytest.mark.parametrize("options", PACKINGS)
def test_strips_grey_and_other_packings(tmp_path, options):
    grey = options.get("photometric") == "minisblack"
    values = PICTURE[..., 0] if grey else PICTURE
    tifffile.imwrite(tmp_path / "a.tif", values, **{"photometric": "rgb", **options}, metadata=None)
    wanted = np.repeat(values[..., None], 3, axis=-1) if grey else values
    np.testing.assert_array_equal(open_slide(tmp_path / "a.tif").region((70, 3, 200, 301)), wanted[70:270, 3:304])


def test_png_and_jpeg(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_slide(tmp_path / "a.png").region((5, 6, 70, 80)), PICTURE[5:75, 6:86])
    clear = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert open_slide(tmp_path / "clear.png").overview(10).min() == 255  # transparent lies on white
    smooth = np.full((64, 64, 3), (200, 120, 180), np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", dpi=(300, 300))
    slide = open_slide(tmp_path / "a.jpg")
    assert slide.pixel_m is None
    assert abs(slide.region((0, 0, 64, 64)).astype(int) - smooth).max() < 6


def jpeg_tiles(path, size=512, tile=256):
    """A slide as Aperio's scanners write it: tiles of JPEG and a coarser level behind a thumbnail."""
    y, x = np.mgrid[:size, :size]
    picture = np.stack([200 + 0 * x, 60 + x // 4, 160 + y // 8], axis=-1).astype(np.uint8)

    def tiles(values):
        for row in range(0, len(values), tile):
            for col in range(0, len(values), tile):
                stream = io.BytesIO()
                part = Image.fromarray(values[row : row + tile, col : col + tile])
                part.save(stream, "JPEG", quality=95, subsampling=0)
                yield stream.getvalue()

    told = "Aperio Image Library v11\n512x512 [0,0 512x512] (256x256) JPEG/RGB Q=95|AppMag = 20|MPP = 0.5"
    options = {"tile": (tile, tile), "compression": "zlib", "photometric": "rgb", "dtype": np.uint8, "metadata": None}
    options["extratags"] = [(530, "H", 2, (1, 1), True)]  # colours as fine as brightness
    with tifffile.TiffWriter(path) as file:
        file.write(tiles(picture), shape=picture.shape, description=told, **options)
        half = averaged(picture, 2)
        file.write(tiles(half), shape=half.shape, description=told, **options)
    with tifffile.TiffFile(path, mode="r+") as file:  # what lies in the tiles is JPEG
        for page in file.pages:
            page.tags["Compression"].overwrite(7)
            page.tags["PhotometricInterpretation"].overwrite(6)
    return picture


@pytest.mark.parametrize("name", ["a.svs", "a.tif"])
def test_slides_of_scanners_go_through_openslide(tmp_path, name):
    picture = jpeg_tiles(tmp_path / name)
    slide = open_slide(tmp_path / name)
    assert "OpenSlide" in slide.kind
    assert slide.pixel() == pytest.approx(0.5e-6)
    assert [level.factor for level in slide.levels] == [1, 2]
    found = slide.region((100, 200, 256, 300)).astype(int)
    assert abs(found - picture[100:356, 200:500]).max() <= 8
    assert abs(slide.overview(2).astype(int) - averaged(picture, 2)).max() <= 8


def header_only(rows, cols):
    """A JPEG of a few bytes whose header tells any size."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", rows, cols)
    return bytes(data)


@pytest.mark.parametrize(
    ("rows", "cols", "told"),
    [(65000, 65000, "cannot be read as PNG or JPEG"), (13000, 12000, "156000000|12000 pixels in one")],
)
def test_a_jpeg_bomb_is_one_line(tmp_path, rows, cols, told):
    (tmp_path / "bomb.jpg").write_bytes(header_only(rows, cols))
    with pytest.raises(DarklungError, match=told) as error:
        open_slide(tmp_path / "bomb.jpg")
    assert "\n" not in str(error.value)


def test_a_jpeg_that_ends_too_early_is_one_line(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "short.jpg")
    (tmp_path / "short.jpg").write_bytes((tmp_path / "short.jpg").read_bytes()[:200_000])
    with pytest.raises(DarklungError, match=r"short.jpg: cannot be read as PNG or JPEG \(image file is truncated"):
        open_slide(tmp_path / "short.jpg").region((0, 0, 10, 10))


def test_a_tile_that_unpacks_to_more_is_one_line(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PICTURE[:512, :512], photometric="rgb", tile=(256, 256), compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    bomb = zlib.compress(bytes(256 * 256 * 3 * 50), 9)
    assert len(bomb) <= count
    data = bytearray(path.read_bytes())
    data[offset : offset + len(bomb)] = bomb
    path.write_bytes(data)
    with pytest.raises(DarklungError, match="unpacks to more than its 196608 bytes"):
        open_slide(path).region((0, 0, 64, 64))


def test_a_pyramid_of_10_gib_is_read_in_bounded_memory(tmp_path):
    """Sparse on disk: the fine level is written in one place only, the coarse one is small."""
    path, size, at = tmp_path / "huge.tif", 60_000, (30_016, 40_000)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        options = {"photometric": "rgb", "metadata": None, "dtype": np.uint8}
        file.write(shape=(size, size, 3), resolution=(20000, 20000), resolutionunit="CENTIMETER", **options)
        coarse = np.full((size // 16, size // 16, 3), 250, np.uint8)
        coarse[100:200, 100:200] = 9
        file.write(coarse, **options)
    assert path.stat().st_size > 10 * 2**30
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[0]
    whole = np.memmap(path, np.uint8, "r+", offset, (size, size, 3))
    whole[at[0] : at[0] + 50, at[1] : at[1] + 50] = PICTURE[:50, :50]
    whole.flush()
    del whole
    slide = open_slide(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.testing.assert_array_equal(slide.region((*at, 50, 50)), PICTURE[:50, :50])
    assert slide.overview(32)[60, 60].tolist() == [9, 9, 9]  # from the coarse level
    with pytest.raises(DarklungError, match="at once"):
        slide.region((0, 0, size, size))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


def test_truncated_and_foreign_files_are_one_line(tmp_path):
    path = pyramid(tmp_path / "a.ome.tif")
    (tmp_path / "short.tif").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "a.txt").write_text("no picture")
    (tmp_path / "b.png").write_text("no picture")
    (tmp_path / "c.tif").write_bytes(b"II*\0\x08\0\0\0")
    (tmp_path / "d.svs").write_text("no slide")
    tifffile.imwrite(tmp_path / "deep.tif", PICTURE.astype(np.uint16), photometric="rgb", metadata=None)
    tifffile.imwrite(
        tmp_path / "oblong.tif", PICTURE, photometric="rgb", resolution=(2e4, 1e4), resolutionunit=3, metadata=None
    )
    for name, told in {
        "short.tif": "cannot be read as TIFF|truncated",
        "a.txt": "wanted a picture of a section",
        "b.png": "cannot be read as PNG or JPEG",
        "c.tif": "cannot be read as TIFF|holds no picture",
        "d.svs": "cannot be read as a slide by OpenSlide",
        "deep.tif": "wanted colours or grey of 8 bits",
        "oblong.tif": "wanted square pixels, got 0.5 × 1 um",
        "absent.tif": "no such file",
    }.items():
        with pytest.raises(DarklungError, match=told) as error:
            open_slide(tmp_path / name)
        assert "\n" not in str(error.value)
        assert name in str(error.value)


def test_without_the_extra_it_is_said_what_to_install(tmp_path, monkeypatch):
    jpeg_tiles(tmp_path / "a.svs")
    monkeypatch.setitem(__import__("sys").modules, "openslide", None)
    with pytest.raises(DarklungError, match=r"pip install 'darklung\[histology\]'"):
        open_slide(tmp_path / "a.svs")


def test_levels_are_whole_factors_apart():
    assert whole_factor("a", (1000, 2000), (250, 500)) == 4
    assert whole_factor("a", (1001, 2003), (250, 500)) == 4
    assert whole_factor("a", (1000, 2000), (400, 500)) == 0  # a label, no level
