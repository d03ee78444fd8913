import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darklung.core.checks import DarklungError
from darklung.report.blocks import (
    Bullets,
    Details,
    Figure,
    Interval,
    Row,
    Section,
    Slider,
    Table,
    Text,
    number,
    render,
)
from darklung.report.html import page, write_report

HOSTILE = "<script>alert(1)</script>\"'&</style><img src=http://x.example/a.png onerror=alert(2)>"
PIXEL = '<img src="data:image/png;base64,AA==" alt="">'
VOID = {"meta", "link", "img", "input", "br", "hr"}
SVG_EMPTY = {"path", "use", "rect", "line", "circle"}


class Reader(HTMLParser):
    """Checks that elements close in order, and collects tags, attributes and text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, k, v) for k, v in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, k, v) for k, v in attributes]

    def handle_endtag(self, tag):
        assert self.open
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def check_page(text):
    """Well formed, one script, no event handlers, unique ids, nothing asked from anywhere but data: and #."""
    reader = read(text)
    assert reader.tags.count("script") == 1
    assert not [a for a in reader.attributes if a[1].startswith("on")]
    ids = [v for _, k, v in reader.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    for tag, key, value in reader.attributes:
        if key in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert value.startswith(("data:", "#")), f"<{tag} {key}={value!r}>"
    assert "@import" not in text
    for part in text.split("url(")[1:]:
        assert part.startswith("#")
    return reader


def hostile_blocks(h):
    return (
        Text(h, "verdict"),
        Bullets((h, h)),
        Table((h, h), ((h, h), (h, 1.5), (h, Interval(0.1, 0.0, 0.2))), h, (0,)),
        Figure(PIXEL, h, h),
        Row((Text(h), Details(h, (Text(h),)))),
        Slider("s-1", ((PIXEL,), (PIXEL,)), (h,), (h, h), h, alt=h),
    )


def test_hostile_text_in_every_field_stays_text():
    sections = [Section("One " + HOSTILE, hostile_blocks(HOSTILE), HOSTILE)]
    text = page(title=HOSTILE, summary={HOSTILE: HOSTILE}, sections=sections, subtitle=HOSTILE, footer=HOSTILE)
    reader = check_page(text)
    assert "".join(reader.text).count("alert(1)") >= 15
    assert reader.tags.count("img") == 3


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_a_well_formed_page(text):
    sections = [Section(text, hostile_blocks(text), text)]
    check_page(page(title=text, summary={text: text}, sections=sections, subtitle=text, footer=text))


def test_markup_that_is_not_a_picture_is_refused():
    with pytest.raises(DarklungError, match="markup"):
        Figure("<script>1</script>", "a", "b")
    with pytest.raises(DarklungError, match="markup"):
        Slider("s", (("text",),), ("a",), ("b",))
    with pytest.raises(DarklungError, match="identity"):
        Slider('a"b', ((PIXEL,),), ("a",), ("b",))
    with pytest.raises(DarklungError, match="labels"):
        Slider("s", ((PIXEL,),), ("a",), ("b", "c"))
    with pytest.raises(DarklungError, match="cells"):
        Table(("a", "b"), (("x",),))
    with pytest.raises(DarklungError, match="tone"):
        Text("a", "loud")


def test_written_in_one_piece_and_titles_must_differ(tmp_path):
    path = tmp_path / "report.html"
    sections = [Section("A", (Text("x"),)), Section("B")]
    assert write_report(path, title="T", summary={"n": 3, "x": 0.25, "none": None}, sections=sections) == path
    text = path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert 'href="#a"' in text
    with pytest.raises(DarklungError, match="differ"):
        write_report(path, title="T", summary={}, sections=[Section("A b"), Section("a-B")])
    assert path.read_text() == text
    with pytest.raises(DarklungError, match="no folder"):
        write_report(tmp_path / "missing" / "r.html", title="T", summary={}, sections=[])


def test_the_script_runs_by_the_hash_of_what_is_in_the_page(tmp_path):
    import base64
    import hashlib

    text = page(title="T", summary={}, sections=[])
    script = text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (-0.25, "−0.250"),
        (None, "–"),
        (float("nan"), "–"),
        (3, "3"),
        (1e-5, "1e−05"),
        (0.0009672, "0.00097"),
        (0.0, "0.000"),
        (123456.0, "1.235e+05"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_a_table_is_saved_in_full_with_its_intervals():
    import base64
    import csv
    import io

    table = Table(("Arm", "AUROC", "n"), (("=1+1", Interval(0.123456, 0.1, 0.2), 3), ("b", Interval(None), 4)), "Main table")
    link = render(table).split('download="main-table.csv" href="data:text/csv;base64,')[1].split('"')[0]
    rows = list(csv.reader(io.StringIO(base64.b64decode(link).decode())))
    assert rows[0] == ["Arm", "AUROC", "AUROC, low", "AUROC, high", "n"]
    assert rows[1] == ["'=1+1", "0.123456", "0.1", "0.2", "3"]  # no formula to a spreadsheet
    assert rows[2] == ["b", "", "", "", "4"]


def test_without_javascript_the_start_frame_is_shown():
    html = render(Slider("s", ((PIXEL,), (PIXEL,), (PIXEL,)), ("a",), ("1", "2", "3"), start=1))
    shown = [part for part in html.split('<div class="frame')[1:] if part.startswith(" shown")]
    assert len(shown) == 1
    assert 'data-label="2"' in shown[0]


def test_importing_the_report_does_not_load_matplotlib():
    code = (
        "import sys, darklung.report.html, darklung.report.comparison, darklung.report.pictures, darklung.report.records;"
        "raise SystemExit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_assets_are_in_the_package():
    folder = Path(sys.modules["darklung.report.html"].__file__).parent
    for name in ("style.css", "slider.js"):
        assert "http" not in (folder / name).read_text()
