"""What an answer may say, and how it is changed without anything being lost."""

from datetime import timedelta

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.utils import timezone

from readerstudy.models import RatingEvent
from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal
from readerstudy.trial.rating import (
    InvalidRating,
    RatingConflict,
    changeable,
    changeable_before,
    find_presentation,
    next_presentation,
    record_answer,
    record_shown,
)
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import answer, make_study, rate_all, said
from tests.readerstudy.trial.at_once import at_once

NOT_VISIBLE = said(None, "finding_not_visible")
REASONS = ["finding_not_visible", "image_quality", "other"]


def made(tmp_path, rhea, **protocol):
    return make_study(
        tmp_path / "bundle", readers=[rhea], cases=2, protocol=protocol
    ).enrolments.get()


@pytest.fixture
def enrolment(tmp_path, rhea):
    return made(tmp_path, rhea)


@pytest.fixture
def presentation(enrolment, rhea):
    """Rhea's first, shown to her."""
    return shown(next_presentation(enrolment), rhea)


def shown(presentation, user):
    record_shown(presentation=presentation, user=user)
    return presentation


def give(presentation, user, given, change=None, viewer=None):
    return record_answer(
        presentation=presentation,
        user=user,
        stage="map",
        answer=given,
        viewer=viewer,
        change=change,
    )


def answers(presentation):
    events = presentation.events.answers().order_by("number")
    return [(e.kind, e.answer) for e in events]


# What it says


@pytest.mark.parametrize("reason", REASONS)
def test_a_map_that_cannot_be_judged_is_answered_with_the_reason(
    enrolment, presentation, rhea, reason
):
    event = give(presentation, rhea, said(None, reason, comment="too dark"))
    assert (event.kind, event.reason) == ("cannot_judge", "")
    assert event.answer == {"answers": {"comment": "too dark"}, "cannot_judge": reason}
    assert next_presentation(enrolment).position == 2


def test_those_are_all_the_reasons_that_a_study_has_if_it_names_none(enrolment):
    reasons = enrolment.study.protocol["cannot_judge"]
    assert [reason["key"] for reason in reasons] == REASONS


def test_it_keeps_comment_and_viewer(presentation, rhea):
    viewer = {"active_ms": 1200, "window": {"center": 40.5, "width": 400}}
    event = give(presentation, rhea, said(3, comment="β"), viewer=viewer)
    event.refresh_from_db()
    assert event.answer == {"answers": {"rating": 3, "comment": "β"}}
    assert (event.stage, event.language, event.viewer) == ("map", "en", viewer)
    assert verify(presentation.enrolment.study)


def test_confidence_is_kept_where_the_study_asks_for_it(tmp_path, rhea):
    enrolment = made(tmp_path, rhea, asks_confidence=True)
    first = shown(next_presentation(enrolment), rhea)
    event = give(first, rhea, said(3, confidence=5))
    assert event.answer == {"answers": {"rating": 3, "confidence": 5}}
    second = shown(next_presentation(enrolment), rhea)
    # Whoever cannot judge is not asked how surely.
    assert give(second, rhea, NOT_VISIBLE).answer == NOT_VISIBLE


