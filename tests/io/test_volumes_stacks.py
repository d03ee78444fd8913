"""TIFF stacks with and without a scanner's log, and OME-Zarr of other programs."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from darklung.core.checks import DarklungError
from darklung.core.grey import is_calibrated
from darklung.core.types import Image
from darklung.io.images import save_image
from darklung.io.show import describe_file
from darklung.io.skyscan import read_log
from darklung.io.volumes import VolumeOptions, open_volume, read_volume

DATA = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mouse_ct_invivo"
SHAPE = (12, 5, 7)
LOG = """[Acquisition]
Image Pixel Size (um)=9.000000
Source Voltage (kV)=  50
Exposure (ms)=43
[Reconstruction]
First Section={first}
Last Section={last}
Section to Section Step={step}
Result Image Width (pixels)=7
Result Image Height (pixels)=5
Pixel Size (um)=20.00000
CS Static Rotation (deg)=1.50
{low}um for CS to Image Conversion=-0.007000
Maximum for CS to Image Conversion=0.050000
"""


def values(dtype=np.uint16):
    return np.random.default_rng(6).integers(0, 200, SHAPE).astype(dtype)


def slices(folder, array, name="scan_rec{:08d}.tif", first=0, **how):
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(array):
        tifffile.imwrite(folder / name.format(first + number), part, photometric="minisblack", **how)
    return folder


def skyscan(folder, array, *, first=30, step=1, low="Minim", name="scan_rec.log"):
    slices(folder, array, first=first)
    (folder / name).write_text(LOG.format(first=first, last=first + len(array) - 1, step=step, low=low))
    return folder


@pytest.mark.parametrize("name", ["step{}.tif", "s3_step{}_x2.tiff", "{:04d}.TIF"])
def test_slices_are_in_the_order_of_their_numbers(tmp_path, name):
    folder = slices(tmp_path / "a", values(), name, first=1)
    image = read_volume(folder, options=VolumeOptions(spacing="105 um"))
    np.testing.assert_array_equal(image.data[0], values())
    assert image.spacing_m == pytest.approx((1.05e-4,) * 3)
    assert image.position_m([5.5, 2, 3]) == pytest.approx((0, 0, 0))
    assert (image.frame, image.units) == ("scanner", ("a.u.",))


def test_what_is_declared_of_a_stack(tmp_path):
    folder = slices(tmp_path / "a", values())
    with pytest.raises(DarklungError, match=r"do not say the spacing; declare it \(spacing: 100 um\)"):
        read_volume(folder)
    spacing = ("50 um", "20 um", "10 um")
    image = read_volume(folder, options=VolumeOptions(spacing=spacing, axes=("head", "belly", "left"), channel="x"))
    assert image.spacing_m == pytest.approx((5e-5, 2e-5, 1e-5))
    assert (image.frame, image.names) == ("LPS", ("x",))
    step = np.subtract(image.position_m([0, 1, 0]), image.position_m([0, 0, 0]))
    np.testing.assert_allclose(step, [0, -2e-5, 0], atol=1e-12)  # rows towards the belly: y, towards the back, falls
    image = read_volume(folder, options=VolumeOptions(spacing="10 um", axes=("x", "-z", "y")))
    assert image.frame == "scanner"
    np.testing.assert_allclose(
        np.subtract(image.position_m([0, 1, 0]), image.position_m([0, 0, 0])), [-1e-5, 0, 0], atol=1e-12
    )
    for wrong, told in (
        ({"axes": ("head", "tail", "left")}, "one of each pair"),
        ({"axes": ("head", "y", "left")}, "'y' is not known; known: back, belly"),
        ({"axes": ("up", "y", "x")}, "'up' is not known"),
        ({"axes": ("head", "back", "left"), "frame": "scanner"}, "scanner does not go with axes towards head"),
        ({"spacing": "-1 um"}, "spacing: wanted > 0"),
        ({"unit": "1/cm", "grey": "log"}, "unit: is given by grey"),
        ({"channel": "dark_field_noise_0"}, "noise of which direction"),
    ):
        with pytest.raises(ValueError, match=told):
            VolumeOptions(**wrong)


def test_slices_missing_mixed_or_of_two_series(tmp_path):
    folder = slices(tmp_path / "a", values(), first=95)
    options = VolumeOptions(spacing="1 um")
    (folder / "scan_rec00000098.tif").unlink()
    (folder / "scan_rec00000099.tif").unlink()
    with pytest.raises(DarklungError, match=r"2 slice\(s\) missing between 95 and 106: 98, 99$"):
        read_volume(folder, options=options)
    slices(folder, values()[3:5], first=98)
    tifffile.imwrite(folder / "scan_rec00000099.tif", np.zeros((5, 8), np.uint16))
    with pytest.raises(DarklungError, match=r"rec00000099\.tif: shape \(5, 8\), but scan_rec00000095\.tif has \(5, 7\)"):
        read_volume(folder, options=options)
    tifffile.imwrite(folder / "scan_rec00000099.tif", np.zeros((5, 7), np.float32))
    with pytest.raises(DarklungError, match=r"float32, but .* has uint16"):
        read_volume(folder, options=options)
    slices(folder, values()[4:5], first=99)
    tifffile.imwrite(folder / "scan_rec_spr.tif", np.zeros((50, 70), np.uint16))  # the scanner's preview
    slices(folder, 1 + values(), "other{:03d}.tif")
    with pytest.raises(DarklungError, match=r"found other#\.tif, scan_rec#\.tif; choose with series"):
        read_volume(folder, options=options)
    chosen = VolumeOptions(spacing="1 um", series="other*.tif")
    np.testing.assert_array_equal(read_volume(folder, options=chosen).data[0], 1 + values())
    with pytest.raises(DarklungError, match=r"no TIFF slices named 'b\*'"):
        read_volume(folder, options=VolumeOptions(spacing="1 um", series="b*"))
    slices(tmp_path / "b", values(), "a{0}_{0}.tif")
    with pytest.raises(DarklungError, match="wanted one number that counts the slices"):
        read_volume(tmp_path / "b", options=options)
    slices(tmp_path / "c", values()[:2], "a1.tif")
    tifffile.imwrite(tmp_path / "c" / "a01.tif", values()[0])
    tifffile.imwrite(tmp_path / "c" / "a2.tif", values()[0])
    with pytest.raises(DarklungError, match=r"two slices with one number: a01\.tif and a1\.tif"):
        read_volume(tmp_path / "c", options=options)


def test_a_skyscan_log_tells_spacing_and_scale(tmp_path):
    image = read_volume(skyscan(tmp_path / "a", values(), step=2))
    assert image.spacing_m == pytest.approx((4e-5, 2e-5, 2e-5))
    np.testing.assert_array_equal(image.data[0], values())
    # Some versions of the scanner's software write "Mininum".
    folder = skyscan(tmp_path / "b", values(), low="Minin", name="other.log")
    image = read_volume(folder, options=VolumeOptions(grey="log", missing=0))
    wanted = np.where(values() == 0, np.nan, -0.007 + values() / 65535 * 0.057)
    np.testing.assert_allclose(image.data[0], wanted, rtol=1e-5, atol=1e-8)
    assert not is_calibrated(image)
    log = read_log(folder / "other.log")
    assert (log.voltage_kv, log.exposure_s, log.rotation_deg) == (50, 0.043, 1.5)
    assert "voltage: 50 kV" in describe_file(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("First Section=30", "First Section=29"), "tells sections 29 to 41, the files are 30 to 41"),
        (("Width (pixels)=7", "Width (pixels)=8"), r"tells slices of \(5, 8\) \(rows, cols\), the files have \(5, 7\)"),
        (("\nPixel Size (um)=20.00000", ""), "has no 'pixel size"),
        (("\nPixel Size (um)=20.00000", "\nPixel Size (um)=0"), "wanted pixel, step and size > 0"),
        (("\nPixel Size (um)=20.00000", "\nPixel Size (um)=twenty"), "wanted a number, got 'twenty'"),
        (("Conversion=0.050000", "Conversion=-0.05"), "wanted more than the minimum"),
        (("[Reconstruction]", "[Scan]"), r"has no \[Reconstruction\]"),
        (("First Section=30", "First Section=30.5"), "wanted a whole number"),
        (("[Acquisition]", "\0"), "wanted the text of a scanner's log"),
    ],
)
def test_a_log_that_does_not_fit(tmp_path, change, told):
    folder = skyscan(tmp_path / "a", values())
    log = folder / "scan_rec.log"
    log.write_text(log.read_text().replace(*change))
    with pytest.raises(DarklungError, match=told) as caught:
        read_volume(folder, options=VolumeOptions(grey="log"))
    assert "scan_rec.log" in str(caught.value)


@pytest.mark.parametrize(
    ("kept", "step", "told"), [(2, 2, ""), (2, 1, "a step of 1 .* every 2th"), (3, 2, "a step of 2 .* every 3th")]
)
def test_numbers_with_gaps_must_be_the_steps_of_the_log(tmp_path, kept, step, told):
    folder = skyscan(tmp_path / "a", values()[:7], step=step)
    for path in (p for n, p in enumerate(sorted(folder.glob("*.tif"))) if n % kept):
        path.unlink()
    if told:
        with pytest.raises(DarklungError, match=told):
            read_volume(folder)
    else:
        image = read_volume(folder)
        assert (image.shape[0] - 1) * image.spacing_m[0] == pytest.approx(6 * 2e-5)


def test_a_log_that_is_not_there(tmp_path):
    folder = slices(tmp_path / "a", values())
    with pytest.raises(DarklungError, match="no scanner's log beside it"):
        read_volume(folder, options=VolumeOptions(grey="log", spacing="1 um"))
    with pytest.raises(DarklungError, match=r"other\.log: no such file"):
        read_volume(folder, options=VolumeOptions(log=str(tmp_path / "other.log")))
    skyscan(folder, values(), first=0, name="a_rec.log")
    skyscan(folder, values(), first=0, name="b_rec.log")
    with pytest.raises(DarklungError, match=r"wanted one scanner's log, found a_rec\.log, b_rec\.log"):
        read_volume(folder)
    assert read_volume(folder, options=VolumeOptions(log=str(folder / "b_rec.log"))).spacing_m[0] == pytest.approx(2e-5)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 16)}])
def test_a_file_of_many_pages(tmp_path, how):
    tifffile.imwrite(tmp_path / "a.tif", values(), photometric="minisblack", **how)
    image = read_volume(tmp_path / "a.tif", options=VolumeOptions(spacing="3 um"))
    np.testing.assert_array_equal(image.data[0], values())


def test_a_log_tells_of_a_file_of_many_pages_too(tmp_path):
    folder = skyscan(tmp_path / "a", values())
    tifffile.imwrite(tmp_path / "a.tif", values(), photometric="minisblack")
    options = VolumeOptions(log=str(folder / "scan_rec.log"), grey="log")
    image = read_volume(tmp_path / "a.tif", options=options)
    assert image.same_grid(read_volume(folder))
    np.testing.assert_array_equal(image.data, read_volume(folder, options=VolumeOptions(grey="log")).data)
    tifffile.imwrite(tmp_path / "a.tif", values()[1:], photometric="minisblack")
    with pytest.raises(DarklungError, match="tells sections 30 to 41, the files are 30 to 40"):
        read_volume(tmp_path / "a.tif", options=options)
    with pytest.raises(DarklungError, match="series: a file holds one volume"):
        read_volume(tmp_path / "a.tif", options=VolumeOptions(series="x"))


def test_imagej_tells_the_spacing(tmp_path):
    metadata = {"axes": "ZYX", "spacing": 5.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", values(), imagej=True, resolution=(1 / 2, 1 / 3), metadata=metadata)
    image = read_volume(tmp_path / "a.tif")
    assert image.spacing_m == pytest.approx((5e-6, 3e-6, 2e-6))
    np.testing.assert_array_equal(image.data[0], values())
    tifffile.imwrite(tmp_path / "b.tif", values()[:, None].repeat(2, 1), imagej=True, metadata={**metadata, "axes": "ZCYX"})
    with pytest.raises(DarklungError, match="ImageJ tells 2 channels"):
        read_volume(tmp_path / "b.tif")


SCALES = [{"type": "scale", "scale": [1, 5.0, 2.0, 1.0]}, {"type": "translation", "translation": [0, 10.0, 20.0, 30.0]}]


def ome_zarr(folder, array, *, version=5, axes="czyx", unit="micrometer", transforms=SCALES, path="s0", **how):
    group = zarr.open_group(str(folder), mode="w", zarr_format=3 if version == 5 else 2)
    stored = group.create_array(path, shape=array.shape, dtype=array.dtype, chunks=(1, *[4] * (array.ndim - 1)), **how)
    stored[...] = array
    types = {"c": "channel", "t": "time"}
    named = [{"name": a, "type": types.get(a, "space"), **({"unit": unit} if a in "zyx" and unit else {})} for a in axes]
    images = [{"axes": named, "datasets": [{"path": path, "coordinateTransformations": list(transforms)}], "version": "0.4"}]
    told = {"multiscales": images, "omero": {"channels": [{"label": f"ch{n}"} for n in range(array.shape[0])]}}
    group.attrs.update({"ome": {"version": "0.5", **told}} if version == 5 else told)
    return folder


@pytest.mark.parametrize("codec", ["zstd", "gzip", "blosc", "none"])
@pytest.mark.parametrize("version", [4, 5])
def test_ways_of_packing(tmp_path, version, codec):
    from numcodecs import GZip, Zstd
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    new = {"zstd": ZstdCodec(), "gzip": GzipCodec(), "blosc": BloscCodec(), "none": None}
    old = {"zstd": Zstd(), "gzip": GZip(), "blosc": "auto", "none": None}
    packing = {"compressors": (new if version == 5 else old)[codec]}
    folder = ome_zarr(tmp_path / "a.zarr", values()[None], version=version, **packing)
    np.testing.assert_array_equal(read_volume(folder).data[0], values())
    chunk = next(p for p in sorted((folder / "s0").rglob("*")) if p.is_file() and p.suffix != ".json" and p.name[0] != ".")
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(DarklungError) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [4, 5])
def test_ome_zarr_of_others(tmp_path, version):
    folder = ome_zarr(tmp_path / "a.zarr", values()[None], version=version)
    image = read_volume(folder)
    np.testing.assert_array_equal(image.data[0], values())
    assert image.spacing_m == pytest.approx((5e-6, 2e-6, 1e-6))
    assert image.origin_m == pytest.approx((1e-5, 2e-5, 3e-5))
    assert (image.names, image.frame) == (("attenuation",), "scanner")
    assert "OME-Zarr" in describe_file(folder)
    both = ome_zarr(tmp_path / "b.zarr", np.stack([values(), 1 + values()]), version=version)
    with pytest.raises(DarklungError, match=r"wanted one of its channels \(series\), ch0, ch1, got none"):
        read_volume(both)
    np.testing.assert_array_equal(read_volume(both, options=VolumeOptions(series="ch1")).data[0], 1 + values())
    turned = ome_zarr(tmp_path / "c.zarr", values()[None], version=version, axes="cxyz")
    image = read_volume(turned)
    step = np.subtract(image.position_m([1, 0, 0]), image.position_m([0, 0, 0]))
    np.testing.assert_allclose(step, [0, 0, 5e-6], atol=1e-12)
    assert image.origin_m == pytest.approx((3e-5, 2e-5, 1e-5))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"unit": None}, "do not say the spacing"),
        ({"unit": "banana"}, "banana"),
        ({"axes": "tzyx", "array": np.zeros((2, 3, 4, 5), np.uint8)}, "axis t has 2"),
        ({"transforms": [{"type": "affine", "affine": []}]}, "transformation 'affine' is not read"),
        ({"transforms": [{"type": "scale", "scale": [1, 2]}]}, "scale: wanted 4 numbers"),
        ({"transforms": [{"type": "scale", "scale": [1, 0, 1, 1]}]}, "wanted a scale > 0"),
        ({"array": np.zeros((2, 3, 4, 5), complex), "axes": "czyx"}, "wanted whole or real numbers"),
        ({"axes": "zyx", "array": np.zeros((2, 3, 4, 5), np.uint8)}, "3 axes, but the data have shape"),
        ({"axes": "cyx", "array": np.zeros((2, 3, 4), np.uint8)}, "wanted 3 axes of space"),
    ],
)
def test_ome_zarr_that_is_not_read(tmp_path, change, told):
    folder = ome_zarr(tmp_path / "a.zarr", **{"array": values()[None], **change})
    with pytest.raises(DarklungError, match=told) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value)


def test_ome_zarr_stays_in_its_folder_and_runs_nothing(tmp_path):
    folder = ome_zarr(tmp_path / "a.zarr", values()[None], version=4)
    for path in ("../a.zarr/s0", "/etc", "s0/../../b"):
        attributes = json.loads((folder / ".zattrs").read_text())
        attributes["multiscales"][0]["datasets"][0]["path"] = path
        (folder / ".zattrs").write_text(json.dumps(attributes))
        with pytest.raises(DarklungError, match="wanted a path inside the folder"):
            read_volume(folder)
    folder = ome_zarr(tmp_path / "b.zarr", values()[None], version=4)
    meta = folder / "s0" / ".zarray"
    whole = json.loads(meta.read_text())
    for change in ({"dtype": "|O", "filters": [{"id": "pickle", "protocol": 4}]}, {"filters": [{"id": "pickle"}]}):
        meta.write_text(json.dumps({**whole, **change}))
        with pytest.raises(DarklungError, match=r"b\.zarr: ") as caught:
            read_volume(folder)
        assert "\n" not in str(caught.value)
    meta.write_text(json.dumps(whole))
    chunk = next(p for p in (folder / "s0").rglob("*") if p.is_file() and not p.name.startswith("."))
    chunk.unlink()
    chunk.symlink_to("/etc/hostname")
    with pytest.raises(DarklungError, match="holds a link to elsewhere"):
        read_volume(folder)


def test_show_tells_what_is_in_a_volume(tmp_path):
    told = describe_file(skyscan(tmp_path / "a", values()))
    for part in ("TIFF slices with a SkyScan log", "12 × 5 × 7", "uint16", "spacing 20 × 20 × 20 um", "z, y, x", "a.u."):
        assert part in told
    assert "declare it" in describe_file(slices(tmp_path / "b", values()))
    save_image(tmp_path / "c.ome.zarr", Image(values(np.float32)[None], ("mu",), ("1/m",), (1e-4,) * 3))
    told = describe_file(tmp_path / "c.ome.zarr")
    for part in ("OME-Zarr of darklung", "mu [1/m]", "spacing 100 × 100 × 100 um"):
        assert part in told
    told = describe_file(tmp_path)
    assert "folders: a, b, c.ome.zarr" in told
    assert "no volume: wanted a volume" in told
    (tmp_path / "empty").mkdir()
    with pytest.raises(DarklungError, match="wanted files in it, found none"):
        describe_file(tmp_path / "empty")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"measured data not found at {DATA} ($DARKLUNG_DATA)")
def test_a_real_scan_is_upright(tmp_path):
    """In vivo mouse: slices run to the head, rows to the belly; the spine, densest, is in the upper half of each slice."""
    found = open_volume(DATA)
    assert found.shape == (237, 164, 248)
    assert found.dtype == np.uint16
    image = read_volume(DATA, options=VolumeOptions(axes=("head", "belly", "left"), missing=0))
    assert image.spacing_m == pytest.approx((105.32e-6,) * 3)
    grey = image.data[0]
    # Bone: the spine over the sternum, by mass; the liver's side (tail) holds less air than the lung's.
    bone = np.argwhere(grey > 25000)
    assert np.median(bone[:, 1]) < 0.5 * grey.shape[1]
    lung = (grey > 9500) & (grey < 13500)
    assert lung[90:200].sum() > 5 * lung[:50].sum()
    # A mouse's right lung is the larger one: columns run to its left.
    spine = round(float(np.median(bone[bone[:, 1] < 60][:, 2])))
    chest = lung[110:170, 45:120]
    right, left = chest[:, :, spine - 60 : spine].sum(), chest[:, :, spine : spine + 60].sum()
    assert 1.2 * left < right
    # With the log's range the air around the animal is near 0: the zero of the scale is right.
    scaled = read_volume(DATA, options=VolumeOptions(grey="log", missing=0)).data[0]
    air, tissue = np.nanpercentile(scaled[:, :20], 5), np.nanpercentile(scaled, 60)
    assert abs(air) < 0.05 * tissue


def test_slices_that_are_to_be_shown_turned_or_mirrored_are_refused(tmp_path):
    for orientation in (1, 3, 4, 6):
        folder = tmp_path / str(orientation)
        folder.mkdir()
        tag = (274, "H", 1, orientation, False)
        for k, page in enumerate(values()):
            tifffile.imwrite(folder / f"s{k:03d}.tif", page, photometric="minisblack", extratags=[tag])
        if orientation == 1:
            open_volume(folder, options=VolumeOptions(spacing="100 um"))
            continue
        with pytest.raises(DarklungError, match=f"s000.tif: wanted rows from the top .* got TIFF Orientation {orientation}"):
            open_volume(folder, options=VolumeOptions(spacing="100 um"))
