"""Two scanners of other spectrum and visibility: in 1/m they differ several times, in units of an object they agree."""

import numpy as np
import pytest
import yaml
from scipy import ndimage

from darklung.commands.run import list_tasks, run_study
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.flow.expected import expected_images
from darklung.io.case import load_case
from darklung.io.documents import validate
from darklung.io.images import save_image
from darklung.study.study import Study
from darklung.tomo.fbp import fbp
from darklung.tomo.projector import Projector

SHAPE, VOXEL_M = (12, 80, 80), 3e-4
KEV = np.linspace(20.0, 80.0, 25)
REFERENCE = {"shape": "cylinder", "diameter": "4 mm", "material": "foam"}
# Mean and width of the spectrum, of the visibility over energy [keV]; standard deviation of −ln D.
SCANNERS = {"low": (38, 7, 38, 8, 0.01), "high": (55, 9, 58, 12, 0.004)}


def scene():
    """Body, lungs, the reference, and another piece of its foam, (z, y, x) bool."""
    _, y, x = np.indices(SHAPE)
    body = ((y - 32) / 21) ** 2 + ((x - 32) / 24) ** 2 < 1
    lungs = (((y - 30) / 12) ** 2 + ((np.abs(x - 32) - 11) / 8) ** 2 < 1) & body
    return body, lungs, np.hypot(y - 60, x - 62) < 6.67, np.hypot(y - 12, x - 58) < 4.5


def volume(spectrum, spread, visible, width, noise, seed):
    """Attenuation and dark field [1/m] of what each ray's spectrum makes of it; lung and foam follow other energy laws."""
    open_beam, contrast = (np.exp(-0.5 * ((KEV - m) / s) ** 2) for m, s in ((spectrum, spread), (visible, width)))
    response = SpectralResponse(KEV, open_beam, open_beam * contrast, 70.0)
    body, lungs, rod, other = (a.astype(np.float64) for a in scene())
    geometry = ParallelGeometry(np.pi * np.arange(120) / 120, SHAPE[0], SHAPE[2], VOXEL_M)
    seen = Projector(geometry, SHAPE, VOXEL_M)
    water, lung, foam = (
        seen.forward(ndimage.gaussian_filter(m, (0, 0.5, 0.5)))[..., None] for m in (body - 0.7 * lungs, lungs, rod + other)
    )
    scatter = 20 * lung * response.scattering_law(LUNG_EXPONENT) + 14 * foam * response.scattering_law(LUNG_EXPONENT - 0.15)
    attenuation, dark = response.measured(water * response.attenuation_of("water")[0], scatter)
    dark = dark + noise * stream(seed, "noise").normal(size=dark.shape)
    data = np.stack([fbp(attenuation, geometry), fbp(dark, geometry)])
    return Image(data.astype(np.float32), ("attenuation", "dark_field"), ("1/m",) * 2, (VOXEL_M,) * 3)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanners")
    for seed, (name, numbers) in enumerate(SCANNERS.items()):
        (folder / name).mkdir()
        save_image(folder / name / "volume.ome.zarr", volume(*numbers, seed))
    return folder


def study(scans, *names, **said):
    every = {
        n: {"from": "volumes", "files": [str(scans / n / "*.zarr")], "site": n, "use": "predict", **said} for n in names
    }
    return {"name": "one", "sources": every, "processing": {"channels": {"lung": "all"}}}


def write(folder, content):
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return folder / "study.yaml"


def middle(mask, depth):
    """Voxels well inside."""
    return ndimage.binary_erosion(mask[0], iterations=depth)[None] & np.ones(SHAPE, bool)


def test_scanners_agree_on_foam_and_lung_by_an_object_in_the_image(scans, tmp_path):
    _, lungs, _, other = scene()
    run_study(write(tmp_path, study(scans, *SCANNERS, reference=REFERENCE)), out=tmp_path / "run", workers=1)
    cases = {name: load_case(tmp_path / "run/cases" / name) for name in SCANNERS}
    raw = {}
    for name, case in cases.items():
        assert case.channels.unit("dark_field") == "SU"
        assert case.channels.unit("attenuation") == "1/m"
        told = case.about.provenance["scatter_unit"]
        assert told["reference"] == "foam"
        assert 0 < told["reference_error_per_m"] < 0.02 * told["reference_per_m"]
        assert told["diameter_m"] == pytest.approx(4e-3, rel=0.05)
        raw[name] = told["reference_per_m"]
    assert raw["low"] > 3 * raw["high"]
    for mask, most in ((middle(other, 2), 0.02), (middle(lungs, 3), 0.03)):
        low, high = (float(case.channels.channel("dark_field")[mask].mean()) for case in cases.values())
        assert abs(low / high - 1) < most, (low, high)
    foam = [float(case.channels.channel("dark_field")[middle(other, 2)].mean()) for case in cases.values()]
    assert foam == pytest.approx([1000, 1000], rel=0.02)


def test_the_unit_is_known_before_anything_runs(scans, tmp_path):
    found = validate(study(scans, "low", reference=REFERENCE), Study, "study")
    (image,) = expected_images(found, "low")
    assert image.channels["dark_field"] == "SU"
    assert "cases/low" in list_tasks(write(tmp_path, study(scans, "low", reference=REFERENCE)), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"reference": REFERENCE | {"diameter": "1 mm"}}, "reference: cylinder of 1 mm: wanted at least 8 voxels across"),
        ({"reference": REFERENCE | {"shape": "cube"}}, "reference.shape"),
        ({"reference": {"diameter": "4 mm"}}, "reference.material: is missing"),
        ({"reference": REFERENCE, "calibrations": {"unit": "unit.json"}}, "calibrations.unit gives scatter units too"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(scans, tmp_path, source, told):
    with pytest.raises(DarklungError) as error:
        list_tasks(write(tmp_path, study(scans, "low", **source)), out=tmp_path / "run")
    assert told in str(error.value)


def test_no_object_is_one_line_with_the_animal(scans, tmp_path):
    content = study(scans, "low", reference=REFERENCE | {"diameter": "8 mm"})
    with pytest.raises(DarklungError) as error:
        run_study(write(tmp_path, content), out=tmp_path / "run", workers=1)
    assert "low: reference: cylinder of 8 mm: " in str(error.value)
    assert "\n" not in str(error.value)
