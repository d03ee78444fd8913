"""Instrument, scan and effects are described once: what files say and what is computed cannot differ."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.units import split_unit
from darklung.io.documents import validate
from darklung.io.sections import Section
from darklung.physics.instrument import Setup, make_instrument
from darklung.physics.spectrum import band
from darklung.simulate.effects import Effects, FlatMaps
from darklung.simulate.protocol import Protocol
from darklung.study.protocols import read_protocol
from darklung.study.scanner import NO_FLAWS, EffectsPart, InstrumentPart, ScanPart
from darklung.study.study import Study, read_study

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted([*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("protocols/*.yaml")])
SECTIONS = {"instrument": InstrumentPart, "scan": ScanPart, "effects": EffectsPart}
# What files could say before the dataclasses were the documents; each of these words must stay valid.
KEYS = {
    "instrument": "spectrum file low high bins filters design_energy visibility correlation_length reference_energy period "
    "detector sensor threshold sensor_pixel charge_cloud",
    "scan": "supersampling views arc steps directions counts flats flat_repeats exposure dead_time time_limit source_axis "
    "keep_frames",
    "effects": "blur charge_sharing electronic_noise dark_counts bad_pixels ring_gain saturation step_error dose_jitter "
    "phase_drift visibility_drift flux_drift scatter_to_primary breathing gate depth_dependent_correlation "
    "unresolved_refraction uneven_flux uneven_visibility moire_fringes",
}


def leaves(one: object) -> list[str]:
    """Names of all fields, those of dataclasses within included."""
    values = {f.name: getattr(one, f.name) for f in fields(one)}
    return [n for name, v in values.items() for n in (leaves(v) if is_dataclass(v) else [name])]


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_has_one_key_and_every_key_a_field(name: str) -> None:
    section = SECTIONS[name]
    keys = section.document_model().model_fields
    named = [section.words.get(field, split_unit(field)[0]) for field in leaves(section())]
    assert sorted(named) == sorted(keys)
    assert set(section.words) <= set(leaves(section()))
    assert set(KEYS[name].split()) <= set(keys)
    assert all(field.description for field in keys.values())


@pytest.mark.parametrize(("section", "plain"), [(InstrumentPart, Setup), (ScanPart, Protocol), (EffectsPart, Effects)])
def test_a_section_is_the_dataclass_itself(section: type, plain: type) -> None:
    assert issubclass(section, plain)
    one, other = section(), plain()
    differ = {n for n in (f.name for f in fields(plain)) if getattr(one, n) != getattr(other, n)}
    assert differ == ({"supersampling"} if section is ScanPart else set())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_examples_go_to_objects_and_back(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    known = read_protocol(path)
    study = read_study(path) if "sources" in content else None
    if study is not None:
        assert Study.model_validate(study.model_dump(mode="json", by_alias=True)) == study
        (content,) = content["sources"].values()
    for name, section in SECTIONS.items():
        part = getattr(known, name)
        written = yaml.safe_load(yaml.safe_dump(part.model_dump(mode="json")))
        assert validate(written, section, name) == part
        assert validate(content.get(name, {}), section, name) == part
        text = part.document_model().model_validate(content.get(name, {})).model_dump(mode="json")
        assert {k: text[k] for k in content.get(name, {})} == {k: written[k] for k in content.get(name, {})}


def test_the_values_of_a_file_arrive_in_their_fields() -> None:
    part = InstrumentPart.model_validate(
        {"low": "30 keV", "high": "0.09 MeV", "filters": {"cu": "200 um"}, "visibility": 0.1, "sensor": "2 mm"}
        | {"detector": "integrating", "sensor_material": "si", "spectrum": "tube", "period": "4 um"}
    )
    assert (part.low_kev, part.high_kev, part.filters_m["cu"]) == pytest.approx((30, 90, 2e-4))
    assert (part.flat_visibility, part.period_m) == pytest.approx((0.1, 4e-6))
    assert (part.sensor.kind, part.sensor.material, part.sensor.thickness_m) == ("integrating", "si", pytest.approx(2e-3))
    scan = ScanPart.model_validate({"counts": 1e6, "directions": ["90 deg"], "source_axis": "1.5 m", "dead_time": "10 ms"})
    assert scan.counts_per_pixel == 1e6
    assert scan.directions_rad == pytest.approx((np.pi / 2,))
    assert (scan.source_axis_m, scan.dead_time_s) == pytest.approx((1.5, 0.01))
    flaws = EffectsPart.model_validate({"blur": "100 um", "phase_drift": "90 deg", "uneven_flux": 0, "saturation": 4095})
    assert flaws.detector.blur_m == pytest.approx(1e-4)
    assert flaws.detector.saturation_counts == 4095
    assert flaws.stability.phase_drift_rad == pytest.approx(np.pi / 2)
    assert flaws.gratings.uneven_flux == 0


def test_what_is_not_given_is_infinite_and_the_other_way_round() -> None:
    assert ScanPart.model_validate({"source_axis": None}).source_axis_m == np.inf
    assert ScanPart().model_dump(mode="json")["source_axis"] is None
    assert EffectsPart().model_dump(mode="json")["saturation"] is None
    assert NO_FLAWS.model_dump(mode="json")["moire_fringes"] == 0


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("effects", {"blur": 1}, "file: blur: wanted a length with its unit, such as '120 um', got '1' without a unit"),
        ("effects", {"blurr": "1 um"}, "file: blurr: unknown key; known: bad_pixels, blur,"),
        ("effects", {"charge_sharing": 0.6}, "file: charge_sharing: input should be less than or equal to 0.5, got 0.6"),
        ("effects", {"electronic_noise": 9}, "file: dark_counts: wanted at least 8 electronic_noise = 72"),
        ("scan", {"steps": 2}, "file: steps: input should be greater than or equal to 3, got 2"),
        ("scan", {"views": 2.5}, "file: views: input should be a valid integer"),
        ("scan", {"directions": ["0 deg", "2 m"]}, "file: directions.1: wanted an angle such as '45 deg', got '2 m'"),
        ("scan", {"directions": []}, "file: directions: wanted at least one direction, got none"),
        (
            "scan",
            {"views": 4000},
            "more than time_limit = 1500 s; fewer views, steps, directions or flats, or a shorter",
        ),
        ("instrument", {"filters": {"al": 2}}, "file: filters.al: wanted a length with its unit"),
        ("instrument", {"detector": "film"}, "file: detector: input should be 'counting' or 'integrating', got 'film'"),
        ("instrument", {"threshold": "20 keV", "detector": "integrating"}, "file: threshold, charge_cloud: belong to a"),
        ("instrument", {"sensor_material": "cheese"}, "file: sensor_material: 'cheese' is not known; known:"),
        ("instrument", {"file": "beam.csv"}, "file: file: belongs to spectrum 'file' and to no other"),
    ],
)
def test_mistakes_are_told_in_one_line_with_the_words_of_the_file(name: str, content: dict, line: str) -> None:
    with pytest.raises(DarklungError) as told:
        validate(content, SECTIONS[name], "file")
    assert line in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_all_mistakes_of_a_section_are_told_at_once() -> None:
    with pytest.raises(DarklungError) as told:
        validate({"blur": 1, "gate": 2, "ring_gain": "much"}, EffectsPart, "file")
    assert [line.split(":")[1].strip() for line in str(told.value).splitlines()] == ["blur", "ring_gain", "gate"]


def test_measured_maps_and_spectra_are_no_text() -> None:
    ones = np.ones((1, 2, 2))
    with pytest.raises(DarklungError, match="measured values cannot be written into a file"):
        replace(EffectsPart(), gratings=FlatMaps(ones, ones, ones)).model_dump()
    with pytest.raises(DarklungError, match="spectrum: measured values cannot be written"):
        InstrumentPart(spectrum=band(low_kev=60, high_kev=80, bins=2)).model_dump()


def test_an_instrument_takes_the_fields_of_a_setup() -> None:
    one, other = make_instrument(low_kev=50, bins=3), Setup(low_kev=50, bins=3).instrument()
    np.testing.assert_array_equal(one.weights, other.weights)
    with pytest.raises(TypeError, match="colour"):
        make_instrument(colour=3)


positive = st.floats(1e-6, 1e6)
energies = st.floats(1, 1e3)
lengths = st.floats(1e-12, 1e3)


def none_or(most: float) -> st.SearchStrategy[float]:
    """0, or a length or time that there is (`darklung.core.units.WITHIN`)."""
    return st.one_of(st.just(0.0), st.floats(1e-12, most))


setups = st.builds(
    InstrumentPart,
    low_kev=energies,
    high_kev=energies,
    bins=st.integers(0, 1000),
    filters_m=st.dictionaries(st.sampled_from(["al", "cu"]), none_or(1)),
    flat_visibility=st.floats(0, 1),
    correlation_length_m=st.floats(1e-9, 1e-4),
    period_m=st.floats(1e-12, 1e-3),
)
scans = st.builds(
    ScanPart,
    views=st.integers(1, 1000),
    arc_rad=st.floats(1e-9, 2 * np.pi),
    steps=st.integers(3, 31),
    directions_rad=st.lists(st.floats(-10, 10), min_size=1, max_size=4).map(tuple),
    counts_per_pixel=positive,
    exposure_s=st.floats(1e-6, 1e3),
    dead_time_s=none_or(10),
    time_limit_s=st.just(1e9),
    source_axis_m=st.one_of(lengths, st.just(np.inf)),
    keep_frames=st.booleans(),
)
flaws = st.builds(
    lambda part, blur, full, drift: replace(
        part,
        detector=replace(part.detector, blur_m=blur, saturation_counts=full),
        stability=replace(part.stability, phase_drift_rad=drift),
    ),
    st.builds(EffectsPart, scatter_to_primary=st.floats(0, 5), breathing_m=none_or(5e-3), gate=st.floats(1e-3, 1)),
    none_or(1),
    st.one_of(positive, st.just(np.inf)),
    st.floats(-100, 100),
)


@given(st.one_of(setups, scans, flaws))
def test_any_section_comes_back_from_its_text_to_the_last_bit(part: Section) -> None:
    written = yaml.safe_load(yaml.safe_dump(part.model_dump(mode="json")))
    assert validate(written, type(part), "file") == part
