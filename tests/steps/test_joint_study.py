"""CT and radiographs of the same animals as one study: three arms on the same units, and what is refused before it runs."""

import json
import shutil

import numpy as np
import pytest
import yaml
from scipy import ndimage

from darklung.commands.run import list_tasks, opened, run_study
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Image, Insertion
from darklung.core.views import positions_m, seen_at, view_facts, view_of
from darklung.evaluate.lifted import lifted
from darklung.io.case import CaseFacts, LabelledCase, case_facts, load_case, save_case
from darklung.io.images import load_image
from darklung.pipeline.schedule import reachable
from darklung.tomo.beams import projector_of

SHAPE, VOXEL_M = (12, 16, 16), 5e-4
VIEWS = np.radians([0.0, 90.0])
ARMS = ["ct.boosting", "xray.boosting", "both.boosting"]
PLACES = [f"{stage}/{arm}" for stage, arm in zip(("predict", "lifted", "joint"), ARMS)]
BEAM = ParallelGeometry(VIEWS, 12, 20, VOXEL_M)


def save_animal(folder, name):
    """A case with two bright balls in noise, and its two radiographs, in which they are bright too."""
    rng = stream(5, name)
    instances, put = np.zeros(SHAPE, np.uint16), []
    for number, side in enumerate((3, 11), start=1):
        at = np.array([rng.uniform(3, 8), rng.uniform(4, 11), side + rng.uniform(0, 2)])
        instances[((np.indices(SHAPE) - at.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 4] = number
        place = tuple(float((a - (n - 1) / 2) * VOXEL_M) for a, n in zip(at, SHAPE))
        put.append(Insertion(number, "lesion", "solid", place, 2e-3))
    every, labels = np.ones(SHAPE, bool), (instances > 0).astype(np.uint8)
    data = (rng.normal(size=(1, *SHAPE)) + 2 * labels).astype(np.float32)
    image = Image(data, ("attenuation",), ("1/m",), (VOXEL_M,) * 3)
    facts = CaseFacts(name, name, synthetic=True)
    save_case(folder / "ct" / name, LabelledCase(image, labels, every, every, instances, ~every, tuple(put), facts))
    projector = projector_of(BEAM, SHAPE, VOXEL_M)
    paths = projector.forward(labels.astype(float))
    shadow = projector.forward(every.astype(float)) > 0
    for view, path in enumerate(paths):
        own = sum((projector.forward((instances == n).astype(float))[view] > VOXEL_M / 2) * n for n in (1, 2))
        own = np.minimum(own, 2).astype(np.uint16)
        flat = (rng.normal(size=path.shape) + 2e3 * path)[None].astype(np.float32)
        image = Image(flat, ("attenuation",), ("1",), (VOXEL_M,) * 2, frame="detector")
        facts = CaseFacts(f"{name}.x{view}", name, synthetic=True, provenance={"view": view_facts(BEAM, view)})
        region = shadow[view]
        lesion = (own > 0).astype(np.uint8)
        case = LabelledCase(image, lesion, region, region, own, np.zeros_like(region), tuple(put), facts)
        save_case(folder / "xray" / f"{name}.x{view}", case)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    for name in ("a1", "a2", "a3", "a4", "t1", "t2"):
        save_animal(folder, name)
    return folder


def written(folder, name="study", change=lambda content: None):
    sources = {
        use: {"from": "cases", "files": [f"ct/{k}*"], "radiographs": [f"xray/{k}*"], "use": use}
        for use, k in (("train", "a"), ("test", "t"))
    }
    seen = {"arms": {"xray": ["attenuation"]}, "joint": {"both": ["ct", "xray"]}}
    learning = {"arms": {"ct": ["attenuation"]}, "radiographs": seen, "observers": ["boosting"], "folds": 2}
    learning["boosting"] = {"trees": 10, "voxels": 300, "scales": ["0.5 mm", "1 mm"]}
    content = {"name": "one", "seed": 3, "sources": sources, "learning": learning}
    content["evaluation"] = {"replicates": 100, "tile": "2 mm"}
    change(content)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / f"{name}.yaml"


@pytest.fixture(scope="module")
def run(folder):
    run_study(written(folder), out=folder / "run", workers=1)
    return folder / "run"


def test_all_three_are_judged_on_the_same_units_and_told(run):
    comparison = json.loads((run / "evaluate/all/comparison.json").read_text())
    assert comparison["arms"] == ARMS
    for split, animals in (("validation", 4), ("test", 2)):
        found = comparison["results"][split]
        assert [found[arm]["n"] for arm in comparison["arms"]] == [found[ARMS[0]]["n"]] * 3
        assert found[ARMS[0]]["n"]["subjects"] == animals
        assert all(found[arm]["metrics"]["auroc"]["value"] is not None for arm in comparison["arms"])
    assert {(d["a"], d["b"]) for d in comparison["differences"]["test"]} == {(arm, ARMS[0]) for arm in ARMS[1:]}
    page = (run / "report.html").read_text()
    assert all(arm in page for arm in ARMS)
    (name, shares), *others = json.loads((run / f"joint/{ARMS[2]}.shares/shares.json").read_text()).items()
    assert (name, others) == ("logit", [])  # trees have no detection head
    assert len(shares) == 2
    assert all(0 < one["share"] < 1 and one["hits"] > 2 for one in shares)


def test_the_joint_logit_is_that_of_both_and_the_test_takes_the_mean_of_the_folds(run):
    shares = json.loads((run / f"joint/{ARMS[2]}.shares/shares.json").read_text())["logit"]
    parts = {arm: load_image(run / f"{where}.test/t1.logits.ome.zarr") for arm, where in zip(ARMS, PLACES)}
    own = []
    for k, one in enumerate(shares):
        first, second, both = (parts[arm].channel(f"logit_model_{k}") for arm in ARMS)
        np.testing.assert_allclose(both, (1 - one["share"]) * first + one["share"] * second, rtol=1e-5, atol=1e-5)
        own.append(both)
    np.testing.assert_allclose(parts[ARMS[2]].channel("logit"), np.mean(own, axis=0), rtol=1e-5, atol=1e-5)
    (file,) = sorted((run / f"{PLACES[2]}.fold0.validation").glob("*.zarr"))[:1]
    pair = [load_image(run / f"{where}.fold0.validation" / file.name).channel("logit") for where in PLACES]
    expected = (1 - shares[0]["share"]) * pair[0] + shares[0]["share"] * pair[1]
    np.testing.assert_allclose(pair[2], expected, rtol=1e-5, atol=1e-5)


def test_nothing_of_a_test_animal_can_reach_what_is_fitted(run, folder):
    with opened(written(folder)) as (_, made):
        needed = reachable({t.name: t for t in made.tasks}, (f"joint/{ARMS[2]}.shares",))
        all_cases = {t.name for t in made.tasks if t.stage in ("cases", "radiograph")}
    used = {name for name in needed if name in all_cases}
    assert used == {name for name in all_cases if name.split("/")[1].startswith("a")}
    assert not any(name.endswith(".test") for name in needed)


def test_a_lesion_lies_where_its_ball_is_in_every_radiograph(folder):
    for name in ("a1", "t2"):
        volume = load_case(folder / "ct" / name)
        for view in (0, 1):
            case = load_case(folder / "xray" / f"{name}.x{view}")
            geometry = view_of(case_facts(folder / "xray" / f"{name}.x{view}").provenance["view"])
            mask = volume.instances > 0
            middle = positions_m(volume.channels, np.array(ndimage.center_of_mass(mask, volume.instances, [1, 2])))
            for row, col in np.rint(seen_at(geometry, case.channels, middle)).astype(int):
                assert case.lesion[row, col]


def test_a_voxel_has_the_mean_of_the_views_that_see_it_and_none_where_none_does():
    grid = Image(np.zeros((1, 3, 4, 5)), ("a",), ("1",), (1e-3,) * 3)
    region = np.ones((3, 4, 5), bool)
    region[0, 0, 0] = False
    views = []
    for angle, width in ((0.0, 5), (np.pi / 2, 2)):  # the second sees the two middle lines alone
        geometry = ParallelGeometry(np.array([angle]), 3, width, 1e-3)
        data = np.tile(np.arange(width, dtype=float) + 10 * (width == 2), (3, 1))[None]
        views.append((Image(data, ("logit",), ("1",), (1e-3,) * 2, frame="detector"), geometry))
    found = lifted(grid, region, views)
    np.testing.assert_array_equal(found.channel("views")[1], [[1] * 5, [2] * 5, [2] * 5, [1] * 5])
    np.testing.assert_allclose(found.channel("logit")[1, 0], np.arange(5))
    np.testing.assert_allclose(found.channel("logit")[1, 1], (np.arange(5) + 10) / 2)
    assert found.channel("views")[0, 0, 0] == 0
    outside = lifted(grid, region, views[1:])
    assert outside.channel("logit")[1, 0, 0] == 10
    assert outside.channel("views")[1, 0, 0] == 0


def drop_radiographs(content):
    content["sources"]["test"]["radiographs"] = ["xray/t1*"]


def only_training(content):
    content["sources"].pop("test")
    content["learning"]["folds"] = 3


REFUSED = [
    (drop_radiographs, r"wanted a volume and radiographs of every animal; t2 has no radiograph"),
    (lambda c: c["sources"]["test"].update(files=["ct/t1"]), r"t2.x0 is of no animal with a volume; t2.x1 is of no animal"),
    (lambda c: c["sources"]["test"].update(radiographs=["ct/t*"]), r"ct/t1: wanted a radiograph, got 3 spatial axes"),
    (lambda c: c["sources"]["test"].update(radiographs=["xray/t*", "none/*"]), r"sources.test.radiographs: .*no such file"),
    (lambda c: c["learning"].pop("radiographs"), r"sources.train.radiographs: no arm sees them; wanted learning.radio"),
    (
        lambda c: c["learning"]["radiographs"].update(joint={"both": ["ct", "xrays"]}),
        r"radiographs.joint.both: 'xrays' is no arm of radiographs; these are xray",
    ),
    (
        lambda c: c["learning"]["radiographs"].update(arms={"xray": ["dark_field"]}),
        r"learning.radiographs.arms.xray: 'dark_field' will not be among the channels of .*xray/a1.x0",
    ),
    (lambda c: c["learning"]["radiographs"].update(arms={"ct": ["attenuation"]}), r"stands for one arm, got ct twice"),
    (only_training, r"learning.radiographs.joint: how much each arm counts .* wanted animals of use test"),
]


@pytest.mark.parametrize(("change", "told"), REFUSED, ids=[told[:40] for _, told in REFUSED])
def test_what_cannot_be_one_study_is_refused_in_a_line_before_it_runs(folder, change, told):
    with pytest.raises(DarklungError, match=told) as caught:
        list_tasks(written(folder, "refused", change), out=folder / "refused")
    assert all(len(line) < 400 for line in str(caught.value).splitlines())


def test_a_radiograph_of_an_unknown_geometry_is_refused_by_its_name(folder, tmp_path):
    for part in ("ct", "xray"):
        shutil.copytree(folder / part, tmp_path / part)
    path = tmp_path / "xray/t1.x0/case.json"
    facts = json.loads(path.read_text())
    del facts["provenance"]["view"]["angle_rad"]
    path.write_text(json.dumps(facts))
    with pytest.raises(DarklungError, match=r"xray/t1.x0: view: wanted the angle .* angle_rad missing") as caught:
        list_tasks(written(tmp_path), out=tmp_path / "run")
    assert len(str(caught.value).splitlines()) == 1
