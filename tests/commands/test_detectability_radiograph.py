"""``darklung detectability`` of a radiograph: against `check`, against exact d′, with dose, and in the clutter of mice."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from darklung.commands.cli import app
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.evaluate.lesion_observers import arm_images, observe, observe_lines
from darklung.evaluate.observers import laguerre_gauss, outputs
from darklung.phantom.subject import make_phantom
from darklung.physics.lung import HEALTHY, LESIONS
from darklung.simulate.clutter import DEPTH, background_patches, lung_radiograph
from darklung.simulate.lesion_task import lesion_task
from darklung.simulate.plan import mouse_slice, mouse_volume, plan_scan
from darklung.simulate.scan import simulate_scan
from darklung.steps import backgrounds
from darklung.steps.retrieve import retrieved
from darklung.study.processing import SIMULATED, ProcessingPart
from darklung.study.protocols import changed, one_view, read_protocol

SEEN = """
kind: protocol
title: A radiograph, for a test
pixel: 300 um
instrument: {spectrum: band, low: 60 keV, high: 80 keV, bins: 2, visibility: 0.2, correlation_length: 3 um, period: 4.2 um}
scan: {supersampling: 1, views: 1, steps: 5, directions: [0 deg, 90 deg], counts: 4e5, flats: 1, flat_repeats: 4}
"""


@pytest.fixture(scope="module")
def protocol(tmp_path_factory):
    file = tmp_path_factory.mktemp("protocol") / "seen.yaml"
    file.write_text(SEEN)
    return file


@pytest.fixture(scope="module")
def task(protocol):
    one = read_protocol(protocol)
    return lesion_task(
        instrument=one.instrument.instrument(),
        protocol=one.scan,
        pixel_m=one.pixel,
        gratings=None,
        classes=("solid",),
        diameters_m=(2e-3,),
        realisations=9000,
        generator=stream(0, "test"),
    )


def rows(file, out, *words):
    command = ["detectability", str(file), "--out", str(out), "--lesion", "solid", "--workers", "1", *words]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    with (out / "detections.csv").open() as opened:
        return [{k: v if k in ("lesion", "arm") else float(v) for k, v in row.items()} for row in csv.DictReader(opened)]


def test_the_lesion_is_a_sphere_in_the_mouse_of_the_plan():
    nodule, diameter, voxel = LESIONS["solid"].medium(HEALTHY), 2e-3, 2e-4
    found, plain = mouse_volume(voxel, 15, nodule, diameter), mouse_volume(voxel, 15, nodule, 0.0)
    added = (found.density - plain.density).sum(dtype=float) * voxel**3
    expected = np.pi / 6 * diameter**3 * (nodule.tissue_fraction - HEALTHY.tissue_fraction) * HEALTHY.tissue_density
    assert added == pytest.approx(expected, rel=0.01)
    middle, one = found.tissue_fraction[7], mouse_slice(voxel, HEALTHY, nodule, diameter).tissue_fraction[0]
    assert np.abs(middle - one).max() < 0.06  # a row of a sphere is no cylinder at its rim
    np.testing.assert_allclose(
        plain.interface_density_per_m[3], mouse_slice(voxel, HEALTHY, HEALTHY).interface_density_per_m[0]
    )
    assert (found.density[0, 0] == plain.density[0, 0]).all()


def test_noise_is_that_of_retrieved_counts(protocol, task):
    one = read_protocol(protocol)
    mouse = mouse_volume(one.pixel, 61, HEALTHY, 0.0)
    scan = simulate_scan(mouse, instrument=one.instrument.instrument(), protocol=one.scan, seed=5)
    found = retrieved(scan, ProcessingPart().retrieval_of(SIMULATED))
    maps = [found.attenuation[:, 0].mean(axis=0), *found.dark_field[:, 0]]
    col = round(4.2e-3 / one.pixel + (mouse.lobes.shape[-1] - 1) / 2)
    core = slice(col - 5, col + 6)
    half = task.noise.shape[-1] // 2
    drawn = task.noise[:, :, :, half - 5 : half + 6].astype(float).std(axis=(0, 2, 3))
    measured = [np.std(m[:, core] - m[:, core].mean(axis=0)) for m in maps]
    np.testing.assert_allclose(drawn, measured, rtol=0.08)


def test_hotelling_is_exact_in_the_noise_of_pixels(task):
    signal = task.signals["solid", 2e-3]
    lines, variance = task.lines.changes["solid", 2e-3], task.lines.variance
    for arm in ("attenuation", "dark_field", "hybrid", "directional"):
        found, eye = observe(signal, task.noise, arm=arm, pixel_m=task.pixel_m, diameter_m=2e-3)
        ideal = observe_lines(lines, variance, task.lines.flat_variance, arm=arm)
        assert found.value == pytest.approx(channelised(task, signal, arm), rel=0.02)
        assert max(found.low, eye) <= ideal * 1.01
        assert found.value > 0.9 * ideal


def channelised(task, signal, arm):
    """d′ of the channels with the covariance that the pixels' variances give, without a draw."""
    drawn = arm_images(task.noise[:2], arm)
    channels = laguerre_gauss(signal.shape[1:], (task.pixel_m,) * 2, width_m=2.5e-3, count=6)
    full = (task.lines.variance[:, 0] + task.lines.flat_variance[:, None, None])[:, :, -patch_end(task) :]
    full = full[..., : signal.shape[-1]]
    dark = full[1:].sum(axis=0, keepdims=True) / 4
    power = {"attenuation": full[:1], "dark_field": dark, "hybrid": np.concatenate([full[:1], dark])}.get(arm, full)
    delta, total = outputs(arm_images(signal, arm)[None], channels)[0].reshape(len(power), -1), 0.0
    assert drawn.shape[1] == len(power)
    for change, pixel in zip(delta, power):
        covariance = np.einsum("ihw,jhw,hw->ij", channels, channels, pixel)
        total += change @ np.linalg.solve(covariance, change)
    return np.sqrt(total)


