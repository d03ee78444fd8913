"""nnU-Net v2 on the cases, folds and voxels of a run of ours, scored by our evaluation. See README.md beside this file.

    python benchmarks/peers/nnunet/compare.py RUN --arm hybrid --venv VENV --work WORK [--device cpu|cuda] [--normalised]
        [--steps N] [--no-mirroring] [--maps-only]

`--maps-only` ends with the maps: of sealed cases they are what `darklung benchmark pack` takes. What is done already is not
done again: a stage that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

HERE = Path(__file__).parent
NUMBER, CONFIGURATION, TRAINER, PLANS = 11, "as_ours", "AsManySteps", "nnUNetPlans"
WIDTHS = (32, 64, 128, 256, 320)  # features of nnU-Net's stages


def main() -> None:
    """All stages in order."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("run", type=Path, help="a finished run with held-out animals")
    read.add_argument("--arm", required=True)
    read.add_argument("--venv", type=Path, required=True, help="environment with nnunetv2")
    read.add_argument("--work", type=Path, required=True)
    read.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    read.add_argument("--steps", type=int, help="those of the run by default")
    read.add_argument("--normalised", action="store_true", help="values as our networks see them")
    read.add_argument("--no-mirroring", action="store_true", help="predict without mirrored copies, as ours do")
    read.add_argument("--maps-only", action="store_true", help="end with the maps of held-out and unlabelled cases")
    given = read.parse_args()
    learning = json.loads((given.run / "run.json").read_text())["study"]["learning"]
    work = given.work.resolve()
    data = work / "raw" / f"Dataset{NUMBER:03d}_Darklung"
    steps = given.steps or int(learning["steps"])
    export(given, data)
    plan(given, data, work, patch=int(learning["patch"]), batch=int(learning["batch"]))
    folds = range(int(learning["folds"]))
    for fold in folds:
        train(given, work, fold, steps)
    predict(given, data, work, folds)
    maps(data, work)
    if given.maps_only:
        return
    ours = given.run / "predict" / f"{given.arm}.test"
    also = ["--also", f"ours={ours}"] if ours.is_dir() else []
    darklung("evaluate", work / "maps", given.run, "--out", work / "scores", "--name", "nnunet", *also)


def darklung(*words: Any) -> None:
    """One of our commands."""
    subprocess.run([sys.executable, "-m", "darklung", *map(str, words)], check=True)


def theirs(given: argparse.Namespace, work: Path, command: str, *words: Any, steps: int = 0) -> None:
    """One of nnU-Net's commands in its own environment."""
    places = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    told = {"nnUNet_extTrainer": str(HERE / "trainers"), "DARKLUNG_STEPS": str(steps), "nnUNet_n_proc_DA": "1"}
    told |= {"nnUNet_compile": "f", "OMP_WAIT_POLICY": "passive"}
    subprocess.run([given.venv / "bin" / command, *map(str, words)], check=True, env={**os.environ, **places, **told})


def export(given: argparse.Namespace, data: Path) -> None:
    """The run's cases; dataset.json is written last."""
    if not (data / "dataset.json").is_file():
        more = ["--normalised"] if given.normalised else []
        darklung("export", given.run, "--layout", "nnunet", "--arm", given.arm, "--out", data, *more)
    if not any((data / ("imagesTs" if given.maps_only else "labelsTs")).glob("*.nii.gz")):
        sys.exit(f"{given.run}: wanted held-out animals, which the folds of both are tested on")


def plan(given: argparse.Namespace, data: Path, work: Path, *, patch: int, batch: int) -> None:
    """nnU-Net's fingerprint and preprocessing, its plan with our patch and batch, and our folds."""
    place = work / "preprocessed" / data.name
    done = place / f"{CONFIGURATION}.done"  # of its own: nnU-Net copies the folds before it preprocesses anything
    if done.is_file():
        return
    theirs(given, work, "nnUNetv2_extract_fingerprint", "-d", NUMBER, "-np", 1, "--verify_dataset_integrity")
    theirs(given, work, "nnUNetv2_plan_experiment", "-d", NUMBER)
    file = place / f"{PLANS}.json"
    plans = json.loads(file.read_text())
    plans["configurations"][CONFIGURATION] = smaller(plans["configurations"]["3d_fullres"], patch, batch)
    file.write_text(json.dumps(plans, indent=2))
    theirs(given, work, "nnUNetv2_preprocess", "-d", NUMBER, "-c", CONFIGURATION, "-np", 1)
    shutil.copyfile(data / "splits_final.json", place / "splits_final.json")
    done.touch()


def smaller(full: dict[str, Any], patch: int, batch: int) -> dict[str, Any]:
    """The planned configuration with our patch and batch: a step sees as many voxels, and stages end at four voxels."""
    made = json.loads(json.dumps(full))
    made |= {"data_identifier": f"{PLANS}_{CONFIGURATION}", "patch_size": [patch] * 3, "batch_size": batch}
    stages = max(2, min(len(WIDTHS), int(np.log2(patch // 4)) + 1))
    kept = made["architecture"]["arch_kwargs"]
    kept |= {"n_stages": stages, "features_per_stage": list(WIDTHS[:stages]), "kernel_sizes": [[3] * 3] * stages}
    kept |= {"strides": [[1] * 3, *([[2] * 3] * (stages - 1))]}
    for name, many in (
        ("n_conv_per_stage", stages),
        ("n_blocks_per_stage", stages),
        ("n_conv_per_stage_decoder", stages - 1),
    ):
        if name in kept:
            kept[name] = [*kept[name]][:many] if isinstance(kept[name], list) else kept[name]
    return made


def train(given: argparse.Namespace, work: Path, fold: int, steps: int) -> None:
    """One fold, from its last epoch on."""
    (place,) = (
        work / "results" / f"Dataset{NUMBER:03d}_Darklung" / f"{TRAINER}__{PLANS}__{CONFIGURATION}" / f"fold_{fold}",
    )
    if not (place / "checkpoint_final.pth").is_file():
        words = [NUMBER, CONFIGURATION, fold, "-tr", TRAINER, "-p", PLANS, "-device", given.device, "--c"]
        theirs(given, work, "nnUNetv2_train", *words, steps=steps)


def predict(given: argparse.Namespace, data: Path, work: Path, folds: range) -> None:
    """The mean of all folds on the held-out animals, as ours are predicted."""
    words: list[Any] = ["-i", data / "imagesTs", "-o", work / "predicted", "-d", NUMBER, "-c", CONFIGURATION, "-tr", TRAINER]
    words += ["-p", PLANS, "-f", *folds, "-device", given.device, "-npp", 1, "-nps", 1]
    words += ["--disable_tta"] if given.no_mirroring else []
    theirs(given, work, "nnUNetv2_predict", *words, "--save_probabilities", "--continue_prediction", steps=1)


def maps(data: Path, work: Path) -> None:
    """Probabilities of the lesion as NIfTI, on the grid of its masks; those of cases without labels in `unlabelled`."""
    for file in sorted((work / "predicted").glob("*.npz")):
        place = work / ("maps" if (data / "labelsTs" / f"{file.stem}.nii.gz").is_file() else "unlabelled")
        place.mkdir(exist_ok=True)
        mask = nibabel.load(file.with_suffix("").with_suffix(".nii.gz"))
        with np.load(file, allow_pickle=False) as found:
            lesion = found["probabilities"][1].transpose()  # (z, y, x) to (x, y, z)
        nibabel.save(nibabel.Nifti1Image(lesion.astype(np.float32), mask.affine), place / f"{file.stem}.nii.gz")


if __name__ == "__main__":
    main()
