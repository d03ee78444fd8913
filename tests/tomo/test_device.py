"""The door to the torch projectors: methods computed by torch agree with numba; a missing GPU is told before any work."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tomo_shapes import ellipsoid_integrals, geometry, relative

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.tomo import torch_operator
from darklung.tomo.device import find_device
from darklung.tomo.methods import check_device, find_method

pytestmark = pytest.mark.slow(20)

DEVICES = ["torch-cpu", *(["cuda"] if torch.cuda.is_available() else [])]
GEOMETRIES = {
    "parallel": geometry(views=24, rows=3, cols=28, axis_col=12.3),
    "cone": ConeGeometry(np.arange(24) * 2 * np.pi / 24, 3, 28, 1e-3, 0.3),
}
# How far single precision may carry a result, relative to its norm. One sum: rounding alone; iterations amplify it.
CASES = [
    ("fbp", "parallel", {"filter": "hann"}, 1e-6),
    ("cgls", "parallel", {"iterations": 6}, 1e-4),
    ("cgls", "cone", {"iterations": 6}, 1e-4),
    ("cgls", "parallel", {"iterations": 4, "depth_slope_per_m": 2.0}, 1e-4),
    ("pwls_tv", "parallel", {"iterations": 3, "subsets": 4}, 1e-4),
    ("pwls_tv", "cone", {"iterations": 3, "subsets": 4}, 1e-4),
    ("tensor", "parallel", {"iterations": 4}, 1e-4),
]


def scan(beam: str) -> Projections:
    """An ellipsoid with noise of one seed."""
    g = GEOMETRIES[beam]
    clean = ellipsoid_integrals(GEOMETRIES["parallel"], (0, 0, 0), (2e-3, 9e-3, 6e-3))
    rng = np.random.default_rng(3)
    noisy = np.stack([clean + 2e-4 * rng.normal(size=clean.shape)] * 2).astype(np.float32)
    maps = {n: np.full_like(noisy, 4e-8) if "variance" in n else noisy for n in PROJECTION_MAPS}
    rest = {"valid": np.ones(noisy.shape, bool), "directions_rad": np.array([0, np.pi / 2])}
    return Projections(**{**maps, **rest}, geometry=g)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("method", "beam", "options", "limit"), CASES)
def test_methods_agree_with_numba(method: str, beam: str, options: dict, limit: float, device: str) -> None:
    given = scan(beam)
    ours = find_method(method, {**options, "device": device})(given, **options, device=device)
    theirs = find_method(method, options)(given, **options)
    assert relative(ours.attenuation, theirs.attenuation) < limit
    assert relative(ours.dark_field, theirs.dark_field) < limit
    assert np.abs(theirs.attenuation).max() > 0.5
    assert "device" not in theirs.notes
    assert ours.notes["device"].startswith({"torch-cpu": "torch on the cpu", "cuda": "cuda: "}[device])


def test_the_cpu_is_the_default_and_the_same_to_the_last_bit() -> None:
    given = scan("parallel")
    for method, options in (("fbp", {}), ("cgls", {"iterations": 3})):
        plain = find_method(method, options)(given, **options)
        named = find_method(method, {**options, "device": "cpu"})(given, **options, device="cpu")
        np.testing.assert_array_equal(plain.dark_field, named.dark_field)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_operator, "cuda_name", lambda: "")


@pytest.mark.usefixtures("no_gpu")
def test_a_missing_gpu_is_refused_and_auto_falls_back_and_says_so() -> None:
    with pytest.raises(DarklungError, match="device: torch finds no CUDA device on this machine"):
        check_device("cgls", {"device": "cuda"}, cone=False)
    check_device("cgls", {"device": "auto"}, cone=False)
    given = scan("parallel")
    found = find_method("cgls", {})(given, iterations=2, device="auto")
    np.testing.assert_array_equal(found.attenuation, find_method("cgls", {})(given, iterations=2).attenuation)
    assert found.notes["device"] == "cpu: torch finds no CUDA device"


def test_auto_takes_a_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_operator, "cuda_name", lambda: "Some GPU")
    assert find_device("auto") == find_device("cuda") == ("cuda", "cuda: Some GPU")


def test_fdk_has_no_gpu_path_and_says_so() -> None:
    with pytest.raises(
        DarklungError, match="filtered back-projection in a cone beam is computed on the cpu, got 'torch-cpu'"
    ):
        check_device("fbp", {"device": "torch-cpu"}, cone=True)
    check_device("cgls", {"device": "torch-cpu"}, cone=True)
    given = scan("cone")
    assert "no GPU path" in find_method("fbp", {})(given, device="auto").notes["device"]


def test_unknown_devices_are_told_with_the_known_ones() -> None:
    with pytest.raises(
        DarklungError, match="option device of pwls_tv: 'gpu' is not known; known: auto, cpu, cuda, torch-cpu"
    ):
        find_method("pwls_tv", {"device": "gpu"})
    check_device("my.own:method", {"device": "tpu"}, cone=False)


def test_too_little_memory_on_the_device_is_one_line() -> None:
    def full(_: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nmany\nlines")

    with pytest.raises(DarklungError, match=r"device: too little memory .* --memory makes them smaller") as told:
        torch_operator.on_device(full, np.zeros(3, np.float32), "torch-cpu")
    assert len(str(told.value).splitlines()) == 1


def test_methods_load_torch_only_where_it_is_wanted() -> None:
    code = (
        "import sys, darklung.tomo.methods as m, darklung.tomo.beams, darklung.tomo.tensor_method; "
        "m.check_device('cgls', {'device': 'cpu'}, cone=False); a = 'torch' in sys.modules; "
        "m.check_device('cgls', {'device': 'auto'}, cone=False); sys.exit(a + 2 * ('torch' not in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
