"""What a channel's name stands for, told before anything is computed; the user's own maps."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.seams import importable
from darklung.core.types import Image
from darklung.features.arguments import parameters_of
from darklung.features.layers import Layer, Place
from darklung.features.recipe import Known, Planned, filled, is_made, make_channels, planned, plugins_of
from darklung.features.table import MAPS

STORED = dict.fromkeys(("attenuation", "dark_field", "dark_field_0", "dark_field_90", "noise", "anisotropy"), "1/m")
ERRORS = {f"{name}_noise": "1/m" for name in ("attenuation", "dark_field_0", "dark_field_90")}
FULL = Known({**STORED, **ERRORS}, 3, 70.0, 3e-6)
OWN = """
    import numpy as np
    from darklung.features.layers import Layer

    def depth(attenuation, size_m: float = 1e-3, power: int = 1, *, place):
        return attenuation.values ** power + size_m * place.lung

    def doubled(dark_field): return Layer(2 * dark_field.values, dark_field.unit, 2 * dark_field.noise)
    def flat(dark_field): return 3.0
    def text(dark_field): return np.full(dark_field.values.shape, "x")
    def broken(dark_field): raise KeyError("no such thing")
"""


@pytest.fixture(scope="module", autouse=True)
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    (folder / "own_maps.py").write_text(textwrap.dedent(OWN))
    with importable(folder):
        yield


@pytest.mark.parametrize(
    ("name", "unit", "noise"),
    [
        ("attenuation", "1/m", True),
        ("dark_field", "1/m", True),
        ("dark_field_noise", "1/m", False),
        ("ratio", "1", True),
        ("ratio_noise", "1", False),
        ("ratio(dark_field_0)", "1", True),
        ("difference(dark_field_0, dark_field_90)", "1/m", True),
        ("contrast(ratio, 1 mm)", "1", True),
        ("blobness(attenuation, 1 mm)", "1/m", False),
        ("valid(tissue_fraction)", "1", False),
        ("interface_density", "1/m", True),
        ("attenuation_copy", "1/m", True),
        ("own_maps:depth(attenuation, 2 mm)", "a.u.", False),
        ("contrast(own_maps:doubled(dark_field), 1 mm)", "1/m", True),
    ],
)
def test_unit_and_error_are_known_before(name, unit, noise):
    assert planned(name, FULL) == Planned(unit, noise)


FLAT, BARE = Known({**STORED, **ERRORS}, 2, 70.0, 3e-6), Known({"attenuation": "a.u.", "dark_field": "1/m"}, 3)
REFUSED = [
    ("contast(dark_field, 1 mm)", FULL, "'contast' is no stored channel and no map; maps: ratio, difference, contrast"),
    ("contrast(dark_field)", FULL, "size is missing, wanted a length such as 0.8 mm"),
    ("contrast(dark_field, 5)", FULL, "size: wanted a length such as 0.8 mm, got 5"),
    ("contrast(dark_field, 45 deg)", FULL, "size: wanted a length such as 0.8 mm, got 45 deg"),
    ("contrast(0.8 mm)", FULL, "layer is missing, wanted a channel such as dark_field"),
    ("contrast(dark_field, 1 mm, 3 mm, 5)", FULL, r"wanted layer \(channel\), size \(length\), surround .* 5 is too many"),
    ("contrast(dark_feld, 1 mm)", FULL, "'dark_feld' is no stored channel and no map"),
    ("difference(dark_field_0)", FULL, "second is missing, wanted a channel"),
    ("difference(attenuation, dark_field)", BARE, "wanted channels of one unit, got a.u. and 1/m"),
    ("tissue_fraction", FLAT, "tissue_fraction: wanted an image of 3 spatial axes, got 2"),
    ("tissue_fraction", BARE, "tissue_fraction: wanted attenuation in 1/m, it is in a.u."),
    ("tissue_fraction", Known(STORED, 3), "tissue_fraction: the energy that the values refer to is not known"),
    ("interface_density", Known(STORED, 3, 70.0), "the correlation length that the values refer to is not known"),
    ("noise(blobness(attenuation, 1 mm))", FULL, "nothing tells the standard error of blobness"),
    ("noise(ratio)", BARE, "nothing tells the standard error of ratio"),
    ("own_maps:gone(dark_field)", FULL, "'own_maps:gone' cannot be imported"),
    ("own_maps:flat(dark_field)", FULL, r"own_maps:flat: wanted values of shape \(8, 8, 8\), got ndarray of \(\)"),
    ("own_maps:text(dark_field)", FULL, "own_maps:text: wanted values"),
    ("own_maps:broken(dark_field)", FULL, "own_maps:broken: KeyError: 'no such thing'"),
    ("own_maps:depth(attenuation, 3)", FULL, "size: wanted a length such as 0.8 mm, got 3"),
]


@pytest.mark.parametrize(("name", "known", "told"), REFUSED)
def test_what_cannot_be_made_is_told(name, known, told):
    from darklung.core.channel import asked_for

    with pytest.raises(DarklungError, match=told):
        planned(asked_for(name), known)


def test_which_names_are_made():
    made = (
        "ratio",
        "contrast(ratio, 1 mm)",
        "ratio_noise",
        "dark_field_noise",
        "own_maps:flat(dark_field)",
        "attenuation_copy",
    )
    assert all(map(is_made, made))
    assert not any(map(is_made, ("attenuation", "dark_field_0_noise", "noise", "anisotropy", "phase", "tensor_zz")))
    assert plugins_of("contrast(own_maps:flat(dark_field), 1 mm)") == ("own_maps:flat",)
    assert plugins_of("noise(own_maps:flat(dark_field))") == ("own_maps:flat",)
    assert plugins_of("ratio") == ()


def test_every_map_says_what_it_takes():
    for name, entry in MAPS.items():
        kinds = [p.kind for p in parameters_of(entry.make)]
        assert kinds == sorted(kinds, key=lambda k: k != "channel"), name
        assert entry.make.__doc__, name


def image():
    rng = np.random.default_rng(0)
    data = np.stack([rng.uniform(1, 2, (6, 6, 6)) for _ in (*STORED, *ERRORS)])
    return Image(data, (*STORED, *ERRORS), ("1/m",) * len(data), (2e-4,) * 3)


PLACE = Place(np.ones((6, 6, 6), bool), np.ones((6, 6, 6), bool), (2e-4,) * 3, 1, 70.0, 3e-6)


def test_the_mean_of_directions_has_their_errors():
    made = make_channels(image(), ("dark_field_noise", "dark_field_0_noise", "dark_field_90_noise"), PLACE)
    mean, first, second = (layer.values for layer in made)
    np.testing.assert_allclose(mean, np.hypot(first, second) / 2)


def test_validity_that_a_case_notes_is_taken_over():
    known = np.ones((6, 6, 6))
    known[2, 3, 4] = 0
    stored = image()
    noted = stored.with_data(
        np.concatenate([stored.data, known[None]]), (*stored.names, "valid(dark_field)"), (*stored.units, "1")
    )
    valid, ratio, of_ratio = make_channels(noted, ("valid(dark_field)", "ratio", "valid(ratio)"), PLACE)
    assert valid.values.sum() == of_ratio.values.sum() == 6**3 - 1
    assert np.isnan(ratio.values[2, 3, 4])
    shown = filled(ratio, PLACE)
    assert shown[2, 3, 4] == pytest.approx(np.nanmedian(ratio.values))
    assert filled(Layer(np.full((6, 6, 6), np.nan)), PLACE).max() == 0


def test_a_map_of_ones_own():
    made, doubled = make_channels(image(), ("own_maps:depth(attenuation, 2 mm, 2)", "own_maps:doubled(dark_field)"), PLACE)
    np.testing.assert_allclose(made.values, image().channel("attenuation") ** 2 + 2e-3)
    np.testing.assert_allclose(doubled.values, 2 * image().channel("dark_field"))
    assert doubled.noise is not None


def test_the_map_on_the_page(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "channels.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.S)
    (tmp_path / "my_lab.py").write_text(code)
    with importable(tmp_path):
        (name,) = re.findall(r"`(my_lab:.*?)`", page.read_text())
        assert planned(name, FULL) == Planned("1/m", True)
        (made,) = make_channels(image(), (name,), PLACE)
        assert (made.values <= image().channel("dark_field")).all()


def test_every_map_is_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "channels.md").read_text()
    assert [name for name in MAPS if f"`{name}" not in page] == []


def test_controls_are_the_subjects_own():
    from dataclasses import replace

    bare = image().with_data(image().data[:2], ("attenuation", "dark_field"), ("1/m", "1/m"))
    (one,), (two,) = (make_channels(bare, ("noise",), replace(PLACE, seed=s)) for s in (1, 2))
    assert not np.array_equal(one.values, two.values)
    assert one.values.mean() == pytest.approx(bare.channel("dark_field").mean(), abs=0.1)
    (copy,) = make_channels(bare, ("attenuation_copy",), PLACE)
    np.testing.assert_array_equal(copy.values, bare.channel("attenuation"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("contrast(dark_field, 0 mm)", "wanted a size of 0.3 mm"),
        ("contrast(dark_field, 1 nm)", "wanted a size of 0.3 mm"),
        ("blobness(dark_field, 1 mm, 100 mm)", "to 6 mm .the image., got 100 mm"),
        ("mirror(dark_field, -1 mm)", "wanted a size of"),
        ("contrast(dark_field, 2 mm, 1 mm)", "wanted the smaller size first"),
    ],
)
def test_sizes_that_an_image_cannot_have_are_refused_before_it_is_there(name, told):
    known = Known({"dark_field": "1/m"}, 3, spacing_m=(3e-4,) * 3, extent_m=6e-3)
    with pytest.raises(DarklungError, match=told):
        planned(name, known)
