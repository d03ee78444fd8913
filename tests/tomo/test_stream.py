"""Slabs give the same volume within the memory that was announced."""

import tracemalloc

import numpy as np
import pytest
from tomo_shapes import geometry

from darklung.core.checks import DarklungError
from darklung.core.geometry import ConeGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.tomo.fbp import fbp
from darklung.tomo.methods import find_method
from darklung.tomo.stream import fbp_slabs, method_bytes, plan_slabs


def test_slabs_equal_the_whole():
    g = geometry(views=30, rows=21, cols=24)
    data = np.random.default_rng(1).normal(size=(30, 21, 24)).astype(np.float32)
    plan = plan_slabs(g, memory_bytes=250e3, multiple=4)
    assert len(plan.slabs) == 2
    done, out = [], np.full((21, 24, 24), np.nan, np.float32)
    for rows, slab in fbp_slabs(lambda rows: data[:, rows], g, plan, progress=lambda *args: done.append(args)):
        out[rows] = slab
    assert np.allclose(out, fbp(data, g), rtol=1e-5, atol=1e-3)
    assert done == [(1, 2), (2, 2)]
    assert str(plan).startswith("2 slabs of 16 slices: about 0.00 GiB of memory")


def test_memory_stays_within_the_estimate():
    g = geometry(views=200, rows=64, cols=128)
    rng = np.random.default_rng(2)
    plan = plan_slabs(g, memory_bytes=16e6)
    fbp(rng.random((200, 8, 128), np.float32), geometry(views=200, rows=8, cols=128))  # loads the kernels
    tracemalloc.start()
    for _ in fbp_slabs(lambda rows: rng.random((200, rows.stop - rows.start, 128), np.float32), g, plan, threads=1):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.peak_bytes <= 16e6
    assert 0.5 * plan.peak_bytes < peak < 1.25 * plan.peak_bytes


@pytest.mark.parametrize("beam", ["parallel", "cone"])
@pytest.mark.parametrize(("method", "extra"), [("fbp", 0), ("cgls", 0), ("pwls_tv", 0), ("tensor", 10)])
def test_memory_of_each_method_is_near_its_estimate(method, extra, beam):
    g = geometry(views=60, rows=12, cols=64, arc=2 * np.pi)
    if beam == "cone":
        g = ConeGeometry(g.angles_rad, g.rows, g.cols, g.pixel_m, source_axis_m=0.3)
    rng = np.random.default_rng(4)
    options = {} if method == "fbp" else {"iterations": 2}

    def run():
        maps = {n: 0.1 + 0.1 * rng.random((2, 60, 12, 64), np.float32) for n in PROJECTION_MAPS[:5]}
        rest = {n: np.broadcast_to(np.float32(0.1), (2, 60, 12, 64)) for n in PROJECTION_MAPS[5:]}
        rest["valid"] = np.ones((2, 60, 12, 64), bool)
        given = Projections(**maps, **rest, directions_rad=np.array([0, np.pi / 2]), geometry=g)
        return find_method(method, options)(given, **options)

    run()  # loads the kernels
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimate = 12 * method_bytes(method, g, directions=2, maps=7, channels=3 + extra)
    assert 0.9 * peak < estimate < 1.6 * peak


def test_a_halo_ends_where_the_rows_end():
    g = geometry(views=30, rows=40, cols=24)
    plan = plan_slabs(g, memory_bytes=24e3, bytes_per_slice=1e3, halo=4, channels=3)
    assert plan.slabs == (slice(0, 16), slice(16, 32), slice(32, 40))
    assert [plan.around(rows) for rows in plan.slabs] == [
        (slice(0, 20), slice(0, 16)),
        (slice(12, 36), slice(4, 20)),
        (slice(28, 40), slice(4, 12)),
    ]
    assert plan.peak_bytes == 24_000
    assert plan.output_bytes == 4 * 24 * 24 * 40 * 3


def test_errors_name_what_is_wrong():
    g = geometry(views=30, rows=21, cols=24)
    with pytest.raises(DarklungError, match="memory_bytes: wanted at least"):
        plan_slabs(g, memory_bytes=1e3)
    with pytest.raises(DarklungError, match="multiple"):
        plan_slabs(g, memory_bytes=1e9, multiple=0)
