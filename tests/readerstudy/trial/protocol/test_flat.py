"""The flat fields of schema 1 are a document, and the document gives them back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readerstudy.trial.protocol.document import (
    Protocol,
    ProtocolError,
    complete,
    template,
)
from readerstudy.trial.protocol.flat import FLAT_FIELDS as FIELDS
from readerstudy.trial.protocol.flat import from_flat, to_flat

OTHER = {
    "question": "Is it there?",
    "anchors": ["a", "b", "c", "d", "e", "f"],
    "instructions": "Look closely.\r\nTwice.",
    "consent": "I agree.",
    "opacity": 0.5,
    "display_mode": "side_by_side",
    "legend": ["below", "above", "Red is above."],
    "blocks": "by_dataset",
    "sessions": 3,
    "washout_days": 14,
    "repeats": 0.2,
    "ratings_can_change": False,
    "asks_confidence": True,
    "primary_analysis": "Friedman's test at 0.05.",
}
WORDS = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20)
FLAT = st.fixed_dictionaries(
    {
        "question": WORDS,
        "anchors": st.lists(WORDS, min_size=6, max_size=6),
        "instructions": WORDS | st.just(""),
        "consent": WORDS | st.just(""),
        "opacity": st.floats(0, 1),
        "display_mode": st.sampled_from(["overlay", "side_by_side"]),
        "legend": st.lists(WORDS, min_size=2, max_size=3),
        "blocks": st.sampled_from(["mixed", "by_dataset"]),
        "sessions": st.sampled_from([1, 3]),
        "washout_days": st.integers(0, 183),
        "repeats": st.floats(0, 0.25),
        "ratings_can_change": st.booleans(),
        "asks_confidence": st.booleans(),
        "primary_analysis": WORDS,
    }
)


def test_every_field_has_another_value_here():
    assert tuple(OTHER) == FIELDS
    assert all(to_flat(template("paper"))[key] != OTHER[key] for key in FIELDS)


def test_no_field_at_all_is_the_template_paper():
    assert complete({}) == template("paper")


@pytest.mark.parametrize("key", FIELDS)
def test_each_field_comes_through_alone(key):
    paper = to_flat(template("paper"))
    assert to_flat(complete({key: OTHER[key]})) == {**paper, key: OTHER[key]}


@given(FLAT)
def test_fields_come_back_exactly_and_are_a_complete_document(fields):
    document = from_flat(fields)
    assert to_flat(document) == fields
    assert complete(fields) == document
    assert complete(document) == document


def test_confidence_is_a_question_after_the_rating():
    protocol = Protocol.of(from_flat(OTHER))
    rating, confidence, comment = protocol.questions
    assert (rating.key, confidence.key, comment.key) == (
        "rating",
        "confidence",
        "comment",
    )
    assert list(confidence.levels) == [1, 2, 3, 4, 5]
    assert (confidence.anchors[0], confidence.anchors[-1]) == ("not at all", "very")
    assert confidence.required
    assert protocol.sessions == "per_arm"


def test_a_document_shares_nothing_with_its_fields():
    fields = to_flat(template("paper"))
    document = from_flat(fields)
    document["legend"].append("more")
    document["analysis"]["alpha"] = 0.5
    assert from_flat(fields) == template("paper")


@pytest.mark.parametrize("change", ["several-likert", "paper-noise-control"])
def test_a_document_that_says_more_has_no_fields(change):
    with pytest.raises(ProtocolError, match="asks more than a protocol of schema 1"):
        to_flat(template(change))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"state": "open"},
            "protocol: there is no 'state'; there are question, anchors",
        ),
        ({"question": ""}, "question: is blank."),
        ({"question": "x" * 301}, "question: is longer than 300 characters."),
        ({"anchors": ["a"] * 5}, "anchors: must be 6 texts, not 5."),
        ({"anchors": [*"abcde", " "]}, "anchors[5]: is blank."),
        ({"sessions": 2}, "sessions: must be 1 or 3."),
        ({"sessions": True}, "sessions: must be 1 or 3."),
        ({"sessions": 3.0}, "sessions: must be 1 or 3."),
        ({"asks_confidence": "yes"}, "asks_confidence: must be true or false."),
        ({"washout_days": 28.0}, "washout_days: must be a whole number from 0 to 183."),
        ({"washout_days": 184}, "washout_days: must be a whole number from 0 to 183."),
        ({"repeats": float("nan")}, "repeats: must be a number from 0 to 0.25."),
        (
            {"display_mode": ["overlay"]},
            "display_mode: must be overlay or side_by_side.",
        ),
        ({"blocks": ""}, "blocks: must be mixed or by_dataset."),
        ({"legend": ["a", "b", " "]}, "legend[2]: is blank."),
        ({"consent": 3}, "consent: must be a text, or one per language."),
        ({"consent": "a\0b"}, "consent: has a control character, U+0000."),
        ({"ratings_can_change": 1}, "ratings_can_change: must be true or false."),
        ({"primary_analysis": None}, "primary_analysis: must be a text."),
    ],
)
def test_a_wrong_field_is_refused_by_name(fields, problem):
    with pytest.raises(ProtocolError) as refused:
        complete(fields)
    assert str(refused.value).startswith(problem)
