"""Boosted trees as arrays: the same sums as scikit-learn's, and no file that leads outside of them."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import HistGradientBoostingClassifier

from darklung.core.checks import DarklungError
from darklung.learn.trees import Forest, forest_of


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, 6)).astype(np.float32)
    lesion = features[:, 0] * features[:, 1] + 0.3 * rng.normal(size=3000) > 0.4
    classifier = HistGradientBoostingClassifier(max_iter=25, max_leaf_nodes=9, early_stopping=False, random_state=1)
    return classifier.fit(features, lesion), features


def test_logits_are_those_of_scikit_learn_also_at_thresholds(fitted):
    classifier, features = fitted
    forest = forest_of(classifier)
    wanted = classifier.decision_function(features)
    assert wanted.std() > 1
    np.testing.assert_allclose(forest.logits(features), wanted, atol=1e-12)
    split = forest.feature >= 0
    edges = np.zeros((split.sum(), 6), np.float32)
    edges[np.arange(split.sum()), forest.feature[split]] = forest.threshold[split]
    np.testing.assert_allclose(forest.logits(edges), classifier.decision_function(edges), atol=1e-12)


def test_parts_add_up_and_the_first_trees_are_those_of_a_shorter_training(fitted):
    classifier, features = fitted
    forest = forest_of(classifier)
    halves = forest.add(forest.first(10).logits(features), features, 10, 25)
    np.testing.assert_allclose(halves, forest.logits(features), atol=1e-12)
    staged = list(classifier._staged_raw_predict(features))[9].ravel()
    np.testing.assert_allclose(forest.first(10).logits(features), staged, atol=1e-12)
    np.testing.assert_allclose(forest.shifted(-2.5).logits(features), forest.logits(features) - 2.5, atol=1e-12)


def test_a_file_gives_the_same_trees(fitted, tmp_path):
    forest, features = forest_of(fitted[0]), fitted[1]
    forest.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(Forest.load(tmp_path / "model.safetensors").logits(features), forest.logits(features))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"left": lambda a: a * 0}, "a node leads back or out"),
        ({"right": lambda a: a + 10**6}, "a node leads back or out"),
        ({"root": lambda a: a - 1}, "a root is not among the nodes"),
        ({"feature": lambda a: a.astype(np.float64)}, "feature: wanted a row of int32, got float64"),
        ({"value": lambda a: a[:-1]}, "entries of every node"),
        ({"baseline": lambda a: np.zeros(2)}, "one baseline"),
    ],
)
def test_arrays_that_are_no_trees_are_refused(fitted, tmp_path, change, told):
    forest_of(fitted[0]).save(tmp_path / "t")
    arrays = load_file(tmp_path / "t")
    save_file(arrays | {name: np.ascontiguousarray(made(arrays[name])) for name, made in change.items()}, tmp_path / "t")
    with pytest.raises(DarklungError, match=told):
        Forest.load(tmp_path / "t")


def test_what_is_no_file_of_trees_ends_in_one_line(fitted, tmp_path):
    (tmp_path / "t").write_bytes(b"no trees")
    with pytest.raises(DarklungError, match="boosted trees"):
        Forest.load(tmp_path / "t")
    with pytest.raises(DarklungError, match="features: the trees ask for"):
        forest_of(fitted[0]).logits(np.zeros((2, 1), np.float32))