def patch_end(task):
    """Columns from the patch's first to the detector's last."""
    cols = task.lines.variance.shape[-1]
    middle = round(4.2e-3 / task.pixel_m + (cols - 1) / 2)
    return cols - (middle - task.noise.shape[-1] // 2)


def test_contrast_is_that_of_check_and_grows_with_dose(tmp_path):
    fine = tmp_path / "fine.yaml"  # a round lesion is a middle chord over one pixel, as the plan has it, on fine pixels
    fine.write_text(SEEN.replace("300 um", "200 um"))
    found = rows(fine, tmp_path, "--size", "1 mm", "--realisations", "100", "--sweep", "counts=4e5:1.6e6:2")
    low, high = ({row["arm"]: row for row in found if row["counts"] == counts} for counts in (4e5, 1.6e6))
    for row, counts in ((low["hybrid"], 4e5), (high["hybrid"], 1.6e6)):
        one = changed(read_protocol(fine), "counts", counts)
        plan = plan_scan(instrument=one.instrument.instrument(), protocol=one.scan, pixel_m=one.pixel)
        solid = next(lesion for lesion in plan.lesions if lesion.name == "solid")
        assert row["cnr_attenuation"] == pytest.approx(solid.radiograph_attenuation, rel=0.05)
        assert row["cnr_dark_field"] == pytest.approx(solid.radiograph_dark_field, rel=0.05)
    for arm in low:
        assert high[arm]["d_prime"] == pytest.approx(2 * low[arm]["d_prime"], rel=1e-3)  # the same draws
        assert high[arm]["d_ideal"] == pytest.approx(2 * low[arm]["d_ideal"], rel=1e-6)
    assert "retrieved from one view" in (tmp_path / "detections.html").read_text()


def test_the_radiograph_of_a_mouse_knows_where_a_lesion_has_room(protocol):
    one, mouse = read_protocol(protocol), make_phantom(seed=3, voxel_m=6e-4)
    found = lung_radiograph(mouse, instrument=one.instrument.instrument(), protocol=one.scan, gratings=None)
    assert isinstance(found, Image)
    assert found.names == ("attenuation", "dark_field_0", "dark_field_90", DEPTH)
    assert found.shape == (1, mouse.lobes.shape[0], mouse.lobes.shape[2])
    depth, lung = found.channel(DEPTH)[0], (mouse.lobes > 0).any(axis=1)
    assert ((depth > 0) == lung).all()
    dark = found.channel("dark_field_0")[0]
    assert dark[depth > 2e-3].mean() > 10 * abs(dark[~lung].mean())
    patches = background_patches(found, diameter_m=1e-3, wanted=20, generator=np.random.default_rng(0))
    assert patches.shape[0] == 20
    assert patches.shape[1:] == (3, 11, 11)


def test_clutter_of_radiographs_stays_as_dose_grows(protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(backgrounds, "MICE", 8)
    coarse = tmp_path / "coarse.yaml"
    coarse.write_text(SEEN.replace("300 um", "500 um").replace("[0 deg, 90 deg]", "[90 deg]"))
    words = ("--size", "1 mm", "--realisations", "160", "--clutter", "160", "--sweep", "counts=4e5:4e7:2")
    words += ("--mimic", "pneumonia", "--mimic", "vessel_cluster")
    found = {(row["counts"], row["arm"]): row for row in rows(coarse, tmp_path / "out", *words)}
    for arm in ("attenuation", "dark_field", "hybrid"):
        low, high = (found[counts, arm] for counts in (4e5, 4e7))
        assert low["clutter_low"] < low["d_clutter"] < low["clutter_high"]
        assert high["d_clutter"] < 0.5 * high["d_prime"]
        assert high["d_prime"] == pytest.approx(10 * low["d_prime"], rel=1e-3)
        assert low["backgrounds"] >= 140
        assert high["mimics_low"] < high["d_mimics"] < high["mimics_high"]
        assert high["d_mimics"] < high["d_clutter"]  # a mimic is nearer to a lesion than nothing is, and varies
    assert "d′ against mimics" in (tmp_path / "out" / "detections.html").read_text()


def test_one_view_of_a_scan_has_a_views_dose():
    mission = read_protocol("mission_ct")
    one = one_view(mission)
    assert one.scan.views == 1
    assert one.scan.frame_counts == pytest.approx(mission.scan.frame_counts)
