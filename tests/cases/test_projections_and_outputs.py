"""B8, C10, C12, D14: projections of others make sense, what was stopped says how to go on, nothing hidden leaks."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from darklung.commands.benchmark_entries import _column, pack_entry
from darklung.commands.benchmark_make import Wanted, make_benchmark
from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.io.case import CaseFacts, LabelledCase, save_case
from darklung.io.documents import validate
from darklung.io.images import save_image
from darklung.io.projections import open_projections
from darklung.publish.about import Creator
from darklung.publish.sealed import open_benchmark, read_seal
from darklung.steps.reconstruct import resolved
from darklung.steps.scoring.candidates import read_candidates
from darklung.steps.scoring.score import read_animals
from darklung.study.processing import ReconstructionPart

VIEWS, ROWS, COLS = 30, 2, 16


def projections(path, angles=None, **attributes):
    with h5py.File(path, "w") as file:
        file["attenuation"] = np.zeros((VIEWS, ROWS, COLS), np.float32)
        if angles is None:
            angles = np.arange(VIEWS) * np.pi / VIEWS
        if isinstance(angles, str):
            file.create_dataset("angles_rad", (VIEWS,), "f8", chunks=(8,) if angles == "chunks" else None)
        else:
            file["angles_rad"] = angles
        file.attrs.update({"pixel_m": 1e-4, **attributes})
    return path


@pytest.mark.parametrize("pixel", [75.0, 0.075, 1e3])
def test_a_pixel_in_another_unit_is_told(tmp_path, pixel):
    with pytest.raises(DarklungError, match=r"pixel_m: wanted metres, up to 0.01, got .*: is this in mm or um?"):
        open_projections(projections(tmp_path / "p.h5", pixel_m=pixel))


@pytest.mark.parametrize("angles", ["chunks", "never"])
def test_angles_that_were_never_written_are_told(tmp_path, angles):
    with pytest.raises(DarklungError, match=r"angles_rad: .*never written"):
        open_projections(projections(tmp_path / "p.h5", angles))


@pytest.mark.parametrize("angle", [0.0, 1.5, np.pi])
def test_views_of_one_angle_are_no_volume(tmp_path, angle):
    stored = open_projections(projections(tmp_path / "p.h5", np.full(VIEWS, angle)))
    with pytest.raises(DarklungError, match="angles_rad: all 30 views have the same angle"):
        resolved(stored, ReconstructionPart())


@pytest.mark.parametrize("value", ["nan", b"1_0", [7.0, 8.0], h5py.Empty("f8")], ids=["word", "bytes", "two", "empty"])
def test_an_axis_that_is_no_number(tmp_path, value):
    with pytest.raises(DarklungError, match="axis_col"):
        open_projections(projections(tmp_path / "p.h5", axis_col=value))


PLACED = "case,z_mm,y_mm,x_mm,score\n"


@pytest.mark.parametrize("cell", ["1_0", "0x10", "1,5", "nan", "", "１", "TRUE"])
def test_scores_are_plain_numbers(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f'{PLACED}a,1,2,3,"{cell}"\n')
    with pytest.raises(DarklungError, match="row 1: wanted finite numbers"):
        read_candidates(tmp_path / "t.csv")


@pytest.mark.parametrize("text", [f"\N{BYTE ORDER MARK}{PLACED}a,1,2,3,0.5\n", f"{PLACED.replace(',', ', ')}a,1,2,3,.5\r\n"])
def test_tables_of_candidates_as_spreadsheets_write_them(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_candidates(tmp_path / "t.csv")["a"]["score"].tolist() == [0.5]


def test_a_table_without_candidates_has_none(tmp_path):
    (tmp_path / "t.csv").write_text(PLACED)
    assert read_candidates(tmp_path / "t.csv") == {}


@pytest.mark.parametrize("animal", [None, float("nan"), ""])
def test_an_animal_that_is_not_told_is_none(tmp_path, animal):
    pd.DataFrame({"case": ["a", "b"], "animal": ["m1", animal]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DarklungError, match="wanted each case once, with its animal"):
        read_animals(tmp_path / "t.parquet")


def test_an_animal_called_na_is_one(tmp_path):
    (tmp_path / "t.csv").write_text("case,animal\na,NA\nb,null\nc,007\n")
    assert read_animals(tmp_path / "t.csv") == {"a": "NA", "b": "null", "c": "007"}


@pytest.mark.parametrize("row", [{}, {"auroc": None}, {"auroc": "0.5"}, {"auroc": True}])
def test_a_replicate_that_is_missing_is_named(row):
    with pytest.raises(DarklungError, match=r"has no column auroc|row 1: auroc: wanted a number, got"):
        _column([row], "auroc", Path("t.parquet"))


@pytest.mark.parametrize("name", [" ", "\N{NO-BREAK SPACE}", "\t", "two\nlines", "bell\a"])
def test_names_of_blanks_are_refused_in_words(name):
    with pytest.raises(DarklungError, match=r"name: wanted (words|one line)") as caught:
        validate({"name": name, "orcid": "none"}, Creator, "about.yaml")
    assert "pattern" not in str(caught.value)


def case(name):
    grid = np.ones((1, 6, 6, 6), np.float32)
    image = Image(grid, ("attenuation",), ("1/m",), (1e-3,) * 3)
    inside, none = np.ones(grid.shape[1:], bool), np.zeros(grid.shape[1:], np.uint8)
    about = CaseFacts(name, f"mouse {name}", source="made up", synthetic=True, provenance={"energy_kev": 70.0})
    return LabelledCase(image, none, inside, inside, none.astype(np.uint16), none.astype(bool), (), about)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A benchmark of measured cases that lie in a folder of somebody's."""
    folder = tmp_path_factory.mktemp("work")
    for name in "ab":
        save_case(folder / f"anna/secret-project/{name}", case(name))
    text = f"name: small\nsources: {{mine: {{from: cases, files: ['{folder}/anna/secret-project/*'], use: test}}}}\n"
    (folder / "study.yaml").write_text(text)
    make_benchmark(folder / "study.yaml", folder / "public", wanted=Wanted(seed=3), workers=1)
    return folder


