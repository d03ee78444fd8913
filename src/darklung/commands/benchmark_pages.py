"""What a sealed benchmark tells those who take part."""

from __future__ import annotations

RULES = """# {name}: a sealed benchmark of {cases} cases

`cases/NAME` is a labelled case of darklung of which nothing is known: `channels.ome.zarr` (the image), `labels.ome.zarr`
(lung and search region as the image tells them; every voxel is unknown) and `case.json`. The truth is sealed.
`manifest.json` has the SHA-256 of each case, and commitments to its truth and to the seeds and the study that all were made
from.

## Rules

1. Predict every case, each by itself. Nothing may be learned from the cases, and no model may have seen their animals.
2. Hand in what `darklung benchmark pack` writes: either a map of each case (probabilities from 0 to 1, or logits, on the
   case's own grid, in any format that `darklung evaluate` reads), or one table of candidates with the columns `case`,
   `z_mm`, `y_mm`, `x_mm`, `score`. Say with `--trained-on` what was learned from.
3. Altered cases or maps, cases that are missing or unknown, a map that is the truth, and a training on a hidden animal are
   refused.
4. One entry a model; how many were tried before is part of what the entry says of itself (`--about`).

## Take part

    darklung benchmark pack THIS_FOLDER MAPS --name my-network --about "what it is" --trained-on MY_RUN --out my-entry

and give the folder `my-entry` to the maker, who scores it with the seal. A study with a source
`{{from: cases, files: [THIS_FOLDER/cases/*], use: predict}}` predicts all cases with each of its arms
(`RUN/predict/ARM.predict`).

## After the opening

When the maker gives the seal away, anybody can hold it to the hashes that were published before, and score again:

    darklung benchmark open THIS_FOLDER --seal SEAL
    darklung benchmark score THIS_FOLDER my-entry --seal SEAL --out my-score
"""
