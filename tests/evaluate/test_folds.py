"""Folds tested by their own models are put on one scale without their test animals; images become animals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from darklung.core.checks import DarklungError
from darklung.evaluate.folds import align_fold, by_animal, on_the_mean
from darklung.evaluate.roc import threshold_at_specificity
from darklung.evaluate.tables import ArmTables, join_tables


def tables(subject, rng, shift, scale, lesions=20, tiles=200):
    labels = np.r_[np.ones(lesions, int), np.zeros(tiles, int)]
    scores = shift + scale * (rng.normal(size=len(labels)) + 1.5 * labels)
    frame = pd.DataFrame(
        {
            "subject": subject,
            "tile": np.arange(len(labels)),
            "kind": np.where(labels == 1, "lesion", "tile"),
            "label": labels.astype(np.int8),
            "score": scores,
            "number": np.where(labels == 1, np.arange(len(labels)) + 1, 0),
            "tissue": np.where(labels == 1, "solid", ""),
            "diameter_m": np.where(labels == 1, 1e-3, np.nan),
            "reachable": True,
        }
    )
    return ArmTables(frame, pd.DataFrame([{"subject": subject, "predicted": 10, "true": 20, "overlap": 5}]))


def detected(subject, rng, shift, scale, head_shift, head_scale, false=400, hits=30):
    """Tables with candidates of a head, whose scores have nothing to do with those of tiles."""
    part = tables(subject, rng, shift, scale)
    kind = np.r_[["lesion"] * hits, ["none"] * false]
    scores = head_shift + head_scale * (rng.normal(size=hits + false) + 2.0 * (kind == "lesion"))
    number = np.where(kind == "lesion", np.arange(hits + false) + 1, 0)
    found = pd.DataFrame({"subject": subject, "score": scores, "kind": kind, "number": number, "axis0": 0})
    lesions = pd.DataFrame({"subject": subject, "number": np.arange(hits) + 1, "tissue": "solid", "diameter_m": 1e-3})
    return replace(part, candidates=found, lesions=lesions, detected=True)


HEADS = ((-8.0, 0.3, 5.0, 4.0), (2.0, 5.0, -3.0, 0.2), (0.0, 1.0, 0.0, 1.0))


def false_reaching(part, threshold=0.0):
    return float((part.candidates["score"][part.candidates["kind"] == "none"] >= threshold).mean())


def test_candidates_of_a_head_are_aligned_by_their_own_scores():
    rng = np.random.default_rng(8)
    for of in HEADS:
        validation, test = align_fold(detected("v", rng, *of), detected("t", rng, *of), specificity=0.95)
        assert false_reaching(validation) == pytest.approx(0.05, abs=0.006)
        assert false_reaching(test) == pytest.approx(0.05, abs=0.04)
        assert validation.candidates["score"].max() < 6  # and not as many times as the scales differ


def test_validation_candidates_of_a_head_are_on_the_scale_of_the_mean_of_heads():
    rng = np.random.default_rng(9)
    folds = {k: detected(f"v{k}", rng, *of) for k, of in enumerate(HEADS)}
    mean = detected("t", rng, 0, 1, 0, 1, false=3000)
    signal = mean.candidates["score"].to_numpy()
    said = [of[2] + of[3] * signal for of in HEADS]  # models that agree, on scales of their own
    own = {k: mean.candidates.assign(score=s) for k, s in enumerate(said)}
    merged = mean.candidates.assign(score=np.mean(said, axis=0))
    members = dict.fromkeys(folds, mean.tiles)
    moved = on_the_mean(folds, members, mean.tiles, specificity=0.95, own=own, candidates=merged)
    limit = np.quantile(merged["score"][merged["kind"] == "none"], 0.95)
    for k, part in moved.items():
        assert false_reaching(part, limit) == pytest.approx(0.05, abs=0.03)
        before, after = folds[k].candidates["score"], part.candidates["score"]
        assert (np.diff(after.to_numpy()[np.argsort(before.to_numpy())]) >= 0).all()
    for missing in ({"own": None, "candidates": merged}, {"own": own, "candidates": None}):
        without = on_the_mean(folds, members, mean.tiles, specificity=0.95, **missing)
        assert all(part.candidates is None and part.lesions is None for part in without.values())


def test_a_head_without_false_candidates_has_no_scale():
    rng = np.random.default_rng(9)
    validation, test = (detected(n, rng, 0, 1, 0, 1, false=0) for n in "vt")
    assert all(part.candidates is None for part in align_fold(validation, test, specificity=0.95))


@pytest.mark.parametrize("false", [1, 400])
def test_a_head_with_a_single_false_candidate_keeps_its_own_scale(false):
    """Its threshold and its median are one score: a distance of a rounding would make 1e17 of every other candidate."""
    rng = np.random.default_rng(9)
    validation, test = (detected(n, rng, 0, 1, 0, 1, false=false) for n in "vt")
    if false > 1:  # of one score, all of them
        validation.candidates.loc[validation.candidates["kind"] == "none", "score"] = 0.3
    moved, other = align_fold(validation, test, specificity=0.95)
    single = float(validation.candidates["score"][validation.candidates["kind"] == "none"].max())
    for before, after in ((validation, moved), (test, other)):
        np.testing.assert_allclose(after.candidates["score"], before.candidates["score"] - single, atol=1e-12)


def specificity(part, threshold):
    negative = part.tiles["score"][part.tiles["label"] == 0]
    return float((negative < threshold).mean())


def test_aligned_folds_share_a_threshold_and_keep_their_order():
    rng = np.random.default_rng(4)
    pooled = []
    for shift, scale in ((-8.0, 0.3), (2.0, 5.0), (0.0, 1.0)):
        validation, test = tables("v", rng, shift, scale), tables("t", rng, shift, scale)
        aligned = align_fold(validation, test, specificity=0.95)
        pooled.append(aligned)
        for before, after in zip((validation, test), aligned):
            order = np.argsort(before.tiles["score"].to_numpy())
            assert (np.diff(after.tiles["score"].to_numpy()[order]) >= 0).all()
        assert specificity(aligned[0], 0.0) == pytest.approx(0.95, abs=0.006)
        assert specificity(aligned[1], 0.0) == pytest.approx(0.95, abs=0.06)
    everything = pd.concat([v.tiles for v, _ in pooled])
    threshold = threshold_at_specificity(
        scores=everything["score"].to_numpy(), labels=everything["label"].to_numpy(), specificity=0.95
    )
    assert threshold == pytest.approx(0.0, abs=0.1)


def test_test_animals_do_not_move_the_scale():
    rng = np.random.default_rng(4)
    validation, test = tables("v", rng, 0, 1), tables("t", rng, 0, 1)
    other = tables("t", rng, 50, 9)
    first = align_fold(validation, test, specificity=0.95)[0].tiles["score"]
    np.testing.assert_array_equal(first, align_fold(validation, other, specificity=0.95)[0].tiles["score"])


def test_the_threshold_of_single_models_keeps_its_specificity_for_their_mean():
    """Three models that see the same signal with errors of their own: their mean is sharper than each."""
    rng = np.random.default_rng(5)
    shifts, scales = (-6.0, 2.0, 0.0), (0.5, 2.0, 1.0)
    folds = {k: tables(f"v{k}", rng, *of, lesions=60, tiles=1500) for k, of in enumerate(zip(shifts, scales))}
    labels = np.r_[np.ones(100, int), np.zeros(2000, int)]
    signal = 0.6 * rng.normal(size=len(labels)) + 1.5 * labels
    own = [shift + scale * (signal + 0.8 * rng.normal(size=len(labels))) for shift, scale in zip(shifts, scales)]
    frame = tables("t", rng, 0, 1, lesions=100, tiles=2000).tiles
    members = {k: frame.assign(score=score) for k, score in enumerate(own)}
    mean = frame.assign(score=np.mean(own, axis=0))
    moved = on_the_mean(folds, members, mean, specificity=0.95)
    pooled = pd.concat([t.tiles for t in moved.values()])
    threshold = threshold_at_specificity(scores=pooled["score"], labels=pooled["label"], specificity=0.95)
    negative = mean["score"][mean["label"] == 0]
    assert float((negative < threshold).mean()) == pytest.approx(0.95, abs=0.012)
    raw = pd.concat([t.tiles for t in folds.values()])
    plain = threshold_at_specificity(scores=raw["score"], labels=raw["label"], specificity=0.95)
    assert abs(float((negative < plain).mean()) - 0.95) > 0.03  # what pooling as they are gives
    for k, before in folds.items():
        order = np.argsort(before.tiles["score"].to_numpy())
        assert (np.diff(moved[k].tiles["score"].to_numpy()[order]) >= 0).all()
    shuffled = mean.assign(label=rng.permutation(mean["label"].to_numpy()))
    again = on_the_mean(folds, members, shuffled, specificity=0.95)
    pd.testing.assert_frame_equal(again[0].tiles, moved[0].tiles)  # no label of the tested animals is used


def test_one_model_is_its_own_mean():
    rng = np.random.default_rng(6)
    part = tables("v", rng, 1.0, 2.0)
    tested = tables("t", rng, 1.0, 2.0).tiles
    moved = on_the_mean({0: part}, {0: tested}, tested, specificity=0.95)[0]
    inside = part.tiles["score"].between(tested["score"].min(), tested["score"].max())
    np.testing.assert_allclose(moved.tiles["score"][inside], part.tiles["score"][inside], atol=1e-9)


def test_a_fold_without_lesions_is_refused():
    rng = np.random.default_rng(4)
    with pytest.raises(DarklungError, match="wanted positives and negatives, got 0 and 200"):
        align_fold(tables("v", rng, 0, 1, lesions=0), tables("t", rng, 0, 1), specificity=0.95)


def test_images_of_an_animal_become_one_subject_and_nothing_is_lost():
    rng = np.random.default_rng(4)
    parts = [tables(name, rng, 0, 1) for name in ("a-0", "a-1", "b-0")]
    joined = join_tables(by_animal(parts, {"a-0": "a", "a-1": "a", "b-0": "b"}))
    assert sorted(joined.voxels["subject"]) == ["a", "b"]
    assert int(joined.voxels.set_index("subject").loc["a", "overlap"]) == 10
    assert len(joined.tiles) == 3 * 220
    assert not joined.tiles.duplicated(["subject", "tile"]).any()
    lesions = joined.tiles[joined.tiles["label"] == 1]
    assert not lesions.duplicated(["subject", "number"]).any()
    assert (joined.tiles["number"][joined.tiles["label"] == 0] == 0).all()


@pytest.mark.parametrize(("number", "tile"), [(10_000, 10**6), (65_000, 10**8)])
def test_numbers_of_images_stay_apart_whatever_numbers_labels_have(number, tile):
    """Label volumes of others are numbered as they like, up to 65535, and small tiles are many."""
    rng = np.random.default_rng(4)
    first, second = tables("a-0", rng, 0, 1), tables("a-1", rng, 0, 1)
    lesion = first.tiles["label"] == 1
    moved = first.tiles.assign(number=first.tiles["number"] + number * lesion, tile=first.tiles["tile"] + tile)
    joined = join_tables(by_animal([replace(first, tiles=moved), second], {"a-0": "a", "a-1": "a"})).tiles
    assert not joined.duplicated(["subject", "tile"]).any()
    assert not joined[joined["label"] == 1].duplicated(["subject", "number"]).any()


def test_one_image_an_animal_is_left_as_it_is():
    part = tables("a", np.random.default_rng(1), 0, 1)
    assert by_animal([part], {"a": "a"})[0] is part
