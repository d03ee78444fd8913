"""Standard errors of resampled voxels: against the scatter of what is resampled, of white noise and of a reconstruction."""

import json

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.resample import resample
from darklung.core.types import Image
from darklung.io.names import SUMMARY
from darklung.learn.noise import plane_correlation
from darklung.steps.resample import noise_correlation
from darklung.tomo.fbp import fbp, fbp_variance

NAMES = ("attenuation", "attenuation_noise")
FACTORS = [0.7, 1.5, 2.0, 3.2]


def drawn(values, errors):
    return Image(np.stack([values, errors]).astype(np.float32), NAMES, ("1/m", "1/m"), (1e-4,) * np.ndim(values))


def pull(image, margin=3):
    inner = tuple(slice(margin, -margin) if n > 4 * margin else slice(None) for n in image.shape)
    return float((image.data[0][inner] / image.data[1][inner]).std())


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("shape", [(40, 44, 48), (160, 170)])
def test_independent_noise(shape, factor):
    rng = np.random.default_rng(3)
    errors = 50 * (1 + 0.4 * np.sin(np.arange(shape[-1]) / 8)) * np.ones(shape)
    new = resample(drawn(errors * rng.standard_normal(shape), errors), spacing_m=(1e-4 * factor,) * len(shape))
    assert pull(new) == pytest.approx(1, abs=0.04)


@pytest.fixture(scope="module", params=["ramp", "hann"])
def reconstructed(request):
    geometry = ParallelGeometry(np.arange(120) * np.pi / 120, 24, 72, 1e-4)
    shape = (120, 24, 72)
    noise = 0.02 * np.random.default_rng(4).standard_normal(shape)
    values = fbp(noise, geometry, filter=request.param)
    errors = np.sqrt(fbp_variance(np.full(shape, 0.02**2), geometry, filter=request.param))
    return drawn(values, errors), request.param


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_noise_of_a_reconstruction(reconstructed, factor):
    image, filter_name = reconstructed
    assert pull(image, 12) == pytest.approx(1, abs=0.06)
    spacing = (1e-4 * factor,) * 3
    new = resample(image, spacing_m=spacing, correlation=plane_correlation(32, filter_name))
    assert 0.9 < pull(new, 6) < 1.1
    # What a smooth filter made is told too quiet where its correlation is not known.
    if filter_name == "hann":
        assert pull(resample(image, spacing_m=spacing), 6) > 1.3


def test_what_made_a_volume_tells_its_correlation(tmp_path):
    assert noise_correlation(tmp_path) is None
    about = {"method": "fbp", "options": {"filter": "hann", "cutoff": 0.8}, "source_axis_m": None}
    for change, known in (({}, True), ({"source_axis_m": 0.3}, False), ({"method": "cgls"}, False)):
        (tmp_path / SUMMARY).write_text(json.dumps(about | change))
        found = noise_correlation(tmp_path)
        assert (found is not None) == known
        if found is not None:
            np.testing.assert_allclose(found, plane_correlation(32, "hann", 0.8))
            assert found[0, 1] > plane_correlation(2, "hann")[0, 1]


def test_missing_voxels_leave_larger_errors():
    errors = np.ones((12, 12, 12), np.float32)
    full = resample(drawn(errors, errors), spacing_m=(2e-4,) * 3).data[1]
    errors[:, :, 6] = np.nan
    new = resample(drawn(errors, errors), spacing_m=(2e-4,) * 3).data[1]
    seen = np.isfinite(new)
    assert (new[seen] >= full[seen] * (1 - 1e-5)).all()
    assert (new[:, :, 2] > full[:, :, 2] * 1.001).any() or (new[:, :, 3] > full[:, :, 3] * 1.001).any()


def test_a_turned_grid_has_no_rule():
    turned = ((0.8, -0.6), (0.6, 0.8))
    like = Image(np.zeros((1, 8, 8), np.float32), ("a",), ("1",), (1e-4,) * 2, direction=turned)
    with pytest.raises(DarklungError, match="attenuation_noise: standard errors"):
        resample(drawn(np.ones((8, 8)), np.ones((8, 8))), like=like)
