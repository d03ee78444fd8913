"""``darklung calibrate`` on tables, raw series and simulated scans: what it saves, applies, and refuses."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from darklung.calibrate.file import CALIBRATION, FIGURE, load_calibration
from darklung.commands.calibrate import app
from darklung.commands.calibrate_told import applied_told, fibres_told, spheres_told, unit_told, wedges_told
from darklung.commands.measurements import read_measurements, read_settings
from darklung.core.checks import DarklungError
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import PROJECTION_MAPS, Image, Projections
from darklung.io.documents import validate
from darklung.io.hdf5 import load, save
from darklung.io.images import load_image, save_image
from darklung.physics.instrument import make_instrument
from darklung.physics.materials import linear_attenuation
from darklung.physics.scattering import sphere
from darklung.physics.slab import slab_signal
from darklung.retrieve import overview
from darklung.retrieve.stepping import retrieve
from darklung.simulate.objects import cylinder, fibres, step_wedge
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.steps.calibrate import apply as steps_apply
from darklung.steps.calibrate import fibres as steps_fibres
from darklung.steps.calibrate import spheres as steps_spheres
from darklung.steps.calibrate import unit as steps_unit
from darklung.steps.calibrate import wedges as steps_wedges
from darklung.steps.calibrate.apply import OUTPUT, PICTURE, Sizing
from darklung.steps.calibrate.believed import read_instrument
from darklung.study.correction import CorrectionPart
from darklung.study.scanner import InstrumentPart

EXAMPLES = Path(__file__).parents[2] / "examples" / "calibration"
SPHERES = {"diameter": "{diameter_um} um", "thickness": "{thickness_mm} mm"}
WEDGE = {"instrument": EXAMPLES / "instrument.yaml", "thickness": "{water_mm} mm", "second": "{bone_mm} mm", "foam": "foam"}


def calibrate_spheres(sources, out, *, workers=1, **options):
    return spheres_told(steps_spheres.calibrate_spheres(read_settings(sources, out, workers=workers), out, **options))


def calibrate_fibres(source, out, **options):
    return fibres_told(steps_fibres.calibrate_fibres(read_measurements(source, out), out, **options))


def calibrate_wedges(source, out, **options):
    return wedges_told(steps_wedges.calibrate_wedges(read_measurements(source, out), out, **options))


def calibrate_unit(*given, **options):
    return unit_told(steps_unit.calibrate_unit(*given, **options))


def apply_calibration(*given, method="", **options):
    correction = {"correction": validate({"hardening": method}, CorrectionPart, "--set")} if method else {}
    said = {n: options.pop(n) for n in ("amount", "prefer", "filters", "within", "region") if n in options}
    options |= {"sizing": Sizing(**said)} if said else {}
    return applied_told(steps_apply.apply_calibration(*given, **correction, **options))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One calibration file of each kind."""
    folder = tmp_path_factory.mktemp("calibrations")
    told = {
        "spheres": calibrate_spheres([EXAMPLES / "spheres_near.csv"], folder / "spheres", **SPHERES),
        "two": calibrate_spheres([EXAMPLES / f"spheres_{s}.csv" for s in ("near", "far")], folder / "two", **SPHERES),
        "fibres": calibrate_fibres(EXAMPLES / "fibres.csv", folder / "fibres", angle="{angle_deg} deg"),
        "wedges": calibrate_wedges(EXAMPLES / "wedge.csv", folder / "wedges", **WEDGE),
    }
    volume = np.zeros((2, 4, 12, 12), np.float32)
    volume[1] = 3.0 + stream(0, "volume").normal(0, 0.1, (4, 12, 12))
    volume[1, :, 6:, 6:] += 40.0
    save_image(folder / "volume.ome.zarr", Image(volume, ("attenuation", "dark_field"), ("1/m", "1/m"), (1e-3,) * 3))
    boxes = {"zero": "0:4,0:5,0:5", "reference": "0:4,7:12,7:12"}
    told["unit"] = calibrate_unit(folder / "volume.ome.zarr", folder / "unit", **boxes, name="foam")
    return folder, told


def projections(values, directions_deg=(90.0,), variance=1e-4) -> Projections:
    """Radiograph of −ln D (direction, row, col)."""
    dark = np.asarray(values, dtype=np.float32)[:, None]
    maps = {name: np.full(dark.shape, variance, np.float32) for name in PROJECTION_MAPS[:-1]} | {"dark_field": dark}
    geometry = ParallelGeometry(np.zeros(1), *dark.shape[2:], 1e-4)
    return Projections(**maps, valid=np.ones(dark.shape, bool), directions_rad=np.radians(directions_deg), geometry=geometry)


