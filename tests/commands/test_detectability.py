"""``darklung detectability``: agrees with the plan of `check`, grows with dose as it must, goes on where it was, refuses."""

from __future__ import annotations

import csv

import pytest
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.commands.verify import verify_files
from darklung.core.checks import DarklungError
from darklung.physics.dose import mean_dose_gy
from darklung.simulate.plan import plan_scan
from darklung.steps import backgrounds
from darklung.steps.detectability import searched_places
from darklung.study.protocols import changed, read_protocol

pytestmark = pytest.mark.slow(35)

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
        assert low[arm]["d_low"] < low[arm]["d_ideal"] * 1.01
        assert high[arm]["d_ideal"] == pytest.approx(2 * low[arm]["d_ideal"], rel=1e-6)
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
        (("--mimic", "pneumonia"), "mimic: wanted --clutter too"),
        (("--clutter", "240", "--mimic", "solid"), "mimic: 'solid' is a lesion, not a mimic"),
        (("--clutter", "20"), "clutter: wanted 126 to 300 .realisations., got 20"),
        (("--clutter", "400"), "clutter: wanted 126 to 300 .realisations., got 400"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, words, told):
    with pytest.raises(DarklungError, match=told):
        CliRunner().invoke(
            app, ["detectability", "mission_ct", "--out", str(tmp_path / "o"), *words], catch_exceptions=False
        )
    assert not (tmp_path / "o" / "detections.csv").exists()


def test_a_search_keeps_the_dose_and_leaves_out_what_takes_longer():
    mission = read_protocol("mission_ct")
    found = searched_places(mission, {"low": [45.0, 60.0, 90.0], "views": [180.0, 360.0, 361.0, 720.0]})
    assert [values["views"] for values, _ in found] == [180, 360, 180, 360]  # a band of 90 to 80 keV cannot be

    def dose(one):
        counts, behind = one.scan.counts_per_pixel, one.transmission_behind
        words = {"counts_per_pixel": counts, "pixel_m": one.pixel, "behind_sample": behind}
        return mean_dose_gy(one.instrument.instrument(), **words)

    assert [dose(one) for _, one in found] == pytest.approx([dose(mission)] * 4, rel=1e-6)
    assert found[0][1].scan.counts_per_pixel != pytest.approx(mission.scan.counts_per_pixel, rel=0.01)
    with pytest.raises(DarklungError, match="search: every place takes longer than the protocol's"):
        searched_places(mission, {"views": [720.0]})
    with pytest.raises(DarklungError, match="search: wanted a sweep of other keys"):
        searched_places(mission, {"counts": [1e7, 2e7]})


COARSE = """
kind: protocol
title: Coarse, for a test
pixel: 500 um
instrument: {spectrum: band, low: 60 keV, high: 80 keV, bins: 2, visibility: 0.15, correlation_length: 3 um, period: 4.2 um}
scan: {supersampling: 1, views: 30, arc: 180 deg, steps: 5, directions: [90 deg], counts: 1e7}
"""


def test_clutter_lowers_what_noise_alone_allows_and_doses_share_the_mice(tmp_path, monkeypatch):
    monkeypatch.setattr(backgrounds, "MICE", 8)
    file = tmp_path / "coarse.yaml"
    file.write_text(COARSE)
    words = ["--lesion", "solid", "--size", "2 mm", "--realisations", "160", "--clutter", "160"]
    out = tmp_path / "out"
    command = ["detectability", str(file), "--out", str(out), *words, "--sweep", "counts=1e7:1e8:2", "--workers", "1"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert len(list(out.glob("backgrounds/*"))) == 8
    with (out / "detections.csv").open() as opened:
        found = {(float(row["counts"]), row["arm"]): row for row in csv.DictReader(opened)}
    for arm in ("attenuation", "dark_field", "hybrid"):
        low, high = (found[counts, arm] for counts in (1e7, 1e8))
        assert float(low["clutter_low"]) < float(low["d_clutter"]) < float(low["clutter_high"])
        assert float(high["d_clutter"]) < 0.8 * float(high["d_prime"])
        gain = float(high["d_prime"]) / float(low["d_prime"])
        assert gain == pytest.approx(10**0.5, rel=0.02)
        assert float(high["d_clutter"]) < 0.9 * gain * float(low["d_clutter"])  # anatomy stays as dose grows
        assert float(low["clutter_two_fold"]) <= float(low["d_clutter"])
        assert int(low["backgrounds"]) >= 140
    assert "d′ in clutter" in (out / "detections.html").read_text()
