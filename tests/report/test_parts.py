"""Parts of the report around the numbers: plain words, methods, learning curves, errors to look at."""

import base64
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from darklung.core.types import Image
from darklung.report.assumptions import assumptions_of
from darklung.report.blocks import Text, fixed
from darklung.report.figures import arm_colours
from darklung.report.findings import Findings, findings_sections
from darklung.report.gallery import ArmErrors, gallery_section, sight_title
from darklung.report.gallery import Sight as Place
from darklung.report.html import page
from darklung.report.metric_tables import (
    all_metrics,
    animals_and_folds,
    lesion_rates,
    main_table,
    negative_rates,
    reliability_table,
)
from darklung.report.pictures import picture
from darklung.report.planes import planes
from darklung.report.story import methods_section, story_section
from darklung.report.training import training_section


def _load(name):
    spec = importlib.util.spec_from_file_location(f"parts_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples, html = _load("examples"), _load("test_html")
STUDY = {"name": "quick", "seed": 7, "learning": {"arms": {"hybrid": ["attenuation", "dark_field_0"]}, "folds": 3}}


def whole(*sections):
    return page(title="T", summary={}, sections=sections)


def test_the_first_paragraph_says_what_was_compared_on_how_many_and_what_came():
    c = examples.comparison()
    reader = html.check_page(whole(story_section(c, STUDY, {"mice": "simulation"}, [{}] * 18, tile_m=2e-3)))
    text = " ".join(reader.text)
    for wanted in (
        "18 images",
        "simulated on a computer",
        "16 animals",
        "49 tumours",
        "tiles of 2 mm",
        "hybrid: attenuation",
    ):
        assert wanted in text
    assert text.count("Cannot tell: an AUROC 0.02 lower to 0.08 higher is possible.") == 4
    trees = {**STUDY, "learning": {**STUDY["learning"], "observers": ["network", "boosting"]}}
    assert "boosted decision trees" in whole(story_section(c, trees, {"mice": "simulation"}, [{}], tile_m=2e-3))
    measured = story_section(c, STUDY, {"a": "volumes"}, [{}], tile_m=2e-3)
    assert "simulated" not in " ".join(html.read(whole(measured)).text)


@pytest.mark.parametrize("broken", [{}, {"arms": ["a"], "splits": ["test"], "results": {"test": {"a": None}}}])
def test_words_without_numbers(broken):
    c = {"arms": [], "splits": [], "results": {}, "differences": {}, "settings": {}} | broken
    story = story_section(c, {}, {}, [], tile_m=2e-3)
    methods = methods_section(c, {}, version="1", study_file="", tile_m=2e-3)
    html.check_page(whole(story, methods))


def test_the_methods_tell_who_learned_and_which_state_was_kept():
    """A training keeps the latest state within one standard error of the best score, which is seldom the best one."""
    for observers, there, absent in (
        ([], "one network", "trees"), (["boosting"], "boosted decision trees were grown", "network ("),
        (["network", "boosting"], ", and boosted decision trees", "best step"),
    ):  # fmt: skip
        study = {**STUDY, "learning": {**STUDY["learning"], "observers": observers}}
        methods = methods_section(examples.comparison(), study, version="1", study_file="", tile_m=2e-3)
        told = methods.blocks[0].text
        assert there in told
        assert absent not in told
        assert "kept was the latest state within one standard error of the best score on validation animals" in told


def test_the_methods_claim_no_threshold_that_was_not_fixed():
    c = examples.comparison()
    fixed = methods_section(c, STUDY, version="1", study_file="", tile_m=2e-3).blocks[0].text
    assert "were fixed on validation animals" in fixed
    c["settings"] |= {"threshold_from": "none: no tile is known to be free"}
    none = methods_section(c, STUDY, version="1", study_file="", tile_m=2e-3).blocks[0].text
    assert "No threshold and no probability of a tile were fixed: no tile is known to be free." in none
    assert "applied unchanged" not in none


def test_hostile_names_in_every_part():
    arms = [f"a{html.HOSTILE}", "b"]
    study = {"name": html.HOSTILE, "learning": {"arms": {html.HOSTILE: [html.HOSTILE]}, "network": html.HOSTILE}}
    c = examples.comparison(arms=arms)
    log = {"arm": html.HOSTILE, "fold": html.HOSTILE, "rows": [{"step": 1, "loss": 1.0, "score": 0.5}], "selected": None}
    sections = [
        story_section(c, study, {"s": "lobes"}, [], tile_m=2e-3),
        methods_section(c, study, version="1", study_file=html.HOSTILE, tile_m=2e-3),
        training_section([log]),
        gallery_section([ArmErrors(html.HOSTILE, [place(html.HOSTILE)], 1, [], 0)]),
    ]
    html.check_page(whole(*sections))


def test_the_study_file_that_is_saved_is_the_study():
    text = yaml.safe_dump(STUDY)
    shown = whole(methods_section(examples.comparison(), STUDY, version="0.1", study_file=text, tile_m=2e-3))
    data = shown.split('download="study.yaml" href="data:text/yaml;base64,')[1].split('"')[0]
    assert yaml.safe_load(base64.b64decode(data)) == STUDY
    data = shown.split('download="references.bib" href="data:text/x-bibtex;base64,')[1].split('"')[0]
    bib = base64.b64decode(data).decode()
    assert bib.count("{") == bib.count("}")
    assert "Study quick, seed 7" in bib


def test_learning_curves_tell_the_step_that_was_kept():
    rows = [{"step": s, "loss": 1 / s, "score": 0.5 + s / 100} for s in (10, 20, 30)]
    selected = {"by": "tile_auroc", "step": 20, "score": 0.7}
    logs = [{"arm": a, "fold": f, "rows": rows, "selected": selected} for a in ("x", "y") for f in "01"]
    section = training_section(logs)
    html.check_page(whole(section))
    assert "Tile auroc on validation animals by step" in whole(section)  # which score it is
    rows = section.blocks[-1].rows
    assert [(r[0], r[1], r[2], r[3].value, r[4]) for r in rows] == [
        (a, f, "20", 0.7, "30") for a in ("x", "y") for f in "01"
    ]
    assert training_section([{"arm": "x", "fold": "0", "rows": []}]) is None


def place(title, flat=False):
    example = examples.volume_example()
    image, target, region = example.image, example.target, example.region
    at = tuple(int(i) for i in np.argwhere(target)[0])
    guess = np.where(region, 0.2, np.nan)
    return Place(title, image, guess, region, target, at)


def test_errors_are_shown_in_three_planes_with_bar_and_frame():
    errors = [ArmErrors("dark_field", [place("a lesion")] * 2, 5, [place("lung")], 9), ArmErrors("none", [], 0, [], 0)]
    shown = whole(gallery_section(errors))
    reader = html.check_page(shown)
    assert reader.tags.count("img") == 3 * (2 * 3 + 2)
    text = " ".join(reader.text)
    assert "dark field: missed, 2 of 5" in text
    assert "dark field: false positives, 1 of 9" in text
    assert gallery_section(errors[1:]) is None
    assert sight_title("x", -0.5, 1.25) == "x: score −0.50, threshold 1.25"


def test_the_place_is_in_the_middle_of_its_close_up():
    sight = place("x")
    above, _ = planes(sight.image, sight.probability, sight.region, sight.at, name="x")
    first = sight.image.channel("attenuation")
    z, y, x = sight.at
    box = tuple(slice(max(i - 20, 0), i + 21) for i in (y, x))
    marks = np.zeros(first[z][box].shape, bool)
    row, col = y - box[0].start, x - box[1].start
    marks[row - 2 : row + 3, col - 2 : col + 3] = True
    marks[-2, 1:11] = True
    from darklung.report.pictures import window_of

    wanted = picture(
        first[z][box],
        window=window_of(first, sight.region),
        outline=marks,
        zoom=max(2, 270 // marks.shape[0]),
        alt="x, transverse",
    )
    assert above.blocks[0].markup == wanted


def test_tables_hold_every_number_of_the_comparison():
    c = examples.comparison()
    page_text = " ".join(
        html.check_page(
            whole(
                *(
                    html.Section(f"S{i}", (b,) if not isinstance(b, list) else tuple(b))
                    for i, b in enumerate(
                        [
                            main_table(c, "test", "Main"),
                            all_metrics(c, "test"),
                            [*lesion_rates(c, "test"), *negative_rates(c, "test")],
                            reliability_table(c, "test"),
                            animals_and_folds(c, "test"),
                        ]
                    )
                )
            )
        ).text
    )
    for wanted in ("Brier", "Brier score of saying the prevalence everywhere", "0.250", "mouse 7", "1 of 2", "mimic", "22"):
        assert wanted in page_text


def test_arms_beyond_seven_differ_in_line_and_hatch():
    colours = arm_colours([f"arm {i}" for i in range(20)])
    looks = {(colours[a], str(colours.line(a)), colours.hatch(a)) for a in colours}
    assert len(looks) == 20
    assert len({(colours[a], str(colours.line(a))) for a in colours}) == 20


@pytest.mark.parametrize(
    ("value", "text"), [(-0.0056, "−0.01"), (-0.001, "0.00"), (0.0, "0.00"), (None, "–"), (2e5, "2e+05")]
)
def test_cells_of_one_table_have_as_many_digits(value, text):
    assert fixed(value, 2) == text


def test_the_beam_that_is_told_is_the_one_that_was_simulated():
    def source(far, sites=()):
        told = {f"s{k}": {"instrument": {}, "scan": scan, "effects": {}} for k, scan in enumerate(sites)}
        return {"scan": {"source_axis": far}, "effects": {}, "sites": told}

    for one, beams in (
        (source(None), ["The beam is parallel."]),
        (source("1.0 m"), ["The beam is a cone, its source 1.0 m from the axis."]),
        (
            source(None, [{"source_axis": "2 m"}, {}]),
            ["The beam is a cone, its source 2 m from the axis.", "The beam is parallel."],
        ),
    ):
        found = assumptions_of({"a": one}, {"a": "simulation"}, flawless={})
        assert [line for line in found if line.startswith("The beam")] == beams


def test_a_false_candidate_is_told_apart_from_one_of_which_nothing_is_known():
    image = Image(np.random.default_rng(0).normal(size=(1, 9, 9)), ("attenuation",), ("1",), (1e-3,) * 2)
    maps = image.with_data(np.zeros((2, 9, 9)), ("probability", "logit_spread"), ("1", "1"))
    everywhere = np.ones((9, 9), bool)
    row = {"number": 1, "z_mm": 4.0, "y_mm": 0.0, "x_mm": 4.0, "score": 1.0, "tile_score": 1.0, "spread": 0.1, "rank": None}
    row |= {"probability": 0.5, "diameter_mm": 1.0, "called": True, "promised": ""}
    for hits, told in (("none", "; no lesion is there."), ("unknown", " mm."), ("lesion", "; a lesion is known there.")):
        table = pd.DataFrame([{**row, "hits": hits}])
        found = findings_sections(Findings("x", image, maps, everywhere, everywhere, ~everywhere, table, 0.0))
        (line,) = [b.text for s in found for b in s.blocks if isinstance(b, Text) and b.text.startswith("Number 1")]
        assert line.endswith(told)


@pytest.mark.parametrize(("detected", "calibrated"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_candidates_numbers_say_what_they_are_of(detected, calibrated):
    """The score of a detection head, the spread of the logits and the probability of the tile are of three maps."""
    image = Image(np.random.default_rng(0).normal(size=(1, 9, 9)), ("attenuation",), ("1",), (1e-3,) * 2)
    maps = image.with_data(np.zeros((2, 9, 9)), ("probability", "logit_spread"), ("1", "1"))
    everywhere = np.ones((9, 9), bool)
    row = {
        "number": 1,
        "z_mm": 4.0,
        "y_mm": 0.0,
        "x_mm": 4.0,
        "score": 3.0,
        "tile_score": -1.5,
        "spread": 0.25,
        "rank": None,
    }
    row |= {"probability": 0.125, "diameter_mm": 1.0, "called": True, "promised": "", "hits": "unknown"}
    masks = (everywhere, everywhere, ~everywhere)
    found = Findings("x", image, maps, *masks, pd.DataFrame([row]), None, detected, calibrated)
    _, close, _, listed = findings_sections(found)
    head = "score 3.00 of the detection head, logits ± 0.25" if detected else "score 3.00 ± 0.25"
    likely = "its tile's score −1.50, probability 0.12" if calibrated else "probability 0.12"
    assert close.blocks[0].text == f"Number 1: {head}, {likely}, 1.0 mm."
    told = dict(zip(listed.blocks[0].header, listed.blocks[0].rows[0]))
    assert told["probability of the tile" if calibrated else "probability"] == 0.125
    assert told["score of the detection head" if detected else "score"] == 3.0
    assert (told["score of the tile"], told["z [mm]"], told["diameter [mm]"]) == (-1.5, 4.0, 1.0)