def test_sphere_tables(made):
    folder, told = made
    assert "models of this series, the best first" in told["spheres"]
    assert re.search(r"^dilute +none", told["spheres"], re.M), "the model that made the table is the best"
    saved = load_calibration(folder / "spheres" / CALIBRATION)
    (curve,) = saved.curves
    assert curve.correlation_length_m == pytest.approx(0.8e-6, rel=0.05)
    assert list(saved.provenance["inputs"]) == [str(EXAMPLES / "spheres_near.csv")]
    assert (folder / "spheres" / FIGURE).read_bytes().startswith(b"\x89PNG")
    forced = calibrate_spheres([EXAMPLES / "spheres_near.csv"], folder / "forced", **SPHERES, model="packed", offset=True)
    assert "packed spheres: scale" in forced


def test_files_give_back_what_was_saved(made):
    folder, _ = made
    for kind in ("spheres", "two", "fibres", "wedges", "unit"):
        path = folder / kind / CALIBRATION
        loaded = load_calibration(path)
        assert loaded.kind == json.loads(path.read_text())["kind"]
        assert loaded.provenance["environment"]["versions"]["darklung"]
    near, far = load_calibration(folder / "two" / CALIBRATION).curves
    assert (near.setting, far.setting) == ("spheres_near", "spheres_far")
    fibre = load_calibration(folder / "fibres" / CALIBRATION).fibres
    assert np.degrees(-fibre.turn_rad) == pytest.approx(3.0, abs=4 * np.degrees(fibre.turn_error_rad))
    wedge = load_calibration(folder / "wedges" / CALIBRATION).knowledge
    assert wedge.response.weights.sum() == pytest.approx(1.0)


def broken():
    """(name, change of a valid file's text or document, what the line must tell)."""

    def document(change):
        def run(text):
            content = json.loads(text)
            change(content)
            return json.dumps(content)

        return run

    def put(path, value):
        def change(content):
            part = content
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value

        return document(change)

    return [
        ("truncated", lambda text: text[: len(text) // 2], r"cannot be read as JSON \(.* line \d+"),
        ("empty", lambda text: "", r"cannot be read as JSON \(.* line 1 "),
        ("a list", lambda text: "[1, 2]", "wanted a JSON object, got list"),
        ("another file", lambda text: '{"a": 1}', "wanted what darklung calibrate wrote, got another JSON file"),
        ("unknown kind", put(["kind"], "cubes"), "kind: 'cubes' is not known; known: fibres, spheres, unit, wedges"),
        ("another version", put(["darklung_calibration"], 99), "darklung_calibration: input should be 1, got 99"),
        ("missing key", document(lambda c: c["curves"][0].pop("offset")), r"curves\.0\.offset: is missing"),
        ("unknown key", put(["curves", 0, "extra"], 1), r"curves\.0\.extra: unknown key"),
        (
            "text for a number",
            put(["curves", 0, "residual"], "small"),
            r"curves\.0\.residual: wanted a number, got 'small'",
        ),
        ("not a number", put(["curves", 0, "offset"], float("nan")), r"curves\.0\.offset: input should be a finite number"),
        ("no curves", put(["curves"], []), "curves: wanted at least one, got none"),
        (
            "negative xi",
            put(["curves", 0, "correlation_length_m"], -1e-6),
            "correlation_length_m: wanted a finite number > 0",
        ),
        ("lengths differ", put(["curves", 0, "signal"], [0.1, 0.2]), "signal: wanted axes"),
        ("ragged", put(["curves", 0, "covariance"], [[1.0], [1.0, 2.0]]), "covariance: wanted rows of equal length"),
        ("holds", put(["curves", 0, "holds", "thickness_m"], [0.001, 1.0]), "holds: wanted what the rows say"),
        ("wrong shape", put(["curves", 0, "covariance"], [[1.0, 2.0]]), "covariance: wanted axes"),
        ("unknown model", put(["curves", 0, "model"], "cubes"), "sphere model: 'cubes' is not known"),
        ("negative diameter", put(["curves", 0, "diameter_m"], [-1e-6] * 11), "diameter_m: wanted at least 2 numbers > 0"),
    ]


@pytest.mark.parametrize(("name", "change", "told"), broken(), ids=[b[0] for b in broken()])
def test_broken_files_end_in_one_clear_line(made, tmp_path, name, change, told):
    folder, _ = made
    path = tmp_path / "broken.json"
    path.write_text(change((folder / "spheres" / CALIBRATION).read_text()))
    with pytest.raises(DarklungError, match=told) as error:
        load_calibration(path)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value).splitlines()) == 1


