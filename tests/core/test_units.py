"""Text never becomes another number: one grammar, number then unit, with everything else refused in one line."""

import math
import re
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.core.units import KINDS, WITHIN, parse_number, parse_quantity

MINUS, EN, EM = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{EM DASH}"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("120 um", "length", 1.2e-4),
        ("120um", "length", 1.2e-4),
        ("120 \N{MICRO SIGN}m", "length", 1.2e-4),
        ("120 \N{GREEK SMALL LETTER MU}m", "length", 1.2e-4),
        ("120\N{NO-BREAK SPACE}um", "length", 1.2e-4),
        ("120 microns", "length", 1.2e-4),
        ("0.12 millimetres", "length", 1.2e-4),
        ("1.2e-4 m", "length", 1.2e-4),
        (f"1.2e{MINUS}4 m", "length", 1.2e-4),
        ("2 inches", "length", 0.0508),
        ("3 \N{LATIN CAPITAL LETTER A WITH RING ABOVE}", "length", 3e-10),
        (f"{MINUS}90 deg", "angle", -math.pi / 2),
        ("90°", "angle", math.pi / 2),
        ("+.5 rad", "angle", 0.5),
        ("60 arcmin", "angle", math.pi / 180),
        ("0.25 turn", "angle", math.pi / 2),
        ("70000 eV", "energy", 70.0),
        ("0.07 MeV", "energy", 70.0),
        ("2 min", "time", 120.0),
        ("100 kVp", "voltage", 100.0),
        ("1.05 g/cm^3", "density", 1.05),
        ("1.05 g/cm**3", "density", 1.05),
        ("1.05 g cm^-3", "density", 1.05),
        ("1050 kg/m³", "density", 1.05),
        ("1050 kg m⁻³", "density", 1.05),
        ("1.05 g/ml", "density", 1.05),
        ("0 mm", "length", 0.0),
    ],
)
def test_what_is_read(text, kind, value):
    assert parse_quantity(text, kind) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(
            ("1,5 mm", "length"),
            ("12,5 um", "length"),
            ("0,5 deg", "angle"),
            ("1,000 um", "length"),
            ("1.000,5 um", "length"),
        ),
        *(
            (f"{EN}90 deg", "angle"),
            (f"{EM}90 deg", "angle"),
            ("\N{NON-BREAKING HYPHEN}5 mm", "length"),
            ("- 5 mm", "length"),
        ),
        *(("nan um", "length"), ("inf deg", "angle"), ("Infinity s", "time"), ("1e400 m", "length"), ("1e-400 m", "length")),
        *(("5..6 mm", "length"), ("~5 mm", "length"), ("(1 m", "length"), ("9**9**9 m", "length"), ("2*3 mm", "length")),
        *(("1\N{FRACTION SLASH}2 deg", "angle"), ("1/2 deg", "angle"), ("½ deg", "angle"), ("5 ± 1 mm", "length")),
        *(("1_000 um", "length"), ("0x10 um", "length"), ("1 000 um", "length"), ("\N{FULLWIDTH DIGIT FIVE} mm", "length")),
        *(("5 mm 5 mm", "length"), ("5 mm mm", "length"), ("5 Mm", "length"), ("5 UM", "length"), ("70 KeV", "energy")),
        *(("5 keV", "length"), ("5 mm/s", "length"), ("5 1/mm", "length"), ("5 px", "length"), ("5 %", "length")),
        *(("mm", "length"), ("5", "length"), ("", "length"), ("5 m" + "m" * 500, "length"), ("1e5 m", "length")),
        *(("1e-3 keV", "energy"), ("1e6 keV", "energy"), ("1e11 s", "time")),
    ],
)
def test_what_is_refused(text, kind):
    with pytest.raises(DarklungError, match=f"wanted an? {kind}") as caught:
        parse_quantity(text, kind)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,5 mm", "a comma; write a decimal point"),
        (f"{EN}5 mm", "an en dash; write a minus"),
        (f"{EM}5 mm", "an em dash"),
        ("70 KEV", "unit 'KEV' is not known; keV is meant?"),
        ("50 km^9 km^9 km^-9 km^-8", "there is none beyond 10000 m"),
    ],
)
def test_the_sign_is_named(text, told):
    with pytest.raises(DarklungError, match=re.escape(told)):
        parse_quantity(text, "energy" if "V" in text else "length")


@given(st.text(alphabet=f"0123456789.,eE+-{MINUS}{EN} /*^()_~mukgsradeVnif°µ", max_size=12), st.sampled_from(sorted(KINDS)))
def test_any_text_is_a_number_and_a_unit_or_is_refused(text, kind):
    try:
        value = parse_quantity(text, kind)
    except DarklungError:
        return
    # An oracle of its own: the number in front as exact as it is written, a positive factor, and nothing lost.
    found = re.match(rf"\s*([+\-{MINUS}]?)([0-9.]+)(?:[eE]([+\-{MINUS}]?[0-9]+))?", text)
    assert found is not None
    exact = Fraction(found[2].strip(".") or "0") * Fraction(10) ** int((found[3] or "0").replace(MINUS, "-"))
    assert (value == 0) == (exact == 0)
    assert value == 0 or (value < 0) == (found[1] in ("-", MINUS))
    assert not set(text) & set(f",{EN}()_~")
    assert WITHIN[kind][0] <= abs(value) <= WITHIN[kind][1] or value == 0


@given(st.floats(1e-3, 1e3), st.sampled_from(["um", "mm", "m"]))
def test_what_is_written_is_read_again_exactly(number, unit):
    scale = {"um": 10**6, "mm": 1000, "m": 1}[unit]
    assert parse_quantity(f"{number!r} {unit}", "length") == number / scale


@pytest.mark.parametrize(
    "text", ["1,5", "nan", "inf", "1_0", "0x1", "1e400", "", " ", "1 2", "5 m", "½", "--1", "1e", f"{EN}1"]
)
def test_numbers_alone_are_as_strict(text):
    with pytest.raises(DarklungError, match="wanted a number"):
        parse_number(text)
    assert parse_number(f" {MINUS}1.5e-3 ") == -0.0015


def test_no_third_party_reads_text():
    assert "pint" not in sys.modules
    assert np.isfinite(parse_number("1"))
