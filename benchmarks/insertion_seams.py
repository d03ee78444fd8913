"""Can a trained observer see that a lesion was inserted? Shams, and the seam about the outline.

    python benchmarks/insertion_seams.py [--mice 16]

Each mouse is scanned healthy. Lesions and shams are placed in its reconstruction and inserted into its volume and its raw
frames (which are reconstructed again); the same lesions are grown in its phantom, scanned with other noise; and the
healthy mouse is scanned once more with other noise, as what is untouched. The observer is a random forest that sees a band
of three voxels about the outline (means, spreads and slopes of attenuation and dark field at -1, 0 and +1 voxels), trained
and tested on different mice. An area under the curve (AUROC) of 0.5 is chance; intervals are 95 %, bootstrap over
mice of held-out scores: they know nothing of the training's own chance, which the last column has for one comparison.

Inserted lesions must not be found better in the band than grown ones, and the two must not be told from each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from darklung.insert.planned import Planned, drawn_changes, volume_noise
from darklung.retrieve.stepping import retrieve
from darklung.tomo.methods import Volumes
from insertion import LESIONS, Setting, inserted_frames, make_pair, mouse, scanned, volumes

SHAMS = (("sham", "solid"), ("sham", "papillary"), ("sham", "filled"), ("sham", "lepidic"))
WANTED = (*LESIONS, *LESIONS, *SHAMS)
SETTING = Setting(voxel_m=300e-6, views=60, diameter_m=(1.0e-3, 1.7e-3), wanted=WANTED)
SHELLS = ((-1.5, -0.5), (-0.5, 0.5), (0.5, 1.5))
KINDS = ("untouched", "grown", "volume", "frames")


@dataclass(frozen=True)
class Seen:
    """What the observer sees of one insertion in one mouse, by how it got there.

    Parameters
    ----------
    mouse : int
    what : str
        Class, or ``"sham"``.
    features : mapping
        One of `KINDS` -> numbers.
    """

    mouse: int
    what: str
    features: dict[str, list[float]]


def band(found: Volumes, distance: np.ndarray, levels: Sequence[float]) -> list[float]:
    """Numbers of a band three voxels wide: (signal, shell) x mean, spread, slope; signals over their level in lung."""
    numbers = []
    for values, level in zip((found.attenuation, found.dark_field.mean(axis=0)), levels):
        slope = ndimage.gaussian_gradient_magnitude(values, 0.7)
        for low, high in SHELLS:
            shell = (distance >= low) & (distance < high)
            numbers += [values[shell].mean() / level, values[shell].std() / level, slope[shell].mean() / level]
    return [float(n) for n in numbers]


def changed(found: Volumes, setting: Setting, plan: Planned) -> Volumes:
    """A volume with the plan inserted, as `darklung insert` does it."""
    blur = (0.0, 0.5 * setting.voxel_m, 0.5 * setting.voxel_m)
    changes = drawn_changes(plan, blur, volume_noise(plan))
    return Volumes(
        (found.attenuation + changes.attenuation).astype(np.float32),
        (found.dark_field + changes.scattering).astype(np.float32),
    )


def look(number: int, setting: Setting) -> list[Seen]:
    """All insertions of one mouse, four ways."""
    pair = make_pair(500 + number, setting)
    animals = mouse(pair.seed, setting), pair.ill
    other = [volumes(retrieve(scanned(a, setting, 9000 + k + 10 * number))) for k, a in enumerate(animals)]
    frames = volumes(retrieve(replace(pair.healthy, frames=inserted_frames(pair))))
    versions = dict(zip(KINDS, (*other, changed(pair.found, setting, pair.plan), frames)))
    region = pair.plan.region
    levels = [float(np.median(v[region])) for v in (pair.found.attenuation, pair.found.dark_field.mean(axis=0))]
    seen = []
    for one in pair.plan.placed:
        box = pair.plan.grid.box_around(one.insertion.center_m, one.growth.blob.reach_m() + 3 * setting.voxel_m)
        local = pair.plan.grid.box(box).about(one.insertion.center_m)
        distance = one.growth.blob.distance(local, (0.0, 0.0, 0.0)) / setting.voxel_m
        cut = {k: Volumes(v.attenuation[box], v.dark_field[(slice(None), *box)]) for k, v in versions.items()}
        what = "sham" if one.sham else one.insertion.tissue
        seen.append(Seen(number, what, {k: band(v, distance, levels) for k, v in cut.items()}))
    return seen


def auroc(seen: Sequence[Seen], one: str, other: str, *, replicates: int = 1000) -> tuple[float, float, float]:
    """AUROC of a forest that tells version `one` from `other` of the same places, with its 95 % interval over mice."""
    data = np.array([s.features[k] for k in (one, other) for s in seen])
    label = np.repeat([1, 0], len(seen))
    group = np.tile([s.mouse for s in seen], 2)
    folds = GroupKFold(min(5, len(set(group.tolist()))))
    model = RandomForestClassifier(300, min_samples_leaf=3, random_state=0, n_jobs=1)
    score = cross_val_predict(model, data, label, groups=group, cv=folds, method="predict_proba")[:, 1]
    rng, names = np.random.default_rng(0), np.unique(group)
    rows = {n: np.flatnonzero(group == n) for n in names}
    draws = [np.concatenate([rows[n] for n in rng.choice(names, len(names))]) for _ in range(replicates)]
    spread = [roc_auc_score(label[d], score[d]) for d in draws]
    low, high = np.percentile(spread, (2.5, 97.5))
    return float(roc_auc_score(label, score)), float(low), float(high)


def print_results(seen: Sequence[Seen]) -> None:
    """The table."""
    shams = [s for s in seen if s.what == "sham"]
    lesions = [s for s in seen if s.what != "sham"]
    groups = {"shams": shams, "lesions, all": lesions, **{w: [s for s in lesions if s.what == w] for _, w in LESIONS}}
    print(f"{'AUROC in a band of 3 voxels':28s}{'n':>5s}{'volume':>22s}{'frames':>22s}{'grown':>22s}")
    for name, own in groups.items():
        chance = 1.96 * np.sqrt((2 * len(own) + 1) / (12 * len(own) ** 2))  # of the rank statistic without any difference
        cells = [auroc(own, k, "untouched") for k in ("volume", "frames", "grown")]
        text = "".join(f"{a:8.3f} ({low:.2f} to {high:.2f})" for a, low, high in cells)
        print(f"{name + ' | untouched':28s}{len(own):5d}{text}   chance ±{chance:.3f}")
    for name, own in {"lesions, all": lesions, **{k: v for k, v in groups.items() if k in dict(LESIONS).values()}}.items():
        cells = [auroc(own, k, "grown") for k in ("volume", "frames")]
        text = "".join(f"{a:8.3f} ({low:.2f} to {high:.2f})" for a, low, high in cells)
        print(f"{name + ' | grown':28s}{len(own):5d}{text}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mice", type=int, default=16)
    mice = parser.parse_args().mice
    print_results([s for k in range(mice) for s in look(k, SETTING)])


if __name__ == "__main__":
    main()
