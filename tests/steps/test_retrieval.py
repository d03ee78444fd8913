"""Retrieval is one step with one set of options: for descriptions, studies and radiographs, with functions of one's own."""

from __future__ import annotations

import re
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from darklung.commands.retrieve import retrieve_described
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.seams import resolve
from darklung.core.types import PROJECTION_MAPS, Projections, Scan
from darklung.flow import door
from darklung.flow.plan import plan
from darklung.io.hdf5 import load, save
from darklung.io.images import load_image
from darklung.io.retrieval import Retrieval
from darklung.pipeline import Context, task_keys
from darklung.retrieve import overview
from darklung.retrieve.methods import RETRIEVALS, find_retrieval
from darklung.simulate.objects import cylinder
from darklung.steps import radiograph
from darklung.steps.phantom import plan_animals
from darklung.steps.retrieve import _save_preview, _spread
from darklung.study.study import read_study

STEPS, VIEWS, ROWS, COLS = 8, 3, 9, 40
AIR = [[0, 5], [34, 39]]
PLUGIN = """
    import numpy as np
    from dataclasses import replace
    from darklung.core.types import Projections

    def first_harmonic(scan, *, floor=-9.0, reference="mean"):
        def wave(frames):
            turn = np.exp(1j * scan.step_phase_rad[0])[:, None, None]
            mean, first = frames.mean(axis=-3), (frames * turn).mean(axis=-3)
            return mean, 2 * np.abs(first) / mean, np.angle(first)

        directions = range(len(scan.directions_rad))
        flat = wave(np.stack([np.mean([scan.flats[d, f] for f in range(scan.flats.shape[1])], axis=0) for d in directions]))

        def block(views):
            frames = [[scan.frames[d, v] for v in range(views.start, views.stop)] for d in directions]
            mean, visibility, phase = wave(np.array(frames))
            names = ("attenuation_variance", "dark_field_variance", "phase_variance")
            maps = dict.fromkeys(names, np.full(mean.shape, 1e-4))
            maps["attenuation"] = -np.log(mean / flat[0][:, None])
            maps["dark_field"] = np.maximum(-np.log(visibility / flat[1][:, None]), floor)
            maps |= {"phase": phase - flat[2][:, None], "visibility": visibility}
            maps["flat_visibility"] = np.broadcast_to(flat[1][:, None], mean.shape)
            geometry = replace(scan.geometry, angles_rad=scan.geometry.angles_rad[views])
            valid = np.ones(mean.shape, bool)
            return Projections(**maps, valid=valid, directions_rad=scan.directions_rad, geometry=geometry)

        return block

    def no_block(scan):
        return first_harmonic(scan)(slice(0, scan.geometry.views))

    def no_projections(scan):
        return lambda views: np.zeros(3)

    def all_views(scan):
        return lambda views: first_harmonic(scan)(slice(0, scan.geometry.views))

    def unknown_values(scan):
        def block(views):
            found = first_harmonic(scan)(views)
            return replace(found, phase_variance=found.phase_variance * np.nan)
        return block
"""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(overview, "overview_png", lambda *_, **__: None)
    monkeypatch.setattr("darklung.steps.quality.write_quality", lambda path, page: path)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "my_retrieval.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_retrieval"
    sys.modules.pop("my_retrieval", None)


def frames():
    """Poisson frames (direction, view, step, row, col) and flats of a body between columns of air."""
    rng = stream(4, "frames")
    angle = 2 * np.pi * np.arange(STEPS)[:, None, None] / STEPS + rng.uniform(0, 6, (ROWS, COLS))
    body = (np.arange(COLS) > 8) & (np.arange(COLS) < 30)
    curve = 2e3 * np.exp(-0.4 * body) * (1 + 0.4 * np.exp(-0.3 * body) * np.cos(angle + 0.2))
    sample = rng.poisson(curve * np.array([1.0, 1.1, 0.9])[:, None, None, None], (2, VIEWS, STEPS, ROWS, COLS))
    return sample.astype(np.uint16), rng.poisson(2e3 * (1 + 0.4 * np.cos(angle)), (2, 4, STEPS, ROWS, COLS)).astype(
        np.uint16
    )


def described(folder, retrieval, data=None):
    sample, flat = data or frames()
    np.save(folder / "s.npy", sample)
    np.save(folder / "f.npy", flat)
    content = {
        "name": "scan",
        "sample": {"kind": "npy", "files": "s.npy", "axes": ["direction", "view", "step", "row", "col"]},
        "flat": {"kind": "npy", "files": "f.npy", "axes": ["direction", "flat", "step", "row", "col"]},
        "steps": {"count": STEPS, "endpoint_repeated": False},
        "directions": ["0 deg", "90 deg"],
        "angles": {"first": "0 deg", "step": "8 deg"},
        "view_times": {"first": "1 s", "step": "2 s"},
        "flat_times": ["0 s", "0.2 s", "8 s", "8.2 s"],
        "pixel": "75 um",
        "retrieval": retrieval,
    }
    (folder / "scan.yaml").write_text(yaml.safe_dump(content))
    return folder / "scan.yaml"


