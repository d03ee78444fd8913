"""A corpus of broken volumes of every kind: each ends in one clear line, soon, and without filling the memory."""

import gzip
import re
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.images import save_image
from darklung.io.show import describe_file
from darklung.io.volumes import VolumeOptions, read_volume

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's own types
    import SimpleITK as sitk

SHAPE = (4, 5, 6)
OPTIONS = {"tiff": VolumeOptions(spacing="1 um"), "slices": VolumeOptions(spacing="1 um")}
BOMB_BYTES = 300 * 2**20


def values(dtype=np.int16):
    return np.random.default_rng(5).integers(0, 100, SHAPE).astype(dtype)


def nifti(folder):
    nibabel.save(nibabel.Nifti1Image(values().transpose(2, 1, 0), np.diag([0.1, 0.2, 0.3, 1])), folder / "a.nii")
    return folder / "a.nii"


def nifti_gz(folder):
    nibabel.save(nibabel.Nifti1Image(values().transpose(2, 1, 0), np.diag([0.1, 0.2, 0.3, 1])), folder / "a.nii.gz")
    return folder / "a.nii.gz"


def _itk(name, packed):
    def make(folder):
        sitk.WriteImage(sitk.GetImageFromArray(values()), str(folder / name), useCompression=packed)
        return folder / name

    return make


def slices(folder):
    for number, part in enumerate(values(np.uint16)):
        tifffile.imwrite(folder / f"s{number}.tif", part, photometric="minisblack")
    return folder


def tiff(folder):
    tifffile.imwrite(folder / "a.tif", values(np.uint16), photometric="minisblack", compression="zlib")
    return folder / "a.tif"


def dicom(folder):
    for k, pixels in enumerate(values()):
        item = pydicom.Dataset()
        item.SOPClassUID, item.SOPInstanceUID, item.SeriesInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.{k + 1}", "1.2"
        item.Modality, item.SamplesPerPixel, item.PhotometricInterpretation = "CT", 1, "MONOCHROME2"
        item.Rows, item.Columns = pixels.shape
        item.PixelSpacing, item.ImagePositionPatient = [0.2, 0.1], [0, 0, 0.3 * k]
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.PixelData = pixels.tobytes()
        item.file_meta = pydicom.dataset.FileMetaDataset()
        item.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.save_as(folder / f"d{k}.dcm", enforce_file_format=True)
    return folder


def own_zarr(folder):
    save_image(folder / "a.zarr", Image(values(np.float32)[None], ("mu",), ("1/m",), (1e-4,) * 3))
    return folder / "a.zarr"


def foreign_zarr(folder):
    group = zarr.open_group(str(folder / "b.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=SHAPE, dtype=np.int16, chunks=(2, 3, 3))[...] = values()
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [3.0, 2.0, 1.0]}]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    return folder / "b.zarr"


KINDS = {
    "nifti": nifti,
    "nifti.gz": nifti_gz,
    "nrrd": _itk("a.nrrd", False),
    "nrrd.gz": _itk("a.nrrd", True),
    "nhdr": _itk("a.nhdr", False),
    "mha": _itk("a.mha", False),
    "mha.gz": _itk("a.mha", True),
    "mhd": _itk("a.mhd", False),
    "slices": slices,
    "tiff": tiff,
    "dicom": dicom,
    "own zarr": own_zarr,
    "foreign zarr": foreign_zarr,
}
Damage = Callable[[Path], None]


def cut(name: str, keep: float) -> Damage:
    def damage(folder):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])

    return damage


def text(name: str, old: str, new: str) -> Damage:
    def damage(folder):
        whole = (folder / name).read_bytes()
        assert re.search(old.encode(), whole), whole[:600]
        (folder / name).write_bytes(re.sub(old.encode(), new.encode(), whole, count=1))

    return damage


