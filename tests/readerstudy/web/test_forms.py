"""What a browser posts of an answer is the answer, whatever is asked."""

import json

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from readerstudy.trial.protocol.answers import (
    InvalidAnswer,
    Place,
    checked_answer,
    findings_at,
)
from readerstudy.trial.protocol.document import Protocol, complete, of_template
from readerstudy.web.forms import PostedAnswer
from readerstudy.web.questions.asking import field_names
from tests.readerstudy.web.protocols import KINDS

PLACE = Place(findings=("Nodule", "Effusion"), width=40, height=30, first=True)
PROTOCOLS = {
    "kinds": Protocol.of(complete(KINDS)),
    "point": Protocol.of(complete(of_template("point"))),
    "aided": Protocol.of(complete(of_template("aided-reading"))),
    "likert": Protocol.of(complete(of_template("several-likert"))),
}
POINT = st.tuples(st.integers(0, 39), st.integers(0, 29)).map(list)


def values(question):
    """Any answer to a question, as its document has it."""
    if question.kind in ("scale", "slider"):
        return st.sampled_from(question.levels or range(101))
    if question.kind == "yes_no":
        return st.booleans()
    if question.kind == "choice":
        return st.sampled_from(question.option_keys)
    if question.kind == "several":
        chosen = st.sets(st.sampled_from(question.option_keys), max_size=question.most)
        in_order = chosen.map(
            lambda keys: [k for k in question.option_keys if k in keys]
        )
        return in_order.filter(lambda keys: len(keys) >= question.least)
    if question.kind == "points":
        return st.lists(POINT, min_size=question.least, max_size=question.most)
    if question.kind == "box":
        box = POINT.map(lambda point: [*point, 40 - point[0], 30 - point[1]])
        return st.lists(box, min_size=question.least, max_size=question.most)
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@st.composite
def documents(draw, protocol, stage):
    """A complete answer, comments now and then."""
    answers = {}
    for question in protocol.questions:
        if question.stage != stage:
            continue
        if not question.required and draw(st.booleans()):
            continue
        findings = findings_at(protocol, question, PLACE)
        each = {finding: draw(values(question)) for finding in findings}
        answers[question.key] = each if findings else draw(values(question))
    return {"answers": answers}


def posted(protocol, document):
    """The fields that a browser makes of it."""
    data = QueryDict("_drawn=1", mutable=True)
    for question in protocol.questions:
        value = document["answers"].get(question.key)
        if value is None:
            continue
        findings = findings_at(protocol, question, PLACE)
        parts = [value[finding] for finding in findings] if findings else [value]
        for name, part in zip(field_names(question, findings), parts, strict=True):
            data.setlist(name, _texts(question, part))
    return data


def _texts(question, value):
    if question.kind == "several":
        return value or [""]
    if question.kind == "yes_no":
        return ["yes" if value else "no"]
    return [json.dumps(value) if question.is_place else str(value)]


@pytest.mark.parametrize("name", PROTOCOLS)
@given(data=st.data())
def test_what_is_posted_is_the_document_that_it_says(name, data):
    protocol = PROTOCOLS[name]
    stages = {question.stage for question in protocol.questions}
    stage = data.draw(st.sampled_from(sorted(stages)))
    document = data.draw(documents(protocol, stage))

    found = PostedAnswer.of(posted(protocol, document), protocol, PLACE).document

    assert found == document
    checked_answer(protocol, stage, found, PLACE)


NAMES = [
    "sure",
    "wrong",
    "lesions",
    "again",
    "comment",
    "point_after.0",
    "point_after.-1",
    "probability.1",
    "probability.",
    "probability.99",
    ".",
    "a.b",
    "cannot_judge",
    "_drawn",
    "_change",
    "_stage",
    "_viewer",
]


def refusal(protocol, data):
    """Why what was posted is no answer; empty where it is one."""
    try:
        found = PostedAnswer.of(data, protocol, PLACE)
        checked_answer(protocol, found.stage, found.document, PLACE)
    except InvalidAnswer as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize("name", PROTOCOLS)
@given(
    fields=st.dictionaries(
        st.sampled_from(NAMES),
        st.lists(st.text() | st.integers().map(str), min_size=1, max_size=2),
    )
)
def test_whatever_is_posted_is_an_answer_or_refused_in_one_line(name, fields):
    data = QueryDict("_drawn=1", mutable=True)
    for field, texts in fields.items():
        data.setlist(field, texts)

    assert refusal(PROTOCOLS[name], data).isprintable()
