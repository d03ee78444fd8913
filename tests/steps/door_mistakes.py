"""Studies that pass the door, and what is changed in each mistake: (study, path -> new value, what the line says)."""

from __future__ import annotations

from typing import Any

MICE = {
    "from": "simulation",
    "cohort": {"animals": 6, "test_animals": 2, "diameter": ["1.5 mm", "2.2 mm"], "lesions": [1, 2], "lesion_free": 0.0},
    "body": {"voxel": "400 um"},
    "scan": {"supersampling": 1, "views": 24, "flats": 2, "flat_repeats": 2},
}
LEARNING = {"arms": {"hybrid": ["attenuation", "dark_field_0"]}, "widths": [16, 32], "patch": 12, "steps": 12}
RAW = {"from": "frames", "use": "predict", "energy": "70 keV"}
STUDIES: dict[str, dict[str, Any]] = {
    "mice": {"sources": {"mice": MICE}},
    "cases": {"sources": {"cases": {"from": "cases", "files": ["cases/*"]}}},
    "volumes": {"sources": {"ct": {"from": "volumes", "files": ["ct/*.nii"], "labels": "labels/{name}.nii"}}},
    "turns": {"sources": {"turns": {"from": "projections", "files": ["turn/t*.h5"]}}, "insertion": {"lesions": 1}},
    "frames": {
        "sources": {"raw": {"from": "frames", "files": ["whole.yaml"], "use": "predict", "energy": "70 keV"}, "mice": MICE}
    },
}
ARMS = {"cases": ["attenuation", "dark_field"], "volumes": ["attenuation"]}

