"""Stereology of a real H&E section of mouse lung; skipped where the data folder is absent."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darklung.commands.stereology import measure_sections
from darklung.io.tables import load_table

DATA = Path(os.environ.get("DARKLUNG_DATA", Path(__file__).parents[2] / "../shared/data"))
SECTION = DATA / "histology/lung_section_he.jpg"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not SECTION.is_file(), reason=f"measured data are not in {DATA} ($DARKLUNG_DATA)"),
]


def measured(path, folder):
    told = measure_sections(path, folder, section={"scale_bar": "500 um"}, measure={"shrinkage": 0.15}, workers=1)
    return told, load_table(folder / "sections")


def test_a_real_section_is_within_published_values_and_again_at_half_resolution(tmp_path):
    told, rows = measured(SECTION, tmp_path / "full")
    whole = rows[0]
    assert "scale bar of 500 um is 275 pixels" in told
    assert len(rows) == 3  # all, and two pieces
    assert 500e2 < whole["interface_density_per_m_before"] < 800e2
    assert 0.25 < whole["tissue_fraction"] < 0.5
    assert whole["airway_mm2"] > 0.1
    assert whole["dense_mm2"] > 0.1
    Image.open(SECTION).reduce(2).save(tmp_path / "half.png")
    _, halves = measured(tmp_path / "half.png", tmp_path / "half")
    for one, two in zip(rows, halves):
        for name in ("tissue_fraction", "interface_density_per_m", "intercept_m", "septum_m"):
            error = np.hypot(one[f"{name}_se"], two[f"{name}_se"])
            assert abs(one[name] - two[name]) < 2 * error, (one["piece"], name)