def test_broken_wedge_and_unit_files(made, tmp_path):
    folder, _ = made
    for kind, key, value, told in (
        ("wedges", ["method"], "magic", "method: 'magic' is not known"),
        ("wedges", ["wedge", "material"], "jam", "wedge material: 'jam' is not known"),
        ("wedges", ["response", "weights"], [0.0] * 30, "weights: wanted numbers >= 0, not all 0"),
        ("unit", ["unit", "reference_per_m"], 0.0, "wanted clearly more than zero_per_m"),
        ("fibres", ["fibres", "mean"], [1.0], "mean: wanted axes"),
    ):
        content = json.loads((folder / kind / CALIBRATION).read_text())
        part = content
        for name in key[:-1]:
            part = part[name]
        part[key[-1]] = value
        (tmp_path / "broken.json").write_text(json.dumps(content))
        with pytest.raises(DarklungError, match=told):
            load_calibration(tmp_path / "broken.json")
    with pytest.raises(DarklungError, match="no such file"):
        load_calibration(tmp_path / "nothing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DarklungError, match="cannot be read"):
        load_calibration(tmp_path / "binary.json")


def test_sizes_of_a_radiograph(made, tmp_path):
    folder, _ = made
    curve = load_calibration(folder / "spheres" / CALIBRATION).curves[0]
    true = np.array([[0.4e-6, 1.0e-6], [2.5e-6, 6.0e-6]])
    signal = 0.012 * curve.structure(true)
    signal[1, 1] = 9.0
    save(tmp_path / "projections.h5", projections(signal[None], variance=1e-6))
    options = {"thickness": "12 mm", "prefer": "small", "within": 0.5, "region": "0:1,0:1"}
    text = apply_calibration(folder / "spheres" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out", **options)
    assert re.search(r"^dark_field_90 .* 0\.4 um \(0\.36 to 0\.439 um, or 8\.7 to 9 um or more\)$", text, re.M), text
    assert "median" not in text
    assert (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")
    found = load_image(tmp_path / "out" / OUTPUT)
    assert found.channel("branch")[1, 1] == 0
    assert np.isnan(found.channel("size")[1, 1])
    np.testing.assert_allclose(found.channel("size")[0], true[0], rtol=0.01)
    assert found.channel("size_above_peak")[1, 0] == pytest.approx(2.5e-6, rel=0.02)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert len(record["inputs"]) == 2
    with pytest.raises(DarklungError, match="give the sample's thickness"):
        apply_calibration(folder / "spheres" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out")
    for changed, told in (
        ({"thickness": "45 mm"}, "thickness: calibrated from 12 to 12 mm, got 45 mm; only a calibration with the beam"),
        ({"filters": "cu 1 mm"}, "filter: calibrated behind '', got 'cu 1 mm'; only a calibration with the beam"),
        ({"filters": "jam 1 mm"}, "filter: 'jam' is not known"),
        ({"region": "0:9,0:1"}, "region: wanted a box inside 2 x 2"),
    ):
        with pytest.raises(DarklungError, match=told):
            apply_calibration(
                folder / "spheres" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out", **{**options, **changed}
            )


def test_powders_of_several_thicknesses_and_filters_through_the_commands(made, tmp_path):
    folder, _ = made
    instrument = read_instrument(EXAMPLES / "instrument.yaml")
    energies, xi = instrument.energies_kev, instrument.correlation_length_m
    cu = 1e-4 * linear_attenuation("cu", 8.96, energies)

    def dark(diameter, thickness, filters):
        weights = instrument.weights * np.exp(-cu * (filters != "none"))
        behind = replace(instrument, weights=weights / weights.sum())
        law = thickness * sphere(diameter, 0.01, 1e-7 * (60 / energies) ** 2, energies, xi)
        return float(slab_signal(behind, attenuation=np.zeros_like(law), scattering=law)[1])

    lines = ["name,diameter_um,thickness_mm,filter,attenuation,dark_field"]
    for thickness, filters in ((6, "none"), (20, "none"), (6, "cu 0.1 mm")):
        lines += [
            f"{d:g},{d:g},{thickness},{filters},0.1,{dark(1e-6 * d, 1e-3 * thickness, filters):.5f}"
            for d in (0.3, 0.7, 1.5, 3, 6)
        ]
    (tmp_path / "powders.csv").write_text("\n".join(lines))
    options = {"filter": "{filter}", "model": "dilute", "instrument": str(EXAMPLES / "instrument.yaml")}
    options |= {"wedges": str(folder / "wedges" / CALIBRATION), "out": str(tmp_path / "out")}
    said = [text for name, value in options.items() for text in (f"--{name}", value)]
    done = CliRunner().invoke(app, ["spheres", str(tmp_path / "powders.csv"), *said])
    assert done.exit_code == 0, done.output
    assert "holds from 0.3 to 6 um, 6 to 20 mm, filter: none, cu 0.1 mm" in done.output
    assert "V(E) S(E) as fitted" in done.output
    (curve,) = load_calibration(tmp_path / "out" / CALIBRATION).curves
    assert curve.beam.modes.shape[1] == len(curve.covariance) - 3
    # The wedge was of another true beam than this one, so that the two do not agree better.
    assert float(curve.signal_of(1e-6, 0.012, "cu 0.1 mm")) == pytest.approx(dark(1e-6, 0.012, "cu 0.1 mm"), rel=0.15)
    flat = np.full((1, 6, 6), dark(0.7e-6, 0.045, "none"))
    save(tmp_path / "projections.h5", projections(flat, variance=1e-8))
    told = ["apply", str(tmp_path / "out" / CALIBRATION), str(tmp_path / "projections.h5"), "--out", str(tmp_path / "sizes")]
    beyond = CliRunner().invoke(app, [*told, "--thickness", "45 mm"])
    assert "outside the calibration, nothing is told: thickness: calibrated from 6 to 20 mm, got 45 mm" in beyond.output
    assert "no single size is told" in beyond.output
    found = load_image(tmp_path / "sizes" / OUTPUT)
    assert not found.channel("valid").any()
    assert found.channel("size_below_peak_low").max() < 0.7e-6 < found.channel("size_below_peak_high").min()
    refused = "offset: with --instrument or --wedges the beam takes its place"
    with pytest.raises(DarklungError, match=refused):
        calibrate_spheres(
            [tmp_path / "powders.csv"], tmp_path, **SPHERES, offset=True, instrument=EXAMPLES / "instrument.yaml"
        )


def test_two_settings_tell_size_and_amount_of_a_volume(made, tmp_path):
    folder, _ = made
    near, far = load_calibration(folder / "two" / CALIBRATION).curves
    true = np.geomspace(1.5e-6, 6e-6, 24).reshape(2, 3, 4)
    for curve, name in ((near, "near"), (far, "far")):
        data = 0.5 * curve.structure(true)[None].astype(np.float32)
        save_image(tmp_path / f"{name}.ome.zarr", Image(data, ("dark_field_90",), ("1/m",), (1e-3,) * 3))
    sources = [tmp_path / f"{name}.ome.zarr" for name in ("near", "far")]
    apply_calibration(folder / "two" / CALIBRATION, sources, tmp_path / "out")
    found = load_image(tmp_path / "out" / OUTPUT)
    np.testing.assert_allclose(found.channel("size"), true, rtol=0.01)
    np.testing.assert_allclose(found.channel("amount"), 0.5, rtol=0.01)
    assert found.spacing_m == (1e-3,) * 3
    with pytest.raises(DarklungError, match="sources: wanted 2 for this calibration"):
        apply_calibration(folder / "two" / CALIBRATION, sources[:1], tmp_path / "out")
    for said, told in ({"prefer": "small"}, "--prefer"), ({"amount": 2.0, "filters": "cu 1 mm"}, "--amount, --filter"):
        with pytest.raises(DarklungError, match=f"^{told}: two settings find size and amount of every pixel without it"):
            apply_calibration(folder / "two" / CALIBRATION, sources, tmp_path / "out", **said)


def test_what_a_calibration_would_not_read_is_refused(made, tmp_path):
    folder, _ = made
    for kind, said, told in (
        ("unit", {"thickness": "12 mm", "region": "0:1,0:1"}, "--region, --thickness: belong to a calibration of spheres"),
        ("fibres", {"within": 0.2}, "--within: belong to a calibration of spheres, got one of fibres"),
        ("wedges", {"thickness": "1 mm"}, "--thickness: belong to"),
        ("wedges", {"like": folder / "wedges" / CALIBRATION, "method": "inversion"}, "--like: .* no --method and no --set"),
    ):
        with pytest.raises(DarklungError, match=told):
            apply_calibration(folder / kind / CALIBRATION, [tmp_path / "any.h5"], tmp_path / "out", **said)


def test_units_of_a_volume(made, tmp_path):
    folder, told = made
    assert "1000 SU (foam): 42.98" in told["unit"]
    apply_calibration(folder / "unit" / CALIBRATION, [folder / "volume.ome.zarr"], tmp_path / "out")
    units = load_image(tmp_path / "out" / OUTPUT).channel("scatter_units")
    assert units[:, 7:, 7:].mean() == pytest.approx(1000, abs=5)
    assert units[:, :5, :5].mean() == pytest.approx(0, abs=5)
    with pytest.raises(DarklungError, match="zero: wanted z0:z1,y0:y1,x0:x1, got '1:2'"):
        calibrate_unit(folder / "volume.ome.zarr", tmp_path, zero="1:2", reference="0:4,7:12,7:12", name="foam")
    with pytest.raises(DarklungError, match="reference: wanted a box inside 4 x 12 x 12 voxels"):
        calibrate_unit(folder / "volume.ome.zarr", tmp_path, zero="0:4,0:5,0:5", reference="0:4,7:13,7:12", name="foam")


def test_hardening_of_projections(made, tmp_path):
    folder, _ = made
    wedge = load_calibration(folder / "wedges" / CALIBRATION).knowledge.wedge
    start = projections(np.tile(wedge.dark_field, (1, 2, 1)))
    start = Projections(**{**vars(start), "attenuation": np.tile(wedge.attenuation, (1, 1, 2, 1)).astype(np.float32)})
    save(tmp_path / "projections.h5", start)
    for method, limit in (("", 0.006), ("look_up", 1e-6), ("none", None)):
        text = apply_calibration(
            folder / "wedges" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out", method=method
        )
        after = load(tmp_path / "out" / "projections.h5", Projections)
        assert ("inversion: values at 45 keV" in text) == (method == "")
        if limit is not None:
            assert np.abs(after.dark_field).max() < limit
    with pytest.raises(DarklungError, match="hardening correction: 'magic' is not known"):
        apply_calibration(folder / "wedges" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out", method="magic")


def test_blocks_of_views_give_what_the_whole_scan_gives(made, tmp_path, monkeypatch):
    folder, _ = made
    wedge = load_calibration(folder / "wedges" / CALIBRATION).knowledge.wedge
    shape = (2, 7, 3, len(wedge.attenuation))
    maps = {name: np.full(shape, 1e-4, np.float32) for name in PROJECTION_MAPS[:-1]}
    dark = wedge.dark_field + stream(8, "views").normal(0, 0.02, shape)
    maps |= {
        "attenuation": np.broadcast_to(wedge.attenuation, shape).astype(np.float32),
        "dark_field": dark.astype(np.float32),
    }
    geometry = ParallelGeometry(np.linspace(0, np.pi, 7, endpoint=False), 3, shape[3], 1e-4)
    scan = Projections(
        **maps, valid=stream(9, "valid").random(shape) > 0.1, directions_rad=np.array([0.0, np.pi / 2]), geometry=geometry
    )
    save(tmp_path / "scan.h5", scan)
    results, told = [], []
    for size in (1, 2**28):
        monkeypatch.setattr("darklung.steps.blocks.BLOCK_BYTES", size)
        told.append(apply_calibration(folder / "wedges" / CALIBRATION, [tmp_path / "scan.h5"], tmp_path / "out"))
        results.append(load(tmp_path / "out" / "projections.h5", Projections))
    assert told[0] == told[1]
    for name in PROJECTION_MAPS:
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))
    np.testing.assert_array_equal(results[0].geometry.angles_rad, geometry.angles_rad)
    assert not results[0].valid[~scan.valid].any()
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(DarklungError, match="cannot be read as projections"):
        apply_calibration(folder / "wedges" / CALIBRATION, [tmp_path / "empty.h5"], tmp_path / "out")


def test_values_as_another_beam_shows_them(made, tmp_path):
    folder, _ = made
    wedge = load_calibration(folder / "wedges" / CALIBRATION)
    own = wedge.knowledge.response
    content = json.loads((folder / "wedges" / CALIBRATION).read_text())
    content["response"]["weights"] = list(own.weights * (own.energies_kev > 40))
    content["response"]["visible"] = list(own.visible * (own.energies_kev > 40))
    (tmp_path / "other.json").write_text(json.dumps(content))
    other = load_calibration(tmp_path / "other.json").knowledge.response
    depth = np.multiply.outer([0.0, 0.01, 0.02], own.attenuation_of("water")[0])
    scatter = np.multiply.outer([0.0, 0.2, 0.4], own.scattering_law())
    here, there = (r.measured(depth, scatter) for r in (own, other))
    start = projections(np.tile(here[1], (1, 2, 1)))
    start = Projections(**{**vars(start), "attenuation": np.tile(here[0], (1, 1, 2, 1)).astype(np.float32)})
    save(tmp_path / "projections.h5", start)
    like = {"like": tmp_path / "other.json"}
    apply_calibration(folder / "wedges" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out", **like)
    after = load(tmp_path / "out" / "projections.h5", Projections)
    np.testing.assert_allclose(after.dark_field[0, 0, 0], there[1], atol=3e-3)
    assert np.abs(there[1] - here[1]).max() > 0.01
    with pytest.raises(DarklungError, match="wanted a calibration of wedges"):
        like = {"like": folder / "fibres" / CALIBRATION}
        apply_calibration(folder / "wedges" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out", **like)


def test_a_wedge_through_the_simulator_is_corrected_and_ends_where_the_steps_end(tmp_path):
    """Raw frames of a wedge of water steps: medians of each step become a calibration that corrects another object."""
    steps = np.linspace(0.0, 0.028, 8)
    tube = {"spectrum": "tube", "low": "20 keV", "high": "100 keV", "bins": 12, "design_energy": "60 keV"}
    tube |= {"reference_energy": "60 keV"}
    instrument = InstrumentPart.model_validate(tube).instrument()
    protocol = Protocol(views=1, steps=5, directions_rad=(0.0,), flats=1, flat_repeats=4, counts_per_pixel=3e5)
    wedge = step_wedge(thicknesses_m=steps, voxel_m=1e-3, shape=(24, 30, 64), material="water")
    maps = retrieve(simulate_scan(wedge, instrument=instrument, protocol=protocol, seed=3))
    rows = ["water_mm,attenuation,dark_field,dark_field_error"]
    for number, thickness in enumerate(steps):
        part = np.s_[0, 0, :, 8 * number + 2 : 8 * number + 6]
        values = [getattr(maps, name)[part].mean() for name in ("attenuation", "dark_field")]
        rows.append(f"{1e3 * thickness:g},{values[0]},{values[1]},{maps.dark_field[part].std() / np.sqrt(96)}")
    (tmp_path / "wedge.csv").write_text("\n".join(rows))
    believed = {**tube, "design_energy": "63 keV", "filters": {"al": "1.5 mm"}}
    (tmp_path / "instrument.yaml").write_text(yaml.safe_dump({"instrument": believed}))
    options = {"instrument": tmp_path / "instrument.yaml", "thickness": "{water_mm} mm"}
    text = calibrate_wedges(tmp_path / "wedge.csv", tmp_path, **options)
    assert "recommended: inversion, calibrated" in text
    rod = cylinder(diameter_m=25e-3, voxel_m=1e-3, shape=(4, 40, 40))
    seen = retrieve(simulate_scan(rod, instrument=instrument, protocol=protocol, seed=4, noise=False))
    save(tmp_path / "projections.h5", seen)
    apply_calibration(tmp_path / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out")
    after = load(tmp_path / "out" / "projections.h5", Projections)
    assert after.valid.all()
    assert np.abs(seen.dark_field).max() > 0.03
    assert np.abs(after.dark_field).max() < 0.005
    thick = cylinder(diameter_m=36e-3, voxel_m=1e-3, shape=(4, 40, 40))
    save(
        tmp_path / "projections.h5",
        retrieve(simulate_scan(thick, instrument=instrument, protocol=protocol, seed=5, noise=False)),
    )
    apply_calibration(tmp_path / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out")
    after = load(tmp_path / "out" / "projections.h5", Projections)
    assert not after.valid[0, 0, 2, 20], "36 mm is more than the wedge had"
    assert after.valid[0, 0, 2, 3]


def test_orientation_from_simulated_raw_frames(made, tmp_path):
    folder, _ = made
    directions = tuple(np.radians(np.array([0.0, 45.0, 90.0, 135.0]) + 3.0))  # as in the example: turned by 3 deg
    protocol = Protocol(views=1, steps=8, directions_rad=directions, flats=1, flat_repeats=4, counts_per_pixel=1e6)
    ball = fibres(diameter_m=2.5e-3, voxel_m=1e-4, shape=(20, 30, 30), angle_rad=np.radians(35.0))
    middle = {}
    for noise in (False, True):
        scan = simulate_scan(ball, instrument=make_instrument(), protocol=protocol, seed=7, noise=noise)
        said = Projections(**{**vars(retrieve(scan)), "directions_rad": np.radians([0.0, 45.0, 90.0, 135.0])})
        save(tmp_path / "projections.h5", said)
        text = apply_calibration(folder / "fibres" / CALIBRATION, [tmp_path / "projections.h5"], tmp_path / "out")
        found = load_image(tmp_path / "out" / OUTPUT)
        middle[noise] = {name: found.channel(name)[7:13, 12:18] for name in ("angle", "angle_error")}
        assert np.median(found.channel("relative_modulation")[7:13, 12:18]) == pytest.approx(1.0, abs=0.08)
        assert np.isnan(found.channel("angle")[0, 0]), "air has no angle"
        assert "mean angle 3" in text
    # Harmonics of real bundles, 0.35 degrees, and the noise of the example's calibration, 0.17 (one sigma).
    np.testing.assert_allclose(np.degrees(middle[False]["angle"]), 35.0, atol=0.35 + 2 * 0.17)
    # What noise adds is told by the errors in the file, the median's being √(π/2) of the mean's.
    error = float(np.sqrt(np.pi / 2 * np.mean(middle[True]["angle_error"] ** 2) / middle[True]["angle"].size))
    assert np.median(middle[True]["angle"]) == pytest.approx(np.radians(35.0), abs=3 * error)
    assert 3 * error < np.radians(3.0)


def raw_series(folder, depth=0.01, xi=0.9e-6):
    """Raw frames of three powders as npy, with the series' table and description."""
    diameters = 1e-6 * np.array([0.4, 1.2, 3.2])
    phase = 2 * np.pi * np.arange(8) / 8
    lines = ["diameter_um,thickness_mm,file"]
    rng = stream(6, "frames")

    def poisson(curve):
        return rng.poisson(curve[:, None, None] * np.ones((8, 4, 6)))

    np.save(folder / "flat.npy", poisson(1e6 * (1 + 0.2 * np.cos(phase))))
    for number, d in enumerate(diameters):
        signal = float(depth * sphere(d, 0.1, 1.2e-7, 60.0, xi))
        np.save(folder / f"{number}.npy", poisson(6e5 * (1 + 0.2 * np.exp(-signal) * np.cos(phase + 0.3))))
        lines.append(f"{1e6 * d:g},{1e3 * depth:g},{number}.npy")
    (folder / "powders.csv").write_text("\n".join(lines) + "\n")
    (folder / "powders.yaml").write_text(
        textwrap.dedent("""
        series: {table: powders.csv, name: "{diameter_um} um"}
        sample: {kind: npy, files: "{file}", axes: [step, row, col]}
        flat: {kind: npy, files: flat.npy, axes: [step, row, col]}
        steps: {count: 8, periods: 1, endpoint_repeated: false}
        pixel: 50 um
        """)
    )
    return folder / "powders.yaml"


def test_a_raw_series_becomes_a_calibration_with_hashes_of_all_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "darklung.steps.quality.write_quality", lambda path, page: path
    )  # drawing takes longer than all else
    monkeypatch.setattr(overview, "overview_png", lambda *_, **__: None)
    description = raw_series(tmp_path)
    text = calibrate_spheres([description], tmp_path / "out", **SPHERES, offset=False, workers=1)
    saved = load_calibration(tmp_path / "out" / CALIBRATION)
    assert saved.curves[0].correlation_length_m == pytest.approx(0.9e-6, rel=0.05)
    assert saved.curves[0].shape.model == "dilute"
    assert "models not compared: that takes 6 different diameters" in text
    names = {Path(p).name for p in saved.provenance["inputs"]}
    assert {"powders.yaml", "0.npy", "1.npy", "2.npy", "flat.npy", "scans.csv"} <= names


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", "wanted a header and at least one row"),
        ("diameter_um,thickness_mm,dark_field\n", "wanted a header and at least one row"),
        ("diameter_um,thickness_mm\n1,12\n2,12\n", "row 1: wanted a column 'dark_field'"),
        ("diameter_um,dark_field\n1,0.1\n", "no column 'thickness_mm' in the series"),
        ("diameter_um,thickness_mm,dark_field\n1,12,0.1\n2,12\n", "row 3: wanted 3 cells as in the header, got 2"),
        ("diameter_um,thickness_mm,dark_field\n1,12,abc\n", "row 1: dark_field: wanted a number, got 'abc'"),
        ("diameter_um,thickness_mm,dark_field\n1,12,nan\n", "row 1: dark_field: wanted a number, got 'nan'"),
        ("diameter_um,thickness_mm,dark_field\n1,12,.1\n2,0,.1\n", "thickness_m: wanted numbers > 0"),
        ("diameter_um,thickness_mm,dark_field\n1,12,.1\n1,12,.1\n", "parameters need at least 4 different diameters, got 1"),
        ("diameter_um,thickness_mm,dark_field\nx,12,.1\n", "wanted a length such as"),
        ("diameter_um,thickness_mm,dark_field\n-1,12,.1\n", "diameter_m: wanted numbers > 0"),
    ],
)
def test_broken_tables_end_in_one_clear_line(tmp_path, table, told):
    (tmp_path / "table.csv").write_text(table)
    with pytest.raises(DarklungError, match=told) as error:
        calibrate_spheres([tmp_path / "table.csv"], tmp_path / "out", **SPHERES)
    assert len(str(error.value).splitlines()) == 1


def test_broken_wedges_and_fibres(tmp_path):
    (tmp_path / "few.csv").write_text("water_mm,attenuation,dark_field\n0,0,0\n10,.2,.01\n20,.4,.02\n")
    (tmp_path / "two.csv").write_text("angle_deg,dark_field_0,dark_field_90\n0,.1,.2\n45,.1,.2\n")
    (tmp_path / "none.yaml").write_text("kind: ct\n")
    options = {"thickness": "{water_mm} mm"}
    with pytest.raises(DarklungError, match="wanted at least 5 steps of water alone, got 3"):
        calibrate_wedges(tmp_path / "few.csv", tmp_path, instrument=WEDGE["instrument"], **options)
    with pytest.raises(DarklungError, match=r"none\.yaml: wanted a section instrument"):
        calibrate_wedges(tmp_path / "few.csv", tmp_path, instrument=tmp_path / "none.yaml", **options)
    with pytest.raises(DarklungError, match="material: 'jam' is not known"):
        calibrate_wedges(tmp_path / "few.csv", tmp_path, instrument=WEDGE["instrument"], material="jam", **options)
    with pytest.raises(DarklungError, match="3 or more columns dark_field_<degrees>, got dark_field_0, dark_field_90"):
        calibrate_fibres(tmp_path / "two.csv", tmp_path, angle="{angle_deg} deg")


def test_the_commands_as_a_user_calls_them(tmp_path):
    run = CliRunner()
    listed = run.invoke(app, ["--help"])
    assert all(name in listed.output for name in ("spheres", "fibres", "wedges", "unit", "apply"))
    done = run.invoke(app, ["spheres", str(EXAMPLES / "spheres_far.csv"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "effective xi 2.4" in done.output


def test_a_gain_that_the_powders_contradict_is_refused(tmp_path):
    from darklung.commands.measurements import read_settings
    from darklung.steps.calibrate.spheres import calibrate_spheres

    folder = Path(__file__).parents[2] / "examples" / "calibration"
    series = read_settings([folder / "spheres_near.csv"], tmp_path, workers=1)
    options = {"diameter": "{diameter_um} um", "thickness": "{thickness_mm} mm", "instrument": folder / "instrument.yaml"}
    with pytest.raises(DarklungError, match="powders contradict it"):
        calibrate_spheres(series, tmp_path, **options, material="sio2", gains={"cu 1 mm": 0.02})
