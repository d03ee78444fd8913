"""The tables that an evaluation writes beside its comparison, and what their columns mean."""

_WHOSE = {
    "split": "validation or test",
    "arm": "which channels were seen, and by whom where it was not the network",
    "subject": "animal",
}
_INSERTION = {
    "number": "number of the insertion, 0 for none",
    "tissue": "class of the insertion",
    "diameter_m": "diameter of the insertion [m]",
}
_RANK = {
    "rank": "of a test item among the lesions of validation animals: of true ones a share of about so much ranks no higher; "
    "above 1 - level it is on the list that promises this share of the lesions; empty where no model's own scores are known",
}
UNIT_MEANINGS = {
    **_WHOSE,
    "tile": "number of the tile in the animal's images; lesions that share one have a row each",
    "kind": "lesion, mimic, sham or tile",
    "label": "1 for a lesion, else 0",
    "score": "robust maximum of the logits in the tile, on the scale of what the test animals got",
    **_INSERTION,
    "reachable": "whether the lesion meets the lung region found in the image",
    "fold": "fold whose model gave the score; -1 is the mean of all",
    **_RANK,
}
CANDIDATE_MEANINGS = {
    **_WHOSE,
    "score": "largest logit, on the scale of what the test animals got",
    "kind": "what it hits: lesion, mimic, none, or unknown, which counts neither way",
    "number": "number of the insertion that it hits, 0 for none",
    "axis0": "voxel index of the candidate",
    "axis1": "see axis0",
    "axis2": "see axis0",
    **_RANK,
}
OUTLINE_MEANINGS = {
    **_WHOSE,
    "kind": "lesion, or an outline that is no lesion's",
    **_INSERTION,
    "true": "voxels of the lesion",
    "predicted": "voxels of the outline that is matched to it; 0 without one",
    "overlap": "voxels of both",
    "distance_m": "mean distance of the two surfaces [m]",
    "surface_share": "share of the two surfaces within 0.25 mm, or a voxel, of the other",
}
OVERLAP_MEANINGS = {
    **_WHOSE,
    "predicted": "voxels of the search region with a logit above 0",
    "true": "voxels of lesions",
    "overlap": "voxels of both",
}
# Table -> what of `darklung.evaluate.tables.ArmTables` is in it, and what its columns mean.
TABLES = {
    "units": ("tiles", UNIT_MEANINGS),
    "overlap": ("voxels", OVERLAP_MEANINGS),
    "candidates": ("candidates", CANDIDATE_MEANINGS),
    "lesions": ("lesions", {**_WHOSE, **_INSERTION}),
    "outlines": ("outlines", OUTLINE_MEANINGS),
}