MICE_AT = "sources.mice"
CT = STUDIES["volumes"]["sources"]["ct"]
AUGMENTATION = "learning.training.augmentation"
TESTED = {"processing.voxel": "300 um", "learning.arms": {"a": ["attenuation"]}, f"{MICE_AT}.cohort.test_animals": 0}
KNOWN, HALF = ([f"{kind}/m{n}" for n in (2, 3, 4)] for kind in ("cases", "sections"))
OTHER = {"from": "cases", "files": ["fine/*"]}
# (study, what is changed, what the line says)
MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    # names of functions
    "network": ("mice", {"learning.network": "unet"}, "learning: network: 'unet' is not known; known: monai, resid"),
    "loss": ("mice", {"learning.loss": "mse"}, "learning: loss: 'mse' is not known; known: dice_focal"),
    "metric": ("mice", {"learning.metric": "auc"}, "learning: metric: 'auc' is not known; known: dice, tile_auroc"),
    "no module": ("mice", {"learning.network": "not_there:f"}, r"'not_there:f' cannot be imported \(No module named"),
    "no function": ("mice", {"learning.loss": "own:f"}, "loss: 'own:f' cannot be imported .* no attribute 'f'"),
    "no callable": ("mice", {"learning.metric": "own:NUMBER"}, "metric: 'own:NUMBER' is no function but of type int"),
    "value of a network option": (
        "mice", {"learning.network_options": {"norm": "layer"}}, "learning.network_options: norm: 'layer' is not known",
    ),
    "network options": ("mice", {"learning.network_options": {"depth": 3}}, "'depth' is not known; known: deep_s"),
    "own network's options": (
        "mice", {"learning.network": "own:good", "learning.network_options": {"deep": 3}},
        "'deep' is not known; known: depth",
    ),
    "option's type": (
        "mice", {"learning.network": "own:good", "learning.network_options": {"depth": "x"}},
        "wanted a value such as 2, got 'x'",
    ),
    "loss options": ("mice", {"learning.loss_options": {"gamma": 2}}, "option of loss dice_focal_boundary: 'gamma' is not"),
    # what the user's functions take and return
    "network's arguments": ("mice", {"learning.network": "own:no_dims"}, "wanted a function that takes 'dims'"),
    "loss's arguments": ("mice", {"learning.loss": "own:loss_of_two"}, "loss own:loss_of_two: wanted a function of 4"),
    "metric's arguments": ("mice", {"learning.metric": "own:metric"}, "wanted a function that takes 'spacing_m'"),
    "no network": ("mice", {"learning.network": "own:nothing"}, "'own:nothing' returned NoneType, wanted a torch module"),
    "two channels": (
        "mice", {"learning.network": "own:two"}, r"own:two: wanted logits of shape \(2, 1, 12, 12, 12\) .*got \(2, 2",
    ),
    "half the size": (
        "mice", {"learning.network": "own:small"}, r"own:small: wanted logits of shape .* got \(2, 1, 12, 12, 6\)",
    ),
    "a tuple": ("mice", {"learning.network": "own:pair"}, "own:pair: wanted a tensor of logits .* got tuple"),
    "a numpy array": ("mice", {"learning.network": "own:array"}, "own:array: wanted a tensor of logits .* got ndarray"),
    "whole numbers": (
        "mice", {"learning.network": "own:whole"}, "own:whole: wanted logits as real numbers, got torch.int64",
    ),
    "no numbers": (
        "mice", {"learning.network": "own:unknown"}, "own:unknown: 3456 of 3456 logits are not finite",
    ),
    "no logits": (
        "mice", {"learning.network": "own:other_heads"}, "own:other_heads: wanted logits among its heads, got mask",
    ),
    "an error": ("mice", {"learning.network": "own:raises"}, "network own:raises: RuntimeError on a patch of 12"),
    # channels
    "misspelt": (
        "mice", {"learning.arms": {"a": ["atenuation"]}}, "learning.arms.a: 'atenuation' will not be among the channels",
    ),
    "not scanned": ("mice", {"learning.arms": {"a": ["dark_field_45"]}}, "'dark_field_45' will not be .*dark_field_90"),
    "one direction": (
        "mice", {f"{MICE_AT}.scan.directions": ["0 deg"], "learning.arms": {"a": ["anisotropy"]}},
        "'anisotropy' will not be",
    ),
    "twice the same": ("mice", {f"{MICE_AT}.scan.directions": ["0 deg", "180 deg"]}, "at least two different grating dir"),
    "noise is off": (
        "mice", {"processing.reconstruction.options": {"noise": False}, "learning.arms": {"a": ["attenuation_noise"]}},
        "'attenuation_noise' .*options.noise is off",
    ),
    "no tensor": ("mice", {"learning.arms": {"a": ["tensor_zz"]}}, "'tensor_zz' .*method: tensor makes those of a tensor"),
    "of a case": (
        "cases", {"learning.arms": {"a": ["dark_field_0"]}},
        "'dark_field_0' will not be among .*m1 .attenuation, dark_field. and of 3 more",
    ),
    "of a volume": (
        "volumes", {"learning.arms": {"a": ["dark_field"]}},
        "'dark_field' will not be among .*m1.nii .attenuation, noise. and",
    ),
    "no such map": (
        "mice", {"learning.arms": {"a": ["contast(dark_field, 1 mm)"]}},
        "learning.arms.a: 'contast' is no stored channel and no map; maps: ratio, .* .sources.mice",
    ),
    "a map's length": (
        "mice", {"learning.arms": {"a": ["contrast(dark_field, 5)"]}},
        "learning.arms.a: contrast.dark_field, 5.: size: wanted a length such as 0.8 mm, got 5 .sources.mice",
    ),
    "a map's direction": (
        "mice", {"learning.arms": {"a": ["difference(dark_field@0deg, dark_field@45deg)"]}},
        "learning.arms.a: 'dark_field_45' is no stored channel",
    ),
    "a map's unit": (
        "mice", {"learning.arms": {"a": ["ratio", "contrast(attenuation, 1 lightyear)"]}},
        "wanted a length, angle or energy",
    ),
    "parentheses": ("mice", {"learning.arms": {"a": ["contrast(dark_field, 1 mm))"]}}, "parentheses do not match"),
    "no error": (
        "cases", {"learning.arms": {"a": ["noise(dark_field)"]}},
        "learning.arms.a: dark_field_noise: nothing tells the standard error of dark_field .*m1",
    ),
    "no correlation length": (
        "cases", {"learning.arms": {"a": ["interface_density"]}},
        "interface_density: the correlation length that the values refer to is not known",
    ),
    "a map twice": (
        "mice", {"learning.arms": {"a": ["contrast(dark_field, 1 mm)", "contrast(dark_field,1000um)"]}},
        "'a' has a channel twice",
    ),
    "a map of one's own": (
        "mice", {"learning.arms": {"a": ["own:depth(dark_field)"]}},
        "'own:depth' cannot be imported .* no attribute 'depth'",
    ),
    "bank's map": (
        "mice", {"learning.bank": {}, "learning.arms": {"a": ["ratio"]}}, "bank: lesions change attenuation .* not 'ratio'",
    ),
    "no attenuation": (
        "volumes", {"sources.ct.reading": {"channel": "grey"}}, "m1.nii: wanted a channel attenuation, got grey",
    ),
    "a made channel, augmented": (
        "mice", {f"{AUGMENTATION}.dose": [1, 4], "learning.arms": {"a": ["attenuation", "ratio"]}},
        "training.augmentation.dose: changes attenuation.* noise; 'ratio' would have to be made again of them .arm 'a'",
    ),
    "a tensor that breathes": (
        "mice", {f"{AUGMENTATION}.breathing": 1, "learning.arms": {"a": ["anisotropy"]}},
        "augmentation.breathing: changes .*'anisotropy'",
    ),
    "a dose above": ("mice", {f"{AUGMENTATION}.dose": [0.5, 2]}, "augmentation.dose.*greater than or equal to 1, got 0.5"),
    "a falling range": ("mice", {f"{AUGMENTATION}.energy": [1.2, 0.9]}, "energy: .*wanted the smaller factor first, got"),
    "dose without noise": (
        "mice", {f"{AUGMENTATION}.dose": [1, 4], "processing.reconstruction.options": {"noise": False}},
        "augmentation.dose: the noise of 'attenuation' .attenuation_noise. will not be .*options.noise is off",
    ),
    "noise of a foreign volume": (
        "volumes", {f"{AUGMENTATION}.noise": 0.5}, "augmentation.noise: the noise of 'attenuation' .* of .*m1.nii",
    ),
    "resampled noise": (
        "mice", {f"{AUGMENTATION}.dose": [1, 4], "processing.voxel": "500 um"},
        "augmentation.dose: noise of resampled volumes .sources.mice",
    ),
    "another filter's noise": (
        "mice", {f"{AUGMENTATION}.dose": [1, 4], "processing.reconstruction.options": {"filter": "hann"}},
        "augmentation.texture: wanted 'hann', the filter of processing.reconstruction.options, or 'white', got 'ramp'",
    ),
    "a cutoff's noise": (
        "mice", {f"{AUGMENTATION}.dose": [1, 4], "processing.reconstruction.options": {"cutoff": 0.5}}, "of a cutoff of 0.5",
    ),
    "no channels": ("mice", {"learning.arms": {"a": []}}, "arms: 'a' has no channels"),
    "a channel twice": ("mice", {"learning.arms": {"a": ["dark_field", "dark_field"]}}, "'a' has a channel twice"),
    "no arms": ("mice", {"learning.arms": {}}, "arms: wanted at least one arm"),
    "an arm's name": ("mice", {"learning>arms": {"x.fold0": ["attenuation"]}}, "a name is made of letters.*got 'x.fold0'"),
    # sizes
    "patch 0": ("mice", {"learning.patch": 0}, "learning.patch: .*greater than or equal to 1, got 0"),
    "patch 2": ("mice", {"learning.patch": 2}, "learning.patch: wanted 4 to 1024 voxels, got 2"),
    "odd patch": ("mice", {"learning.patch": 13}, "wanted a multiple of 2, got 13; 12 or 14 would fit"),
    "large patch": ("mice", {"learning.patch": 64}, "learning.patch: 64 voxels are more than the 60 of an image"),
    "odd widths": ("mice", {"learning.widths": [16, 33]}, r"widths: wanted multiples of 16, got \(16, 33\)"),
    "no widths": ("mice", {"learning.widths": []}, "learning.widths: .*at least 1 item"),
    "tile": ("mice", {"evaluation.tile": "0.3 mm"}, "evaluation.tile: 300 um is less than a voxel of sources.mice, 400 um"),
    "own metric": ("mice", {"evaluation.metrics": {"mine": "own:f"}}, "'own:f' cannot be imported .* no attribute 'f'"),
    "specificity": ("mice", {"evaluation.specificity": 1.5}, "evaluation.specificity: .*less than or equal to 1"),
    # animals and folds
    "no lesions": ("mice", {f"{MICE_AT}.cohort.lesion_free": 1.0}, "of fold 0, no animal to train on has a lesion"),
    "lesions 0": (
        "mice", {f"{MICE_AT}.cohort.lesions": [0, 0]}, "lesions: of an animal that has any, wanted at least 1, got 0",
    ),
    "few animals": ("mice", {f"{MICE_AT}.cohort.animals": 2}, "cohort.animals: wanted at least learning.folds = 3, got 2"),
    "few cases": ("cases", {"learning.folds": 5}, "5 folds need at least 5 animals to train on, got 4"),
    "two folds": (
        "mice", {"learning.folds": 2, f"{MICE_AT}.cohort.test_animals": 0},
        "without test animals .*wanted at least 3 folds, got 2",
    ),
    "a fold without": (
        "mice", {f"{MICE_AT}.cohort.test_animals": 0, f"{MICE_AT}.cohort.animals": 4, f"{MICE_AT}.cohort.lesion_free": 0.7},
        "learning.folds: of fold [0-2], no animal to (train|validate) on has a lesion",
    ),
    "healthy tests": (
        "mice", {"sources.cases": {"from": "cases", "files": ["healthy/*"],
        "use": "test"}, f"{MICE_AT}.cohort.test_animals": 0,
                 "processing.voxel": "300 um", "learning.arms": {"a": ["attenuation"]}},
        "sources: no animal with use test has a lesion",
    ),
    "diameter": ("mice", {f"{MICE_AT}.cohort.diameter": ["2 mm", "1 mm"]}, "diameter: wanted the smaller number first"),
    "class": ("mice", {f"{MICE_AT}.cohort.tissues": ["stone"]}, "'stone' is not known"),
    "variant": ("mice", {f"{MICE_AT}.cohort.variant": "Z"}, "'Z' is not known; known: A, B"),
    "site": ("mice", {f"{MICE_AT}.cohort.test_sites": ["west"]}, "cohort.test_sites: .*got 'west'"),
    "subject of a site": (
        "mice", {f"{MICE_AT}.sites": {"a": {"subjects": ["mouse-1"]}}}, "sites: subject: 'mouse-1' is not known",
    ),
    "narrow": (
        "mice", {f"{MICE_AT}.body.width": "18 mm"}, "body.width: a field of view of 18 mm cuts the body of train-0001",
    ),
    "coarse": ("mice", {f"{MICE_AT}.body.voxel": "4 mm"}, "body.length: wanted 8 to 2000 voxels of 4000 um, got 4"),
    # the file itself
    "unit": ("mice", {f"{MICE_AT}.body.voxel": 400}, "body.voxel: wanted a length"),
    "key": ("mice", {"learning.netwrk": "unet"}, "learning.netwrk: unknown key; known: .*; network is meant?"),
    "old format": ("mice", {"sources": None, "kind": "ct"}, "kind: studies list sources now"),
    "origin": ("mice", {f"{MICE_AT}.from": "simulated"}, "sources.mice: .*'simulation', 'frames'"),
    "use": ("cases", {"sources.cases.use": "testing"}, "sources.cases.use: .*'train', 'test' or 'predict'"),
    # methods and scanners
    "method": (
        "mice", {"processing.reconstruction.method": "sirt"}, "'sirt' is not known; known: cgls, fbp, pwls_tv, tensor",
    ),
    "method's option": ("mice", {"processing.reconstruction.options": {"cut": 1}}, "option of fbp: 'cut' is not known"),
    "method's filter": (
        "mice", {"processing.reconstruction.options": {"filter": "ham"}}, "filter of fbp: 'ham' is not known",
    ),
    "cutoff": (
        "mice", {"processing.reconstruction.options": {"cutoff": 2}},
        "option cutoff of fbp: wanted a value such as 1.0|wanted .* to 1, got 2",
    ),
    "hardening": ("mice", {"processing.correction.hardening": "magic"}, "'magic' is not known; known: factor"),
    "no spectra": (
        "turns", {"processing.correction.hardening": "inversion"}, "inversion needs spectra: a calibration of wedges",
    ),
    "material": ("mice", {"processing.correction.material": "cheese"}, "material: 'cheese' is not known"),
    "monitor": ("mice", {"processing.retrieval": {"normalise": "monitor"}}, "monitor needs view_doses and flat_doses"),
    "half a turn": ("mice", {f"{MICE_AT}.scan.arc": "90 deg"}, "sources.mice.scan: .*leave a gap of .* of 180°"),
    "short fan": (
        "mice", {f"{MICE_AT}.scan.source_axis": "150 mm"}, "mice.scan: .*wanted a full turn or at least 180° and the fan"
    ),
    "one view": ("mice", {f"{MICE_AT}.scan.views": 1}, "scan.views: one view is a radiograph"),
    "energies": (
        "mice", {f"{MICE_AT}.instrument.low": "90 keV"}, "sources.mice.instrument: high_kev: wanted more than low_kev = 90",
    ),
    "calibration's kind": ("mice", {f"{MICE_AT}.calibrations.wedges": "unit.json"}, "calibrations.wedges: .*unit"),
    "calibration": ("mice", {f"{MICE_AT}.calibrations.unit": "lost.json"}, "calibrations.unit: .*lost.json"),
    # what the scan does not allow
    "axis": ("mice", {"processing.reconstruction.axis": "500"}, "processing.reconstruction.axis: wanted 0 to 59, got 500"),
    "aligned axis": (
        "turns", {"processing.alignment": {"axis": "99", "tilt": "0 deg"}}, "alignment.axis: wanted 0 to 15, got 99",
    ),
    "cone's mirror": (
        "mice",
        {"processing.alignment": {}, f"{MICE_AT}.scan.source_axis": "150 mm", f"{MICE_AT}.scan.arc": "360 deg"},
        "alignment: a cone beam's opposite views do not mirror each other",
    ),
    "tilt": ("turns", {"processing.alignment": {"tilt": "60 deg"}}, "alignment: tilt: wanted -0.2 to 0.2, got 1.04"),
    "even window": ("mice", {"processing.reconstruction.rings": 8}, "rings: wanted 0 or an odd number of columns .* got 8"),
    "wide window": ("mice", {"processing.reconstruction.rings": 999}, "rings: .* from 5 to 60, got 999"),
    "near source": (
        "mice", {"processing.reconstruction.source_axis": "10 mm"}, "wanted a full turn or at least 180° and the fan",
    ),
    "air beside": (
        "frames", {"processing.retrieval": {"normalise": "air", "air_cols": [[2, 30]]}},
        "whole.yaml: scan: processing.retrieval.air_cols: wanted 0 to 15, got 30",
    ),
    "air turned": (
        "mice", {"processing.retrieval": {"normalise": "air", "air_cols": [[9, 2]]}},
        "air_cols: wanted first and last, the smaller number first",
    ),
    "air rows": (
        "mice", {"processing.retrieval": {"normalise": "air_around", "air_lines": [[0, 900]]}}, "air_lines: wanted 0 to 44",
    ),
    "harmonics": ("mice", {"processing.retrieval": {"harmonics": 3}}, "harmonics: 3 need at least 7 phase steps, got 5"),
    "misfit": (
        "mice", {"processing.retrieval": {"most_misfit": 2}, f"{MICE_AT}.scan.steps": 3}, "wanted 4 steps or more, got 3",
    ),
    "patterns of flats": (
        "mice", {"processing.retrieval": {"reference": "eigenflats"}, f"{MICE_AT}.scan.flat_repeats": 1},
        "eigenflats wants . flats or more in each direction, got 2",
    ),
    "no light": ("mice", {f"{MICE_AT}.scan.counts": 1e-3}, "no pixel will be valid: N V² of the open beam is 4.69e-07"),
    "no visibility": ("mice", {f"{MICE_AT}.instrument.visibility": 1e-3}, "no pixel will be valid"),
    "frames' shape": (
        "frames", {"sources.raw.files": ["axes.yaml"]}, "frames.npy.*: 4 steps, but steps in .*axes.yaml tells 5",
    ),
    "growth": ("turns", {"insertion": {"growth": "Z"}}, "insertion: growth: 'Z' is not known; known: A, B, C"),
    "larger than the scan": (
        "turns", {"insertion": {"diameter": ["50 mm", "60 mm"]}}, "diameter: 50 mm is more than the 4.8 mm of .*t1",
    ),
    "reach": ("mice", {"processing.correction.reach": "1 nm"}, "correction.reach: .*got '1 nm'"),
    "period": ("mice", {f"{MICE_AT}.instrument.period": "1 m"}, "instrument.period: .*got '1 m'"),
    "bank's channels": (
        "mice", {"learning.bank": {}, "learning.arms": {"a": ["anisotropy"]}}, "bank: lesions change attenuation",
    ),
    # measured sources
    "another unit": (
        "mice",
        {"sources.ct": {**CT, "use": "test", "reading": {"unit": "HU"}}, "learning.normalisation": "cohort", **TESTED},
        "m1.nii: attenuation is in HU, the model was trained in 1/m",
    ),
    "no energy": (
        "mice", {"sources.ct": {**CT, "use": "test"}, "learning.normalisation": "cohort", **TESTED},
        "m1.nii: the energy of the image is not known, the model was trained at 70 keV",
    ),
    "another energy": (
        "mice", {"sources.ct": {**CT, "use": "test", "energy": "40 keV"}, **TESTED},
        "m1.nii: the image is at 40 keV, the model was trained at 70 keV",
    ),
    "unit of nothing": (
        "volumes", {"sources.ct.calibrations": {"unit": "unit.json"}},
        "m1.nii: calibrations.unit: .*wanted a channel dark_field",
    ),
    "missing file": ("volumes", {"sources.ct.files": ["ct/m9.nii"]}, "sources.ct.files: .*m9.nii: no such file"),
    "missing pattern": ("cases", {"sources.cases.files": ["none/*"]}, r"sources.cases.files: .*none/\*: no such file"),
    "no volume": ("volumes", {"sources.ct.files": ["broken.nii"]}, "broken.nii: wanted a volume"),
    "missing labels": ("volumes", {"sources.ct.labels": "{name}.nii"}, "sources.ct.labels: .*m1.nii: no such file"),
    "unlabelled": ("volumes", {"sources.ct.labels": ""}, "sources.ct.labels: is not given"),
    "labelled twice": ("volumes", {"insertion": {"lesions": 1}}, "a volume with labels of its own takes no insertions"),
    "unlabelled turns": ("turns", {"insertion": None}, "sources.turns: nothing labels its lesions"),
    "part of a turn": ("turns", {"sources.turns.files": ["turn/*.h5"]}, "part.h5: angles_rad: 12 views leave a gap"),
    "nothing known": ("cases", {"sources.cases.files": ["blank/*"]}, "blank/m1: nothing is known of its lesions"),
    "healthy cases": ("cases", {"sources.cases.files": ["healthy/*"]}, "of fold 0, no animal to train on has a lesion"),
    "no case": ("cases", {"sources.cases.files": ["ct"]}, "ct: wanted a labelled case"),
    "two of a name": ("cases", {"sources.more": {"from": "cases", "files": ["cases/m1"]}}, "two scans are called 'm1'"),
    "other voxels": ("cases", {"sources.more": OTHER}, r"voxels are 300 x 300 x 300 um in .* and 200 x .*as they are"),
    "other pixels": (
        "mice", {"sources.turns": {**STUDIES["turns"]["sources"]["turns"], "use": "predict", "energy": "70 keV"}},
        "processing.voxel: voxels are 400 x 400 x 400 um in sources.mice and 300 x .*t1.h5; say one",
    ),
    "2-D and 3-D": ("cases", {"sources.more": {"from": "cases", "files": ["flat/*"]}}, "2 spatial axes, .* 3"),
    "bank of measured": ("cases", {"learning.bank": {}}, "learning.bank: .*sources.cases trains on cases"),
    "no frames": ("frames", {"sources.raw.files": ["no_frames.yaml"]}, "scan: sample: not_there.npy: no such file"),
    "no flats": ("frames", {"sources.raw.files": ["no_flat.yaml"]}, "no_flat.yaml: flat: is missing"),
    "no unit": ("frames", {"sources.raw.files": ["unit.yaml"]}, "unit.yaml: pixel: wanted a length"),
    "radiograph": ("frames", {"sources.raw.files": ["one_view.yaml"]}, "angles: not given, which is a radiograph"),
    "lobes": ("mice", {"sources.lobes": {"from": "lobes", "data": "ct"}}, "sources.lobes: measured lobes have no labels"),
}  # fmt: skip
