"""``darklung detectability``: agrees with the plan of `check`, grows with dose as it must, goes on where it was, refuses."""

from __future__ import annotations

import csv

import pytest
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.simulate.plan import plan_scan
from darklung.study.protocols import changed, read_protocol

CLASSES = ("--lesion", "solid", "--size", "1 mm", "--realisations", "100")
SWEEP = ("--sweep", "counts=2e7:8e7:2")


def asked(out, *words):
    return CliRunner().invoke(app, ["detectability", "mission_ct", "--out", str(out), *words], catch_exceptions=False)


def rows(out, *words):
    done = CliRunner().invoke(
        app, ["detectability", "mission_ct", "--out", str(out), *CLASSES, *words], catch_exceptions=False
    )
    assert done.exit_code == 0
    with (out / "detections.csv").open() as file:
        return [{k: v if k in ("lesion", "arm") else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    out = tmp_path_factory.mktemp("seen")
    return out, rows(out, *SWEEP)


def test_contrast_to_noise_is_that_of_the_plan(seen):
    row = seen[1][0]
    one = changed(read_protocol("mission_ct"), "counts", 2e7)
    plan = plan_scan(instrument=one.instrument.instrument(), protocol=one.scan, pixel_m=one.pixel)
    solid = next(lesion for lesion in plan.lesions if lesion.name == "solid")
    assert row["cnr_attenuation"] == pytest.approx(solid.ct_attenuation, rel=0.05)
    assert row["cnr_dark_field"] == pytest.approx(solid.ct_dark_field, rel=0.05)


def test_four_times_the_counts_are_twice_the_detectability_and_no_arm_loses_by_more_channels(seen):
    low, high = ({row["arm"]: row for row in seen[1] if row["counts"] == counts} for counts in (2e7, 8e7))
    for arm in low:
        assert high[arm]["d_prime"] == pytest.approx(2 * low[arm]["d_prime"], rel=0.02)  # the same draws
        assert low[arm]["d_low"] < low[arm]["d_prime"] < low[arm]["d_high"]
    assert low["hybrid"]["d_high"] > low["attenuation"]["d_prime"] > low["dark_field"]["d_prime"]


def test_what_is_there_is_not_computed_again(seen):
    out, before = seen
    times = {f: f.stat().st_mtime_ns for f in out.glob("detectability/*/rows.json")}
    assert len(times) == 2
    assert rows(out, *SWEEP) == before
    assert times == {f: f.stat().st_mtime_ns for f in out.glob("detectability/*/rows.json")}
    assert verify_files(out)[1]
    assert "they are neither a bound nor what a reader finds" in (out / "detections.html").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--size", "0.1 mm"), "size: wanted"),
        (("--lesion", "wen"), "class: 'wen' is not known"),
        (("--realisations", "5"), "realisations: wanted at least 60, got 5"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, words, told):
    with pytest.raises(DarklungError, match=told):
        CliRunner().invoke(
            app, ["detectability", "mission_ct", "--out", str(tmp_path / "o"), *words], catch_exceptions=False
        )
    assert not (tmp_path / "o" / "detections.csv").exists()
