"""Drawn outlines: QuPath's GeoJSON with holes and classes, painted where they lie; mistakes in one line."""

import json

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.slides.polygons import painted, read_outlines

KNOWN = ("parenchyma", "airway", "tumour", "excluded")


def square(low, high):
    return [[low, low], [high, low], [high, high], [low, high], [low, low]]


def feature(rings, name="Tumor", kind="Polygon"):
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": rings}, "properties": properties}


def write(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def test_polygons_are_painted_with_their_holes(tmp_path):
    path = write(
        tmp_path / "a.geojson",
        feature([square(100, 300), square(150, 250)]),
        feature([[square(0, 40)], [square(360, 400)]], "bronchus", "MultiPolygon"),
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [3, 4]}, "properties": {}},
    )
    outlines = read_outlines(path, shape=(400, 400), known=KNOWN)
    masks = painted(outlines, shape=(40, 40), factor=10)
    assert sorted(masks) == ["airway", "tumour"]
    assert masks["tumour"][12, 12]
    assert not masks["tumour"][20, 20]
    assert masks["tumour"].sum() == pytest.approx(20**2 - 10**2, rel=0.15)
    assert masks["airway"][2, 2]
    assert masks["airway"][38, 38]
    fine = painted(outlines, shape=(400, 400), factor=1)["tumour"]
    assert fine.sum() == pytest.approx(200**2 - 100**2, rel=0.02)


def test_rows_and_columns_are_not_mixed_up(tmp_path):
    wide = [[10, 50], [90, 50], [90, 60], [10, 60], [10, 50]]  # x, y: 80 wide, 10 high
    masks = painted(
        read_outlines(write(tmp_path / "a.json", feature([wide])), shape=(100, 100), known=KNOWN), shape=(100, 100), factor=1
    )
    rows, cols = np.nonzero(masks["tumour"])
    assert (np.ptp(rows) < 12, np.ptp(cols) > 75) == (True, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read as GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "holds no polygon"),
        (
            json.dumps(feature([square(0, 500)])),
            "reaches to column 500, row 500; the picture has 400 × 300: drawn on another",
        ),
        (json.dumps(feature([square(0, 50)], "cartilage")), "class 'cartilage' is not known; known: airway"),
        (json.dumps(feature([[[0, 0], [1, 1]]])), "wanted rings of at least 3 finite points"),
        (json.dumps(feature([[["a", 0], [1, 1], [2, 2]]])), "wanted rings of at least 3 finite points"),
        ("[" * 100000, "cannot be read as GeoJSON"),
    ],
)
def test_mistakes_are_one_line(tmp_path, text, told):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(DarklungError, match=told) as error:
        read_outlines(tmp_path / "a.geojson", shape=(300, 400), known=KNOWN)
    assert "\n" not in str(error.value)
