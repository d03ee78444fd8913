"""Documents tell every mistake at once, each with its path and what is known."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from darklung.core.checks import DarklungError
from darklung.io.documents import Angle, Document, Energy, Length, read_document


class Scanner(Document):
    pixel: Length
    energy: Energy = 70.0
    directions: tuple[Angle, ...] = ()


class First(Document):
    kind: Literal["first"]
    scanner: Scanner
    animals: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _check(self):
        if self.animals == 13:
            raise ValueError("animals: wanted another number than 13")
        return self


class Second(Document):
    kind: Literal["second"]


Either = Annotated[First | Second, Field(discriminator="kind")]


def read(tmp_path, text, model=Either):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return read_document(path, model)


def test_units_become_si(tmp_path):
    study = read(tmp_path, "kind: first\nscanner: {pixel: 120 um, energy: 0.07 MeV, directions: [0 deg, 90 deg]}")
    assert study.scanner.pixel == pytest.approx(1.2e-4)
    assert study.scanner.energy == pytest.approx(70)
    assert study.scanner.directions == pytest.approx((0, 1.5707963))


def test_a_resolved_document_reads_back(tmp_path):
    study = read(tmp_path, "kind: first\nscanner: {pixel: 120 um}")
    assert read(tmp_path, study.model_dump_json()) == study


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("kind: first\nscanner: {pixel: 120}", ["study.yaml: scanner.pixel: wanted a length with its unit"]),
        ("kind: first\nscanner: {pixel: 120.0}", ["study.yaml: scanner.pixel: wanted a length with its unit"]),
        ("kind: first\nscanner: {pixel: 3 kg}", ["study.yaml: scanner.pixel: wanted a length such as '120 um', got '3 kg'"]),
        ("kind: first\nscanner: {pixel: 3 mm, pixl: 3}", ["scanner.pixl: unknown key; known: directions, energy, pixel"]),
        ("kind: first", ["study.yaml: scanner: is missing"]),
        ("kind: first\nscanner: {pixel: 1 mm}\nanimals: 13", ["study.yaml: animals: wanted another number than 13"]),
        ("kind: third", ["study.yaml: ", "'first', 'second'"]),
        ("kind: first\nscanner: {pixel: 1}\nanimals: 0", ["scanner.pixel: wanted", "animals: input should be greater"]),
        ("kind: first\nkind: first", ["no valid YAML in line 2: key 'kind' is given twice"]),
        ("- 1", ["wanted keys and values, got list"]),
        ("a: [", ["no valid YAML"]),
    ],
)
def test_each_mistake_is_one_line_with_its_path(tmp_path, text, lines):
    with pytest.raises(DarklungError) as caught:
        read(tmp_path, text)
    for line in lines:
        assert line in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(DarklungError, match=r"none\.yaml: no such file"):
        read_document(tmp_path / "none.yaml", Scanner)
