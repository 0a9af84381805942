"""A protocol is one document: complete, checked, and the same for everybody."""

import json
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.trial.checked_json import JsonError, parse_json
from readerstudy.trial.protocol.defaults import KEYS, SCHEMA_FILE, template_document
from readerstudy.trial.protocol.document import (
    TEMPLATES,
    Protocol,
    ProtocolError,
    complete,
    read_protocol,
    template,
)
from tests.readerstudy.trial.protocol.strategies import damaged, protocols

FIXTURES = Path(__file__).parent / "fixtures"
MESSAGES = json.loads((FIXTURES / "invalid-messages.json").read_text())
VALID = sorted(
    path.stem
    for path in FIXTURES.glob("*.json")
    if not path.stem.startswith(("invalid", "tables"))
)
SCHEMA = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))

# What a study said and asked when this was all that one could.
QUESTION = "How useful is this map in guiding a radiologist to the correct diagnosis?"
ANCHORS = [
    "No correlation between the pathology and the hot spots",
    "Barely any of the hot spots lie on the pathology",
    "A minority of the hot spots lie on the pathology",
    "About half of the hot spots lie on the pathology",
    "Most hot spots lie on the pathology, some elsewhere",
    "The map points clearly and unambiguously to the pathology",
]
PRIMARY_ANALYSIS = (
    "Per data set: Friedman's test of the three arms over images, ratings summed over "
    "the readers, images with every rating, P < 0.001; then Wilcoxon's signed-rank "
    "test of each pair. It speaks for these readers."
)


def fixture(name):
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def problem_of(document):
    with pytest.raises(ProtocolError) as refused:
        complete(document)
    assert str(refused.value).isprintable()
    return str(refused.value)


def changed(name="several-likert", **changes):
    return {**fixture(name), **changes}


def asking(change, index=0, name="several-likert"):
    """A protocol one of whose questions is changed."""
    document = fixture(name)
    document["questions"][index].update(change)
    return document


# Fixtures, through the JSON schema and our own checks alike.


def test_there_are_fixtures_of_every_template():
    assert set(TEMPLATES) < set(VALID)


@pytest.mark.parametrize("name", VALID)
def test_what_is_valid_passes_both_checks_before_and_after_it_is_completed(name):
    document = fixture(name)
    SCHEMA.validate(document)
    whole = complete(document)
    SCHEMA.validate(whole)
    assert complete(whole) == whole


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_wrong_is_told_with_its_place(name):
    assert problem_of(fixture(name.removesuffix(".json"))) == MESSAGES[name]


@pytest.mark.parametrize("name", ["invalid-key", "invalid-levels"])
def test_the_schema_refuses_what_it_can_say(name):
    assert not SCHEMA.is_valid(fixture(name))


def test_the_schema_is_a_schema_and_has_every_key_in_our_order():
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
    assert set(SCHEMA.schema["properties"]) == set(KEYS)


def test_the_schema_has_our_defaults():
    whole = complete(changed(name="paper"))
    for key, rule in SCHEMA.schema["properties"].items():
        if "default" in rule and key not in fixture("paper"):
            assert whole[key] == rule["default"], key


# Templates.


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_its_fixture_with_what_was_added_to_the_schema(name):
    added = {"analysis", "break_after", "guess_arms"}
    shipped = template_document(name)
    SCHEMA.validate(shipped)
    assert {k: v for k, v in shipped.items() if k not in added} == {
        k: v for k, v in fixture(name).items() if k not in added
    }
    assert template(name) == complete(shipped)
    assert set(template(name)) == set(KEYS)


def test_an_unknown_template_is_refused_by_name():
    with pytest.raises(ProtocolError, match=r"^template: there is no 'papers'; there"):
        template("papers")


def test_the_paper_asks_what_studies_have_asked_so_far():
    rating, comment = Protocol.of(template("paper")).questions
    assert (rating.text, list(rating.anchors)) == (QUESTION, ANCHORS)
    assert list(rating.levels) == [0, 1, 2, 3, 4, 5]
    assert (comment.kind, comment.required) == ("text", False)
    assert template("paper")["primary_analysis"] == PRIMARY_ANALYSIS


