"""Recommendation of a hardening correction from held-out steps."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from darklung.calibrate.recommend import CANDIDATES, WedgeSeries, judge, recommend
from darklung.core.checks import DarklungError
from darklung.core.random import stream
from darklung.correct.response import SpectralResponse
from darklung.correct.wedge import calibrate_response


def _scene():
    path = Path(__file__).parents[2] / "benchmarks" / "hardening.py"
    spec = importlib.util.spec_from_file_location("hardening_scene", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


scene = _scene()
ERRORS = (2e-4, 1e-3)


def series(name, *, foam=True, bone=False) -> WedgeSeries:
    """Seven steps of water to 30 mm; three more before foam, three of bone and one of both if wanted."""
    rows = [(w, 0.0, 0) for w in np.linspace(0, 0.03, 7)]
    rows += [(w, 0.0, 1) for w in np.linspace(0, 0.025, 3)] * foam
    rows += [(0.0, b, 0) for b in (0.002, 0.004, 0.006)] * bone + [(0.01, 0.003, 0)] * bone
    water, second, porous = np.array(rows).T
    found = scene.measure(scene.instrument(name, nominal=False), water, scene.FOAM_M * porous, second)
    noisy = [v + stream(0, "steps", name).normal(0, s, len(rows)) for v, s in zip(found, ERRORS)]
    return WedgeSeries(water, second, porous == 1, *noisy, *(np.full(len(rows), s) for s in ERRORS))


@cache
def judged(name, foam, bone):
    steps = series(name, foam=foam, bone=bone)
    return steps, judge(steps, SpectralResponse.of(scene.instrument(name, nominal=True)))


def best(name, *, foam=True, bone=False):
    steps, rows = judged(name, foam, bone)
    response = calibrate_response(steps.wedges(), SpectralResponse.of(scene.instrument(name, nominal=True)))
    return recommend(rows, steps, response)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (scene.SPECTRA[0], "inversion, calibrated"),
        (scene.SPECTRA[1], "inversion, calibrated"),
        (scene.SPECTRA[2], "look_up, measured"),
    ],
)
def test_broad_spectra_need_the_inversion_and_a_narrow_band_a_look_up(name, wanted):
    told, why = best(name)
    assert told == wanted
    assert "on held-out steps" in why
    assert "foam steady within" in why


def test_bone_steps_rule_a_look_up_out():
    told, _ = best(scene.SPECTRA[0], bone=True)
    assert told == "inversion, calibrated"
    _, rows = judged(scene.SPECTRA[0], True, True)
    by = {row.told: row for row in rows}
    assert by["look_up, measured"].second > 0.02
    assert by["two_material, calibrated"].second < 0.008


def test_without_foam_the_reason_says_what_was_not_checked():
    told, why = best(scene.SPECTRA[1], foam=False)
    assert told == "inversion, calibrated"
    assert "not checked: no steps with foam" in why
    told, why = best(scene.SPECTRA[2], foam=False)
    assert told == "look_up, measured"
    assert "true signal changes by" in why


def test_held_out_steps_are_not_in_the_fit():
    """A step with a blunder must look bad, though a look-up made from it would be perfect there."""
    steps = series(scene.SPECTRA[0], foam=False)
    wrong = steps.dark_field.copy()
    wrong[3] += 0.05
    rows = judge(replace(steps, dark_field=wrong), SpectralResponse.of(scene.instrument(scene.SPECTRA[0], nominal=True)))
    assert {row.told: row for row in rows}["look_up, measured"].bias > 0.04


def test_numbers_are_those_of_the_corrections():
    _, rows = judged(scene.SPECTRA[0], True, False)
    assert [row.told for row in rows] == list(CANDIDATES)
    by = {row.told: row for row in rows}
    assert by["none"].bias > 0.05
    assert by["none"].noise == 1.0
    assert by["inversion, calibrated"].foam < 0.01
    assert np.isnan(by["none"].second)
    assert by["look_up, measured"].bias < 0.005


def test_senseless_series_are_refused():
    steps = series(scene.SPECTRA[2], foam=False)
    with pytest.raises(DarklungError, match="wanted at least 5 steps of water alone, got 0"):
        replace(steps, foam=np.ones(7, bool))
    with pytest.raises(DarklungError, match="thickness_m: wanted numbers >= 0"):
        replace(steps, thickness_m=-steps.thickness_m)
    with pytest.raises(DarklungError, match="second_material: 'jam' is not known"):
        replace(steps, second_material="jam")
