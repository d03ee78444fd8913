"""One document, three faces: JSON, Markdown and the hub's YAML cannot disagree, and no name becomes markup."""

import json
import re
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from darklung.core.checks import DarklungError, printable
from darklung.io.documents import validate
from darklung.publish.card import (
    Bin,
    Card,
    Channel,
    Data,
    Ethics,
    Evaluation,
    Group,
    Measure,
    Member,
    Source,
    Split,
    TreesArchitecture,
    TreesTraining,
)
from darklung.publish.ethics import ARRIVE, EthicsFile, ethics_of, unfilled
from darklung.publish.head import head_of, head_text, read_head
from darklung.publish.markdown import escaped, markdown, table
from darklung.publish.words import NOT_FOR_PATIENTS, limits_of

PARSER = MarkdownIt("commonmark").enable("table")
TEXT = st.text(max_size=40) | st.text(alphabet="|`<>&\\*_[]()#~!-+ \n\t@:/w.1" + string.ascii_lowercase[:4], max_size=40)


def source(name="mice", animals="simulated", names=("m1", "m2"), learned=1, tested=1, synthetic=True):
    kind = "simulation" if animals == "simulated" else "volumes"
    return Source(
        name=name, origin=kind, animals=animals, synthetic=synthetic, learned=learned, tested=tested, sites=(), names=names
    )


MICE = (source(),)


def card(name="study: arm", channel="dark_field_0", score=0.8123, sources=MICE, license=None, ethics=None):
    measure = Measure(name="auroc", title="AUROC", value=score, low=0.7012, high=0.9034)
    unknown = Measure(name="dice", title="Dice", value=None, low=None, high=None)
    whole = Group(title="test", animals=6, positives=3, negatives=40, measures=(measure, unknown))
    bins = (Bin(predicted=0.25, observed=0.125, low=None, high=None, count=8),)
    split = Split(split="test", whole=whole, folds=(), slope=1.5, intercept=None, reliability=bins)
    member = Member(
        name="arm.fold0", seed=7, steps_done=9, kept_step=5, kept_score=None, training=("m1",), validation=(), key=None,
        weights_sha256="ab12", wall_s=1.0, processor_s=None, peak_memory_mib=None, environment=None,
    )  # fmt: skip
    data = Data(
        channels=(Channel(name=channel, unit=None, mean=1.0, deviation=2.0),), spacing_um=(300.0,) * 3, energies_kev=(70.0,),
        correlation_lengths_um=(), normalisation="volume", sources=sources,
    )  # fmt: skip
    evaluation = Evaluation(scope="told", threshold=-0.5, splits=(split,), sites=(), settings={"specificity": 0.95})
    return Card(
        name=name, license=license, version="0",
        architecture=TreesArchitecture(dims=3, leaves=4, scales_um=(200.0,), features=9),
        training=TreesTraining(method="trees", learning_rate=0.1, trees=9, voxels=None, metric=None), members=(member,),
        evaluation=evaluation, data=data, run=None, ethics=ethics or ethics_of(sources), use=(NOT_FOR_PATIENTS,),
        limits=limits_of(data, evaluation, ()),
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_a_parser_of_markdown_reads_any_text_back_as_it_is(text):
    tokens = PARSER.parse(table(("what", "value"), [("a", text), ("b", "c")]))
    cells = [t for t in tokens if t.type == "inline"]
    assert len(cells) == 6
    inside = cells[3].children or []
    assert {t.type for t in inside} <= {"text", "text_special"}
    assert "".join(t.content for t in inside) == " ".join(printable(text).split())


def test_no_reader_makes_a_link_of_a_name():
    told = escaped("https://evil.example WWW.evil.example a@evil.example [x](y) <img src=x>")
    assert not any(mark in told for mark in ("://", "WWW.", "@", "<", ">"))
    assert "<a" not in PARSER.render(told)


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT.filter(lambda t: t.strip() != ""), st.floats(0, 1))
def test_the_head_is_read_back_by_our_reader_and_by_any_other(name, license, score):
    made = card(name=name, score=score, license=license)
    text = markdown(made)
    assert read_head(text) == head_of(made)
    assert yaml.safe_load(text.split("---\n")[1]) == head_of(made).model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize("word", ["1e3", "yes", "null", "2020-01-01", "0x10", "010", "1:30", "~", "- a", "a: b", "#", "''"])
def test_words_that_readers_of_yaml_take_for_something_else_stay_words(word):
    made = card(name=word)
    (model,) = yaml.safe_load(markdown(made).split("---\n")[1])["model-index"]
    assert model["name"] == word == read_head(markdown(made)).model_index[0].name


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("library_name", "libary_name", "unknown key"),
        ("- mouse", "- 3", "tags"),
        ("value: 0.8123", "value: high", "value"),
        ("value: 0.8123", "valu: 0.8123", "valu"),
        ("value: 0.8123", "value: .nan", "plain finite number"),
        ("license: mit", "license: public", "license"),
        ("license: mit", "license: mit\nlicense: mit", "twice"),
        ("type: roc_auc", 'type: "roc auc"', "type"),
        ("image-segmentation", "segmentation", "pipeline_tag"),
        ("---\n", "", "two lines of ---"),
    ],
)
def test_a_planted_mistake_in_the_head_is_caught(old, new, wanted):
    text = markdown(card(license="mit"))
    assert old in text
    with pytest.raises(DarklungError, match=wanted):
        read_head(text.replace(old, new, 1))