def from_description(folder, retrieval, name="out"):
    retrieve_described(described(folder, retrieval), folder / name, workers=1)
    return load(folder / name / "retrieve" / "scan" / "projections.h5", Projections)


def study(folder, retrieval, **parts):
    mice = {"from": "simulation", "cohort": {"animals": 3, "test_animals": 0}, **parts}
    content = {"name": "one", "sources": {"mice": mice}, "processing": {"retrieval": retrieval}}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return folder / "study.yaml"


def keys_of(path):
    return task_keys(plan(read_study(path)).tasks)


def at_the_door(path):
    """What a run does before it computes anything; to read and plan a study imports nothing of the user's."""
    asked = read_study(path)
    door.check(asked, plan(asked))


def from_study(folder, retrieval):
    sample, flat = frames()
    phases = np.tile(2 * np.pi * np.arange(STEPS) / STEPS, (2, 1))
    geometry = ParallelGeometry(np.radians([0.0, 8.0, 16.0]), ROWS, COLS, 75e-6)
    times = {"view_time_s": np.tile([1.0, 3.0, 5.0], (2, 1)), "flat_time_s": np.tile([0.0, 0.2, 8.0, 8.2], (2, 1))}
    save(folder / "scan.h5", Scan(sample, flat, phases, np.radians([0.0, 90.0]), geometry, **times))
    path = study(folder, {"normalise": "none", **retrieval})
    task = next(t for t in plan(read_study(path)).tasks if t.stage == "retrieve")
    out = folder / "retrieved"
    out.mkdir()
    context = Context(out, out, {"scan": (folder,)}, task.parameters, task.files, lambda *_: None)
    resolve("task", task.function, {})(context)
    return load(out / "projections.h5", Projections)


EVERY_OPTION = {
    "method": {"method": "likelihood"},
    "harmonics": {"harmonics": 2},
    "gain": {"gain": 2.0},
    "reference": {"reference": "interpolate"},
    "steps and air_cols": {"steps": "estimate", "air_cols": AIR},
    "variance": {"variance": "pixel"},
    "least_strength": {"least_strength": 2000.0},
    "most_misfit": {"most_misfit": 2.0},
    "normalise": {"normalise": "air", "air_cols": AIR},
    "normalise rows": {"normalise": "air_rows", "air_cols": AIR},
    "find_bad_pixels and covariance": {"find_bad_pixels": True, "covariance": True},
}


@pytest.mark.parametrize("name", EVERY_OPTION)
def test_a_study_retrieves_as_a_description_does_with_every_option(tmp_path, name):
    ours, theirs = from_study(tmp_path, EVERY_OPTION[name]), from_description(tmp_path, EVERY_OPTION[name])
    for field in PROJECTION_MAPS:
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)
    if "covariance" in name:
        assert (tmp_path / "retrieved" / "covariance.h5").is_file()
    else:
        plain = from_description(tmp_path, {}, name="plain")
        assert any(not np.array_equal(getattr(plain, field), getattr(ours, field)) for field in PROJECTION_MAPS)


def test_a_function_of_ones_own_retrieves_frames_in_memory_and_on_disk(plugin, tmp_path, monkeypatch):
    asked = {"method": f"{plugin}:first_harmonic"}
    whole = from_description(tmp_path, asked)
    usual = from_description(tmp_path, {}, name="usual")
    np.testing.assert_allclose(whole.attenuation, usual.attenuation, atol=1e-5)
    np.testing.assert_allclose(whole.dark_field, usual.dark_field, atol=1e-4)
    of_study = from_study(tmp_path, asked)
    np.testing.assert_array_equal(of_study.dark_field, whole.dark_field)
    from darklung.io import frames as reader

    monkeypatch.setattr(reader.load_scan, "__kwdefaults__", {"eager_bytes": 0})
    monkeypatch.setattr("darklung.steps.retrieve.BLOCK_BYTES", 1)
    streamed = from_description(tmp_path, asked, name="streamed")
    for field in PROJECTION_MAPS:
        np.testing.assert_array_equal(getattr(whole, field), getattr(streamed, field), err_msg=field)
    floored = from_description(tmp_path, {**asked, "options": {"floor": 0.1}}, name="floored")
    assert floored.dark_field.min() == pytest.approx(0.1)


def test_editing_it_makes_what_uses_it_due(plugin, tmp_path):
    path = study(tmp_path, {"method": f"{plugin}:first_harmonic"})
    before = keys_of(path)
    (tmp_path / "my_retrieval.py").write_text(textwrap.dedent(PLUGIN) + "\n# another thought\n")
    after = keys_of(path)
    due = {name.split("/")[0] for name in after if after[name] != before[name]}
    assert {"retrieve", "correct", "reconstruct"} <= due
    assert not due & {"cohort", "phantom", "scan"}


