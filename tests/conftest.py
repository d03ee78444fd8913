"""The same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones, to look for what nobody thought of.

Files of tests that take long start first: two workers that take whole files would else end with one of them alone.

Torch, and linear algebra in the workers that ``-n`` starts, get one thread: on the small arrays of tests threads mostly wait
for each other, at full load, the more so when two workers have them. Our own kernels keep a thread for each core.
"""

import os
from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("NUMBA_NUM_THREADS", str(os.cpu_count() or 1))

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

SLOW_S = 20.0  # of a mark without a number


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By the longest time that a mark ``slow(seconds)`` in the file tells, longest first; else in their order."""
    longest: dict[str, float] = defaultdict(float)
    for item in items:
        for mark in item.iter_markers("slow"):
            told: Sequence[float] = mark.args or (SLOW_S,)
            longest[str(item.path)] = max(longest[str(item.path)], float(told[0]))
    items.sort(key=lambda item: -longest[str(item.path)])
