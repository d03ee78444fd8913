"""A channel's name is written and parsed in one place, and says the same both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.channel import (
    DIRECTED,
    Channel,
    attenuation,
    dark_field,
    dark_field_at,
    directed,
    directions_of,
    noise_of,
    tensor,
    values_of,
)
from darklung.core.checks import DarklungError

# Names that users have written in study files and that volumes on disk carry.
WRITTEN = [
    "attenuation",
    "attenuation_noise",
    "attenuation_copy",
    "dark_field",
    "dark_field_0",
    "dark_field_90",
    "dark_field_-45",
    "dark_field_22.5",
    "dark_field_noise",
    "dark_field_0_noise",
    "dark_field_22.5_noise",
    "dark_field_variance",
    "dark_field_error",
    "refraction_90",
    "size_error_22.5",
    "scatter_units_0",
    "noise",
    "anisotropy",
    "tensor_zz",
    "tensor_in_plane_anisotropy",
    "known_yx",
    "phase",
    "logit",
    "lung_path",
    "energy_60",
    "dark_field_5000",
    "contrast(dark_field, 0.8 mm)",
    "contrast(dark_field, 0.8 mm)_noise",
]


@pytest.mark.parametrize("name", WRITTEN)
def test_names_come_back_as_they_were(name):
    channel = Channel.parse(name)
    assert channel.name == name
    assert Channel.parse(channel.name) == channel
    assert len({Channel.parse(n) for n in WRITTEN}) == len(WRITTEN)


def test_what_names_mean():
    assert Channel.parse("attenuation", "1/m") == attenuation() == Channel("attenuation")
    assert Channel.parse("attenuation", "1/m").unit == "1/m"
    assert Channel.parse("dark_field") == dark_field()
    assert Channel.parse("dark_field_22.5") == Channel("dark_field", 22.5) == dark_field_at(np.radians(22.5))
    assert Channel.parse("dark_field_90_noise") == dark_field(90).noise()
    assert Channel.parse("dark_field_noise") == dark_field().noise()
    assert Channel.parse("noise") == Channel("noise")
    assert Channel.parse("known_zz") == tensor("zz").known()
    assert Channel.parse("energy_60").direction is None
    assert Channel.parse("contrast(dark_field, 0.8 mm)").signal == "contrast(dark_field, 0.8 mm)"


@given(st.floats(-360, 360), st.sampled_from(DIRECTED), st.sampled_from(["value", "noise"]))
def test_every_direction_round_trips(direction, signal, role):
    channel = Channel(signal, direction, role)
    assert channel == Channel.parse(channel.name)
    assert channel.direction == pytest.approx(direction, abs=5.1e-5)
    assert "-0" not in (channel.name, channel.name.removesuffix("_noise"))


@given(st.text(min_size=1, max_size=20).filter(lambda t: t == t.strip()))
def test_any_text_is_a_name_and_stays_it(text):
    channel = Channel.parse(text)
    assert Channel.parse(channel.name) == channel
    if channel.direction is None:
        assert channel.name == text


@given(st.integers(-3600, 3600), st.integers(-3600, 3600))
def test_directions_a_tenth_of_a_degree_apart_have_names_of_their_own(one, other):
    names = [dark_field_at(np.radians(a / 10)).name for a in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_angles_in_single_precision_have_the_same_name():
    for degrees in (0, 22.5, 45, 67.5, 90, 135, 179.9):
        assert dark_field_at(np.float32(np.radians(degrees))) == dark_field(degrees)


def test_a_direction_and_its_opposite_have_one_axis():
    assert dark_field(0).axis == dark_field(180).axis == dark_field(-180).axis == 0
    assert dark_field(-45).axis == dark_field(135).axis == 135
    assert dark_field(-45) != dark_field(135)
    assert dark_field().axis is None
    # Written otherwise, one name.
    assert Channel.parse("dark_field_045.0").name == "dark_field_45"
    assert Channel.parse("dark_field_-0").name == "dark_field_0"


NAMES = ("attenuation", "dark_field", "dark_field_22.5", "dark_field_90", "dark_field_90_noise", "noise", "tensor_zz")


def test_sequences_of_names():
    assert values_of(NAMES, "dark_field") == ("dark_field", "dark_field_22.5", "dark_field_90")
    assert directed(NAMES) == ("dark_field_22.5", "dark_field_90")
    assert directions_of(NAMES) == (22.5, 90.0)
    assert noise_of("dark_field_90", NAMES) == "dark_field_90_noise"
    assert noise_of("dark_field_22.5", NAMES) is None
    assert noise_of("attenuation", NAMES) is None  # the control channel is nobody's noise
    assert noise_of("dark_field_45", ["dark_field_045_noise"]) == "dark_field_045_noise"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Channel.parse(""), "wanted a name without blanks"),
        (lambda: Channel.parse(" phase"), "wanted a name without blanks"),
        (
            lambda: Channel.parse("dark_field_noise_0"),
            "'dark_field_noise_0': noise of which direction? wanted such as dark_field_90_noise",
        ),
        (
            lambda: Channel("anisotropy", 45),
            "with direction 45: 'anisotropy' is not known; known: amount, branch, censored, dark_field",
        ),
        (lambda: Channel("dark_field", np.nan), "wanted -360 to 360, got nan"),
        (lambda: Channel("dark_field_90"), "names another channel"),
        (lambda: Channel("dark_field_noise"), "names another channel"),
        (lambda: Channel("dark_field", part="zz"), "names another channel"),
        (lambda: Channel("attenuation", role="known"), "names another channel"),
        (lambda: Channel("attenuation", role="error"), "channel role: 'error' is not known"),
        (lambda: dark_field(0).noise().noise(), "only a value has noise"),
    ],
)
def test_what_is_no_channel_is_said_in_one_line(call, told):
    with pytest.raises(DarklungError) as caught:
        call()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
