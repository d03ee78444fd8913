"""A comparison with every entry filled, for the tests of the report (numbers are made up)."""

import numpy as np

from darklung.core.types import Image
from darklung.report.pictures import Example

ARMS = ("transmission", "dark_field", "directional", "hybrid")


def interval(value, half=0.05):
    return {"value": value, "low": max(value - half, 0), "high": min(value + half, 1)}


def arm_result(quality):
    fpr = np.linspace(0, 1, 30)
    return {
        "n": {"subjects": 16, "positives": 49, "negatives": 42},
        "metrics": {
            "auroc": interval(quality),
            "sensitivity": interval(quality - 0.15, 0.1),
            "specificity": interval(0.94),
            "dice": interval(quality - 0.3),
            "brier": interval(0.4 - quality / 3),
        },
        "threshold": 0.42,
        "roc": {"fpr": fpr.tolist(), "tpr": (fpr ** (1 / quality - 0.95)).tolist()},
        "pr": {"recall": fpr.tolist(), "precision": (1 - (1 - quality) * fpr).tolist()},
        "reliability": {
            "predicted": [0.1, 0.3, 0.6, 0.9],
            "observed": [0.08, None, 0.5, 0.95],
            "count": [30, 0, 9, 22],
            "low": [0.0, None, 0.3, 0.8],
            "high": [0.2, None, 0.7, 1.0],
        },
        "confusion": {"tp": 41, "fp": 4, "fn": 8, "tn": 38},
        "froc": {
            "fp_per_subject": [0, 0.25, 1, 4],
            "sensitivity": [0.2, quality - 0.3, quality - 0.2, quality - 0.1],
            "points": {"0.25": interval(quality - 0.3), "1": interval(quality - 0.2)},
            "mimics_not_counted": {
                "fp_per_subject": [0, 0.25, 1, 4],
                "sensitivity": [0.25, quality - 0.2, quality - 0.1, quality],
                "points": {"0.25": interval(quality - 0.2), "1": interval(quality - 0.1)},
            },
        },
        "by_class": {
            "solid": {"n": 20, "sensitivity": quality, "low": quality - 0.1, "high": 1.0},
            "papillary": {"n": 15, "sensitivity": quality - 0.2},
            "lepidic": {"n": 14, "sensitivity": None},
        },
        "by_size": [
            {"low_mm": 0.5, "high_mm": 1.0, "n": 22, "sensitivity": quality - 0.3},
            {"low_mm": 1.0, "high_mm": 3.0, "n": 27, "sensitivity": quality},
        ],
        "dice_by_subject": {"pooled": 0.6, "mean": 0.5, "median": None, "subjects_with_lesion": 12},
        "by_kind": {"tile": {"n": 30, "value": 0.02, "low": 0.0, "high": 0.1}, "mimic": {"n": 12, "value": 0.2}},
        "by_animal": [{"animal": "mouse 7", "lesions": 2, "found": 1, "negatives": 9, "false": None, "highest": 1.5}],
        "by_fold": [{"fold": 0, "animals": 4, "sensitivity": interval(0.7), "specificity": interval(0.9)}],
        "probability": {"slope": 1.0, "intercept": -2.0, "brier_of_prevalence": 0.25},
        "voxels": {"auroc": 0.97, "average_precision": 0.4},
        "outlines": {"lesions": 49, "matched": 30, "dice": 0.6, "dice_of_all": 0.4, "panoptic": None},
    }


def comparison(qualities=(0.86, 0.80, 0.81, 0.92), *, arms=ARMS, low=-0.02):
    results = {s: {a: arm_result(q - d) for a, q in zip(arms, qualities)} for s, d in (("validation", 0.0), ("test", 0.04))}
    pairs = [
        ("hybrid", "transmission"),
        ("hybrid", "dark_field"),
        ("dark_field", "transmission"),
        ("directional", "dark_field"),
    ]
    rows = [
        {"a": a, "b": b, "metric": "auroc", "value": 0.03, "low": low, "high": 0.08, "p": 0.02, "p_holm": 0.08}
        for a, b in pairs
    ]
    return {
        "arms": list(arms),
        "splits": ["validation", "test"],
        "results": results,
        "differences": {"validation": rows, "test": rows},
        "settings": {"bootstrap replicates": 2000, "specificity": 0.95, "unit": "lung tile"},
    }


def volume_example(name="mouse 7", seed=0):
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 64, 72)], indexing="ij")
    region = (y**2 / 0.6 + x**2 / 0.8) < 1
    target = (z + 0.3) ** 2 + (y - 0.2) ** 2 + (x - 0.3) ** 2 < 0.03
    mu = np.where(region, 5.0, 20.0) + 14 * target + rng.normal(0, 1.5, z.shape)
    dark = np.where(region, 90.0, 3.0) * ~target + rng.normal(0, 20, z.shape)
    dark[:, :3] = np.nan
    image = Image(np.stack([mu, dark]).astype(np.float32), ("attenuation", "dark_field"), ("1/m", "1/m"), (2e-4,) * 3)
    guess = np.clip(target * 0.8 + rng.uniform(0, 0.25, z.shape), 0, 1)
    return Example(name, image, target, dict.fromkeys(ARMS, guess), region=region, note="One solid lesion of 1.1 mm.")
