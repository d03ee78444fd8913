"""The short facts under a report's title are those of what was run."""

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
        "north": {"scan": {"counts": "4e6"}}, "south": {"instrument": {"visibility": 0.1}}, "west": {"scan": {"counts": 4e6}},
    }  # fmt: skip
    facts = _summary(parameters(mice={**mice, "sites": sites}), COMPARISON, [])
    assert (facts["Counts per pixel"], facts["Visibility"]) == ("4e+06, 1.5e+07", "0.2, 0.1")
    two = parameters(mice=mice, others={**mice, "scan": {"counts": 2e6}, "sites": {"east": {"scan": {"counts": 3e6}}}})
    assert _summary(two, COMPARISON, [])["Counts per pixel"] == "1.5e+07, 3e+06"