def write(name: str, what: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(what) and None


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def at(offset: int, form: str, *new: float, packed: bool = False) -> Damage:
    """Other numbers in the header of a NIfTI file."""

    def damage(folder):
        path = folder / ("a.nii.gz" if packed else "a.nii")
        whole = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        struct.pack_into("<" + form, whole, offset, *new)
        path.write_bytes(gzip.compress(bytes(whole)) if packed else bytes(whole))

    return damage


def element(number: int, **fields) -> Damage:
    """Other elements in one DICOM file; None deletes."""

    def damage(folder):
        item = pydicom.dcmread(folder / f"d{number}.dcm")
        for name, value in fields.items():
            if value is None:
                delattr(item, name)
            else:
                setattr(item, name, value)
        item.save_as(folder / f"d{number}.dcm")

    return damage


def syntax(uid: str) -> Damage:
    def damage(folder):
        item = pydicom.dcmread(folder / "d1.dcm")
        item.file_meta.TransferSyntaxUID = uid
        if uid != pydicom.uid.DeflatedExplicitVRLittleEndian:
            item.PixelData = pydicom.encaps.encapsulate([item.PixelData])
            item["PixelData"].is_undefined_length = True
        item.save_as(folder / "d1.dcm")

    return damage


def page(**how) -> Damage:
    def damage(folder):
        array = how.pop("array", np.zeros((5, 6), np.uint16))
        tifffile.imwrite(folder / "s2.tif", array, **{"photometric": "minisblack", **how})

    return damage


def gzip_bomb(name: str, head: bytes) -> Damage:
    """A header of a small volume before zeros that unpack to much more than it tells."""
    return lambda folder: (folder / name).write_bytes(gzip.compress(head + bytes(BOMB_BYTES), 6)) and None


def deflate_bomb(folder: Path) -> None:
    """A strip that says 60 bytes and unpacks to 300 MiB."""
    tifffile.imwrite(folder / "s2.tif", np.zeros((5, 6), np.uint16), photometric="minisblack", compression="zlib")
    bomb = zlib.compress(bytes(BOMB_BYTES), 6)
    with tifffile.TiffFile(folder / "s2.tif", mode="r+b") as file:
        file.pages[0].tags["StripByteCounts"].overwrite(len(bomb))
        start = file.pages[0].dataoffsets[0]
    whole = (folder / "s2.tif").read_bytes()
    (folder / "s2.tif").write_bytes(whole[:start] + bomb)


def ring_of_pages(folder: Path) -> None:
    """The last page says that the first follows."""
    with tifffile.TiffFile(folder / "a.tif") as file:
        first, last = file.pages[0].offset, file.pages[-1]
        count = len(last.tags)
    whole = bytearray((folder / "a.tif").read_bytes())
    struct.pack_into("<I", whole, last.offset + 2 + 12 * count, first)
    (folder / "a.tif").write_bytes(whole)


NII_HEAD = bytes.fromhex("5c010000")
HUGE = (3, 30000, 30000, 30000)

# name: (kind, damage, words in the line)
CORPUS: dict[str, tuple[str, Damage, str]] = {
    "nifti truncated in the header": ("nifti", cut("a.nii", 200), "truncated: 200 bytes of a header of 348"),
    "nifti without voxels": ("nifti", cut("a.nii", 352), "which 352 bytes cannot hold"),
    "nifti half": ("nifti", cut("a.nii", 0.8), "cannot hold"),
    "nifti empty": ("nifti", write("a.nii", b""), "wanted a volume"),
    "nifti wrong magic": ("nifti", at(344, "4s", b"nope"), "wanted NIfTI, got magic"),
    "nifti a pair": ("nifti", at(344, "4s", b"ni1\0"), "a pair of .hdr and .img"),
    "nifti huge": ("nifti", at(40, "4h", *HUGE), "cannot hold"),
    "nifti sizes below zero": ("nifti", at(40, "4h", 3, -5, 5, 5), "wanted sizes > 0"),
    "nifti no dimensions": ("nifti", at(40, "4h", 0, 5, 5, 5), "wanted 3 dimensions"),
    "nifti 4-D": ("nifti", at(40, "5h", 4, 3, 5, 4, 2), "wanted one volume"),
    "nifti colours": ("nifti", at(70, "h", 128), "wanted whole or real numbers, got NIfTI datatype 128"),
    "nifti unknown type": ("nifti", at(70, "h", 999), "got NIfTI datatype 999"),
    "nifti voxels far away": ("nifti", at(108, "f", 1e30), "vox_offset"),
    "nifti voxels at no number": ("nifti", at(108, "f", float("nan")), "vox_offset"),
    "nifti voxels in the header": ("nifti", at(108, "f", 10.0), "vox_offset"),
    "nifti affine of zeros": ("nifti", at(280, "12f", *[0.0] * 12), "wanted a spacing > 0"),
    "nifti affine that is none": ("nifti", at(280, "12f", *[float("nan")] * 12), "is not finite"),
    "nifti sheared": ("nifti", at(280, "12f", 0.1, 0.05, 0, 0, 0, 0.2, 0, 0, 0, 0, 0.3, 0), "not perpendicular"),
    "nifti unit of time": ("nifti", at(123, "b", 5), "wanted a unit of length, got code 5"),
    "nifti bad quaternion": (
        "nifti",
        lambda f: [at(252, "2h", 1, 0)(f), at(256, "3f", 9.0, 9, 9)(f)],
        "cannot be read (w2 should be positive",
    ),
    "gz truncated": ("nifti.gz", cut("a.nii.gz", 0.6), "truncated"),
    "gz header only": ("nifti.gz", cut("a.nii.gz", 12), "wanted a volume"),
    "gz broken inside": ("nifti.gz", lambda f: _flip(f / "a.nii.gz", 60), "a.nii.gz"),
    "gz huge": ("nifti.gz", at(40, "4h", *HUGE, packed=True), "cannot hold"),
    "gz colours": ("nifti.gz", at(70, "h", 2304, packed=True), "NIfTI datatype 2304"),
    "gz of something else": ("nifti.gz", write("a.nii.gz", gzip.compress(b"text" * 200)), "wanted a volume"),
    "gz bomb without header": ("nifti.gz", gzip_bomb("a.nii.gz", b""), "wanted a volume"),
    "gz bomb in a header": ("nifti.gz", gzip_bomb("a.nii.gz", NII_HEAD), "wanted NIfTI, got magic"),
    "nrrd truncated": ("nrrd", cut("a.nrrd", 0.9), "cannot hold"),
    "nrrd truncated in the header": ("nrrd", cut("a.nrrd", 60), "truncated in the header"),
    "nrrd wrong magic": ("nrrd", text("a.nrrd", "NRRD000.", "NRRD0009"), "wanted NRRD0001 to NRRD0005"),
    "nrrd no sizes": ("nrrd", text("a.nrrd", "sizes", "seizs"), "its header has no sizes"),
    "nrrd sizes that are words": ("nrrd", text("a.nrrd", "sizes: 6", "sizes: x"), "sizes: wanted 3 numbers"),
    "nrrd sizes below zero": ("nrrd", text("a.nrrd", "sizes: 6", "sizes: -6"), "wanted a volume"),
    "nrrd huge": ("nrrd", text("a.nrrd", "sizes: 6", "sizes: 6000000000"), "cannot hold"),
    "nrrd two dimensions": ("nrrd", text("a.nrrd", "dimension: 3", "dimension: 2"), "wanted dimension 3"),
    "nrrd blocks": ("nrrd", text("a.nrrd", "type: short", "type: block"), "type: wanted whole or real numbers"),
    "nrrd other packing": ("nrrd", text("a.nrrd", "encoding: raw", "encoding: hex"), "wanted raw or gzip, got 'hex'"),
    "nrrd unknown space": ("nrrd", text("a.nrrd", "left-posterior-superior", "left-posterior-up"), "wanted anatomical axes"),
    "nrrd space twice": ("nrrd", text("a.nrrd", "left-posterior-superior", "left-right-superior"), "one of each pair"),
    "nrrd sheared": ("nrrd", text("a.nrrd", r"\(0,1,0\)", "(0.1,1,0)"), "not perpendicular"),
    "nrrd no direction": ("nrrd", text("a.nrrd", r"\(0,1,0\)", "(0,nan,0)"), "space directions: wanted 3 numbers"),
    "nrrd.gz truncated": ("nrrd.gz", cut("a.nrrd", 0.9), "truncated"),
    "nrrd.gz broken inside": ("nrrd.gz", lambda f: _flip(f / "a.nrrd", -30), "a.nrrd"),
    "nhdr data outside": ("nhdr", text("a.nhdr", "data file: a.raw", "data file: ../../etc/passwd"), "in the same folder"),
    "nhdr data elsewhere": ("nhdr", text("a.nhdr", "data file: a.raw", "data file: /etc/passwd"), "in the same folder"),
    "nhdr data missing": ("nhdr", remove("a.raw"), "its data file a.raw is missing"),
    "nhdr a link": ("nhdr", lambda f: _link(f / "a.raw", "/etc/hostname"), "lies in another folder"),
    "nhdr a list": ("nhdr", text("a.nhdr", "data file: a.raw", "data file: LIST"), "a list of data files is not read"),
    "nhdr data short": ("nhdr", cut("a.raw", 0.5), "a.raw: the header tells"),
    "mha truncated": ("mha", cut("a.mha", 0.9), "cannot hold"),
    "mha truncated in the header": ("mha", cut("a.mha", 80), "ends without ElementDataFile"),
    "mha colours": ("mha", text("a.mha", "ElementType", "ElementNumberOfChannels = 3\nElementType"), "one number a voxel"),
    "mha two dimensions": ("mha", text("a.mha", "NDims = 3", "NDims = 2"), "wanted NDims = 3"),
    "mha huge": ("mha", text("a.mha", "DimSize = 6", "DimSize = 6000000000"), "cannot hold"),
    "mha unknown type": ("mha", text("a.mha", "MET_SHORT", "MET_STRING"), "ElementType: wanted one of"),
    "mha text": ("mha", text("a.mha", "BinaryData = True", "BinaryData = False"), "wanted binary voxels, got text"),
    "mha sheared": ("mha", text("a.mha", "TransformMatrix = 1 0", "TransformMatrix = 1 1"), "not perpendicular"),
    "mha.gz truncated": ("mha.gz", cut("a.mha", 0.9), "truncated"),
    "mhd data outside": ("mhd", text("a.mhd", "a.raw", "../b/a.raw"), "in the same folder"),
    "mhd a list": ("mhd", text("a.mhd", "a.raw", "LIST"), "a list of data files is not read"),
    "mhd data missing": ("mhd", remove("a.raw"), "its data file a.raw is missing"),
    "mhd data short": ("mhd", cut("a.raw", 0.5), "a.raw: the header tells"),
    "mhd a folder": ("mhd", text("a.mhd", "a.raw", ".."), "in the same folder"),
    "slices one missing": ("slices", remove("s1.tif"), "1 slice(s) missing between 0 and 3: 1"),
    "slices one empty": ("slices", write("s2.tif", b""), "s2.tif: cannot be read as TIFF"),
    "slices one truncated": ("slices", cut("s2.tif", 0.9), "s2.tif: truncated"),
    "slices one of text": ("slices", write("s2.tif", b"II*\0nothing"), "s2.tif"),
    "slices colours": ("slices", page(array=np.zeros((5, 6, 3), np.uint8), photometric="rgb"), "wanted a grey slice"),
    "slices inverted": ("slices", page(photometric="miniswhite"), "wanted a grey slice (row, col), got MINISWHITE"),
    "slices two pages": ("slices", page(array=np.zeros((2, 5, 6), np.uint16)), "wanted one slice a file, got 2 pages"),
    "slices complex": ("slices", page(array=np.zeros((5, 6), np.complex64)), "wanted whole or real numbers"),
    "slices other size": ("slices", page(array=np.zeros((5, 7), np.uint16)), "s2.tif: shape (5, 7)"),
    "slices deflate bomb": ("slices", deflate_bomb, "a strip unpacks to more than its 60 bytes"),
    "tiff truncated": ("tiff", cut("a.tif", 0.7), "a.tif"),
    "tiff header only": ("tiff", cut("a.tif", 8), "a.tif"),
    "tiff broken inside": ("tiff", lambda f: _scramble(f / "a.tif"), "a.tif"),
    "tiff one page": ("tiff", lambda f: tifffile.imwrite(f / "a.tif", np.ones((5, 6), np.uint8)), "wanted a stack, got one"),
    "tiff mixed pages": ("tiff", lambda f: tifffile.imwrite(f / "a.tif", np.ones((5, 7), np.uint8), append=True), "page 4"),
    "dicom truncated": ("dicom", cut("d2.dcm", 0.3), "d2.dcm"),
    "dicom without pixels": ("dicom", element(2, PixelData=None), "d2.dcm"),
    "dicom no mark": ("dicom", write("d2.dcm", b"x" * 400), "d2.dcm: wanted DICOM, its mark is missing"),
    "dicom one missing": ("dicom", remove("d1.dcm"), "1 slice(s) missing between d0.dcm and d2.dcm"),
    "dicom one twice": ("dicom", element(2, ImagePositionPatient=[0, 0, 0.3]), "two slices at one place: d1.dcm and d2.dcm"),
    "dicom uneven": ("dicom", element(2, ImagePositionPatient=[0, 0, 0.65]), "unevenly spaced"),
    "dicom off the line": ("dicom", element(2, ImagePositionPatient=[0.1, 0, 0.6]), "do not lie on a line"),
    "dicom no place": ("dicom", element(2, ImagePositionPatient=None), "d2.dcm: has no ImagePositionPatient"),
    "dicom no spacing": ("dicom", element(2, PixelSpacing=None), "d2.dcm: has no PixelSpacing"),
    "dicom other size": ("dicom", element(2, Rows=4), "d2.dcm: Rows is 4, but 5 in d0.dcm"),
    "dicom other scale": ("dicom", element(2, RescaleSlope=2, RescaleIntercept=0), "d2.dcm: RescaleSlope is 2"),
    "dicom huge": ("dicom", element(2, Rows=60000, Columns=60000), "cannot hold"),
    "dicom many frames": ("dicom", element(2, NumberOfFrames=3), "multi-frame DICOM is not read"),
    "dicom colours": ("dicom", element(2, SamplesPerPixel=3), "wanted grey values"),
    "dicom inverted": ("dicom", element(2, PhotometricInterpretation="MONOCHROME1"), "got MONOCHROME1"),
    "dicom packed": ("dicom", syntax("1.2.840.10008.1.2.5"), "wanted uncompressed DICOM"),
    "dicom inflates itself": ("dicom", syntax("1.2.840.10008.1.2.1.99"), "d1.dcm"),
    "dicom two series": ("dicom", element(2, SeriesInstanceUID="1.3"), "holds 2 series, choose one"),
    "dicom one slice": ("dicom", lambda f: [(f / f"d{k}.dcm").unlink() for k in (1, 2, 3)], "wanted a series of slices"),
    "own zarr no metadata": ("own zarr", write("a.zarr/zarr.json", b"{"), "a.zarr"),
    "own zarr other shape": (
        "own zarr",
        text("a.zarr/zarr.json", r'"names": \[', '"names": ["x", '),
        "a.zarr: names: wanted 1",
    ),
    "own zarr no array": ("own zarr", remove("a.zarr/0/zarr.json"), "an image of darklung"),
    "own zarr broken chunk": ("own zarr", lambda f: _scramble(_chunk(f / "a.zarr")), "cannot be read"),
    "own zarr objects": (
        "own zarr",
        text("a.zarr/0/zarr.json", '"float32"', '"object"'),
        "an image of darklung",
    ),
    "foreign zarr no multiscales": ("foreign zarr", text("b.zarr/.zattrs", "multiscales", "monoscales"), "no multiscales"),
    "foreign zarr no json": ("foreign zarr", write("b.zarr/.zattrs", b"[]"), "b.zarr"),
    "foreign zarr a list": ("foreign zarr", text("b.zarr/.zattrs", '"datasets": \\[', '"datasets": [1, '), "wanted keys"),
    "foreign zarr no array": ("foreign zarr", remove("b.zarr/0/.zarray"), "b.zarr"),
    "foreign zarr objects": ("foreign zarr", text("b.zarr/0/.zarray", "<i2", "|O"), "b.zarr"),
    "foreign zarr pickle": (
        "foreign zarr",
        text("b.zarr/0/.zarray", '"filters": null', '"filters": [{"id": "pickle"}]'),
        "b",
    ),
    "foreign zarr broken chunk": ("foreign zarr", lambda f: _halve(_chunk(f / "b.zarr")), "b.zarr/0/0.0.0: truncated"),
    "foreign zarr blosc bomb": (
        "foreign zarr",
        lambda f: _unpacks_to_more(_chunk(f / "b.zarr")),
        "unpacks to more than its",
    ),
    "foreign zarr huge": ("foreign zarr", text("b.zarr/0/.zarray", r'"shape": \[\s*4', '"shape": [400000000'), "of memory"),
}


def _flip(path: Path, where: int) -> None:
    whole = bytearray(path.read_bytes())
    for n in range(8):
        whole[where + n] ^= 0x5A
    path.write_bytes(whole)


def _scramble(path: Path) -> None:
    """Noise over the packed voxels, the header as it was."""
    whole = bytearray(path.read_bytes())
    for n in range(20, min(len(whole), 60)):
        whole[n] ^= 0xA5
    path.write_bytes(whole)


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _unpacks_to_more(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    struct.pack_into("<I", whole, 4, 2**31 - 1)
    path.write_bytes(whole)


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _chunk(store: Path) -> Path:
    return next(
        p for p in sorted((store / "0").rglob("*")) if p.is_file() and not p.name.startswith(".") and p.suffix != ".json"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_whole_volumes_are_read(tmp_path, kind):
    path = KINDS[kind](tmp_path)
    np.testing.assert_array_equal(read_volume(path, options=OPTIONS.get(kind, VolumeOptions())).data[0], values())
    assert "4 × 5 × 6" in describe_file(path) or kind == "tiff"


def test_the_corpus_is_large_enough():
    counts = {kind: sum(k.startswith(kind.split(".")[0]) for k, _, _ in CORPUS.values()) for kind in KINDS}
    assert min(counts.values()) >= 5, counts


@pytest.mark.parametrize("case", CORPUS)
def test_a_broken_volume_ends_in_one_line(tmp_path, case):
    kind, damage, told = CORPUS[case]
    path = KINDS[kind](tmp_path)
    damage(tmp_path)
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(DarklungError) as caught:
        read_volume(path, options=OPTIONS.get(kind, VolumeOptions()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert time.monotonic() - started < 5
    assert peak < 32 * 2**20


def test_a_ring_of_pages_ends(tmp_path):
    path = tiff(tmp_path)
    ring_of_pages(tmp_path)
    with pytest.raises(DarklungError, match=r"a\.tif: cannot be read as TIFF \(page 4 is named twice"):
        read_volume(path, options=OPTIONS["tiff"])


@pytest.mark.parametrize("kind", ["nifti", "nifti.gz", "nrrd", "nrrd.gz", "mha", "mha.gz", "tiff", "slices", "dicom"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_ends_in_a_volume_or_one_line(tmp_path, kind, data):
    """Bytes changed, cut off or put in anywhere."""
    path = KINDS[kind](tmp_path)
    target = path if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())[1]
    whole = bytearray(target.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(whole) - 1))
        how = data.draw(st.sampled_from(["change", "cut", "insert"]))
        if how == "change":
            whole[where] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del whole[where + 1 :]
        else:
            whole[where:where] = data.draw(st.binary(min_size=1, max_size=9))
    target.write_bytes(whole)
    try:
        image = read_volume(path, options=OPTIONS.get(kind, VolumeOptions()))
    except DarklungError as error:
        told = str(error)
    else:
        told = ""
        assert image.data.size < 10**6
    assert "\n" not in told
