"""Airways, vessels and dense tissue are told from parenchyma; bars and dust are nothing; drawn outlines win."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sections import cut, uniform

from darklung.core.checks import DarklungError
from darklung.histology.regions import AIRWAY, DENSE, EXCLUDED, OUTSIDE, PARENCHYMA, TUMOUR, VESSEL, find_regions, with_drawn
from darklung.histology.scale_bar import bar_boxes, bar_length, one_bar
from darklung.histology.stain import stained
from darklung.histology.synthetic import render

PIXEL = 5e-6


@pytest.fixture(scope="module")
def drawn():
    """1.25 mm of lung with an airway, a blood vessel and an infiltrate of 240, 120 and 280 um across, on glass; a bar."""
    lung = render(cut(uniform(0.3, 65e3), pixels=1000, pixel_m=1.25e-6), (0, 0, 1000, 1000))
    rgb = np.full((320, 320, 3), 250.0)
    rgb[40:290, 40:290] = lung.reshape(250, 4, 250, 4, 3).mean((1, 3))
    y, x = np.mgrid[:320, :320]
    for centre, radius, blue, red in (((100, 100), 24, 0.5, 0.3), ((220, 100), 12, 0.02, 0.6), ((160, 220), 28, 0.5, 0.3)):
        rgb[np.hypot(y - centre[0], x - centre[1]) < radius] = stained(np.array(blue), np.array(red))
    rgb[np.hypot(y - 100, x - 100) < 16] = 250
    rgb[305:309, 20:70] = 60
    return np.rint(rgb).astype(np.uint8)


def test_parts_are_told_apart(drawn):
    found = find_regions(drawn, pixel_m=PIXEL)
    at = found.labels
    assert at[100, 100] == AIRWAY
    assert at[100, 120] == AIRWAY  # its wall
    assert at[220, 100] == VESSEL
    assert at[160, 220] == DENSE
    assert at[10, 10] == OUTSIDE
    assert at[307, 40] == OUTSIDE  # the scale bar
    assert (at[60:270, 60:270] == PARENCHYMA).mean() > 0.8
    assert at[165, 41] == EXCLUDED  # the rim
    assert found.count == 1
    assert found.area_m2(AIRWAY) == pytest.approx(np.pi * 120e-6**2, rel=0.4)
    assert found.area_m2(VESSEL) == pytest.approx(np.pi * 60e-6**2, rel=0.5)


def test_drawn_outlines_win(drawn):
    found = find_regions(drawn, pixel_m=PIXEL)
    tumour = np.zeros(found.labels.shape, bool)
    tumour[220:250, 220:250] = True
    lung = np.zeros_like(tumour)
    lung[80:280, 80:280] = True
    new = with_drawn(found, {"tumour": tumour, "parenchyma": lung})
    assert (new.labels[tumour] == TUMOUR).all()
    assert new.labels[60, 180] == OUTSIDE
    assert found.labels[60, 180] == PARENCHYMA  # the old one stays as it was
    with pytest.raises(DarklungError, match="mask: 'tumor' is not known"):
        with_drawn(found, {"tumor": tumour})


@pytest.mark.parametrize("value", [255, 240, 0])
def test_an_empty_section_is_one_line(value):
    with pytest.raises(DarklungError, match="section: no"):
        find_regions(np.full((100, 100, 3), value, np.uint8), pixel_m=PIXEL)


def test_debris_alone_is_no_lung():
    rgb = np.full((200, 200, 3), 250, np.uint8)
    rgb[90:110, 90:110] = (190, 110, 180)
    rgb[100:120, 100:120] = (240, 200, 230)
    with pytest.raises(DarklungError, match=r"no piece of tissue of at least 0\.1 mm²"):
        find_regions(rgb, pixel_m=PIXEL)


def test_the_scale_bar_is_measured_with_its_text():
    rgb = np.full((300, 900, 3), 250, np.uint8)
    rgb[200:226, 26:301] = 60
    rgb[206:218, 40:44] = 230  # text in it
    rgb[50:150, 400:800] = (190, 110, 180)
    boxes = bar_boxes(rgb)
    assert one_bar(boxes) == (slice(200, 226), slice(26, 301))
    assert bar_length(rgb[190:240]) == 275
    rgb[250:270, 400:640] = 40
    with pytest.raises(DarklungError, match="scale bar: 2 bars found, of 275 and 240 pixels"):
        one_bar(bar_boxes(rgb))
    with pytest.raises(DarklungError, match="scale bar: none found"):
        one_bar(bar_boxes(rgb[:150]))
