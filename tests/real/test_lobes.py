"""Real mouse lung lobes: reading (also on files made here, which need no data), and what the quality rule does to them."""

import os
from pathlib import Path

import numpy as np
import pytest

from darklung.commands.insert import insert_files
from darklung.core.checks import DarklungError
from darklung.insert.lobes import RadiographLobe, lobe_quality, split_usable
from darklung.insert.radiograph import InsertionSettings, make_case
from darklung.io.case import load_case
from darklung.io.images import load_image
from darklung.io.lobes import read_lobe, read_lobes
from darklung.io.names import EXTENT
from darklung.io.tables import load_table

DATA = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "mouse_lung_lobes"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"measured lobes are not at {DATA} (set DARKLUNG_DATA)")


def write_lobe(path, **changes):
    mask = np.zeros((9, 12), bool)
    mask[2:6, 3:10] = True
    mask[2, 3] = False
    values = {k: np.linspace(0.5, 0.9, int(mask.sum())) for k in ("A", "P", "B", "R", "v")}
    arrays = {"mask": mask, **values, **changes}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return mask, arrays


def write_folder(folder, index=None):
    write_lobe(folder / "a.npz")
    (folder / "index.csv").write_text(index or "file,mouse,exposure,lobe,kind\na.npz,M1,control,LL,region\n")


def test_values_land_on_their_pixels(tmp_path):
    mask, arrays = write_lobe(tmp_path / "a.npz")
    image = read_lobe(tmp_path / "a.npz", pixel_m=1e-4)
    assert image.names == ("transmission", "visibility_ratio", "phase", "flat_visibility")
    assert image.shape == (4, 7)
    box = mask[2:6, 3:10]
    for key, name in (("A", "transmission"), ("B", "visibility_ratio"), ("P", "phase"), ("v", "flat_visibility")):
        np.testing.assert_allclose(image.channel(name)[box], arrays[key], rtol=1e-6)
        assert np.isnan(image.channel(name)[~box]).all()
    np.testing.assert_allclose(image.origin_m, ((2 - 4) * 1e-4, (3 - 5.5) * 1e-4))


def test_folder_with_index(tmp_path):
    write_folder(tmp_path)
    (one,) = read_lobes(tmp_path)
    assert (one.name, one.mouse, one.exposure, one.lobe, one.kind) == ("a", "M1", "control", "LL", "region")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"B": None}, "no array B"),
        ({"mask": None}, "no array mask"),
        ({"A": np.ones(5)}, "wanted axes"),
        ({"A": np.full(27, np.nan)}, "not finite"),
        ({"B": np.zeros(27)}, "wanted > 0"),
        ({"mask": np.ones((3, 9))}, "2-D bool"),
        ({"mask": np.zeros((9, 12), bool), **{k: np.zeros(0) for k in "APBRv"}}, "empty"),
        ({"A": np.array([{"x": 1}] * 27, dtype=object)}, "cannot be read"),
    ],
)
def test_broken_files_each_give_one_line(tmp_path, changes, message):
    write_lobe(tmp_path / "a.npz", **changes)
    with pytest.raises(DarklungError, match=message) as caught:
        read_lobe(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_truncated_or_missing(tmp_path):
    write_folder(tmp_path)
    whole = (tmp_path / "a.npz").read_bytes()
    for part in (b"", whole[:40], whole[: len(whole) // 2], b"text" * 50):
        (tmp_path / "a.npz").write_bytes(part)
        with pytest.raises(DarklungError, match="cannot be read"):
            read_lobes(tmp_path)
    (tmp_path / "a.npz").unlink()
    with pytest.raises(DarklungError, match="no file"):
        read_lobes(tmp_path)
    with pytest.raises(DarklungError, match=r"index\.csv"):
        read_lobes(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("file,mouse,exposure,lobe,kind\n", "wanted a header and at least one row"),
        ("file,animal\na.npz,M1\n", "no column mouse"),
        ("file,mouse,exposure,lobe,kind\n../a.npz,M,c,L,r\n", "wanted the name"),
        ("file,mouse,exposure,lobe,kind\na.txt,M,c,L,r\n", "wanted the name"),
    ],
)
def test_broken_index(tmp_path, index, message):
    write_folder(tmp_path, index)
    with pytest.raises(DarklungError, match=message):
        read_lobes(tmp_path)


@pytest.fixture(scope="module")
def lobes():
    return [RadiographLobe(f.name, f.mouse, f.maps) for f in read_lobes(DATA)]


@needs_data
@pytest.mark.real
def test_the_rule_refuses_the_streaked_lobes_and_only_those(lobes):
    assert len(lobes) == 35
    refused = {lobe.name for lobe in lobes if not lobe_quality(lobe).usable}
    assert refused == {"whole_2", "whole_3"}
    kept, reasons = split_usable(lobes)
    assert len(kept) == 30
    assert len({k.group for k in kept}) == 6
    assert len(reasons) == 5


@needs_data
@pytest.mark.real
def test_noise_ratio_is_what_the_visibility_predicts(lobes):
    """σ(−ln D)/σ(−ln T) lies between that of a noise-free flat at sample visibility and half of it."""
    kept, _ = split_usable(lobes)
    for lobe in kept:
        quality = lobe_quality(lobe)
        seen = np.median(lobe.maps.channel("flat_visibility")[lobe.mask] * lobe.maps.channel("visibility_ratio")[lobe.mask])
        predicted = np.sqrt(2 / seen**2 - 1)
        assert 0.4 < quality.dark_field_noise / quality.attenuation_noise / predicted < 1.2


@needs_data
@pytest.mark.real
def test_insertion_into_real_lobes(lobes):
    kept, _ = split_usable(lobes)
    chosen = kept[::4]
    for lobe in chosen:
        case = make_case(lobe, settings=InsertionSettings(lesions=(1, 2)), seed=7, version=0)
        assert case.group == lobe.group
        assert np.isfinite(case.image.data).all()
        assert case.target.any()
        assert not (case.target & ~case.region).any()
        assert case.image.channel("attenuation")[case.target].mean() > lobe.attenuation[lobe.mask].mean()


@needs_data
@pytest.mark.real
@pytest.mark.parametrize("across", [False, True])
def test_the_command_keeps_lesions_in_the_lobe_and_off_its_edge_unless_asked(tmp_path, across):
    options = {"lesions": 1, "shams": 1, "copies": 4, "across_edge": across}
    insert_files(DATA / "KO202_RLL.npz", tmp_path, options=options, workers=1)
    rows = load_table(tmp_path / "insertions")
    lesions = [r for r in rows if r["kind"] == "lesion"]
    assert {r["tissue"] for r in lesions} == {"solid", "filled", "papillary", "lepidic"}  # dealt in turn
    assert {r["place"] for r in lesions} <= ({"across edge"} if across else {"near edge", "inside"})
    for place in (tmp_path / "insert").iterdir():
        region, path = load_case(place).region, load_image(place / EXTENT).channel("lesion_path")
        assert not (path > 0)[~region].any()
        grown = np.pad(~region, 1, constant_values=True)
        near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        assert (path > 0)[near & region].any() == across
