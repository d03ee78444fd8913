"""Parts of a study that no source of it takes."""

from __future__ import annotations

import pytest

from darklung.core.checks import DarklungError
from darklung.io.documents import validate
from darklung.study.processing import ProcessingPart
from darklung.study.study import TAKEN_BY, Study

CHANGES = {
    "retrieval": {"steps": "estimate"},
    "alignment": {},
    "correction": {"hardening": "look_up"},
    "reconstruction": {"rings": 9},
    "voxel": "200 um",
    "channels": {"lung": "all"},
}
SOURCES = {
    "simulation": {"cohort": {"animals": 3}},
    "frames": {"files": ["a.yaml"]},
    "projections": {"files": ["a.h5"]},
    "volumes": {"files": ["a.nii"]},
    "cases": {"files": ["a"]},
    "lobes": {"data": "lobes"},
}


def study(part, *origins):
    sources = {origin: {"from": origin, **SOURCES[origin]} for origin in origins}
    return validate({"name": "x", "sources": sources, "processing": {part: CHANGES[part]}}, Study, "study.yaml")


def test_every_part_of_processing_says_who_takes_it():
    assert set(TAKEN_BY) == set(ProcessingPart.model_fields)


@pytest.mark.parametrize("origin", SOURCES)
@pytest.mark.parametrize("part", CHANGES)
def test_a_part_that_no_source_takes_is_refused(part, origin):
    if origin in TAKEN_BY[part]:
        assert study(part, origin)
        return
    told = rf"study\.yaml: processing\.{part}: nothing takes it; sources from simulation, .* do, got {origin}"
    with pytest.raises(DarklungError, match=told):
        study(part, origin)


def test_one_source_that_takes_it_is_enough():
    assert study("retrieval", "cases", "frames", "volumes")


def test_what_a_run_writes_down_can_be_read_again():
    given = {"name": "x", "sources": {"old": {"from": "cases", **SOURCES["cases"]}}}
    made = validate(given, Study, "study.yaml")
    assert validate(made.model_dump(mode="json", by_alias=True), Study, "study.yaml") == made
