"""YAML that means one thing, and that does not grow when it is read."""

import time

import pytest

from darklung.core.checks import DarklungError
from darklung.io.documents import read_yaml, read_yaml_text
from darklung.io.strict_yaml import load_yaml

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 14))

REFUSED = {
    "octal": ("a: 010", "can be read as several numbers"),
    "sexagesimal": ("a: 1:30", "can be read as several numbers"),
    "sexagesimal real": ("a: 1:30.5", "no plain finite number"),
    "underscore": ("a: 1_000", "can be read as several numbers"),
    "hexadecimal": ("a: 0x10", "can be read as several numbers"),
    "binary": ("a: 0b11", "can be read as several numbers"),
    "huge whole number": (f"a: {'9' * 5000}", "can be read as several numbers"),
    "huge real": ("a: 1.0e+999", "no plain finite number"),
    "infinite": ("a: -.inf", "no plain finite number"),
    "nan": ("a: .nan", "no plain finite number"),
    "aliases of aliases": (ALIASES, "values, aliases written out"),
    "circle": ("a: &a [*a]", "an alias that holds itself"),
    "circle of keys": ("a: &a {b: *a}", "an alias that holds itself"),
    "deep lists": ("a: " + "[" * 3000, "one inside the other"),
    "deep mappings": ("a: " + "{b: " * 300, "one inside the other"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(400)), "one inside the other"),
    "a list as a key": ("? [1, 2]\n: 3", "wanted a word as a key"),
    "code": ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
    "a date by its tag": ("a: !!timestamp never", "could not determine a constructor"),
    "binary by its tag": ("a: !!binary '?'", "could not determine a constructor"),
    "control characters": ('a: "\\e]0;x\\a"', "a control character"),
    "a sign that turns the text": ('a: "\\u202Egnp.exe"', "a control character"),
    "twice": ("a: 1\na: 2", "'a' is given twice"),
    "no truth": ("a: !!bool maybe", "is not what its tag says"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    text, told = REFUSED[case]
    (tmp_path / "study.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(DarklungError, match="no valid YAML") as caught:
        read_yaml(tmp_path / "study.yaml")
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("-7", -7),
        ("0", 0),
        ("2024-01-31", "2024-01-31"),
        ("3e-06 m", "3e-06 m"),
        ("010 um", "010 um"),
        ("'010'", "010"),
        ("9223372036854775807", 2**63 - 1),
        ("yes", True),
        ("~", None),
        ("&x 5", 5),
    ],
)
def test_what_is_read(text, value):
    found = load_yaml(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_words_of_the_command_line_stay_words_where_they_are_no_yaml():
    assert read_yaml_text("0.8") == 0.8
    assert read_yaml_text("010") == "010"
    assert read_yaml_text("[") == "["


def test_a_file_that_is_no_text_and_one_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 1}
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(DarklungError, match="cannot be read"):
        read_yaml(tmp_path / "a.yaml")
