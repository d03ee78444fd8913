"""Names of channels that are made of others: one way to be written, whatever the user wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.channel import Channel, asked_for, call_of, directions_in
from darklung.core.checks import DarklungError
from darklung.core.recipe import Call, Quantity, file_name, parse_call, rejoined

SAME = [
    ("contrast(dark_field,0.80mm)", "contrast(dark_field, 0.8 mm)"),
    ("contrast( dark_field , 800 um )", "contrast(dark_field, 0.8 mm)"),
    ("contrast(dark_field@0deg, 0.8 mm, 2.4e3 um)", "contrast(dark_field_0, 0.8 mm, 2.4 mm)"),
    ("difference(dark_field@0deg, dark_field@90 deg)", "difference(dark_field_0, dark_field_90)"),
    ("dark_field@1.5707963267948966 rad", "dark_field_90"),
    ("dark_field_45.0", "dark_field_45"),
    ("noise(dark_field)", "dark_field_noise"),
    ("noise(dark_field@0deg)", "dark_field_0_noise"),
    ("noise(contrast(ratio, 1mm))", "contrast(ratio, 1 mm)_noise"),
    ("valid(noise(ratio))", "valid(ratio_noise)"),
    ("my.lab:depth(dark_field@45deg, 5, 0.50, 70 keV, -45°)", "my.lab:depth(dark_field_45, 5, 0.5, 70 keV, -45 deg)"),
    ("texture(dark_field, entropy, 5)", "texture(dark_field, entropy, 5)"),
    ("noise", "noise"),
]


@pytest.mark.parametrize(("written", "name"), SAME)
def test_one_way_to_be_written(written, name):
    assert asked_for(written) == name
    assert asked_for(name) == name
    assert Channel.parse(written) == Channel.parse(name)


MISTAKES = [
    ("contrast()", "an argument is empty"),
    ("contrast(dark_field,)", "an argument is empty"),
    ("contrast(dark_field))", "parentheses do not match"),
    ("contrast(a, 0.8 parsec)", "wanted a length, angle or energy .* got '0.8 parsec'"),
    ("contrast(a, 1 s)", "wanted a length, angle or energy .* got '1 s'"),
    ("noise(noise(a))", "only a value has noise"),
    ("noise(a, b)", "noise is of a channel"),
    ("noise(3)", "noise is of a channel"),
    ("dark_field@12", "without a unit"),
    ("a(" * 8 + "b" + ")" * 8, "at most 6 calls"),
    ("f(" + "a" * 400 + ")", "at most 300 letters"),
]


@pytest.mark.parametrize(("written", "told"), MISTAKES)
def test_what_cannot_be_read_is_told(written, told):
    with pytest.raises(DarklungError, match=told):
        asked_for(written)


@pytest.mark.parametrize("name", ["DAPI (1)", "mu(1/m)", "f()", "a(b", "mean(", "x)y"])
def test_names_in_files_of_others_stay_signals_of_their_own(name):
    assert Channel.parse(name) == Channel(name)
    assert Channel.parse(name).name == name


def test_the_control_is_no_error():
    assert Channel.parse("noise").role == "value"
    assert Channel.parse("noise(attenuation)") == Channel("attenuation", role="noise")


def test_directions_within_calls():
    assert directions_in("difference(dark_field_45, contrast(dark_field_-45, 1 mm))") == (45.0, -45.0)
    assert directions_in("noise(dark_field@45deg)") == (45.0,)
    assert directions_in("ratio") == ()


words = st.sampled_from(["attenuation", "dark_field", "dark_field_0", "ratio", "entropy", "tensor_zz", "size_22.5"])
lengths = st.floats(1e-6, 1e-1).map(lambda v: Quantity(float(f"{v:.6g}"), "length"))
numbers = st.one_of(st.integers(-1000, 1000), st.floats(0.01, 99).map(lambda v: float(f"{v:.6g}")))
names = st.sampled_from(["contrast", "mirror", "lab:f", "a.b:f_2"])
calls = st.recursive(
    words,
    lambda inner: st.builds(
        lambda f, a: Call(f, tuple(a)), names, st.lists(inner | lengths | numbers, min_size=1, max_size=3)
    ),
)


@given(calls)
def test_every_call_comes_back(call):
    text = str(call)
    again = asked_for(text)
    assert asked_for(again) == again
    if isinstance(call, Call) and len(text) <= 300 and text.count("(") <= 6:
        assert str(parse_call(text)) == again
        assert str(call_of(again)) == again


@given(st.lists(calls.map(str), min_size=1, max_size=6, unique=True))
def test_names_of_files_are_safe_and_differ(texts):
    files = [file_name(text) for text in texts]
    assert len(set(files)) == len(texts)
    assert all(not set(file) & set('/\\:*?"<>| ()') and len(file) <= 70 for file in files)


@given(st.lists(calls.map(str), min_size=1, max_size=4))
def test_lists_that_yaml_tore_apart_come_together(texts):
    torn = [part.strip() for part in ", ".join(texts).split(",")]
    assert rejoined(torn) == texts
    assert rejoined(texts) == texts