@pytest.mark.parametrize(
    ("asks", "given", "problem"),
    [
        (False, said(None), "rating: an answer is missing"),
        (False, said(3, "other"), "rating: either answer or say why not"),
        (False, said(None, "tired"), "cannot_judge: must be .*, not 'tired'"),
        (False, said(7), "rating: must be a whole number from 0 to 5"),
        (False, said(3, comment="a\0b"), "comment: must be a text that can be kept"),
        (False, said(3, comment="x" * 2001), "comment: must have 2,000 characters"),
        (False, said(3, confidence=3), "'confidence': there is no such question"),
        (True, said(3), "confidence: an answer is missing"),
        (True, said(3, confidence=6), "confidence: must be a whole number from 1 to 5"),
        (True, said(3, confidence=0), "confidence: must be a whole number from 1 to 5"),
        (True, said(None, "other", confidence=3), "confidence: either answer or say"),
    ],
)
def test_it_refuses_an_answer_that_says_too_little_or_too_much(
    tmp_path, rhea, asks, given, problem
):
    enrolment = made(tmp_path, rhea, asks_confidence=asks)
    first = shown(next_presentation(enrolment), rhea)
    with pytest.raises(InvalidRating, match=problem):
        give(first, rhea, given)
    assert answers(first) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "rate", "answer": None},
        {"kind": "rate", "answer": said(None)},
        {"kind": "rate", "answer": said(6)},
        {"kind": "rate", "answer": said(3, "other")},
        {"kind": "change", "answer": None},
        {"kind": "change", "answer": said(None, "other")},
        {"kind": "cannot_judge", "answer": said(None, "tired")},
        {"kind": "cannot_judge", "answer": said(None)},
        {"kind": "cannot_judge", "answer": None, "reason": "other"},
        {"kind": "shown", "answer": said(3)},
        {"kind": "void", "answer": said(3)},
        {"kind": "rate", "answer": said(3, confidence=6)},
    ],
)
def test_the_database_itself_refuses(presentation, rhea, fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        RatingEvent.objects.create(
            enrolment=presentation.enrolment,
            presentation=presentation,
            number=2,
            user=rhea,
            at=timezone.now(),
            **fields,
        )


# Changing it


def test_a_change_names_the_answer_that_it_replaces(presentation, rhea):
    first = give(presentation, rhea, said(4))
    second = give(presentation, rhea, said(1), change=first.number)
    third = give(presentation, rhea, NOT_VISIBLE, change=second.number)
    give(presentation, rhea, said(2), change=third.number)
    assert answers(presentation) == [
        ("rate", said(4)),
        ("change", said(1)),
        ("cannot_judge", NOT_VISIBLE),
        ("change", said(2)),
    ]
    assert verify(presentation.enrolment.study)


@pytest.mark.parametrize("change", [None, 1, 99])
def test_another_answer_without_the_standing_number_writes_nothing(
    presentation, rhea, change
):
    first = give(presentation, rhea, said(4))
    with pytest.raises(RatingConflict) as caught:
        give(presentation, rhea, said(1), change=change)
    assert caught.value.event == first
    assert len(answers(presentation)) == 1


@pytest.mark.parametrize(
    "other",
    [NOT_VISIBLE, said(4, comment="afterthought"), said(3)],
)
def test_whatever_is_compared_makes_another_answer(presentation, rhea, other):
    give(presentation, rhea, said(4))
    with pytest.raises(RatingConflict):
        give(presentation, rhea, other)


def test_how_the_map_was_looked_at_makes_no_other_answer(presentation, rhea):
    first = give(presentation, rhea, said(4), viewer={"active_ms": 5})
    again = give(presentation, rhea, said(4), viewer={"active_ms": 9})
    assert again == first


def test_a_change_sent_twice_is_one_change(presentation, rhea):
    first = give(presentation, rhea, said(4))
    changed = [give(presentation, rhea, said(1), change=first.number) for _ in range(2)]
    assert changed[0] == changed[1]
    assert len(answers(presentation)) == 2


def test_a_change_to_the_same_answer_writes_nothing(presentation, rhea):
    first = give(presentation, rhea, said(4))
    assert give(presentation, rhea, said(4), change=first.number) == first


def test_an_answer_is_final_where_the_study_says_so(tmp_path, rhea):
    enrolment = made(tmp_path, rhea, ratings_can_change=False)
    first = shown(next_presentation(enrolment), rhea)
    event = give(first, rhea, said(4))
    assert changeable(first) is None
    with pytest.raises(Refusal, match="an answer is final"):
        give(first, rhea, said(1), change=event.number)
    assert len(answers(first)) == 1


def test_it_tells_what_can_be_changed(presentation, rhea):
    assert changeable(presentation) is None
    event = give(presentation, rhea, said(4))
    assert changeable(presentation) == event


def test_it_finds_the_one_before(enrolment):
    first, second = enrolment.presentations.all()[:2]
    assert changeable_before(second) == first
    assert changeable_before(first) is None


@pytest.mark.django_db(transaction=True)
def test_of_two_changes_at_once_one_stands_and_the_other_conflicts(presentation, rhea):
    first = give(presentation, rhea, said(4))

    def change(rating):
        found = find_presentation(user=rhea, token=presentation.token)
        return give(found, rhea, said(rating), change=first.number)

    results = at_once(lambda: change(0), lambda: change(5))
    assert sum(isinstance(result, RatingConflict) for result in results) == 1
    assert len(answers(presentation)) == 2
    assert verify(presentation.enrolment.study)


# Sessions


@pytest.fixture
def in_sessions(tmp_path, rhea):
    return made(tmp_path, rhea, sessions=3, washout_days=28)


def rate_session(enrolment, number):
    for presentation in enrolment.presentations.filter(session=number):
        answer(presentation, enrolment.reader)


def test_each_session_shows_each_case_once(in_sessions):
    for number in (1, 2, 3):
        rows = in_sessions.presentations.filter(session=number)
        assert rows.values("case").distinct().count() == len(rows) == 2


def test_the_next_session_waits_for_the_washout(in_sessions, rhea):
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        rate_session(in_sessions, 1)
        following = next_presentation(in_sessions)
        assert following.session == 2
        assert f"{policies.session_begins(following):%d %B %H:%M}" == "29 March 12:00"
        assert find_presentation(user=rhea, token=following.token) is None
        with pytest.raises(Refusal, match="begins on 29 March 2026, 12:00 UTC"):
            record_shown(presentation=following, user=rhea)
    with time_machine.travel("2026-03-29T11:59:59Z", tick=False):
        assert find_presentation(user=rhea, token=following.token) is None
    with time_machine.travel("2026-03-29T12:00:00Z", tick=False):
        assert find_presentation(user=rhea, token=following.token) == following
        rate_session(in_sessions, 2)
        third = next_presentation(in_sessions)
        assert policies.session_begins(third) == timezone.now() + timedelta(days=28)


def test_a_session_is_over_once_the_next_has_begun(in_sessions, rhea):
    """Its maps would be seen beside those from which the washout parts them."""
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        rate_session(in_sessions, 1)
    first = in_sessions.presentations.first()
    standing = RatingEvent.objects.standing(first)
    with time_machine.travel("2026-03-30T12:00:00Z", tick=False):
        assert find_presentation(user=rhea, token=first.token) == first
        shown(next_presentation(in_sessions), rhea)
        assert find_presentation(user=rhea, token=first.token) is None
        with pytest.raises(Refusal, match="That session is over"):
            give(first, rhea, said(5), change=standing.number)
        following = next_presentation(in_sessions)
        assert find_presentation(user=rhea, token=following.token) == following


def test_a_change_in_an_earlier_session_begins_the_washout_anew(in_sessions, rhea):
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        rate_session(in_sessions, 1)
    first = in_sessions.presentations.first()
    with time_machine.travel("2026-03-20T12:00:00Z", tick=False):
        standing = RatingEvent.objects.standing(first)
        give(first, rhea, said(5), change=standing.number)
        following = next_presentation(in_sessions)
        begins = policies.session_begins(following)
        assert begins == timezone.now() + timedelta(days=28)


def test_one_session_knows_no_washout(enrolment, rhea):
    rate_all(enrolment)
    assert policies.session_begins(enrolment.presentations.last()) is None


# Practice and repeats


def test_practice_comes_first_and_repeats_in_the_last_round(tmp_path, rhea):
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea],
        cases=8,
        training=3,
        protocol={"repeats": 0.1},
    )
    rows = list(study.enrolments.get().presentations.all())
    assert [row.training for row in rows] == [True] * 3 + [False] * 30
    assert {row.case.training for row in rows[:3]} == {True}
    assert {row.case.training for row in rows[3:]} == {False}
    # Three rounds of eight cases, and six repeats in the last one.
    assert [row.repeat for row in rows[:19]] == [0] * 19
    repeats = [row for row in rows[19:] if row.repeat]
    assert [row.repeat for row in repeats] == [1] * 6
    first_seen = {row.overlay_id: row for row in rows if not row.repeat}
    for row in repeats:
        first = first_seen[row.overlay_id]
        assert (row.case, row.arm) == (first.case, first.arm)
        assert row.token != first.token
        assert row.position > first.position
    rate_all(study.enrolments.get())
    assert verify(study)
