"""``darklung section`` and ``darklung stereology`` as a user calls them: numbers of the phantom, stacks, and mistakes."""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "histology"))
from sections import cut, uniform

from darklung.commands.cli import app
from darklung.commands.section import cut_phantom
from darklung.commands.stereology import measure_sections
from darklung.core.checks import DarklungError
from darklung.histology.stereology import measured
from darklung.histology.synthetic import render
from darklung.io.hdf5 import save
from darklung.io.images import load_image
from darklung.io.tables import load_table
from darklung.phantom.lesions import LesionRequest
from darklung.phantom.subject import make_phantom
from darklung.pipeline.record import read_json
from darklung.slides.opening import open_slide
from darklung.slides.slide import averaged
from darklung.steps.sections import open_section
from darklung.steps.stereology import measure
from darklung.study.histology import SectionPart, StereologyPart


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A section of 2.2 mm of a mouse with a lesion, at 2 um, shrunk by 15 %."""
    folder = tmp_path_factory.mktemp("section")
    save(folder / "phantom.h5", make_phantom(seed=5, voxel_m=250e-6, lesions=[LesionRequest("solid", 1.5e-3)]))
    given = {"plane": "coronal", "field": ["2.2 mm", "2.2 mm"], "shrinkage": 0.15, "seed": 2, "tilt": "5 deg"}
    text = cut_phantom(folder, folder, name="one", given=given)
    return folder, text


@pytest.fixture(scope="module")
def even(tmp_path_factory):
    """A section of a phantom that is the same throughout, and its measures."""
    folder = tmp_path_factory.mktemp("even")
    save(folder / "phantom.h5", uniform(0.3, 65e3))
    cut_phantom(folder, folder, name="even", given={"field": ["2 mm", "2.4 mm"], "shrinkage": 0.1})
    picture = folder / "section/even/section.ome.tif"
    told = measure_sections(picture, folder, section={}, measure={"shrinkage": 0.1}, workers=1)
    return folder, picture, told


def test_a_section_is_marked_in_file_and_picture(made):
    folder, text = made
    slide = open_slide(folder / "section/one/section.ome.tif")
    assert slide.told["synthetic"] is True
    assert "SYNTHETIC" in text
    with tifffile.TiffFile(folder / "section/one/section.ome.tif") as file:
        assert '"synthetic": true' in file.pages[0].software
    rows = slide.shape[0]
    corner = slide.region((rows - 200, 0, 200, 800))
    dark = (corner == 90).all(axis=-1)
    assert dark.sum() > 2000  # the word and the bar
    assert dark[-12:].sum(axis=1).max() == round(500e-6 / 2e-6)


def test_the_truth_lies_on_the_picture(made):
    folder, _ = made
    truth = load_image(folder / "section/one/truth.ome.zarr")
    slide = open_slide(folder / "section/one/section.ome.tif")
    lung = truth.channel("lung") > 0
    # The first pixel of the truth lies where it lies in the picture, whose middle is zero.
    corner = truth.position_m((-0.5, -0.5))
    np.testing.assert_allclose(corner, [-n * 2e-6 / 2 for n in slide.shape], atol=1e-9)
    step = round(truth.spacing_m[0] / 2e-6)
    thumb = slide.overview(step)[: lung.shape[0], : lung.shape[1]]
    assert thumb[~lung][:, 1].mean() > 245 > 230 > thumb[lung][:, 1].mean()
    # Places: a step of 20 um on the slide is 20/0.85 um in the animal, along rows that lean by 5 degrees from z.
    z = truth.channel("z_m")
    gaps = np.diff(z, axis=0)
    assert np.nanmedian(gaps[np.isfinite(gaps)]) == pytest.approx(
        truth.spacing_m[0] / 0.85 * np.cos(np.radians(5)), rel=1e-3
    )


def test_stereology_of_a_section_is_the_phantoms(even):
    folder, _, told = even
    (whole, *_) = load_table(folder / "sections")
    assert whole["piece"] == "all"
    assert whole["tissue_fraction"] == pytest.approx(0.3, rel=0.05 + 2 * 0.025)  # 4 mm²: the texture's own spread is 2.5 %
    assert whole["interface_density_per_m_before"] == pytest.approx(65e3, rel=0.05)
    assert whole["interface_density_per_m"] == pytest.approx(65e3 / 0.9, rel=0.05)
    assert abs(whole["interface_density_per_m_half"] / whole["interface_density_per_m"] - 1) < 0.06
    assert whole["tissue_fraction_low"] > whole["tissue_fraction"] > whole["tissue_fraction_high"]
    assert "before shrinkage S_V" in told
    assert "802 ± 33 /cm" in told
    tiles = load_table(folder / "stereology/even/tiles")
    assert len(tiles) == whole["tiles"]
    page = (folder / "stereology/even/stereology.html").read_text()
    assert "SYNTHETIC section" in page
    assert "http" not in page.replace("http-equiv", "")
    assert read_json(folder / "stereology/even/section.json")["synthetic"] is True


def test_errors_of_tiles_are_about_how_tiles_differ(even):
    folder, _, _ = even
    tiles = load_table(folder / "stereology/even/tiles")
    full = [t for t in tiles if t["parenchyma_share"] > 0.8]
    spread = np.std([t["interface_density_per_m"] for t in full], ddof=1)
    told = np.sqrt(np.mean([t["interface_density_per_m_se"] ** 2 for t in full]))
    assert 0.4 < told / spread < 2.5


def test_a_mirrored_section_has_the_same_numbers(even, tmp_path):
    folder, picture, _ = even
    Path(tmp_path / "stack.yaml").write_text(
        f"sections:\n- {{file: {picture}, flip: left-right}}\nspacing: 50 um\nmissing: [1]\n"
    )
    told = measure_sections(tmp_path / "stack.yaml", tmp_path, section={}, measure={}, workers=1)
    one, two = (load_table(f / "sections")[0] for f in (folder, tmp_path))
    assert two["interface_density_per_m"] == pytest.approx(one["interface_density_per_m"], rel=0.03)
    assert two["tissue_fraction"] == pytest.approx(one["tissue_fraction"], rel=0.03)
    assert (two["number"], two["position_mm"]) == (2, pytest.approx(0.05))
    assert "missing sections: 1" in told
    assert "mirrored left-right" in told


def test_drawn_outlines_and_masks_are_left_out(even, tmp_path):
    _, picture, _ = even
    rows, cols = open_slide(picture).shape
    box = [[0, 0], [cols / 2, 0], [cols / 2, rows], [0, rows], [0, 0]]
    feature = {"geometry": {"type": "Polygon", "coordinates": [box]}, "properties": {"classification": {"name": "Tumor"}}}
    (tmp_path / "drawn.geojson").write_text(json.dumps({**feature, "type": "Feature"}))
    mask = np.zeros((rows, cols), np.uint8)
    mask[: rows // 2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    section = {"outlines": tmp_path / "drawn.geojson", "masks": {"airway": tmp_path / "mask.png"}}
    measure_sections(picture, tmp_path, section=section, measure={"tile": "300 um"}, workers=1)
    whole = load_table(tmp_path / "sections")[0]
    tiles = load_table(tmp_path / "stereology/even/tiles")
    assert whole["tumour_mm2"] > 0.5
    assert whole["airway_mm2"] > 0.5
    assert min(t["col_mm"] for t in tiles) > cols / 2 * 2e-3 - 0.3
    assert min(t["row_mm"] for t in tiles) > rows / 2 * 2e-3 - 0.3


def test_a_scale_bar_gives_the_pixel(even, tmp_path):
    _, picture, _ = even
    Image.fromarray(open_slide(picture).overview(1)).save(tmp_path / "plain.png")
    result = run("stereology", tmp_path / "plain.png", "--out", tmp_path, "--scale-bar", "500 um", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "pixel 2 um: scale bar of 500 um is 250 pixels" in result.output


def test_a_wrong_pixel_is_flagged(even, tmp_path):
    _, picture, _ = even
    told = measure_sections(picture, tmp_path, section={"pixel": "0.4 um"}, measure={"tile": "200 um"}, workers=1)
    assert "but the file tells a pixel of 2 um: one of them is wrong" in told
    assert "mean linear intercept" in told
    assert "is the pixel (0.4 um) right" in told
    assert "one of them is wrong" in (tmp_path / "stereology/even/stereology.html").read_text()


def test_a_pyramid_of_10_gib_is_measured_in_bounded_memory(tmp_path):
    """1.5 mm of lung in a picture of 30 mm, sparse on disk; 0 is black, which is no stain."""
    size, part, at = 60_000, 3000, 20_000
    lung = render(cut(uniform(0.3, 65e3), pixels=part, pixel_m=0.5e-6), (0, 0, part, part))
    coarse = np.full((size // 16, size // 16, 3), 250, np.uint8)
    box = slice(at // 16, (at + part) // 16)
    coarse[box, box] = averaged(lung, 16)[: box.stop - box.start, : box.stop - box.start]
    told = {"photometric": "rgb", "metadata": None, "dtype": np.uint8, "resolution": (2e4, 2e4), "resolutionunit": 3}
    with tifffile.TiffWriter(tmp_path / "huge.tif", bigtiff=True) as file:
        file.write(shape=(size, size, 3), **told)
        file.write(coarse, **told)
    with tifffile.TiffFile(tmp_path / "huge.tif") as file:
        offset = file.pages[0].dataoffsets[0]
    whole = np.memmap(tmp_path / "huge.tif", np.uint8, "r+", offset, (size, size, 3))
    whole[at : at + part, at : at + part] = lung
    whole.flush()
    del whole
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    section = SectionPart(file=tmp_path / "huge.tif")
    found = measure(open_section(section), section, StereologyPart(), lambda *_: None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB: a tenth of the picture
    total = sum((t.fine for t in found.tiles[1:]), found.tiles[0].fine)
    assert measured(total).interface_density_per_m == pytest.approx(65e3, rel=0.06)


def test_mistakes_are_one_line(tmp_path):
    glass = np.full((400, 400, 3), 245, np.uint8)
    tifffile.imwrite(
        tmp_path / "empty.tif", glass, photometric="rgb", resolution=(5e3, 5e3), resolutionunit=3, metadata=None
    )
    Image.fromarray(glass).save(tmp_path / "plain.png")
    (tmp_path / "stack.yaml").write_text("sections: [{file: a.tif}, {file: a.tif}]\n")
    (tmp_path / "lost.yaml").write_text("sections: [{file: a.tif}]\nmissing: [3]\n")
    (tmp_path / "places.yaml").write_text("sections: [{file: a.tif, position: 2 mm}, {file: b.tif, position: 1 mm}]\n")
    cases = {
        ("empty.tif",): "section: no stain in it",
        ("plain.png",): "pixel: the file does not tell it",
        ("plain.png", "pixel", "2"): "wanted a length with its unit",
        ("plain.png", "pixel", "2 mm"): r"pixel \[m\]: wanted 2e-08 to 5e-05",
        ("plain.png", "pixel", "20 um"): "pixel: wanted at most 8 um to see septa, got 20 um",
        ("plain.png", "scale_bar", "1 mm"): "scale bar: none found",
        ("absent.png", "pixel", "2 um"): "absent.png",
        ("stack.yaml",): "the same file twice",
        ("lost.yaml",): "1 sections and 1 missing end at number 2",
        ("places.yaml",): "positions that rise",
        ("stack.yaml", "pixel", "2 um"): "say it in the description of the stack",
    }
    for (name, *option), wanted in cases.items():
        section = dict([option]) if option else {}
        with pytest.raises(DarklungError, match=wanted) as error:
            measure_sections(tmp_path / name, tmp_path / "out", section=section, measure={}, workers=1)
        assert "\n" not in str(error.value), str(error.value)


def test_a_section_without_lung_and_a_file_that_is_no_phantom(made, tmp_path):
    folder, _ = made
    with pytest.raises(DarklungError, match="no lung in this plane"):
        cut_phantom(folder, tmp_path, name="a", given={"at": "8.9 mm"})
    with pytest.raises(DarklungError, match="no such phantom"):
        cut_phantom(tmp_path / "absent.h5", tmp_path, name="a", given={})
    result = run("section", folder, "--out", tmp_path, "--set", "tilt=80 deg")
    assert result.exit_code != 0
    assert "tilt" in str(result.exception)
