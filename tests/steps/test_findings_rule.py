"""Candidates of a prediction are called by the score and the rule of the tiles that a run's threshold was fixed for."""

import numpy as np
import pytest

from darklung.core.types import Image
from darklung.evaluate.tiles import tile_scores, tile_table
from darklung.io.case import CaseFacts, LabelledCase
from darklung.steps.findings import candidates_of

SHAPE, SPACING = (20, 24, 22), (3e-4,) * 3


@pytest.fixture
def predicted():
    rng = np.random.default_rng(3)
    image = Image(rng.normal(size=(1, *SHAPE)).astype(np.float32), ("attenuation",), ("1/m",), SPACING)
    region = np.zeros(SHAPE, bool)
    region[2:-2, 2:-3, 1:-1] = True
    nothing = np.zeros(SHAPE, np.uint16)
    facts = CaseFacts(subject="a", animal="a", source="made up")
    case = LabelledCase(image, np.zeros(SHAPE, np.uint8), region, region, nothing, nothing.astype(bool), (), facts)
    logits = rng.normal(-1, 2, SHAPE).astype(np.float32)
    return case, image.with_data(
        np.stack([logits, np.ones(SHAPE)]).astype(np.float32), ("logit", "logit_spread"), ("1", "1")
    )


def test_scores_of_voxels_tiles_are_those_of_the_table(predicted):
    case, image = predicted
    common = {"logits": image.channel("logit"), "region": case.region, "spacing_m": SPACING}
    rows = tile_table(subject="a", instances=case.instances, insertions=(), **common)
    scores = tile_scores(**common)
    assert set(rows["score"]) <= set(scores[case.region])


def test_what_is_called_lies_in_tiles_that_are_called(predicted):
    case, image = predicted
    common = {"logits": image.channel("logit"), "region": case.region, "spacing_m": SPACING}
    rows = tile_table(subject="a", instances=case.instances, insertions=(), **common)
    threshold = float(np.quantile(rows["score"], 0.6))
    found = candidates_of(case, image, threshold=threshold, curve=(1.5, -2.0))
    called = found[found["called"].astype(bool)]
    assert 0 < len(called) < len(found)
    assert set(called["tile_score"]) == {s for s in found["tile_score"] if s >= threshold}
    assert len(called) <= (rows["score"] >= threshold).sum()  # the false positives of an evaluation, at most
    assert called["tile_score"].is_unique
    np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(2.0 - 1.5 * found["tile_score"])))
    assert (found["score"] >= threshold).sum() != len(called)  # which single voxels would give


def test_without_a_run_nothing_is_called(predicted):
    found = candidates_of(*predicted, threshold=None)
    assert found["called"].isna().all()
    np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-found["score"])))