@pytest.mark.parametrize(
    ("retrieval", "told"),
    [
        ({"method": "magic"}, "method: 'magic' is not known; known: least_squares, likelihood, or package.module:function"),
        ({"method": "my_retrieval:nothing"}, "'my_retrieval:nothing' cannot be imported"),
        ({"method": "my_retrieval:first_harmonic", "options": {"flor": 1}}, "'flor' is not known; known: floor"),
        ({"method": "my_retrieval:first_harmonic", "options": {"floor": "low"}}, "wanted a value such as -9.0, got 'low'"),
        ({"method": "my_retrieval:first_harmonic", "options": {"reference": "x"}}, "'reference' is not known; known: floor"),
        ({"method": "my_retrieval:first_harmonic", "variance": "pixel"}, "variance: my_retrieval:first_harmonic does not"),
        ({"method": "my_retrieval:first_harmonic", "gain": 2}, "harmonics and gain: my_retrieval:first_harmonic does not"),
        (
            {"method": "my_retrieval:first_harmonic", "covariance": True},
            "covariance: belongs to least_squares and likelihood",
        ),
        ({"options": {"fit": 1}}, "options: belong to a function of one's own"),
        ({"normalise": "monitor"}, "monitor needs"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(plugin, tmp_path, retrieval, told):
    for read in (lambda: at_the_door(study(tmp_path, retrieval)), lambda: from_description(tmp_path, retrieval)):
        with pytest.raises(DarklungError, match=re.escape(told)) as error:
            read()
        assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out" / "retrieve").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_block", "wanted a function of a slice of views to be returned, got Projections"),
        ("no_projections", "wanted Projections to be returned, got ndarray"),
        ("unknown_values", "phase_variance: 2160 values are not finite"),
    ],
)
def test_what_it_returns_against_its_contract_ends_in_one_line(plugin, tmp_path, name, told):
    with pytest.raises(DarklungError, match=re.escape(told)) as error:
        from_description(tmp_path, {"method": f"{plugin}:{name}"})
    assert f"{plugin}:{name}" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_blocks_of_other_views_are_told(plugin, tmp_path, monkeypatch):
    from darklung.io import frames as reader

    monkeypatch.setattr(reader.load_scan, "__kwdefaults__", {"eager_bytes": 0})
    monkeypatch.setattr("darklung.steps.retrieve.BLOCK_BYTES", 1)
    with pytest.raises(
        DarklungError, match=r"my_retrieval:all_views: wanted .* of shape \(2, 1, 9, 40\), got \(2, 3, 9, 40\)"
    ):
        from_description(tmp_path, {"method": f"{plugin}:all_views"})


def test_short_names_are_the_methods_that_fit():
    for name in RETRIEVALS:
        assert find_retrieval(Retrieval(method=name)).__name__ == "retriever"


def test_radiographs_of_a_cohort_are_retrieved_as_the_study_says(tmp_path):
    """Steps that are off by 40 degrees show in the air of a radiograph, unless the study asks to find them."""
    save(tmp_path / "phantom.h5", cylinder(diameter_m=8e-3, voxel_m=4e-4, shape=(16, 40, 40)))
    spread = {}
    for steps in ("nominal", "estimate"):
        path = study(tmp_path, {"steps": steps}, effects={"step_error": "40 deg"}, scan={"supersampling": 1})
        made = read_study(path)
        source = made.sources["mice"]
        task = radiograph.task(source, plan_animals(source, made.seed)[0], made.processing, made.seed)
        (tmp_path / steps).mkdir()
        context = Context(tmp_path / steps, tmp_path, {"phantom": (tmp_path,)}, task.parameters, task.files, lambda *_: None)
        resolve("task", task.function, {})(context)
        spread[steps] = float(load(tmp_path / steps / "projections.h5", Projections).dark_field[..., :2].std())
    assert spread["estimate"] < 0.5 * spread["nominal"]


@pytest.mark.parametrize("views", [12, 100, 360, 1001])
def test_the_frame_of_a_preview_is_of_the_view_of_its_maps(tmp_path, views):
    """Of a scan on disk some views come back; each map and each frame tells here which view it is of."""
    kept = _spread(views)

    def made(numbers):
        maps = np.broadcast_to(np.asarray(numbers, np.float32)[None, :, None, None], (1, len(numbers), 2, 3))
        errors = dict.fromkeys(PROJECTION_MAPS, maps)
        geometry = ParallelGeometry(np.linspace(0, np.pi, len(numbers), endpoint=False), 2, 3, 1e-4)
        return SimpleNamespace(**errors, geometry=geometry)

    frames = np.broadcast_to(np.arange(views, dtype=np.float32)[None, :, None, None, None], (1, views, 4, 2, 3))
    scan = SimpleNamespace(frames=frames, geometry=made(range(views)).geometry)
    for number, numbers in enumerate((kept, range(views))):
        _save_preview(tmp_path / f"{number}.ome.zarr", scan, made(numbers))
        found = load_image(tmp_path / f"{number}.ome.zarr")
        assert found.channel("raw frame")[0, 0] == found.channel("attenuation")[0, 0]
