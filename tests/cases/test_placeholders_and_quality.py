"""B4 and B5: zeros that stand for nothing are no counts, and what is wrong with flats and views is told."""

import h5py
import numpy as np
import pytest
from case_scans import ATTENUATION, STEPS, curves, hdf5, judged, npy, scan_of

from darklung.core.checks import DarklungError

FLATS_LOWER_HALF = {
    "unwritten": lambda f: f.__setitem__((2, slice(None), slice(8, None)), 0),
    "one step unwritten": lambda f: f.__setitem__((2, 3, slice(8, None)), 0),
    "filled": lambda f: f.__setitem__((2, 3, slice(8, None)), 65535),
    "filled with 65535 everywhere": lambda f: f.__setitem__((2, slice(None), slice(8, None)), 65535),
}


@pytest.mark.parametrize("case", FLATS_LOWER_HALF)
def test_a_part_of_a_flat_that_holds_no_counts_makes_no_number(tmp_path, case):
    sample, flat = curves((16, 24))
    FLATS_LOWER_HALF[case](flat)
    maps, findings = judged(npy(tmp_path, sample, flat))
    assert not maps.valid[0, :, 8:].any()
    assert abs(np.median(maps.attenuation[maps.valid]) - ATTENUATION) < 0.01
    assert "50.0 % of the pixels are valid" in findings


VIEWS = {
    "lower half": (lambda s: s.__setitem__((1, slice(None), slice(8, None)), 0), (1, slice(8, None))),
    "lower half of a step": (lambda s: s.__setitem__((1, 3, slice(8, None)), 0), (1, slice(8, None))),
    "the end of the last view": (lambda s: s.__setitem__((2, slice(5, None)), 0), (2,)),
    "a step filled": (lambda s: s.__setitem__((1, 3), 65535), (1,)),
    "a constant": (lambda s: s.__setitem__(1, 7), (1,)),
}


@pytest.mark.parametrize("case", VIEWS)
def test_a_part_of_a_view_that_holds_no_counts_is_not_valid(tmp_path, case):
    sample, flat = curves((16, 24))
    change, where = VIEWS[case]
    change(sample)
    maps, findings = judged(npy(tmp_path, sample, flat))
    assert not maps.valid[0][where].any()
    assert maps.valid[0, 0].all()
    assert findings


def readings(file, kind):
    if kind == "chunk":
        file.create_dataset("a", (3,), "f8", chunks=(1,))[0] = 5
    elif kind == "never":
        file.create_dataset("a", (3,), "f8")
    else:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:2] = h5py.VirtualSource("gone.h5", "a", shape=(2,))
        file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize("kind", ["chunk", "never", "virtual"])
@pytest.mark.parametrize("field", ["angles", "view_times"])
def test_readings_that_were_never_written_are_no_zeros(tmp_path, kind, field):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        readings(file, kind)
    unit = "deg" if field == "angles" else "s"
    with pytest.raises(DarklungError, match=f"{field}: .*log.h5: /a: .*(written|missing).*do without this dataset"):
        scan_of(npy(tmp_path, *curves(), **{field: {"file": "log.h5", "dataset": "a", "unit": unit}}))


def test_a_dark_frame_that_was_never_written_is_no_dark(tmp_path):
    sample, flat = curves()

    def fill(file):
        file["s"], file["f"] = sample, flat
        file.create_dataset("d", sample.shape[2:], "u2", chunks=(2, 4))

    dark = {"kind": "hdf5", "file": "scan.h5", "dataset": "d", "axes": ["row", "col"]}
    with pytest.raises(DarklungError, match=r"dark_frame.*a chunk was never written"):
        scan_of(hdf5(tmp_path, fill, dark_frame=dark))


FLAWS = {
    "flat with a step repeated": (lambda s, f: f.__setitem__((1, 3), f[1, 2]), "other flats: flat 1"),
    "flat of another object": (lambda s, f: f.__setitem__((2, 5), f[2, 5] // 2), "other flats: flat 2"),
    "first flat moved": (lambda s, f: f.__setitem__((0, 6), f[0, 1]), "other flats: flat 0"),
    "view with a step repeated": (lambda s, f: s.__setitem__((1, 3), s[1, 2]), "other views: view 1"),
    "sample and flat exchanged": (
        lambda s, f: (s.__setitem__(slice(None), 2 * f[:3]),),
        "more light than without an object",
    ),
}


@pytest.mark.parametrize("case", FLAWS)
def test_what_is_wrong_with_some_frames_is_told(tmp_path, case):
    sample, flat = curves((16, 24))
    change, told = FLAWS[case]
    change(sample, flat)
    assert told in judged(npy(tmp_path, sample, flat))[1]


@pytest.mark.parametrize("flat", ["constant over the steps", "no modulation beyond noise", "one level"])
def test_flats_without_modulation_are_refused_or_told(tmp_path, flat):
    sample, frames = curves()
    if flat == "one level":
        frames[:] = 5000
    elif flat == "constant over the steps":
        frames = np.repeat(frames[:, :1], STEPS, 1)
    else:
        frames = np.random.default_rng(1).poisson(5000, frames.shape).astype(np.uint16)
    try:
        findings = judged(npy(tmp_path, sample, frames))[1]
    except DarklungError as error:
        findings = str(error)
    assert any(words in findings for words in ("modulation", "low flat visibility", "of the pixels are valid"))


def test_a_whole_scan_has_nothing_against_it(tmp_path):
    maps, findings = judged(npy(tmp_path, *curves((16, 24))))
    assert findings == ""
    assert maps.valid.all()
    assert abs(np.median(maps.attenuation) - ATTENUATION) < 0.005


@pytest.mark.parametrize("end", [4095, 6000, 255])
def test_pixels_that_saturate_in_the_flats_alone_are_not_valid(tmp_path, end):
    sample, flat = curves((16, 24), counts=end / 1.2)
    flat = np.minimum(flat, end)
    if end == 255:
        sample, flat = sample.astype(np.uint8), flat.astype(np.uint8)
    maps, findings = judged(npy(tmp_path, sample, flat))
    assert not maps.valid[0][:, (flat[0] == end).any(axis=0)].any()
    assert f"reach {end} counts" in findings
