"""Boosted trees beside the networks: they learn, repeat to the bit, see nothing unknown, and tell what they go by."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import UNKNOWN
from darklung.learn.boosting import Recipe, _best_dice, train_boosting
from darklung.learn.data import OUTSIDE_LOGIT, Redraw
from darklung.learn.filters import features_of
from darklung.learn.importance import importances
from darklung.learn.predict import load_boosted, predict, read_description
from darklung.learn.selection import dice, tile_auroc
from darklung.learn.trees import Forest
from darklung.learn.voxels import Drawn, draw_voxels, voxels_a_lesion

SMALL = Recipe(trees=40, voxels=800, scales_m=(4e-4, 8e-4), seed=3)
SHAPE = (18, 24, 24)


@pytest.fixture(scope="module")
def blobs(make_case):
    return [make_case(i, SHAPE, contrast=2.0) for i in range(6)]


def trained(out, cases, **changes):
    options = {"channels": ("a", "b", "c"), "recipe": SMALL, **changes}
    return train_boosting(cases_train=cases[:4], cases_validation=cases[4:5], out=out, **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory, blobs):
    return trained(tmp_path_factory.mktemp("trees"), blobs)


def test_blobs_that_were_not_seen_are_found(model, blobs):
    case = blobs[5]
    found = predict(model_dir=model, case=case)
    given = {"logits": [found.logits], "targets": [case.target], "regions": [case.region]}
    assert tile_auroc(**given, spacing_m=case.image.spacing_m) > 0.95
    assert dice(**given, spacing_m=case.image.spacing_m) > 0.6
    assert (found.logits[~case.region] == OUTSIDE_LOGIT).all()
    assert (found.spread == 0).all()


def test_the_same_seed_gives_the_same_file_and_another_does_not(model, blobs, tmp_path):
    again = trained(tmp_path / "again", blobs)
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert (again / "model.json").read_text() == (model / "model.json").read_text()
    other = trained(tmp_path / "other", blobs, recipe=replace(SMALL, seed=4))
    assert (other / "model.safetensors").read_bytes() != (model / "model.safetensors").read_bytes()


def test_what_is_unknown_or_outside_the_region_does_not_enter(model, blobs, tmp_path):
    hidden = []
    for case in blobs[:5]:
        unknown = case.target == UNKNOWN
        unknown[:, :6] = True
        hidden.append(replace(case, target=np.where(unknown, UNKNOWN, case.target)))
    lied = [replace(c, target=np.where(~c.region, 1, c.target).astype(np.uint8)) for c in hidden]
    first, second = (trained(tmp_path / n, cases) for n, cases in (("hidden", hidden), ("lied", lied)))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    marked = np.flatnonzero(hidden[0].region)[:, None].astype(np.float32)
    drawn = draw_voxels(hidden[0], marked, of_lesion=50, others=10**6, rng=rng)
    at = drawn.features[:, 0].astype(int)
    assert (hidden[0].target.ravel()[at] == drawn.lesion).all()
    assert set(at[~drawn.lesion]) == set(np.flatnonzero(hidden[0].counted & ~hidden[0].lesion))


def test_lesions_are_drawn_alike_and_hard_negatives_take_their_part(blobs):
    case = blobs[0]
    hard = np.zeros(SHAPE, bool)
    hard[10, 10] = ~case.lesion[10, 10]
    target = case.target.copy()
    target[1, 1, 1] = 1  # one voxel alone
    marked = np.flatnonzero(case.region)[:, None].astype(np.float32)
    given = replace(case, hard=hard, target=target)
    drawn = draw_voxels(given, marked, of_lesion=30, others=100, rng=np.random.default_rng(0))
    at = drawn.features[:, 0].astype(int)
    assert (at[drawn.lesion] == np.ravel_multi_index((1, 1, 1), SHAPE)).sum() == 30
    assert (~drawn.lesion).sum() == 100
    assert set(np.flatnonzero(hard & case.region)) <= set(at)
    assert voxels_a_lesion([given, given], 120) == 60 // (drawn.lesion.sum() // 30)


def test_a_bank_changes_what_is_learned(blobs, tmp_path):
    asked = []

    def cases(step):
        asked.append(step)
        return [replace(c, target=np.roll(c.target, step, axis=2)) for c in blobs[:4]]

    trained(tmp_path, blobs, redraw=Redraw(5, cases), recipe=replace(SMALL, trees=2))
    assert asked == [0, 5, 10, 15]


def test_a_description_tells_how_it_was_made_and_what_it_goes_by(model, blobs):
    about = read_description(model)
    assert about["observer"] == "boosting"
    assert about["normalisation"]["per"] == "volume"
    assert about["selected"]["by"] == "tile_auroc"
    rows = {(r["channel"], r["kind"], r["scale_m"]): r["drop"] for r in about["importances"]}
    assert len(rows) == 3 + len(features_of("abc", SMALL.scales_m))
    assert min(rows["a", "all", 0.0], rows["b", "all", 0.0]) > 3 * abs(rows["c", "all", 0.0])
    assert len((model / "metrics.jsonl").read_text().splitlines()) == 5


def test_importances_are_what_a_single_split_is_worth():
    arrays = ([0, -1, -1], [0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0.0, -1, 1], [0], [0.0])
    kinds = (np.int32, float, np.int32, np.int32, float, np.int32, float)
    stump = Forest(*(np.array(a, dtype=k) for a, k in zip(arrays, kinds)))
    values = np.random.default_rng(0).normal(size=(4000, 4)).astype(np.float32)
    rows = importances(stump, Drawn(values, values[:, 0] > 0), features_of("a", (1e-3,))[:4], seed=1)
    drops = {r["kind"]: r["drop"] for r in rows}
    assert drops["depth"] == pytest.approx(0.5, abs=0.03)  # the first column
    assert drops["value"] == drops["smooth"] == drops["all"] == 0


def test_without_validation_all_trees_are_kept_at_the_share_of_lesions(blobs, tmp_path):
    out = train_boosting(cases_train=blobs[:4], cases_validation=[], channels=("a", "b"), out=tmp_path, recipe=SMALL)
    about = json.loads((out / "model.json").read_text())
    assert about["selected"] == {"by": "last step", "step": 40, "score": None}
    assert about["importances"] == []
    inside = np.concatenate([predict(model_dir=out, case=c).logits[c.region] for c in blobs[:4]]).astype(float)
    share = np.mean(np.concatenate([c.lesion[c.region] for c in blobs[:4]]))
    assert share / 4 < np.mean(1 / (1 + np.exp(-inside))) < 4 * share


def test_a_logit_of_zero_is_where_the_dice_of_validation_is_largest(model, blobs):
    case = blobs[4]
    score, lesion = predict(model_dir=model, case=case).logits[case.region], case.lesion[case.region]
    best = max(2 * (lesion & (score > t)).sum() / ((score > t).sum() + lesion.sum()) for t in np.unique(score))
    assert 2 * (lesion & (score > 0)).sum() / ((score > 0).sum() + lesion.sum()) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("lesion_first", [True, False])
@pytest.mark.parametrize("leaves", [[3.0, -1.0, -2.0], [1.0]])
def test_where_scores_are_the_same_they_are_called_together(lesion_first, leaves):
    """Few trees have few leaves: thousands of voxels then have one score, and lie in the order of the array."""
    rng = np.random.default_rng(3)
    lesion = np.sort(rng.random(600) < 0.3)[:: -1 if lesion_first else 1]
    score = np.where(lesion, leaves[0], leaves[-1])
    mixed = rng.random(600) < 0.2
    score[mixed] = rng.choice(leaves, mixed.sum())
    everywhere = np.ones(600, bool)
    limit = _best_dice([score], [SimpleNamespace(region=everywhere, counted=everywhere, lesion=lesion)])
    reached = [2 * (lesion & (score > t)).sum() / ((score > t).sum() + lesion.sum()) for t in (limit, *np.unique(score), -9)]
    assert reached[0] == max(reached) > 0.4


def test_mistakes_are_told_in_one_line(model, blobs, tmp_path):
    with pytest.raises(DarklungError, match="subjects are in cases_train too: m0"):
        train_boosting(cases_train=blobs[:1], cases_validation=blobs[:1], channels=("a",), out=tmp_path, recipe=SMALL)
    with pytest.raises(DarklungError, match="nothing to learn from"):
        empty = replace(blobs[0], target=blobs[0].target * 0)
        train_boosting(cases_train=[empty], cases_validation=[], channels=("a",), out=tmp_path, recipe=SMALL)
    for change in ({"trees": 0}, {"leaves": 1}, {"scales_m": ()}, {"scales_m": (0.0,)}, {"learning_rate": 0.0}):
        with pytest.raises(DarklungError):
            replace(SMALL, **change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scales_m": [8e-4]}, "its trees ask for"),
        ({"scales_m": []}, "scales_m: tuple should have at least 1"),
        ({"weights_sha256": "0"}, "is not what was trained"),
        ({"channels": ["a"]}, "mean, deviation: wanted 1 values"),
        ({"observer": "oracle"}, "network: "),
    ],
)
def test_a_model_that_does_not_fit_itself_is_refused(model, tmp_path, change, told):
    about = json.loads((model / "model.json").read_text()) | change
    (tmp_path / "model.json").write_text(json.dumps(about))
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    with pytest.raises(DarklungError, match=told):
        load_boosted(tmp_path)
