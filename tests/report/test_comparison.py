import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.core.types import Image
from darklung.report.comparison import comparison_sections, published_section
from darklung.report.html import page
from darklung.report.pictures import Example, picture, projections_section, slices_section
from darklung.report.records import cohort_section, flatten, parameters_section, records_section, sources_section
from darklung.report.verdicts import difference, expectations, judged, main_split, verdicts


def _load(name):
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples, html = _load("examples"), _load("test_html")


def whole(sections):
    return page(title="T", summary={}, sections=sections)


def test_full_comparison_makes_a_page_that_loads_nothing():
    c = examples.comparison()
    reader = html.check_page(whole([*comparison_sections(c), published_section(c, kind="ct")]))
    assert reader.tags.count("svg") >= 12
    text = " ".join(reader.text)
    for wanted in ("transmission", "dark field", "hybrid", "0.880", "0.830 to 0.930", "83.7 %", "n = 22"):
        assert wanted in text


def _hollow(value, path=()):
    """Every way to replace one entry of nested dicts and lists by None."""
    if isinstance(value, dict):
        for key in value:
            yield (*path, key)
            yield from _hollow(value[key], (*path, key))


def test_any_entry_may_be_none(monkeypatch):
    monkeypatch.setattr("darklung.report.figures.drawing", lambda draw, **k: "<svg></svg>")
    c = examples.comparison((0.8, 0.9), arms=("transmission", "hybrid"))
    paths = [p for p in _hollow(c) if p[0] not in ("arms", "splits")]
    assert len(paths) > 100
    for path in paths:
        broken = copy.deepcopy(c)
        place = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = None
        html.read(whole([*comparison_sections(broken), published_section(broken, kind="radiograph")]))


def test_nothing_at_all():
    empty = {"arms": [], "splits": [], "results": {}, "differences": {}, "settings": {}}
    assert verdicts(empty) == ("There are no results to compare.",)
    html.check_page(whole([*comparison_sections(empty), published_section(empty, kind="ct")]))


def test_hostile_names():
    arms = [f"{a}{html.HOSTILE}$x_1$" for a in ("a", "b")]
    c = examples.comparison(arms=arms)
    for split in c["results"].values():
        for r in split.values():
            r["by_class"] = {html.HOSTILE: {"n": 3, "sensitivity": 0.5}}
    c["settings"] = {html.HOSTILE: html.HOSTILE}
    c["differences"]["test"] = [
        {"a": arms[0], "b": arms[1], "metric": "auroc", "value": 0.1, "low": 0.05, "high": 0.2, "p": 0.01}
    ]
    html.check_page(whole(comparison_sections(c)))


def test_verdicts_say_what_is_possible_when_interval_or_p_cannot_tell():
    text = " ".join(verdicts(examples.comparison(low=-0.02)))
    assert text.count("cannot tell: an AUROC 0.02 lower to 0.08 higher is possible") == 4
    assert "is higher" not in text
    text = " ".join(verdicts(examples.comparison(low=0.01)))
    assert "is higher" not in text
    assert text.count("p does not support it at 0.05") == 4  # after Holm it is 0.08


def test_verdicts_report_a_loss_as_a_loss():
    c = examples.comparison()
    for row in c["differences"]["test"]:
        row.update(value=-0.05, low=-0.09, high=-0.01, p_holm=0.01)
    text = " ".join(verdicts(c))
    assert "hybrid is lower" in text
    assert "dark field is lower" in text
    answers = {row[0][0]: row[2] for row in expectations(c, kind="radiograph")}
    assert answers == {"1": "not tested here", "2": "contradicted", "3": "contradicted"}
    answers = {row[0][0]: row[2] for row in expectations(c, kind="ct")}
    assert answers["1"] == "borne out, over all classes"


def test_small_samples_and_moved_operating_points_are_named():
    c = examples.comparison()
    for r in c["results"]["test"].values():
        r["n"] = {"subjects": 3, "positives": 9, "negatives": 30}
        r["metrics"]["specificity"] = {"value": 0.7, "low": 0.6, "high": 0.8}
    text = " ".join(verdicts(c))
    assert "has 9 members" in text
    assert text.count("another operating point") == 4


def test_no_row_is_borne_out_beside_a_p_that_does_not_support_it():
    c = examples.comparison(low=0.01)
    answers = {row[0][0]: row[2] for row in expectations(c, kind="radiograph")}
    assert answers["2"] == answers["3"] == "cannot tell: the interval leaves zero out, but p does not support it at 0.05"
    for row in c["differences"]["test"]:
        row["p_holm"] = 0.01
    answers = {row[0][0]: row[2] for row in expectations(c, kind="radiograph")}
    assert answers["2"] == answers["3"] == "borne out"


def test_few_animals_are_told_what_they_cannot_show():
    c = examples.comparison() | {"least_p": {"test": {"p": 2 / 2**6, "p_holm": 6 / 2**6}}}
    assert "no difference can be significant at 0.05, however large" in " ".join(verdicts(c))
    c["least_p"]["test"]["p_holm"] = 0.001
    assert "least p" not in " ".join(verdicts(c))


def test_questions_that_were_asked_are_answered_and_no_others():
    c = examples.comparison() | {"questions": [["hybrid", "transmission"]]}
    text = " ".join(verdicts(c))
    assert "hybrid minus transmission" in text
    assert "dark field minus" not in text


