"""Insertion into scans: what is put in is what would have been there, in every format; mistakes are one line each."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from darklung.commands.insert import insert_files, parse_options
from darklung.commands.retrieve import retrieve_described
from darklung.core.checks import DarklungError
from darklung.core.types import Image, Projections, Scan
from darklung.insert.lobes import RadiographLobe
from darklung.insert.radiograph import InsertionSettings, make_case
from darklung.io.case import load_case
from darklung.io.hdf5 import load, save
from darklung.io.images import load_image, save_image
from darklung.io.names import EXTENT
from darklung.io.tables import load_table

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(name):
    """A module of the benchmarks' folder."""
    if str(BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def truth():
    module = benchmark("insertion")
    module.SUPERSAMPLING, module.VIEW_M = 1, (9.6e-3, 24e-3)  # coarser than the benchmark
    return module


@pytest.fixture(scope="module")
def pair(truth):
    """One mouse scanned healthy, with the plan of its lesions and the same lesions grown in it."""
    wanted = (("lesion", "solid"), ("lesion", "filled"), ("lesion", "papillary"), ("sham", "solid"))
    setting = truth.Setting(voxel_m=300e-6, views=48, counts=4e6, wanted=wanted, diameter_m=(1.4e-3, 2e-3))
    return truth.make_pair(7, setting), setting


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
    """The scan of `pair` as the command takes it: frames, projections, volume."""
    one, _ = pair
    folder = tmp_path_factory.mktemp("ct")
    save(folder / "mouse.h5", one.healthy)
    save(folder / "maps.h5", one.before)
    image = one.plan.image
    save_image(folder / "image.ome.zarr", replace(image, names=("attenuation", "dark_field_0", "dark_field_90")))
    region = Image(one.plan.region[None].astype(np.uint8), ("region",), ("1",), image.spacing_m)
    save_image(folder / "region.ome.zarr", region)
    return folder


# what is put in, against truth


def test_every_route_equals_the_lesion_grown_in_the_phantom(truth, pair):
    one, setting = pair
    found = truth.pulls_of(one, setting)
    for name, pulls in found.items():
        print(pulls.line(name))
        weight = pulls.expected / pulls.error**2
        contrast = (weight * pulls.inserted).sum() / (weight * pulls.expected).sum()
        if name.endswith("phase"):
            assert pulls.pulls.std() == pytest.approx(1, abs=0.12)
            continue
        assert contrast == pytest.approx(1, abs=0.12), name
        if name.startswith("volume"):
            continue  # its noise is far below the texture of this lung; see the benchmark
        assert abs(pulls.pulls.mean()) < 0.15, name
        assert pulls.pulls.std() == pytest.approx(1, abs=0.06), name


def test_a_radiograph_equals_the_same_body_in_the_lung():
    module = benchmark("insertion_radiograph")
    parts = [module.radiograph_pulls(300 + k, tissue) for k, tissue in enumerate(("solid", "lepidic"))]
    for name in parts[0]:
        pulls = module.together([p[name] for p in parts]).pulls
        assert abs(pulls.mean()) < 0.2, name
        assert pulls.std() == pytest.approx(1, abs=0.12), name


def lobe(seed, shape=(60, 60)):
    """A lobe with vessels and noise, as a measured one."""
    rng = np.random.default_rng(seed)
    row, col = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    mask = row**2 + col**2 <= 1
    clutter = sum(np.cos(rng.normal(0, 9) * row + rng.normal(0, 9) * col + rng.uniform(0, 6)) for _ in range(6))
    attenuation = 0.04 * (1 + 0.04 * clutter) + 0.002 * rng.standard_normal(shape)
    dark = 0.7 * (1 + 0.03 * clutter) + 0.03 * rng.standard_normal(shape)
    maps = np.stack([np.exp(-attenuation), np.exp(-dark), np.full(shape, 0.12)])
    maps[:, ~mask] = np.nan
    names = ("transmission", "visibility_ratio", "flat_visibility")
    return RadiographLobe(f"lobe{seed}", "mouse", Image(maps, names, ("1",) * 3, (7.5e-5,) * 2, frame="detector"))


def seam(image, place):
    """Means, spreads and slopes in rings about a place."""
    rows, cols = np.meshgrid(*(np.arange(n) - p for n, p in zip(image.shape, place)), indexing="ij")
    away = np.hypot(rows, cols)
    numbers = []
    for values in image.data.astype(float):
        slope = np.hypot(*np.gradient(values))
        for low, high in ((0, 3), (3, 6), (6, 9), (9, 12)):
            ring = (away >= low) & (away < high)
            numbers += [values[ring].mean(), values[ring].std(), slope[ring].mean()]
    return numbers


def auroc(one, other):
    data, label = np.array(one + other), np.repeat([1, 0], [len(one), len(other)])
    model = RandomForestClassifier(200, min_samples_leaf=3, random_state=0, n_jobs=1)
    score = cross_val_predict(model, data, label, cv=5, method="predict_proba")[:, 1]
    return roc_auc_score(label, score)


def test_shams_in_radiographs_cannot_be_told_from_untouched_lung():
    rows = {"sham": [], "lesion": [], "untouched": []}
    for seed in range(50):
        settings = InsertionSettings(diameter_m=(0.8e-3, 1.2e-3), noise="photons")
        for kind in ("sham", "lesion"):
            case = make_case(
                lobe(seed + 500 * (kind == "lesion")), settings=settings, seed=seed, version=0, wanted=[(kind, "papillary")]
            )
            rows[kind].append(seam(case.image, case.insertions[0].place))
            other = lobe(seed + 1000)  # another lobe at the same place
            values = [np.where(other.mask, v, np.median(v[other.mask])) for v in (other.attenuation, other.dark_field)]
            if kind == "sham":
                plain = Image(np.stack(values), ("attenuation", "dark_field"), ("1", "1"), (7.5e-5,) * 2)
                rows["untouched"].append(seam(plain, case.insertions[0].place))
    count = len(rows["sham"])
    chance = 1.96 * np.sqrt((2 * count + 1) / (12 * count**2))
    value = auroc(rows["sham"], rows["untouched"])
    print(f"sham {value:.3f}, chance ±{chance:.3f}; lesion {auroc(rows['lesion'], rows['untouched']):.3f}")
    assert abs(value - 0.5) < 1.3 * chance
    assert auroc(rows["lesion"], rows["untouched"]) > 0.9


# the command


def test_the_same_lesions_in_volume_projections_and_frames(files, tmp_path):
    options = {"lesions": 2, "shams": 1, "diameter": ["1.2 mm", "1.6 mm"], "classes": ["solid", "lepidic"]}
    common = {"region": files / "region.ome.zarr", "scale": "mission_ct", "workers": 1, "options": options}
    tables, images = {}, {}
    for name, source, volume in (("v", "image.ome.zarr", None), ("p", "maps.h5", True), ("f", "mouse.h5", True)):
        told = insert_files(files / source, tmp_path / name, volume=files / "image.ome.zarr" if volume else None, **common)
        assert "1 copies" in told
        rows = load_table(tmp_path / name / "insertions")
        tables[name] = [{k: v for k, v in row.items() if k not in ("subject", "source")} for row in rows]
        (images[name],) = (tmp_path / name / "insert").iterdir()
        case = load_case(images[name])
        assert case.lesion.sum() > 10
        assert not (load_image(images[name] / EXTENT).channel("share") > 0)[~case.region].any()
        # Projections and frames are still to be reconstructed.
        assert case.channels.names == (("attenuation", "dark_field_0", "dark_field_90") if name == "v" else ())
        assert case.about.synthetic
        assert (case.about.subject, case.about.animal) == (images[name].name, "unknown")
        assert (tmp_path / name / "contact_lesion_solid.png").stat().st_size > 1000
    assert len({row["number"] for row in tables["v"]}) == 3
    for row in tables["v"]:
        if row["kind"] != "sham":
            assert row["measured_diameter_mm"] == pytest.approx(row["diameter_mm"], abs=0.3)
    # places depend on seed, copy and the scan's name; the three sources differ in name only
    for name in ("p", "f"):
        assert [r["tissue"] for r in tables[name]] == [r["tissue"] for r in tables["v"]]
    before, after = load(files / "mouse.h5", Scan), load(images["f"] / "scan.h5", Scan)
    assert after.frames.dtype == before.frames.dtype
    share = (after.frames != before.frames).mean()
    assert 0.005 < share < 0.5
    np.testing.assert_array_equal(after.flats, before.flats)
    new, old = load(images["p"] / "projections.h5", Projections), load(files / "maps.h5", Projections)
    assert (new.attenuation - old.attenuation).sum() > 0
    np.testing.assert_array_equal(new.valid, old.valid)


def test_it_is_the_same_for_any_number_of_workers_and_done_once(files, tmp_path):
    common = {"region": files / "region.ome.zarr", "options": {"copies": 2, "diameter": ["1 mm", "1.4 mm"]}}
    one = insert_files(files / "image.ome.zarr", tmp_path / "one", workers=1, scale="mission_ct", **common)
    insert_files(files / "image.ome.zarr", tmp_path / "two", workers=2, scale="mission_ct", **common)
    for copy in ("image-000", "image-001"):
        names = [next((tmp_path / k / "insert").glob(f"*{copy[-4:]}")) for k in ("one", "two")]
        np.testing.assert_array_equal(*(load_case(n).channels.data for n in names))
    stamp = (tmp_path / "one/insert").stat().st_mtime_ns
    assert insert_files(files / "image.ome.zarr", tmp_path / "one", workers=1, scale="mission_ct", **common) == one
    assert (tmp_path / "one/insert").stat().st_mtime_ns == stamp


@pytest.fixture
def raw(tmp_path):
    """A described radiograph: 8 steps of a lung between air, with dark frame and a bad pixel."""
    rng = np.random.default_rng(0)
    theta = 2 * np.pi * np.arange(8) / 8
    rows, cols = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 70), indexing="ij")
    lung = np.sqrt(np.maximum(1 - rows**2 - cols**2, 0))
    phase = 5 * cols
    curve = 1000 * (1 + 0.25 * np.cos(theta[:, None, None] + phase))
    sample = 1000 * np.exp(-0.06 * lung) * (1 + 0.25 * np.exp(-0.8 * lung) * np.cos(theta[:, None, None] + phase))
    np.save(tmp_path / "sample.npy", rng.poisson(sample).astype(np.uint16) + np.uint16(20))
    np.save(tmp_path / "flat.npy", rng.poisson(np.stack([curve] * 6)).astype(np.uint16) + np.uint16(20))
    np.save(tmp_path / "dark.npy", np.full((60, 70), 20.0))
    bad = np.zeros((60, 70), np.uint8)
    bad[30, 35] = 1
    np.save(tmp_path / "bad.npy", bad)
    np.save(tmp_path / "region.npy", lung > 0.3)
    content = {
        "name": "lungs", "pixel": "75 um", "steps": {"count": 8, "endpoint_repeated": False},
        "sample": {"kind": "npy", "files": "sample.npy", "axes": ["step", "row", "col"]},
        "flat": {"kind": "npy", "files": "flat.npy", "axes": ["flat", "step", "row", "col"]},
        "dark_frame": {"kind": "npy", "files": "dark.npy", "axes": ["row", "col"]},
        "bad_pixels": {"kind": "npy", "files": "bad.npy", "axes": ["row", "col"]},
    }  # fmt: skip
    (tmp_path / "scan.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_described_frames_become_described_frames(raw):
    options = {"classes": ["solid"], "diameter": ["1.2 mm", "1.4 mm"]}
    insert_files(raw / "scan.yaml", raw / "out", region=raw / "region.npy", options=options, workers=1)
    place = raw / "out/insert/lungs-000"
    retrieve_described(place / "scan.yaml", raw / "again", workers=1)
    retrieve_described(raw / "scan.yaml", raw / "before", workers=1)
    maps = insert_files(raw / "before", raw / "maps", region=raw / "region.npy", options=options, workers=1)
    assert "1 copies" in maps  # the folder that retrieve left
    assert (raw / "maps/insert/lungs-000/projections.h5").exists()
    new, old = (load(raw / k / "retrieve/lungs/projections.h5", Projections) for k in ("again", "before"))
    path = load_image(place / EXTENT).channel("lesion_path")
    inside = path > 0.8e-3
    difference = {k: getattr(new, k)[0, 0] - getattr(old, k)[0, 0] for k in ("attenuation", "dark_field")}
    assert difference["attenuation"][inside].mean() > 0.01
    assert difference["dark_field"][inside].mean() < -0.1
    untouched = path == 0
    np.testing.assert_allclose(difference["dark_field"][untouched], 0, atol=1e-5)
    frames = np.load(raw / "sample.npy")
    import h5py

    with h5py.File(place / "frames.h5") as file:
        stored = file["frames"][0, 0]
    np.testing.assert_array_equal(stored[:, untouched], frames[:, untouched])
    np.testing.assert_array_equal(stored[:, 30, 35], frames[:, 30, 35])  # a bad pixel is left alone
    assert (stored != frames).any()


def problem(call):
    with pytest.raises(DarklungError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["tumour"]}, "class: 'tumour' is not known"),
        ({"classes": ["partly_filled"]}, "'partly_filled' is not known, it is now called 'filled'; known: filled, lepidic"),
        (
            {"mimic_classes": ["vessel_cluster"], "mimics": 1},
            "'vessel_cluster' is vessels and no medium; known: atelectasis",
        ),
        ({"classes": ["emphysema"]}, "classes: class: 'emphysema' is a mimic, not a lesion; known: filled"),
        ({"mimic_classes": ["solid"], "mimics": 1}, "'solid' is a lesion, not a mimic"),
        ({"lesions": 0}, "nothing to put in"),
        ({"diameter": ["2 mm", "1 mm"]}, "diameter: wanted 0 < smallest <= largest"),
        ({"diameter": ["9 mm", "9 mm"]}, "no room in the region for 9 to 9 mm"),
        ({"lesions": 5, "diameter": ["5 mm", "5 mm"]}, "of 5 (lesion,"),
        ({"growth": "Z"}, "'Z'"),
        ({"size": 3}, "options: size: unknown key"),
    ],
)
def test_impossible_wishes(files, tmp_path, options, message):
    common = {"region": files / "region.ome.zarr", "scale": "mission_ct", "workers": 1}
    assert message in problem(lambda: insert_files(files / "image.ome.zarr", tmp_path / "out", options=options, **common))


