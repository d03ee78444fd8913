"""Boosted trees as plain arrays: summed by a kernel of our own, stored without anything that could be executed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from darklung.core.checks import require
from darklung.core.files import reading, whole

_TYPES = {"feature": np.int32, "threshold": np.float64, "left": np.int32, "right": np.int32, "value": np.float64}
_TYPES |= {"root": np.int32, "baseline": np.float64}


@dataclass(frozen=True)
class Forest:
    """A sum of regression trees.

    Parameters
    ----------
    feature : (node,) int32
        Column that a node asks for; -1 for a leaf.
    threshold : (node,) float64
        Values up to it go left, greater ones right.
    left, right : (node,) int32
        Numbers of the nodes below, which follow the node; 0 in a leaf.
    value : (node,) float64
        What a leaf adds.
    root : (tree,) int32
        First node of each tree.
    baseline : (1,) float64
        What the sum starts from.

    Raises
    ------
    DarklungError
        Arrays that are no trees: of other types or lengths, or a node that leads back or out of them.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    root: NDArray[np.int32]
    baseline: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, kind in _TYPES.items():
            array = getattr(self, name)
            fits = array.dtype == kind and array.ndim == 1
            require(fits, f"trees: {name}: wanted a row of {np.dtype(kind)}, got {array.dtype} with {array.ndim} axes")
        nodes = len(self.feature)
        same = all(len(getattr(self, name)) == nodes for name in ("threshold", "left", "right", "value"))
        require(same and len(self.baseline) == 1, f"trees: wanted {nodes} entries of every node and one baseline")
        require(bool(((self.root >= 0) & (self.root < nodes)).all()), "trees: a root is not among the nodes")
        split, own = self.feature >= 0, np.arange(nodes)
        below = all(bool(((side > own) & (side < nodes))[split].all()) for side in (self.left, self.right))
        require(below, "trees: a node leads back or out of the nodes")

    @property
    def columns(self) -> int:
        """Fewest features that it can be applied to."""
        return int(self.feature.max(initial=-1)) + 1

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The sum of all trees, (voxel,), of features (voxel, feature)."""
        return self.add(np.full(len(features), self.baseline[0]), features, 0, len(self.root))

    def add(self, before: NDArray[np.float64], features: NDArray[np.float32], first: int, last: int) -> NDArray[np.float64]:
        """`before` with the trees `first` to `last` - 1 added, (voxel,)."""
        many = features.shape[1]
        require(self.columns <= many, f"features: the trees ask for {self.columns}, there are {many}")
        nodes = (self.feature, self.threshold, self.left, self.right, self.value)
        return np.asarray(_sum(np.ascontiguousarray(features), before.copy(), *nodes, self.root[first:last]))

    def first(self, trees: int) -> Forest:
        """The first `trees` trees alone; they lie one after the other."""
        end = int(self.root[trees]) if trees < len(self.root) else len(self.feature)
        nodes = {name: getattr(self, name)[:end] for name in ("feature", "threshold", "left", "right", "value")}
        return replace(self, **nodes, root=self.root[:trees])

    def shifted(self, offset: float) -> Forest:
        """The same with `offset` added to every logit."""
        return replace(self, baseline=self.baseline + offset)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        with whole(path) as part:
            save_file({f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self)}, part)

    @staticmethod
    def load(path: Path) -> Forest:
        """Read what `save` wrote.

        Raises
        ------
        DarklungError
            A file that is none, or that holds no trees.
        """
        with reading(path, "boosted trees"):
            arrays = load_file(path)
            return Forest(**{f.name: arrays[f.name] for f in fields(Forest)})


def forest_of(classifier: Any) -> Forest:
    """The trees of a fitted `sklearn.ensemble.HistGradientBoostingClassifier` of two classes and numerical features."""
    trees = [stage[0].nodes for stage in classifier._predictors]
    sizes = [len(nodes) for nodes in trees]
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    nodes = np.concatenate(trees)
    start, leaf = np.repeat(root, sizes), nodes["is_leaf"].astype(bool)
    left, right = (np.where(leaf, 0, nodes[side].astype(np.int64) + start).astype(np.int32) for side in ("left", "right"))
    return Forest(
        np.where(leaf, -1, nodes["feature_idx"]).astype(np.int32),
        nodes["num_threshold"].astype(np.float64),
        left,
        right,
        np.where(leaf, nodes["value"], 0.0),
        root,
        np.array([float(np.ravel(classifier._baseline_prediction)[0])]),
    )


@numba.njit(cache=True, nogil=True)
def _sum(
    features: NDArray, total: NDArray, feature: NDArray, threshold: NDArray, left: NDArray, right: NDArray, value: NDArray,
    roots: NDArray,
) -> NDArray:  # fmt: skip
    for i in range(len(features)):
        for root in roots:
            node = root
            while feature[node] >= 0:
                node = left[node] if np.float64(features[i, feature[node]]) <= threshold[node] else right[node]
            total[i] += value[node]
    return total
