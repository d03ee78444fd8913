"""The short facts under a report's title are those of what was run."""

import json

from darklung.report.records import records_section
from darklung.steps.report import Parameters, _made, _records, _summary
from darklung.study.study import Study

N = {"subjects": 3, "positives": 7, "negatives": 90}
COMPARISON = {"arms": ["a"], "results": {"test": {"a": {"n": N}}}}


def parameters(**sources):
    study = Study.model_validate({"name": "facts", "seed": 4, "sources": sources})
    plain = study.model_dump(mode="json", by_alias=True)
    kinds = {name: source.origin for name, source in study.sources.items()}
    return Parameters(study=plain, kinds=kinds, predictions=(), tasks=(), viewer=None)


def test_counts_and_visibility_are_those_of_every_scanner():
    scan, instrument = {"counts": 1.5e7}, {"visibility": 0.2}
    mice = {"from": "simulation", "scan": scan, "instrument": instrument}
    facts = _summary(parameters(mice=mice), COMPARISON, [])
    assert (facts["Counts per pixel"], facts["Visibility"]) == ("1.5e+07", "0.2")
    sites = {
        "north": {"scan": {"counts": "4e6"}},
        "south": {"instrument": {"visibility": 0.1}},
        "west": {"scan": {"counts": 4e6}},
    }
    facts = _summary(parameters(mice={**mice, "sites": sites}), COMPARISON, [])
    assert (facts["Counts per pixel"], facts["Visibility"]) == ("4e+06; 1.5e+07", "0.2; 0.1")
    two = parameters(mice=mice, others={**mice, "scan": {"counts": 2e6}, "sites": {"east": {"scan": {"counts": 3e6}}}})
    assert _summary(two, COMPARISON, [])["Counts per pixel"] == "1.5e+07; 3e+06"


def test_seeds_and_versions_are_of_all_tasks_and_the_last_one_ended_when_it_ended(tmp_path):
    """A run that went on with another version on another machine; the long task began first and ended last."""
    one, other = (
        {"versions": {"numpy": v}, "hardware": {"processor": p, "cores": 2}} for v, p in (("2.3", "A"), ("2.4", "B"))
    )
    rows = (
        ("scan/a", "2026-01-01T23:59:00Z", 5, one), ("scan/b", "2026-01-01T10:00:00Z", 6, one),
        ("correct/a", "2026-01-01T12:00:00Z", None, one), ("train/a", "2026-01-01T22:00:00Z", 7, other),
        ("train/b", "2026-01-01T22:00:00Z", 7, other),
    )  # fmt: skip
    for name, started, seed, environment in rows:
        told = {"started": started, "parameters": {} if seed is None else {"seed": seed}, "environment": environment}
        told |= {"wall_s": 7200.0 if name == "train/a" else 30.0, "processor_s": 1.0, "peak_memory_mib": 1.0}
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").write_text(json.dumps(told))
    records = _records(tmp_path, [name for name, *_ in rows])
    p = parameters(mice={"from": "simulation"})
    assert _made(p, records).startswith("Computed until 2026-01-02 00:00:00 UTC by")
    assert _summary(p, COMPARISON, records)["Machine"] == "A, 2 cores; B, 2 cores"
    table, (versions,) = records_section(records).blocks[0], records_section(records).blocks[1].blocks
    assert {row[0]: row[-1] for row in table.rows} == {"scan": "one a task", "correct": "–", "train": "7"}
    assert dict(versions.rows)["versions.numpy"] == "2.3; 2.4"