def test_neither_benchmark_nor_seal_tells_places_of_the_machine(sealed):
    seal = read_seal(sealed / "public.seal.h5")
    told = repr(seal.origin) + repr([secret.was for secret in seal.cases.values()])
    assert "secret-project" not in told
    assert str(sealed) not in told
    for place in [sealed / "public.seal.h5", *(p for p in (sealed / "public").rglob("*") if p.is_file())]:
        assert b"secret-project" not in place.read_bytes()


@pytest.mark.parametrize("link", ["secret.txt", "0/c/link", "zarr.json"])
def test_maps_with_links_are_not_handed_in(sealed, tmp_path, link):
    """A copy would hold what they lead to, and be given away."""
    (tmp_path / "private").write_text("secret")
    manifest, _ = open_benchmark(sealed / "public")
    for name in manifest.cases:
        save_image(tmp_path / f"maps/{name}.ome.zarr", case(name).channels)
    place = tmp_path / f"maps/{name}.ome.zarr/{link}"
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / "private")
    with pytest.raises(DarklungError, match="is a link, which would hand in what it leads to"):
        pack_entry(sealed / "public", tmp_path / "maps", tmp_path / "entry", name="mine")
    assert not (tmp_path / "entry").exists()


@pytest.mark.parametrize("left", ["the seal alone", "the seal and a partial folder", "the seal and an empty folder"])
def test_a_seal_left_by_a_kill_says_what_to_do(sealed, tmp_path, left):
    shutil.copyfile(sealed / "public.seal.h5", tmp_path / "public.seal.h5")
    if left != "the seal alone":
        (tmp_path / ("public" if "empty" in left else ".public.1.partial")).mkdir()
    with pytest.raises(
        DarklungError, match=r"is there already, .*public is not: if that was stopped .*remove the seal"
    ) as caught:
        make_benchmark(sealed / "study.yaml", tmp_path / "public")
    assert "\n" not in str(caught.value)


def test_a_seal_beside_its_benchmark_is_never_written_over(sealed):
    with pytest.raises(DarklungError, match="is there already; a seal is never written over"):
        make_benchmark(sealed / "study.yaml", sealed / "public")
