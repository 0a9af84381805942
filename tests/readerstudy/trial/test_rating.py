"""A rating is written once, by its reader, while the study is open."""

import threading
import time

import pytest

from readerstudy.models import RatingEvent, Study
from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal
from readerstudy.trial.rating import (
    InvalidRating,
    RatingConflict,
    find_presentation,
    next_presentation,
    record_answer,
    record_shown,
)
from readerstudy.trial.study import lock_study
from tests.readerstudy.factories import (
    coordinator,
    make_study,
    rate_all,
    rating_of,
    said,
)
from tests.readerstudy.trial.at_once import at_once


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2)


@pytest.fixture
def presentation(study, rhea):
    """Rhea's first, shown to her."""
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    record_shown(presentation=presentation, user=rhea)
    return presentation


def rate(presentation, user, rating):
    return record_answer(
        presentation=presentation, user=user, stage="map", answer=said(rating)
    )


def ratings():
    return RatingEvent.objects.filter(kind="rate")


def test_it_finds_the_readers_own_presentation(presentation, rhea):
    assert find_presentation(user=rhea, token=presentation.token) == presentation


@pytest.mark.parametrize("person", ["omar", "ada", "eve"])
def test_it_finds_nothing_for_anybody_else(presentation, person, request):
    user = request.getfixturevalue(person)
    assert find_presentation(user=user, token=presentation.token) is None


@pytest.mark.parametrize("token", ["", "unknown", "a\0b", "ü" * 5000])
def test_it_finds_nothing_for_an_unknown_token(presentation, rhea, token):
    assert find_presentation(user=rhea, token=token) is None


@pytest.mark.parametrize("state", ["draft", "locked", "unblinded"])
def test_it_finds_nothing_in_a_study_that_is_not_open(study, presentation, rhea, state):
    Study.objects.update(state=state)
    assert find_presentation(user=rhea, token=presentation.token) is None


def test_it_finds_all_a_page_needs_in_one_query_and_not_the_arm(
    presentation, rhea, django_assert_num_queries
):
    with django_assert_num_queries(1):
        found = find_presentation(user=rhea, token=presentation.token)
        assert found.enrolment.study.protocol["questions"]
        assert found.overlay.case.findings
    assert "arm_id" in found.get_deferred_fields()
    assert "arm_id" in found.overlay.get_deferred_fields()


def test_it_gives_the_first_unrated_in_order(study, rhea):
    enrolment = study.enrolments.get(reader=rhea)
    seen = []
    while presentation := next_presentation(enrolment):
        seen.append(presentation.position)
        record_shown(presentation=presentation, user=rhea)
        rate(presentation, rhea, 3)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_one_readers_ratings_leave_the_others_list_alone(study, rhea, omar):
    rate_all(study.enrolments.get(reader=rhea))
    assert next_presentation(study.enrolments.get(reader=omar)).position == 1


def test_it_records_once_that_a_presentation_was_shown(presentation, rhea):
    first = presentation.events.get(kind="shown")
    record_shown(presentation=presentation, user=rhea)
    assert presentation.events.get(kind="shown") == first


def test_showing_again_takes_no_transaction(
    presentation, rhea, django_assert_num_queries
):
    with django_assert_num_queries(1):
        record_shown(presentation=presentation, user=rhea)


def test_nothing_is_shown_to_another_reader(study, rhea, omar):
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    with pytest.raises(Refusal, match="another reader's"):
        record_shown(presentation=presentation, user=omar)
    assert not RatingEvent.objects.exists()


@pytest.mark.parametrize("rating", range(6))
def test_it_records_a_rating(presentation, rhea, rating):
    event = rate(presentation, rhea, rating)
    event.refresh_from_db()
    assert (event.presentation, event.user) == (presentation, rhea)
    assert (event.kind, event.stage) == ("rate", "map")
    assert event.answer == {"answers": {"rating": rating}}
    assert event.at >= presentation.events.get(kind="shown").at