def test_a_break_is_suggested_after_40_answers_or_30_minutes():
    assert template("paper")["break_after"] == {"answers": 40, "minutes": 30}
    given = complete(changed(break_after={"answers": 50}))
    assert given["break_after"] == {"answers": 50, "minutes": 30}


def test_an_object_says_what_its_document_says():
    document = template("aided-reading")
    protocol = Protocol.of(document)
    assert protocol.document == document
    assert protocol.findings == ("Nodule", "Pleural effusion", "Pneumothorax")
    assert [q.stage for q in protocol.questions] == ["image", "map", "map"]
    assert protocol.primary_question.key == "probability"
    assert protocol.analysis.threshold == 50
    assert protocol.break_after.minutes == 40
    with pytest.raises(KeyError):
        protocol.question("rating")


# What is refused.

ANOTHER = {"key": "again", "kind": "yes_no", "text": "Again?"}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"schema": 2}, "questions: is missing."),
        (changed(schema=3), "schema: must be 2, not 3."),
        (changed(schema=True), "schema: must be 2, not true."),
        (
            changed(colour="red"),
            "protocol: there is no 'colour'; a protocol has schema",
        ),
        (changed(questions=[]), "questions: must be 1 to 8 questions, not 0."),
        (changed(questions={}), "questions: must be a list."),
        (changed(questions=["rating"]), "questions[0]: must be an object."),
        (changed(languages=["german"]), "languages: 'german' is none; write it as en"),
        (changed(languages=["en", "en"]), "languages: 'en' stands twice."),
        (changed(cannot_judge=[]), "cannot_judge: must be 1 to 5 options, not 0."),
        (changed(opacity=True), "opacity: must be a number from 0 to 1."),
        (changed(repeats=0.3), "repeats: must be a number from 0 to 0.25."),
        (changed(sessions=3), "sessions: must be one or per_arm."),
        (changed(ends_on="31.3.2027"), "ends_on: '31.3.2027' is no day, written as"),
        (changed(ends_on="20270331"), "ends_on: '20270331' is no day, written as"),
        (
            changed(legend=["below"]),
            "legend: must be 2 to 3 texts, for below and above",
        ),
        (changed(legend=["below", " "]), "legend[1]: is blank."),
        (
            changed(legend=["below", "x" * 51]),
            "legend[1]: is longer than 50 characters.",
        ),
        (changed(findings=["a", "a"]), "findings[1]: 'a' stands twice."),
        (changed(findings=["a "]), "findings[0]: must be 1 to 80 printable characters"),
        (changed(break_after={"hours": 1}), "break_after: there is no 'hours'; it has"),
        (
            changed(break_after={"answers": 9}),
            "break_after: answers must be a whole num",
        ),
        (changed(guess_arms=1), "guess_arms: must be true or false."),
        (
            changed(analysis={"alpha": 0}),
            "analysis: alpha must be more than 0 and less",
        ),
        (changed(analysis={"alpha": "5 %"}), "analysis: alpha must be a number from 0"),
        (
            changed(analysis={"margin": 0}),
            "analysis: margin must be more than 0, or nul",
        ),
        (
            changed(analysis={"threshold": 1.5}),
            "analysis: threshold must be a whole num",
        ),
        (
            changed(analysis={"pooling": "all"}),
            "analysis: pooling must be complete or a",
        ),
        (
            changed(primary="rating"),
            "primary: 'rating' is no question; name a required",
        ),
        (
            changed(primary="wrong_where"),
            "primary: 'wrong_where' is several and not req",
        ),
        (changed(primary=None), "primary: must be the key of a question, 1 to 31"),
        (
            changed(reading="crossover"),
            "reading: 'crossover' shows a case once in each",
        ),
        (changed(reading="sequential"), "reading: 'sequential' asks something before"),
        (changed(reference="hidden"), "reference: 'hidden' wants the findings that"),
        (asking({"kind": "star"}), "questions[0] 'usefulness': kind must be scale or"),
        (
            asking({"kind": "yes_no"}),
            "questions[0] 'usefulness': there is no 'from'; a y",
        ),
        (asking({"key": "Useful"}), "questions[0]: key must be 1 to 31 letters a to z"),
        (
            asking({"key": "spatial"}),
            "questions[1] 'spatial': that key stands twice; ch",
        ),
        (asking({"from": True}), "questions[0] 'usefulness': from must be 0 or 1."),
        (
            asking({"anchors": ["", "b"]}),
            "questions[0] 'usefulness': anchors[0] is blank",
        ),
        (asking({"anchors": ["a"]}), "questions[0] 'usefulness': a scale has 2 to 10"),
        (
            asking({"text": {"de": "x"}}),
            "questions[0] 'usefulness': text is in 'de', wh",
        ),
        (
            asking({"text": {}}),
            "questions[0] 'usefulness': text must be a text, or one",
        ),
        (
            asking({"text": "x" * 301}),
            "questions[0] 'usefulness': text is longer than 3",
        ),
        (
            asking({"short": "x" * 25}),
            "questions[0] 'usefulness': short is longer than",
        ),
        (
            asking({"repeat": "first"}),
            "questions[0] 'usefulness': asked with the map, a",
        ),
        (
            asking({"per": "finding"}),
            "questions[0] 'usefulness': it asks per finding; n",
        ),
        (
            asking({"min": 3, "max": 2}, 4),
            "questions[4] 'wrong_where': min is 3, and ma",
        ),
        (
            asking({"max": 5}, 4),
            "questions[4] 'wrong_where': max must be a whole number",
        ),
        (
            asking({"longest": 2001}, 5),
            "questions[5] 'comment': longest must be a whole",
        ),
        (
            asking({"show_if": {"question": "spatial", "in": [6]}}, 4),
            "questions[4] 'wrong_where': show_if names 6, which is no answer",
        ),
        (
            asking({"show_if": {"question": "spatial", "in": [True]}}, 4),
            "questions[4] 'wrong_where': show_if names true, which is no answer to",
        ),
        (
            asking({"show_if": {"question": "spatial"}}, 4),
            "questions[4] 'wrong_where': show_if: has in or not_in, one of the two.",
        ),
        (
            asking({"show_if": {"question": "wrong_where", "in": ["marker"]}}, 4),
            "questions[4] 'wrong_where': show_if names 'wrong_where', which is itself",
        ),
        (
            asking({"show_if": {"question": "nothing", "in": [1]}}, 4),
            "questions[4] 'wrong_where': show_if names 'nothing', which is no quest",
        ),
        (
            changed("aided-reading", sessions="one"),
            "questions[0] 'probability_before': asked before each map of a case in one",
        ),
        (
            changed("aided-reading", primary="probability_before"),
            "primary: 'probability_before' is asked before the map; name a required",
        ),
        (
            changed("paper-two-languages", legend=["negative", "positive"]),
            "legend[0]: is missing in 'de'.",
        ),
    ],
)
def test_a_protocol_that_does_not_go_together_is_refused(document, problem):
    assert problem_of(document).startswith(problem)