def test_the_json_is_the_card_and_makes_the_same_markdown():
    made = card()
    again = validate(json.loads(made.model_dump_json()), Card, "card.json")
    assert again == made
    assert markdown(again) == markdown(made)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda c: c.update(darklung_card=2), "darklung_card"),
        (lambda c: c.update(extra=1), "extra: unknown key"),
        (lambda c: c.pop("limits"), "limits: is missing"),
        (lambda c: c["members"].clear(), "members"),
        (lambda c: c["data"]["channels"].clear(), r"data\.channels"),
        (lambda c: c["architecture"].update(kind="forest"), "architecture"),
        (lambda c: c["data"]["sources"][0].update(animals="unclear"), r"sources\.0\.animals"),
        (lambda c: c["evaluation"]["splits"][0]["whole"].update(animals="many"), "animals"),
    ],
)
def test_a_planted_mistake_in_the_json_is_caught(change, wanted):
    content = json.loads(card().model_dump_json())
    change(content)
    with pytest.raises(DarklungError, match=wanted):
        validate(content, Card, "card.json")


def test_what_is_known_is_told_and_what_is_not_is_said_to_be_so():
    text = markdown(card())
    for told in ("0.812 (0.701 to 0.903)", "3, 40", "ab12", "0.125", "300, 300, 300", "slope 1.5, intercept not known"):
        assert told in text
    assert "| Dice | not known |" in text
    assert "| hardware: gpu |" not in text
    assert "Processor time of the training of 0 of 1 models: not known" in text
    assert text.count(NOT_FOR_PATIENTS) == 1


def test_a_license_that_the_hub_does_not_know_is_other_with_its_name():
    assert head_of(card(license="CC-BY-4.0")).license == "cc-by-4.0"
    own = head_of(card(license="Our own, 2026"))
    assert (own.license, own.license_name) == ("other", "our-own-2026")
    assert "license" not in head_text(head_of(card())).split("model-index")[0]


def test_animals_are_counted_once_and_all_simulated_ones_make_a_statement():
    both = (source(names=("a", "b"), learned=2), source(name="other", names=("b", "c"), tested=2))
    found = ethics_of(both)
    assert (found.simulated, found.measured) == (3, 0)
    assert "all 3 animals are simulated" in found.statement[0]
    assert found.arrive == ()
    assert unfilled(found) == []
    assert "atlas.h5" in ethics_of(both, atlases=("atlas.h5",)).statement[-1]


def test_nothing_is_claimed_of_animals_that_nobody_tells_of():
    (told,) = ethics_of(None).statement
    assert "not known" in told
    mixed = ethics_of((source(), source(name="foreign", animals="not known", names=("x",))))
    assert not any("Replacement" in t for t in mixed.statement)


@pytest.mark.parametrize("reference", ["", "  ", "TODO", "n/a", "none", "Pending"])
def test_measured_animals_without_an_approval_are_refused(reference):
    measured = (source(name="lobes", animals="measured", names=("x", "y")),)
    with pytest.raises(DarklungError, match=r"^e\.yaml: approval: wanted .* 2 measured animal\(s\) .*\(lobes\)") as caught:
        ethics_of(measured, given=EthicsFile(approval=reference, justification="j"), origin="e.yaml")
    assert "\n" not in str(caught.value)
    assert ethics_of((source(),), given=EthicsFile(approval=reference)).measured == 0


def test_the_items_that_are_asked_for_are_those_of_arrive_and_vanish_when_filled_in():
    measured = (source(animals="measured"),)
    bare = ethics_of(measured)
    assert [a.number for a in bare.arrive] == list(range(1, 22))
    assert unfilled(bare) == ["approval", "justification", "welfare", *ARRIVE]
    text = markdown(card(sources=measured))
    assert text.count("to be filled in") == 4 + len(ARRIVE)
    said = EthicsFile(approval="A-1", justification="j", welfare="w", arrive=dict.fromkeys(ARRIVE, "see the paper"))
    full = ethics_of(measured, given=said)
    assert isinstance(full, Ethics)
    assert unfilled(full) == []
    assert markdown(card(sources=measured, ethics=full)).count("to be filled in") == 1  # the authority, which may be none
    with pytest.raises(ValueError, match="blindng"):
        EthicsFile(arrive={"blindng": "x"})


def test_limits_follow_from_what_the_model_has_seen():
    def limits(*sources):
        return " ".join(card(sources=sources).limits)

    assert "simulated animals alone" in limits(source())
    inserted = limits(source(), source(animals="measured"))
    assert "simulated animals alone" not in inserted
    assert "Every lesion that it has seen is simulated or was put in" in inserted
    assert "Every lesion" not in limits(source(animals="measured", synthetic=False))
    assert "6 in test" in inserted


def test_the_file_on_the_page_is_an_ethics_file():
    page = Path(__file__).parents[2] / "docs" / "cards.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.S)
    found = validate(yaml.safe_load(text), EthicsFile, "docs/cards.md")
    assert set(EthicsFile.model_fields) == set(yaml.safe_load(text))
    assert set(found.arrive) == {"randomisation", "blinding"}
    assert f"the {len(ARRIVE)} items of ARRIVE 2.0" in page.read_text()


def test_the_hubs_own_reader_finds_the_metrics(tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="the hub's reader is no dependency of darklung")
    (tmp_path / "card.md").write_text(markdown(card(license="our own")), encoding="utf-8")
    read = hub.ModelCard.load(str(tmp_path / "card.md")).data
    assert (read.library_name, read.license, read.model_name) == ("darklung", "other", "study: arm")
    assert [(r.metric_type, r.metric_value, r.dataset_split) for r in read.eval_results] == [("roc_auc", 0.8123, "test")]