def test_wrong_files(files, raw, tmp_path):
    def told(source, **given):
        return problem(lambda: insert_files(source, tmp_path / "out", options={}, workers=1, **given))

    assert "no such file" in told(tmp_path / "nowhere.h5")
    assert "wanted its reconstruction" in told(files / "maps.h5")
    assert "does not tell where lung is" in told(raw / "scan.yaml")
    assert "--region: no such file" in told(raw / "scan.yaml", region=tmp_path / "no.npy")
    assert "wanted a darklung Scan or Projections" in told(_other(tmp_path))
    image = load_image(files / "image.ome.zarr", ("dark_field_0",))
    save_image(tmp_path / "one.ome.zarr", image)
    assert "channel attenuation: missing; the image has dark_field_0" in told(tmp_path / "one.ome.zarr")
    assert "region: wanted axes (z, y, x) with shape" in told(files / "image.ome.zarr", region=raw / "region.npy")
    assert "protocol: 'nothing' is not known" in told(files / "image.ome.zarr", scale="nothing")
    assert "wanted what darklung calibrate wrote, got another JSON file" in told(
        files / "image.ome.zarr", scale=_empty(tmp_path)
    )
    assert "--set: wanted name=value" in problem(lambda: parse_options(["growth"]))


def _other(folder):
    import h5py

    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    return folder / "other.h5"


def _empty(folder):
    (folder / "calibration.json").write_text("{}")
    return str(folder / "calibration.json")