def test_differences_turn_round():
    c = {"differences": {"test": [{"a": "x", "b": "y", "metric": "auroc", "value": 0.1, "low": -0.1, "high": 0.3}]}}
    row = difference(c, "test", "y", "x")
    assert (row["value"], row["low"], row["high"]) == (-0.1, -0.3, 0.1)
    assert difference(c, "test", "x", "z") is None
    assert judged({"low": None, "high": 1}) == "open"


def test_main_split_prefers_test():
    assert main_split(examples.comparison()) == "test"
    c = examples.comparison()
    c["results"]["test"] = {}
    assert main_split(c) == "validation"


def test_slices_hold_the_lesion_and_keep_values():
    example = examples.volume_example()
    section = slices_section([example, examples.volume_example("other", 1)], most_slices=6)
    html.check_page(whole([section]))
    slider = section.blocks[1]
    assert len(slider.frames) <= 6
    best = int(example.target.sum(axis=(1, 2)).argmax())
    assert slider.labels[slider.start] == f"slice {best + 1} of 20"
    assert slider.panels[-1] == "hybrid: probability"


def test_radiograph_example_is_one_frame():
    image = Image(
        np.random.default_rng(0).normal(size=(2, 30, 40)), ("attenuation", "dark_field"), ("1", "1"), (7.5e-5,) * 2
    )
    example = Example("lobe", image, np.zeros((30, 40), bool), {"both": np.zeros((30, 40))})
    section = slices_section([example])
    assert len(section.blocks[1].frames) == 1
    html.check_page(whole([section]))
    with pytest.raises(DarklungError, match="probability of both"):
        Example("lobe", image, np.zeros((30, 40), bool), {"both": np.zeros((3, 4))})


def test_probability_is_shown_where_it_is_judged():
    image = Image(np.zeros((1, 4, 4)), ("attenuation",), ("1",), (7.5e-5,) * 2)
    region = np.zeros((4, 4), bool)
    region[:, 1:3] = True
    high = np.ones((4, 4))
    shown = slices_section([Example("lobe", image, ~region & False, {"both": high}, region)]).blocks[1].frames[0][-1]
    assert shown == picture(np.where(region, high, np.nan), window=(0, 1), heat=True, zoom=65, alt="both: probability, lobe")


def test_png_is_what_another_reader_sees():
    import base64
    import io

    from matplotlib.image import imread

    values = np.array([[0.0, 0.5, 1.0], [np.nan, -5.0, 5.0]])
    outline = np.array([[False, False, True], [False, False, False]])
    data = picture(values, window=(0, 1)).split("base64,")[1].split('"')[0]
    seen = imread(io.BytesIO(base64.b64decode(data)))[..., :3]
    np.testing.assert_allclose(seen[0, :, 0], [0, 0.5, 1], atol=0.01)
    np.testing.assert_allclose(seen[1, 1:, 0], [0, 1], atol=0.01)
    np.testing.assert_allclose(seen[1, 0] * 255, [52, 60, 66], atol=0.6)
    data = picture(values, window=(0, 1), outline=outline).split("base64,")[1].split('"')[0]
    seen = imread(io.BytesIO(base64.b64decode(data)))[..., :3]
    np.testing.assert_allclose(seen[0, 1] * 255, [64, 224, 208], atol=0.6)
    np.testing.assert_allclose(seen[0, 2], [1, 1, 1], atol=0.01)


def test_projections_need_two_axes():
    maps = {"transmission": np.ones((4, 5)), "constant": np.zeros((3, 3)), "nothing": np.full((2, 2), np.nan)}
    html.check_page(whole([projections_section(maps)]))
    with pytest.raises(DarklungError, match="row, col"):
        projections_section({"a": np.ones(3)})


def test_records_parameters_cohort_sources():
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": {}}) == [("a.b", 1), ("a.c.d", 2), ("e", {})]
    environment = {"versions": {"numpy": "2"}, "hardware": {"cores": 2}}
    records = [
        {"stage": html.HOSTILE, "wall_s": 1.25, "peak_memory_mib": 100.0, "seed": 3, "environments": [environment]},
        {},
    ]
    cohort = [{"subject": html.HOSTILE, "split": "test", "n": i} for i in range(70)]
    sections = [
        records_section(records),
        parameters_section({"scan": {"views": 360, "angles": [0, 90]}}, assumptions=(html.HOSTILE,)),
        cohort_section(cohort),
        cohort_section([], title="Empty"),
        sources_section([{"data": "lobes", "licence": html.HOSTILE}]),
        sources_section([], title="None"),
    ]
    reader = html.check_page(whole(sections))
    text = " ".join(reader.text)
    for wanted in ("scan.views", "0, 90", "70 subjects", "the other 10", "versions.numpy"):
        assert wanted in text


def test_the_same_report_twice_is_the_same_text():
    c = examples.comparison((0.8, 0.9), arms=("transmission", "hybrid"))
    c["splits"] = ["test"]
    assert whole(comparison_sections(c)) == whole(comparison_sections(c))


@pytest.mark.parametrize("absent", [(), ("by_size",), ("by_class",), ("by_class", "by_size")])
def test_rates_of_negatives_stand_among_the_errors_whatever_else_is_known(absent):
    c = examples.comparison()
    for name in absent:
        for own in c["results"]["test"].values():
            own[name] = None
    sections = {s.title: whole([s]) for s in comparison_sections(c)}
    assert "Called positive by kind of negative" in sections["Errors"]
    assert "Called positive by kind of negative" not in sections["Lesions"]
    assert ("Sensitivity by diameter, 95 % intervals" in sections["Lesions"]) == ("by_size" not in absent)