def test_six_required_questions_at_one_stage_are_too_many():
    document = fixture("several-likert")
    document["questions"] += [{**ANOTHER, "key": f"again_{n}"} for n in range(2)]
    assert problem_of(document) == (
        "questions[7] 'again_1': 5 questions with the map may be required, and this "
        "is number 6."
    )


def test_forty_questions_are_too_many():
    questions = [{**ANOTHER, "key": f"again_{n}"} for n in range(40)]
    assert problem_of(changed(questions=questions)) == (
        "questions: must be 1 to 8 questions, not 40."
    )


def test_a_condition_crosses_no_stage_and_no_finding():
    document = fixture("aided-reading")
    document["questions"][2]["show_if"] = {"question": "probability", "in": [1]}
    assert "is no scale, choice or yes_no and is asked per finding" in problem_of(
        document
    )
    document["questions"].insert(0, {**ANOTHER, "when": "before"})
    document["questions"][3]["show_if"] = {"question": "again", "in": [True]}
    assert "which is asked at another stage; name" in problem_of(document)


@pytest.mark.parametrize("character", ["\0", "\x1b", "\n", "\x7f", "\ud800"])
def test_a_control_character_is_refused_with_its_place(character):
    text = f"Is it{character}there?"
    assert problem_of(asking({"text": text})) == (
        "questions[0] 'usefulness': text has a control character, "
        f"U+{ord(character):04X}."
    )


