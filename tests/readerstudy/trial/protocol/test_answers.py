"""An answer is one canonical document, of what was asked and nothing else."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.trial.protocol.answers import (
    InvalidAnswer,
    Place,
    checked_answer,
    findings_at,
    questions_at,
)
from readerstudy.trial.protocol.document import Protocol, complete, template
from readerstudy.trial.protocol.questions import in_language
from tests.readerstudy.trial.protocol.strategies import (
    PLACES,
    answers,
    damaged,
    protocols,
)

FIXTURES = Path(__file__).parent / "fixtures"
PLACE = Place(("Nodule", "Mass"), width=1000, height=500, first=True)
AGAIN = Place(("Nodule", "Mass"), width=1000, height=500, first=False)
STAGES = st.sampled_from(["image", "map"])


def of_template(name):
    return Protocol.of(template(name))


LIKERT, POINT, AIDED = map(of_template, ("several-likert", "point", "aided-reading"))
LEVELS = {"usefulness": 4, "spatial": 5, "trust": 3, "understanding": 2}
WRONG = {"usefulness": 4, "spatial": 2, "trust": 3, "understanding": 2}


def every_kind():
    """A protocol with every kind of question that no template has."""
    document = template("several-likert")
    options = [{"key": key, "text": key.title()} for key in ("left", "right")]
    document["questions"] = [
        {"key": "side", "kind": "choice", "text": "Side?", "options": options},
        {"key": "sure", "kind": "yes_no", "text": "Sure?", "required": False},
        {"key": "where", "kind": "box", "text": "Where?", "max": 2, "required": False},
        {"key": "spots", "kind": "points", "text": "Spots?", "max": 3, "per": "case"},
        {
            "key": "why",
            "kind": "text",
            "text": "Why?",
            "show_if": {"question": "sure", "not_in": [True]},
        },
    ]
    return Protocol.of(complete({**document, "primary": "side"}))


EVERY = every_kind()
SPOTS = {"side": "left", "spots": [[0, 0]]}


def canonical(protocol, given, stage="map", place=PLACE, **more):
    return checked_answer(protocol, stage, {"answers": given, **more}, place)


def problem_of(protocol, document, stage="map", place=PLACE):
    with pytest.raises(InvalidAnswer) as refused:
        checked_answer(protocol, stage, document, place)
    assert str(refused.value).isprintable()
    return str(refused.value)


# What is asked.


def test_what_is_asked_before_the_map_is_asked_at_no_other_stage():
    assert [q.key for q in questions_at(AIDED, "image", PLACE)] == [
        "probability_before"
    ]
    assert [q.key for q in questions_at(AIDED, "map", PLACE)] == [
        "probability",
        "comment",
    ]


def test_what_is_asked_first_is_not_asked_again():
    assert [q.key for q in questions_at(POINT, "image", PLACE)] == ["point_before"]
    assert questions_at(POINT, "image", AGAIN) == []


def test_findings_are_the_protocols_and_else_of_points_the_cases():
    (probability, *_) = questions_at(AIDED, "map", PLACE)
    assert findings_at(AIDED, probability, PLACE) == AIDED.findings
    (point, changed_mind, _) = questions_at(POINT, "map", PLACE)
    assert findings_at(POINT, point, PLACE) == ("Nodule", "Mass")
    assert findings_at(POINT, changed_mind, PLACE) == ()


def test_a_case_without_a_finding_is_not_asked_for_points_of_each():
    nothing = Place((), width=10, height=10, first=True)
    assert questions_at(POINT, "image", nothing) == []
    assert canonical(POINT, {"changed_mind": True}, place=nothing)


def test_words_are_given_in_a_language():
    assert in_language({"en": "yes", "de": "ja"}, "de") == "ja"
    assert in_language("yes", "de") == "yes"


# What is kept.


@pytest.mark.parametrize("name", ["several-likert", "aided-reading"])
def test_the_documents_of_the_tables_are_canonical(name):
    protocol = of_template(name)
    table = name.split("-")[0]
    rows = json.loads((FIXTURES / f"tables_{table}_input.json").read_text())
    documents = [document for row in rows for document in row["documents"]]
    assert documents
    for document in documents:
        answer = document["answer"]
        kept = checked_answer(protocol, document["stage"], answer, PLACE)
        # Several are kept in the protocol's order.
        answer["answers"].get("wrong_where", []).sort(key=["marker", "border"].index)
        assert kept == answer


def test_several_are_kept_in_the_protocols_order():
    given = {**WRONG, "wrong_where": ["border", "other_organ"]}
    assert canonical(LIKERT, given)["answers"]["wrong_where"] == [
        "other_organ",
        "border",
    ]


def test_none_of_several_is_an_answer_where_the_protocol_allows_it():
    assert (
        canonical(LIKERT, {**WRONG, "wrong_where": []})["answers"]["wrong_where"] == []
    )


def test_an_answer_on_a_condition_that_fails_is_dropped():
    given = {**LEVELS, "wrong_where": ["border"]}
    assert canonical(LIKERT, given) == {"answers": LEVELS}
    # Before anything else is asked of it, for a page may have kept what it was.
    assert canonical(LIKERT, {**LEVELS, "wrong_where": 7}) == {"answers": LEVELS}


def test_a_required_question_on_a_condition_is_required_where_it_holds():
    assert canonical(EVERY, {**SPOTS, "sure": True}) == {
        "answers": {"side": "left", "sure": True, "spots": [[0, 0]]}
    }
    assert problem_of(EVERY, {"answers": {**SPOTS, "sure": False}}) == (
        "why: an answer is missing."
    )


def test_a_condition_on_what_was_not_answered_does_not_hold():
    assert canonical(EVERY, {**SPOTS, "why": "So."}) == {"answers": SPOTS}


def test_a_blank_text_is_dropped():
    assert canonical(LIKERT, {**LEVELS, "comment": " \n "}) == {"answers": LEVELS}


def test_a_text_is_kept_to_the_letter():
    comment = " <b>Zu dunkel</b>\r\n\x07 "
    given = {**LEVELS, "comment": comment}
    assert canonical(LIKERT, given)["answers"]["comment"] == comment


def test_a_line_end_counts_as_one_character():
    given = {**LEVELS, "comment": "\r\n" * 1999 + "."}
    assert canonical(LIKERT, given) == {"answers": given}


def test_whoever_cannot_judge_says_why_and_may_comment():
    answer = canonical(LIKERT, {"comment": "too dark"}, cannot_judge="image_quality")
    assert answer == {
        "answers": {"comment": "too dark"},
        "cannot_judge": "image_quality",
    }


def test_points_and_boxes_may_touch_every_edge():
    given = {**SPOTS, "spots": [[0, 0], [999, 499]], "where": [[0, 0, 1000, 500]]}
    assert canonical(EVERY, given)["answers"] == {
        "side": "left",
        "where": [[0, 0, 1000, 500]],
        "spots": [[0, 0], [999, 499]],
    }


def test_answers_stand_in_the_protocols_order():
    backwards = dict(reversed(LEVELS.items()))
    assert list(canonical(LIKERT, backwards)["answers"]) == list(LEVELS)


# What is refused.


@pytest.mark.parametrize("value", [0, 6, 4.0, True, "4", None, [4], 10**400])
def test_a_level_is_a_whole_number_of_the_scale(value):
    assert problem_of(LIKERT, {"answers": {**LEVELS, "trust": value}}) == (
        "trust: must be a whole number from 1 to 5."
    )


@pytest.mark.parametrize("value", [-1, 101, 50.0, False, "50", None])
def test_a_slider_is_a_whole_number_from_0_to_100(value):
    given = dict.fromkeys(AIDED.findings, 5) | {"Nodule": value}
    assert problem_of(AIDED, {"answers": {"probability": given}}) == (
        "probability of 'Nodule': must be a whole number from 0 to 100."
    )


@pytest.mark.parametrize("value", ["none", 1, None, ["left"]])
def test_a_choice_is_one_of_its_options(value):
    assert problem_of(EVERY, {"answers": {**SPOTS, "side": value}}) == (
        "side: must be left or right."
    )


@pytest.mark.parametrize("value", [0, 1, "true", None, 1.0])
def test_yes_or_no_is_true_or_false(value):
    assert problem_of(EVERY, {"answers": {**SPOTS, "sure": value}}) == (
        "sure: must be true or false."
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["border", "border"], "'border' stands twice"),
        (["border", "lung"], "must be among other_organ, marker, device, border"),
        ([1], "must be among other_organ, marker, device, border"),
        ("border", "must be a list of 0 to 4 options"),
        (["border"] * 5, "must be a list of 0 to 4 options"),
        (None, "must be a list of 0 to 4 options"),
    ],
)
def test_several_are_different_options(value, problem):
    assert problem_of(LIKERT, {"answers": {**WRONG, "wrong_where": value}}) == (
        f"wrong_where: {problem}."
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "must be a list of 1 to 3 points [x, y]"),
        ([[1, 1]] * 4, "must be a list of 1 to 3 points [x, y]"),
        ([1, 1], "a point [x, y] is 2 whole numbers"),
        ([[1]], "a point [x, y] is 2 whole numbers"),
        ([[1, 1, 1]], "a point [x, y] is 2 whole numbers"),
        ([[1.0, 1]], "a point [x, y] is 2 whole numbers"),
        ([[True, 1]], "a point [x, y] is 2 whole numbers"),
        ([["1", 1]], "a point [x, y] is 2 whole numbers"),
        ([[1000, 1]], "a point [x, y] must lie in the image, 1000 x 500"),
        ([[1, 500]], "a point [x, y] must lie in the image, 1000 x 500"),
        ([[-1, 1]], "a point [x, y] must lie in the image, 1000 x 500"),
    ],
)
def test_points_are_pixels_of_the_image(value, problem):
    assert problem_of(EVERY, {"answers": {**SPOTS, "spots": value}}) == (
        f"spots: {problem}."
    )


@pytest.mark.parametrize(
    "box", [[0, 0, 0, 1], [0, 0, 1, 501], [999, 0, 2, 1], [5, 5, -2, 1], [-1, 0, 2, 2]]
)
def test_a_box_has_an_area_in_the_image(box):
    assert problem_of(EVERY, {"answers": {**SPOTS, "where": [box]}}) == (
        "where: a box [x, y, width, height] must lie in the image, 1000 x 500."
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x" * 1_000_000, "must have 2,000 characters at most"),
        ("\0", "must be a text that can be kept"),
        ("\ud800", "must be a text that can be kept"),
        (3, "must be a text that can be kept"),
        (None, "must be a text that can be kept"),
    ],
)
def test_a_text_is_one_that_can_be_kept(value, problem):
    assert problem_of(LIKERT, {"answers": {**LEVELS, "comment": value}}) == (
        f"comment: {problem}."
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"rating": 3}, "'rating': there is no such question."),
        ({"x" * 100: 3}, f'"{"x" * 60}": there is no such question.'),
        ({"point_before": {}}, "point_before: it is not asked here."),
        ({}, "point_after: an answer is missing."),
        ({"point_after": {}}, "point_after of 'Nodule': an answer is missing."),
        ({"point_after": [[1, 1]]}, "point_after: must be an object by finding."),
        (
            {"point_after": {"Lung": [[1, 1]]}},
            "point_after: 'Lung' is no finding that is asked for.",
        ),
        (
            {"point_after": {"Nodule": [[1, 1], [2, 2]]}},
            "point_after of 'Nodule': must be a list of 1 points [x, y].",
        ),
    ],
)
def test_an_answer_is_to_what_was_asked(given, problem):
    assert problem_of(POINT, {"answers": given}) == problem


def test_a_second_stage_is_not_asked_with_the_first():
    assert problem_of(AIDED, {"answers": {"probability": {}}}, "image") == (
        "probability: it is not asked here."
    )


def test_what_was_asked_first_is_refused_afterwards():
    given = {"point_before": {"Nodule": [[1, 1]], "Mass": [[1, 1]]}}
    assert canonical(POINT, given, "image")
    assert problem_of(POINT, {"answers": given}, "image", AGAIN) == (
        "point_before: it is not asked here."
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, "answers: must be an object by question."),
        ([], "answers: must be an object by question."),
        ("answers", "answers: must be an object by question."),
        ({}, "answers: must be an object by question."),
        ({"answers": None}, "answers: must be an object by question."),
        ({"answers": ["trust"]}, "answers: must be an object by question."),
        ({"answers": {}, "rating": 3}, "'rating': an answer has no such key."),
        (
            {"answers": {}, "cannot_judge": "dark"},
            "cannot_judge: must be finding_not_visible or image_quality or other, "
            "not 'dark'.",
        ),
        (
            {"answers": {}, "cannot_judge": None},
            "cannot_judge: must be finding_not_visible or image_quality or other, "
            "not null.",
        ),
        (
            {"answers": LEVELS, "cannot_judge": "other"},
            "usefulness: either answer or say why not.",
        ),
    ],
)
def test_a_document_has_answers_or_a_reason(document, problem):
    assert problem_of(LIKERT, document) == problem


def test_no_reason_is_taken_where_none_is_asked():
    protocol = Protocol.of(complete({**template("paper"), "cannot_judge": None}))
    assert problem_of(protocol, {"answers": {}, "cannot_judge": "other"}) == (
        "cannot_judge: is not asked here, not 'other'."
    )


def test_an_answer_is_16_kib_at_most():
    document = template("paper")
    text = {"kind": "text", "text": "?", "required": False}
    document["questions"] += [{**text, "key": f"text_{n}"} for n in range(5)]
    protocol = Protocol.of(complete(document))
    given = {f"text_{n}": "€" * 2000 for n in range(5)} | {"rating": 3}
    assert problem_of(protocol, {"answers": given}).endswith(" bytes, 16,384 at most.")


# Properties.


@settings(max_examples=40)
@given(st.data(), protocols(), PLACES, STAGES)
def test_a_random_valid_answer_is_taken_and_its_canonical_form_stays(
    data, document, place, stage
):
    protocol = Protocol.of(complete(document))
    answer = data.draw(answers(protocol, stage, place))
    before = deepcopy(answer)
    kept = checked_answer(protocol, stage, answer, place)
    assert answer == before
    assert checked_answer(protocol, stage, json.loads(json.dumps(kept)), place) == kept
    # What is not kept was asked on a condition that does not hold.
    dropped = set(answer["answers"]) - set(kept["answers"])
    assert all(protocol.question(key).show_if for key in dropped)
    for key in kept["answers"]:
        if protocol.question(key).kind != "several":
            assert kept["answers"][key] == answer["answers"][key]


@settings(max_examples=40)
@given(st.data(), protocols(), PLACES, STAGES)
def test_random_damage_is_refused_in_one_line_or_leaves_an_answer(
    data, document, place, stage
):
    protocol = Protocol.of(complete(document))
    answer = data.draw(damaged(data.draw(answers(protocol, stage, place))))
    message = "."
    try:
        kept = checked_answer(protocol, stage, answer, place)
    except InvalidAnswer as error:
        message = str(error)
    else:
        assert checked_answer(protocol, stage, kept, place) == kept
        assert set(kept) <= {"answers", "cannot_judge"}
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 400