@pytest.mark.parametrize("rating", [-1, 6, 7, 2.0, "3", True])
def test_it_refuses_what_is_no_rating(presentation, rhea, rating):
    with pytest.raises(
        InvalidRating, match="rating: must be a whole number from 0 to 5"
    ):
        rate(presentation, rhea, rating)
    assert not ratings().exists()


def test_the_same_rating_again_returns_the_first_event(presentation, rhea):
    first = rate(presentation, rhea, 4)
    again = rate(presentation, rhea, 4)
    assert again == first
    assert ratings().get() == first


def test_another_rating_is_a_conflict_that_carries_the_first(presentation, rhea):
    first = rate(presentation, rhea, 4)
    with pytest.raises(RatingConflict) as caught:
        rate(presentation, rhea, 0)
    assert caught.value.event == first
    assert rating_of(ratings().get()) == 4


def test_it_refuses_another_readers_presentation(presentation, omar):
    with pytest.raises(Refusal, match="another reader's"):
        rate(presentation, omar, 4)
    assert not ratings().exists()


def test_it_refuses_a_presentation_that_was_not_shown(study, rhea):
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    with pytest.raises(Refusal, match="after it was shown"):
        rate(presentation, rhea, 4)
    assert not RatingEvent.objects.exists()


def test_it_refuses_once_the_study_is_locked_meanwhile(study, presentation, rhea):
    """The page was found while the study was open; the answer comes too late."""
    found = find_presentation(user=rhea, token=presentation.token)
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    with pytest.raises(Refusal, match="is locked"):
        rate(found, rhea, 4)
    assert not ratings().exists()


@pytest.mark.django_db(transaction=True)
def test_one_rating_posted_eight_times_at_once_is_one_rating(presentation, rhea):
    def post():
        return rate(presentation, rhea, 2)

    assert at_once(*[post] * 8) == [ratings().get()] * 8


@pytest.mark.django_db(transaction=True)
def test_of_different_ratings_at_once_one_stands_and_the_others_conflict(
    presentation, rhea
):
    def post(rating):
        return lambda: rate(presentation, rhea, rating)

    results = at_once(*[post(rating) for rating in range(6)])
    standing = ratings().get()
    conflicts = [result for result in results if isinstance(result, RatingConflict)]
    assert results.count(standing) == 1
    assert [conflict.event for conflict in conflicts] == [standing] * 5


@pytest.mark.django_db(transaction=True)
def test_a_page_loaded_in_two_tabs_is_shown_once(study, rhea):
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    shown = [lambda: record_shown(presentation=presentation, user=rhea)] * 4
    assert at_once(*shown) == [None] * 4
    assert presentation.events.count() == 1


@pytest.mark.django_db(transaction=True)
def test_locking_waits_for_a_rating_that_is_being_written(
    study, presentation, rhea, monkeypatch
):
    """The lock's count of unrated presentations is the truth for good."""
    being_written = threading.Event()
    check = policies.check_can_rate

    def slowly(enrolment):
        check(enrolment)
        being_written.set()
        time.sleep(0.2)

    monkeypatch.setattr(policies, "check_can_rate", slowly)

    def post():
        return rate(presentation, rhea, 2)

    def lock():
        being_written.wait(timeout=10)
        return lock_study(study=study, by=by, reason="over", unfinished=True)

    by = coordinator()
    assert at_once(post, lock) == [ratings().get(), 11]


@pytest.mark.django_db(transaction=True)
def test_no_rating_slips_in_behind_the_lock(study, presentation, rhea):
    def lock():
        return lock_study(study=study, by=by, reason="over", unfinished=True)

    def post():
        return rate(presentation, rhea, 2)

    by = coordinator()
    unrated, posted = at_once(lock, post)
    assert unrated == 12 - ratings().count()
    assert isinstance(posted, Refusal) == (unrated == 12)