def test_html_is_text_and_stays_as_it_is():
    html = "<script>alert('x')</script> &amp;"
    whole = complete(asking({"text": html}))
    assert whole["questions"][0]["text"] == html


def test_instructions_may_have_lines_and_no_other_control_characters():
    assert complete(changed(instructions="One.\r\n\tTwo."))
    assert problem_of(changed(instructions="One.\x07")) == (
        "instructions: has a control character, U+0007."
    )


def test_a_document_is_64_kib_at_most():
    options = [{"key": f"k{n}", "text": "ä" * 120} for n in range(9)]
    several = {"kind": "several", "text": "a", "help": "b" * 600, "required": False}
    questions = [{**several, "key": f"many_{n}", "options": options} for n in range(7)]
    document = changed(
        questions=[*fixture("paper")["questions"][:1], *questions],
        primary="rating",
        instructions="ü" * 12_000,
        consent="b" * 20_000,
    )
    SCHEMA.validate(document)
    assert problem_of(document).endswith(" bytes, 65,536 at most; shorten its texts.")


def test_what_was_given_is_neither_changed_nor_shared():
    document = fixture("paper-two-languages")
    before = deepcopy(document)
    whole = complete(document)
    whole["questions"][0]["anchors"][0]["en"] = "other"
    whole["legend"].clear()
    whole["analysis"].clear()
    assert document == before
    assert complete(document) == complete(before)


# Files.


def test_a_file_is_read_and_not_yet_checked(tmp_path):
    path = tmp_path / "protocol.json"
    path.write_text('{"opacity": 2}')
    assert read_protocol(path) == {"opacity": 2}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be an object"),
        (b"\xff", "not valid JSON"),
        (b'{"primary": "a", "primary": "b"}', 'the key "primary" stands twice'),
        (b'{"opacity": NaN}', "NaN is no number"),
        (b'{"consent": "' + b"x" * 2**20 + b'"}', "larger than 1,048,576 bytes"),
        (b'{"a":' * 100_000, "not valid JSON"),
    ],
)
def test_a_file_that_is_no_protocol_is_refused_by_its_name(tmp_path, content, problem):
    path = tmp_path / "protocol.json"
    path.write_bytes(content)
    with pytest.raises(ProtocolError) as refused:
        read_protocol(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_almost_1_mib_is_refused_by_what_is_too_long_in_it(tmp_path):
    path = tmp_path / "protocol.json"
    path.write_text(json.dumps(changed(consent="x" * 1_000_000)))
    assert problem_of(read_protocol(path)) == (
        "consent: is longer than 20,000 characters."
    )


@pytest.mark.parametrize("name", ["/dev/zero", "/nowhere.json", "/"])
def test_what_is_no_file_is_refused_and_never_read_without_end(name):
    with pytest.raises(ProtocolError, match=f"^{name}: "):
        read_protocol(Path(name))


# Properties.


@settings(max_examples=40)
@given(protocols())
def test_a_random_valid_protocol_passes_both_checks_and_is_a_fixed_point(document):
    SCHEMA.validate(document)
    whole = complete(document)
    SCHEMA.validate(whole)
    assert complete(json.loads(json.dumps(whole))) == whole
    assert Protocol.of(whole) == Protocol.of(complete(whole))
    assert {key: whole[key] for key in ("primary", "languages", "legend")} == {
        key: document[key] for key in ("primary", "languages", "legend")
    }


@settings(max_examples=40)
@given(st.data(), protocols())
def test_random_damage_is_refused_in_one_line_or_leaves_a_protocol(data, document):
    document = data.draw(damaged(document))
    message = "."
    try:
        whole = complete(document)
    except ProtocolError as error:
        message = str(error)
    else:
        SCHEMA.validate(whole)
        assert complete(whole) == whole
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 500


def test_a_key_that_stands_twice_is_refused_wherever_a_document_comes_from():
    with pytest.raises(JsonError, match="stands twice"):
        parse_json('{"answers": {"a": 9, "a": 3}}', largest=100)
