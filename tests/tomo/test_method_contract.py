"""What a reconstruction method of the user returns is held to `Volumes` on the grid, in one line that names it."""

import json
import re

import numpy as np
import pytest
import torch

from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.types import PROJECTION_MAPS, Projections
from darklung.tomo.methods import Volumes, apply_method

SHAPE, DIRECTIONS = (2, 6, 6), 2


@pytest.fixture
def given():
    geometry = ParallelGeometry(np.arange(8) * np.pi / 8, SHAPE[0], SHAPE[1], 1e-4)
    maps = dict.fromkeys(PROJECTION_MAPS, np.ones((DIRECTIONS, 8, SHAPE[0], SHAPE[1]), np.float32))
    maps["valid"] = maps["valid"].astype(bool)
    return Projections(**maps, directions_rad=np.array([0.0, np.pi / 2]), geometry=geometry)


def volumes(**changes):
    whole = {"attenuation": np.ones(SHAPE, np.float32), "dark_field": np.ones((DIRECTIONS, *SHAPE), np.float32)}
    return Volumes(**{**whole, **changes})


def applied(monkeypatch, given, make):
    monkeypatch.setattr(json, "own", lambda projections, *, progress: make(), raising=False)
    return apply_method("json:own", {}, given, shape=SHAPE, progress=lambda *_: None)


def test_what_keeps_the_contract_is_taken(monkeypatch, given):
    found = applied(monkeypatch, given, lambda: volumes(extras={"sharpness": ("1", np.zeros(SHAPE))}))
    assert found.extras["sharpness"][1].shape == SHAPE


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: None, "wanted Volumes to be returned, got NoneType"),
        (lambda: (np.ones(SHAPE), None), "wanted Volumes to be returned, got tuple"),
        (lambda: np.ones(SHAPE), "wanted Volumes to be returned, got ndarray"),
        (lambda: volumes(attenuation=torch.ones(SHAPE)), "attenuation: wanted a numpy array, got Tensor"),
        (lambda: volumes(dark_field=np.ones((1, *SHAPE))), "dark_field: wanted shape (2, 2, 6, 6), got (1, 2, 6, 6)"),
        (lambda: volumes(dark_field=np.ones(SHAPE)), "dark_field: wanted axes (direction, z, y, x)"),
        (lambda: volumes(attenuation=np.ones(SHAPE, int)), "attenuation: wanted real numbers, got int64"),
        (lambda: volumes(attenuation=np.full(SHAPE, np.nan)), "attenuation: 72 values are not finite"),
        (lambda: volumes(extras={"b": ("1", np.full(SHAPE, np.inf))}), "b: 72 values are not finite"),
        (lambda: volumes(extras={"b": ("1", np.ones(3))}), "b: wanted axes (z, y, x)"),
    ],
)
def test_what_does_not_is_one_line(monkeypatch, given, make, line):
    with pytest.raises(DarklungError, match=f"^json:own: {re.escape(line)}") as caught:
        applied(monkeypatch, given, make)
    assert "\n" not in str(caught.value)


def test_another_grid_than_the_projections(monkeypatch, given):
    half = volumes(attenuation=np.ones((2, 3, 3)), dark_field=np.ones((2, 2, 3, 3)))
    with pytest.raises(DarklungError, match=r"^json:own: attenuation: wanted shape \(2, 6, 6\), got \(2, 3, 3\)$"):
        applied(monkeypatch, given, lambda: half)
