"""What two arms say of the same places, as one: by how much the second counts, found on candidates of the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from darklung.core.types import Image
from darklung.evaluate.calibration import logistic_weights
from darklung.evaluate.lifted import SEEN
from darklung.io.names import CENTRE, MEMBER, OWN_CENTRE

OWN = {"logit": MEMBER, CENTRE: OWN_CENTRE}  # map that is joined -> channels of each model's own
TOO_FEW = "no candidate of the other folds hits a lesion, or all do: the second arm is not asked"


@dataclass(frozen=True)
class Share:
    """How much of the joint logit is the second arm's: (1 − share) · first + share · second.

    Parameters
    ----------
    share : float
        0 to 1.
    hits, false : int
        Candidates that it was found on.
    why : str
        Why nothing was fitted; empty where it was.
    """

    share: float
    hits: int
    false: int
    why: str = ""

    def joined(self, first: NDArray, second: NDArray) -> NDArray[np.float32]:
        """The joint logits of maps of one shape."""
        return np.asarray((1 - self.share) * first + self.share * second, dtype=np.float32)


def fit_share(*, first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> Share:
    """The share of a second arm by the logistic model logit p = a + b · first + c · second on candidates: c / (b + c).

    Ranks are those of the logistic model; divided by b + c, the joint logit keeps the scale of the arms' own, so that an arm
    that tells nothing leaves the other as it is to the bit. A slope below zero is taken for zero: more lesion in an image
    is never less lesion.

    Parameters
    ----------
    first, second : (candidate,) logits
    labels : (candidate,) 1 where a lesion is hit, else 0
    """
    truth = np.asarray(labels)
    hits, false = int((truth == 1).sum()), int((truth == 0).sum())
    if not hits or not false:
        return Share(0.0, hits, false, TOO_FEW)
    b, c = np.maximum(logistic_weights(features=np.stack([first, second], axis=1), labels=truth), 0.0)
    return Share(float(c / (b + c)) if b + c > 0 else 0.0, hits, false)


def shares_by_fold(candidates: Iterable[pd.DataFrame]) -> list[Share]:
    """The share for each fold's pair of models, found on the validation candidates of all other folds.

    So an animal's validation scores, by which thresholds are fixed, do not rest on its own labels, nor do test scores on any
    test animal's.

    Parameters
    ----------
    candidates : DataFrames
        One a fold: of its validation animals as its models score them, ``first``, ``second`` and ``kind`` (of
        `darklung.evaluate.froc.candidate_table`; other kinds than lesion, mimic and none are not looked at).
    """
    tables = [t[t["kind"].isin(("lesion", "mimic", "none"))] for t in candidates]
    found = []
    for fold in range(len(tables)):
        known = pd.concat([t for k, t in enumerate(tables) if k != fold], ignore_index=True)
        labels = (known["kind"] == "lesion").to_numpy(dtype=np.int64)
        found.append(fit_share(first=known["first"], second=known["second"], labels=labels))
    return found


def joined(volume: Image, radiographs: Image, shares: Mapping[str, Sequence[Share]], fold: int | None) -> Image:
    """The joint maps: of one fold's models, or each fold's and their mean (None). What no radiograph sees is the volume's.

    Parameters
    ----------
    volume, radiographs : Image
        Predictions on one grid; the latter of `darklung.evaluate.lifted`.
    shares : mapping map -> one share a fold
        Maps that are not in it (candidates' middles, where only one arm has them) are left out.
    fold : int, optional
    """
    seen = radiographs.channel(SEEN) > 0

    def both(name: str, share: Share) -> NDArray[np.float32]:
        first = volume.channel(name)
        return np.where(seen, share.joined(first, radiographs.channel(name)), first).astype(np.float32)

    out: dict[str, NDArray[np.float32]] = {}
    spread = np.zeros(volume.shape, dtype=np.float32)
    for name, own in shares.items():
        if fold is not None:
            out[name] = both(name, own[fold])
            continue
        each = {f"{OWN[name]}{k}": both(f"{OWN[name]}{k}", share) for k, share in enumerate(own)}
        out |= {name: np.mean(list(each.values()), axis=0, dtype=np.float32), **each}
        spread = np.std(list(each.values()), axis=0).astype(np.float32) if name == "logit" else spread
    out["logit_spread"] = spread
    return volume.with_data(np.stack(list(out.values())), tuple(out), ("1",) * len(out))
