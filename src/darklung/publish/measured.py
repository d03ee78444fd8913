"""What the columns of the tables that a deposit adds mean, what their quantities are, and the layers of label images."""

from __future__ import annotations

from collections.abc import Mapping

from darklung.publish.columns import FLAG, FLAG_MEANING
from darklung.publish.fields import words

PARTS = {
    "subject_id": "name of the scan; of results of an arm that of the animal",
    "animal": "animal; several scans may be of one",
    FLAG: FLAG_MEANING,
    "quantity": "what was measured; the dictionary has a line for each",
    "value": "its value, in the unit of the same row",
    "unit": "its unit; that of the quantity in the dictionary",
    "split": "validation or test, of results of an arm",
    "arm": "arm of the study, of results of an arm",
    "source": "file of the deposit that it was measured in",
}
METRIC_PARTS = {
    "split": "validation or test",
    "arm": "arm of the study",
    "metric": "metric; comparison.json has its title",
    "value": "value; settings.scale of comparison.json tells how folds come together; empty where it cannot be computed",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "subjects": "animals",
    FLAG: FLAG_MEANING,
}
INSERTION_PARTS = {
    "subject": "name of the scan",
    "number": "its value in the channel instances; a sham has none there",
    "kind": "lesion, mimic or sham",
    "tissue": "class",
    "diameter_mm": "diameter of the sphere of the same volume",
    "z_mm": "centre along z, the rotation axis, in the coordinates of the image",
    "y_mm": "centre along y; of a radiograph not known",
    "x_mm": "centre along x",
    FLAG: FLAG_MEANING,
}
# Quantity -> unit, allowed, description.
QUANTITIES: Mapping[str, tuple[str, str, str]] = {
    "lung_volume": ("mL", "0..", "volume of the voxels of the lung"),
    "lung_area": ("mm2", "0..", "area of the pixels of the lung, of radiographs"),
    "lesions": ("1", "0..", "known lesions"),
    "lesion_volume": ("mL", "0..", "volume of the voxels labelled as lesion"),
    "lesion_area": ("mm2", "0..", "area of the pixels labelled as lesion, of radiographs"),
    "lesion_diameter": ("mm", "0..", "diameter of the sphere of the same volume, a row a lesion"),
    "dice": ("1", "0..1", "overlap of the arm's map (logit above 0) with the labels"),
}
LAYERS: Mapping[str, tuple[str, str]] = {
    "labels": (words(0, 1, 255), "0 background, 1 lesion, 255 not known"),
    "lung": (words(0, 1), "parenchyma and all that lies in it"),
    "region": (words(0, 1), "where lesions are searched, learned and scored; found in the image"),
    "instances": ("0..65535", "number of the lesion or mimic in the voxel, else 0"),
    "hard": (words(0, 1), "known hard negatives: mimics and shams"),
}
