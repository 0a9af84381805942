"""How far readers are, against a count by hand."""

import pytest

from readerstudy.trial.enrolment import void_run
from readerstudy.trial.rating import record_answer, record_shown
from readerstudy.trial.reader_progress import progress
from tests.readerstudy.factories import coordinator, make_study, rate_all, said


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(tmp_path / "b", readers=[rhea, omar], cases=2, training=1)


def answer(presentation, user, ms, change=None):
    record_shown(presentation=presentation, user=user)
    return record_answer(
        presentation=presentation,
        user=user,
        stage="map",
        answer=said(3 if change is None else 4),
        viewer={"active_ms": ms},
        change=change,
    )


def test_practice_counts_neither_as_done_nor_as_time(study, rhea):
    run = study.enrolments.get(reader=rhea)
    for presentation in run.presentations.order_by("position"):
        answer(presentation, rhea, 10_000 if presentation.training else 100)
    mine, other = progress(study)
    assert (mine.rated, mine.total) == (6, 6)
    assert (mine.median_active_ms, mine.median_active_s) == (100, 0.1)
    assert mine.last_seen == run.rating_events.order_by("number").last().at
    assert (other.rated, other.total) == (0, 6)
    assert other.median_active_ms is other.median_active_s is other.last_seen is None


def test_the_time_on_a_map_is_that_of_all_its_answers(study, rhea):
    run = study.enrolments.get(reader=rhea)
    presentations = list(run.presentations.order_by("position"))
    answer(presentations[0], rhea, 1)  # practice
    event = answer(presentations[1], rhea, 300)
    answer(presentations[1], rhea, 500, change=event.number)
    assert progress(study)[0].median_active_ms == 800
    assert progress(study)[0].rated == 1


def test_an_answer_without_a_time_is_left_out(study, rhea):
    rate_all(study.enrolments.get(reader=rhea))
    mine = progress(study)[0]
    assert (mine.rated, mine.median_active_ms) == (6, None)
    assert mine.last_seen


def test_a_voided_run_was_last_seen_by_its_reader(study, rhea):
    run = study.enrolments.get(reader=rhea)
    rate_all(run)
    seen = progress(study)[0].last_seen
    void_run(enrolment=run, by=coordinator(), reason="monitor")
    old, _, new = progress(study)
    assert (old.enrolment, old.last_seen) == (run, seen)
    assert (new.enrolment.run, new.rated, new.last_seen) == (2, 0, None)


def test_it_takes_three_queries(study, django_assert_num_queries):
    with django_assert_num_queries(3):
        progress(study)
