"""Slabs give the same volume within the memory that was announced."""

import tracemalloc

import numpy as np
import pytest
from tomo_shapes import geometry

from darklung.core.checks import DarklungError
from darklung.tomo.fbp import fbp
from darklung.tomo.stream import fbp_slabs, plan_slabs


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


def test_errors_name_what_is_wrong():
    g = geometry(views=30, rows=21, cols=24)
    with pytest.raises(DarklungError, match="memory_bytes: wanted at least"):
        plan_slabs(g, memory_bytes=1e3)
    with pytest.raises(DarklungError, match="multiple"):
        plan_slabs(g, memory_bytes=1e9, multiple=0)
