"""The guess of the arms: asked where the protocol says so, once, and telling no arm."""

import pytest

from readerstudy.models import RatingEvent
from readerstudy.trial.enrolment import sign_off
from readerstudy.trial.exports.tables import guesses_table
from readerstudy.trial.guesses import (
    guessed,
    is_due,
    record_guesses,
    record_shown,
    shown_maps,
)
from readerstudy.trial.policies import Refusal, can_change
from readerstudy.trial.readiness import missing_rows
from readerstudy.trial.study import lock_study, unblind_study
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import answer, coordinator, make_study, rate_all

pytestmark = pytest.mark.django_db
GUESSES = ["dual_bn", "", "standard"]


def made(folder, *readers, training=2, **options):
    protocol = {"guess_arms": True}
    return make_study(
        folder / "b", readers=readers, cases=2, training=training, protocol=protocol,
        **options,
    )  # fmt: skip


@pytest.fixture
def finished(tmp_path, rhea):
    enrolment = made(tmp_path, rhea).enrolments.get()
    rate_all(enrolment)
    return enrolment


def guess(enrolment, guesses=GUESSES, user=None):
    user = user or enrolment.reader
    record_shown(enrolment=enrolment, user=user)
    return record_guesses(enrolment=enrolment, user=user, guesses=guesses)


def test_from_the_look_at_the_maps_on_no_answer_can_be_changed(finished):
    presentation = finished.presentations.first()
    number = RatingEvent.objects.standing(presentation).number
    answer(presentation, finished.reader, 5, change=number)
    assert can_change(finished)
    for _ in range(2):
        record_shown(enrolment=finished, user=finished.reader)
    assert finished.study.events.filter(kind="guess_shown").count() == 1
    assert not can_change(finished)
    number = RatingEvent.objects.standing(presentation).number
    with pytest.raises(Refusal, match="final once the maps to guess were shown"):
        answer(presentation, finished.reader, 0, change=number)
    verify(finished.study)


def test_a_guess_before_the_look_is_refused(finished):
    with pytest.raises(Refusal, match="after the maps were shown"):
        record_guesses(enrolment=finished, user=finished.reader, guesses=GUESSES)


def test_a_reader_says_of_each_map_what_it_was_and_it_is_recorded(finished):
    assert is_due(finished)
    guess(finished)
    assert not is_due(finished)
    verify(finished.study)
    rows = guessed(finished.study)
    assert [row["guess"] for row in rows] == GUESSES
    assert [row["arm"] for row in rows] == [o.arm for o in shown_maps(finished)]
    assert {row["arm"].letter for row in rows} == {"X", "Y", "Z"}


def test_the_event_tells_no_arm_nor_where_the_maps_lie(finished):
    event = guess(finished)
    assert event.details.keys() == {"reader", "enrolment", "guesses"}


def test_case_and_order_are_the_seeds_and_each_map_can_come_at_each_place(
    tmp_path, rhea
):
    enrolment = made(tmp_path, rhea).enrolments.get()
    seen = set()
    for number in range(60):
        enrolment.seed = f"{number:032x}"
        maps = shown_maps(enrolment)
        assert [m.pk for m in maps] == [m.pk for m in shown_maps(enrolment)]
        assert len({m.case_id for m in maps}) == 1
        assert maps[0].case.training
        seen |= {(m.case_id, m.arm.letter, place) for place, m in enumerate(maps)}
    assert len(seen) == 2 * 3 * 3


@pytest.mark.parametrize(
    "guesses", [[], ["standard"], ["standard", "", "", ""], ["X", "", ""]]
)
def test_what_is_no_guess_for_each_map_is_refused(finished, guesses):
    with pytest.raises(Refusal, match="Say of each map"):
        guess(finished, guesses)
    assert is_due(finished)


def test_it_comes_after_the_last_rating_before_the_signature_and_once(tmp_path, rhea):
    enrolment = made(tmp_path, rhea).enrolments.get()
    with pytest.raises(Refusal, match="still to be rated"):
        guess(enrolment)
    rate_all(enrolment)
    rhea.set_password("secret")
    rhea.save()
    signature = {"user": rhea, "password": "secret", "told_apart": "never"}
    with pytest.raises(Refusal, match="guess"):
        sign_off(enrolment=enrolment, **signature)
    guess(enrolment)
    with pytest.raises(Refusal, match="given before"):
        guess(enrolment)
    sign_off(enrolment=enrolment, **signature)


def test_nobody_guesses_for_another(finished, omar):
    with pytest.raises(Refusal, match="another reader"):
        guess(finished, user=omar)


def test_it_is_not_asked_where_the_protocol_does_not(tmp_path, rhea):
    enrolment = make_study(tmp_path / "b", readers=[rhea], cases=2).enrolments.get()
    rate_all(enrolment)
    assert not is_due(enrolment)
    with pytest.raises(Refusal, match="No guess is asked for"):
        guess(enrolment, [])


def test_without_a_practice_case_the_study_cannot_open(tmp_path, rhea):
    draft = made(tmp_path, rhea, training=0, opened=False)
    (problem,) = missing_rows(draft)
    assert problem.endswith("needs a practice case.")


def test_guesses_leave_a_locked_study_by_letter_and_an_unblinded_one_by_name(finished):
    study = finished.study
    with pytest.raises(Refusal, match="ratings leave it once it is locked"):
        guesses_table(study, blinded=False)
    guess(finished)
    maps = shown_maps(finished)
    lock_study(study=study, by=coordinator(), reason="over")
    by_letter = dict(row[2:] for row in guesses_table(study, blinded=False).rows)
    assert by_letter == {
        m.arm.letter: said for m, said in zip(maps, GUESSES, strict=True)
    }
    unblind_study(study=study, by=coordinator(), reason="analysed")
    by_name = dict(row[2:] for row in guesses_table(study, blinded=False).rows)
    assert by_name == {
        m.arm.variant: said for m, said in zip(maps, GUESSES, strict=True)
    }
    assert guesses_table(study, blinded=True).rows[0][2] == "X"
