"""What a run's comparison says of how its models' tiles are called."""

import json

import pytest

from darklung.commands.predict_rules import Rule, rules_of
from darklung.core.checks import DarklungError
from darklung.steps.arm_reading import SCALES


def written(path, scale, **arm):
    content = {"settings": {"scale": SCALES[scale]}, "results": {"test": {"hybrid": arm}}}
    path.write_text(json.dumps(content))
    return path


def test_threshold_curve_and_tiles_are_the_runs(tmp_path):
    known = {"slope": 1.5, "intercept": -2.0, "brier_of_prevalence": 0.02}
    found = rules_of(written(tmp_path / "c.json", "mean", threshold=-0.4, probability=known), 1e-3)
    assert found == {"hybrid": Rule(-0.4, (1.5, -2.0), 1e-3)}
    assert rules_of(written(tmp_path / "c.json", "none", threshold=None), 2e-3) == {"hybrid": Rule(None, None, 2e-3)}


def test_a_mean_that_nobody_judged_calls_nothing(tmp_path):
    assert rules_of(written(tmp_path / "c.json", "folds", threshold=0.0), 2e-3) == {}


def test_a_file_that_is_no_comparison_is_refused(tmp_path):
    (tmp_path / "c.json").write_text('{"results": {"test": {"hybrid": {"probability": {"slope": "steep"}}}}}')
    with pytest.raises(DarklungError, match="comparison"):
        rules_of(tmp_path / "c.json", 2e-3)
