"""What a run's comparison says of how its models' tiles are called."""

import json

import pytest

from darklung.commands.predict_rules import Rule, judged_folds, of_models, rules_of
from darklung.core.checks import DarklungError
from darklung.steps.arm_reading import SCALES
from darklung.steps.evaluate import ITEM, STAGE


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
    for scale in ("folds", "apart"):
        assert rules_of(written(tmp_path / "c.json", scale, threshold=0.0), 2e-3) == {}


def test_a_file_that_is_no_comparison_is_refused(tmp_path):
    (tmp_path / "c.json").write_text('{"results": {"test": {"hybrid": {"probability": {"slope": "steep"}}}}}')
    with pytest.raises(DarklungError, match="comparison"):
        rules_of(tmp_path / "c.json", 2e-3)


def promised(path, **changes):
    known = {"fold": 0, "scores": [1.0, 2.0], "weights": [0.5, 0.5], "never": 0.0, "animals": 1, **changes}
    row = {"unit": "candidates", "level": 0.9, "animals": 1, "why": "too few"}
    content = json.loads(written(path, "mean", threshold=0.0).read_text())
    content["promises"] = {"hybrid": {"lists": [row, {**row, "unit": "tiles"}], "lesions": {"candidates": [known]}}}
    path.write_text(json.dumps(content))
    return path


def test_lists_are_those_of_candidates_and_go_with_the_models_that_were_judged(tmp_path):
    lists = rules_of(promised(tmp_path / "c.json"), 2e-3)["hybrid"].lists
    assert (lists.levels, lists.told, lists.models[0].scores) == ((), ("too few.",), (1.0, 2.0))
    assert lists.of_folders([tmp_path / "hybrid.fold0"]) == lists
    assert lists.of_folders([tmp_path / "hybrid.fold1"]) is None
    assert lists.of_folders([tmp_path / "hybrid.fold0", tmp_path / "hybrid.fold1"]) is None


@pytest.mark.parametrize("change", [{"weights": [0.5]}, {"scores": [2.0, 1.0]}, {"animals": 7}, {"never": "many"}])
def test_known_lesions_that_do_not_fit_together_are_refused_at_once(tmp_path, change):
    with pytest.raises(DarklungError):
        rules_of(promised(tmp_path / "c.json", **change), 2e-3)


def test_a_rule_holds_for_the_mean_of_all_models_that_were_judged(tmp_path):
    """A mean of fewer models varies more: a threshold of the mean of three would call too many of its tiles."""
    asked = [{"arm": "hybrid", "fold": k, "role": "validation"} for k in range(3)]
    asked += [{"arm": "hybrid", "fold": None, "role": "test"}, {"arm": "one", "fold": 0, "role": "validation"}]
    record = tmp_path / STAGE / ITEM / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"parameters": {"predictions": asked}}))
    judged = judged_folds(tmp_path)
    assert judged == {"hybrid": {"0", "1", "2"}, "one": {"0"}}
    rule = Rule(-0.4, (1.5, -2.0), 1e-3)
    folders = [tmp_path / f"hybrid.fold{k}" for k in (2, 0, 1)]
    assert of_models(rule, folders, judged["hybrid"]) == (rule, ())
    for fewer in (folders[:2], folders[2:], [*folders, tmp_path / "hybrid.fold3"]):
        found, (note,) = of_models(rule, fewer, judged["hybrid"])
        assert found == Rule(tile_m=1e-3)
        assert "the run judged the mean of 0, 1, 2: its threshold" in note
    assert of_models(Rule(tile_m=1e-3), folders[:1], judged["hybrid"]) == (Rule(tile_m=1e-3), ())
    assert judged_folds(tmp_path / "elsewhere") == {}
    assert of_models(rule, folders[:1], None) == (rule, ())
    record.write_text('{"parameters": {}}')
    with pytest.raises(DarklungError, match="record"):
        judged_folds(tmp_path)
