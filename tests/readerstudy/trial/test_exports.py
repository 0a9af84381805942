"""The ratings table: complete, and blind as long as it has to be."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import User

from readerstudy.models import Arm, Study
from readerstudy.trial.exports import RATINGS_COLUMNS, ratings_csv
from readerstudy.trial.policies import Refusal
from readerstudy.trial.rating import Answer, record_answer, record_shown
from readerstudy.trial.study import lock_study, unblind_study
from tests.readerstudy.factories import (
    VARIANTS,
    coordinator,
    make_study,
    rate_all,
)


@pytest.fixture
def study(tmp_path, rhea, omar):
    study = make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2)
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    return study


def lock(study):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


def unblind(study):
    unblind_study(study=lock(study), by=coordinator(), reason="analysis")
    return study


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("state", ["draft", "open"])
@pytest.mark.parametrize("blinded", [True, False])
def test_it_refuses_before_the_study_is_locked(study, state, blinded):
    Study.objects.update(state=state)
    study.refresh_from_db()
    with pytest.raises(Refusal, match=f"is {state}; ratings leave it once it is lock"):
        ratings_csv(study, blinded=blinded)


def test_it_has_the_columns_of_the_contract(study):
    header = "reader,dataset,image,variant,rating,position,shown_at,submitted_at\n"
    assert ratings_csv(lock(study), blinded=True).startswith(header)
    assert header.strip() == ",".join(RATINGS_COLUMNS)


def test_every_presentation_is_a_row_with_what_was_recorded(study):
    rows = rows_of(ratings_csv(unblind(study), blinded=False))
    expected = []
    for enrolment in study.enrolments.all():
        for p in enrolment.presentations.all():
            shown, rated = (p.events.get(kind=kind) for kind in ("shown", "rate"))
            expected.append(
                {
                    "reader": enrolment.reader.username,
                    "dataset": "phantom",
                    "image": p.overlay.case.case_id,
                    "variant": p.overlay.arm.variant,
                    "rating": str(rated.rating),
                    "position": str(p.position),
                    "shown_at": shown.at.isoformat(timespec="milliseconds"),
                    "submitted_at": rated.at.isoformat(timespec="milliseconds"),
                }
            )
    expected.sort(key=lambda row: tuple(row.values()))
    assert rows == expected
    assert len(rows) == 12


@pytest.mark.parametrize("blinded", [True, False])
def test_a_locked_study_gives_letters_whatever_is_asked(study, blinded):
    rows = rows_of(ratings_csv(lock(study), blinded=blinded))
    assert {row["variant"] for row in rows} == {"X", "Y", "Z"}


def test_an_unblinded_study_gives_names_or_letters(study):
    unblind(study)
    names = {row["variant"] for row in rows_of(ratings_csv(study, blinded=False))}
    letters = {row["variant"] for row in rows_of(ratings_csv(study, blinded=True))}
    assert (names, letters) == (set(VARIANTS), {"X", "Y", "Z"})


def test_names_and_letters_stand_for_the_same_ratings(study):
    unblind(study)
    letter_of = dict(study.arms.values_list("variant", "letter"))
    named = rows_of(ratings_csv(study, blinded=False))
    for row in named:
        row["variant"] = letter_of[row["variant"]]
    named.sort(key=lambda row: tuple(row.values()))
    assert named == rows_of(ratings_csv(study, blinded=True))


def test_what_was_not_rated_is_an_empty_rating(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    first, second, _ = study.enrolments.get().presentations.order_by("position")
    record_shown(presentation=first, user=rhea)
    record_answer(presentation=first, user=rhea, answer=Answer(rating=0))
    record_shown(presentation=second, user=rhea)
    rows = {
        row["position"]: row for row in rows_of(ratings_csv(lock(study), blinded=1))
    }
    assert rows["1"]["rating"] == "0"
    assert rows["2"]["rating"] == rows["2"]["submitted_at"] == ""
    assert rows["2"]["shown_at"] != ""
    assert rows["3"]["shown_at"] == rows["3"]["submitted_at"] == ""


def test_times_are_utc_whatever_the_zone_of_the_server(tmp_path, rhea, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    noon = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    with time_machine.travel(noon, tick=False) as clock:
        presentation = study.enrolments.get().presentations.get(position=1)
        record_shown(presentation=presentation, user=rhea)
        clock.shift(timedelta(seconds=8))
        record_answer(presentation=presentation, user=rhea, answer=Answer(rating=3))
    (row,) = [r for r in rows_of(ratings_csv(lock(study), blinded=True)) if r["rating"]]
    assert row["shown_at"] == "2026-03-01T12:00:00.250+00:00"
    assert row["submitted_at"] == "2026-03-01T12:00:08.250+00:00"


def test_rows_are_sorted_by_reader_data_set_image_and_letter(tmp_path, study):
    keys = [
        (row["reader"], row["dataset"], row["image"], row["variant"])
        for row in rows_of(ratings_csv(lock(study), blinded=True))
    ]
    assert keys == sorted(set(keys))


def test_a_blinded_table_depends_on_the_letters_alone(study):
    """Had other letters been drawn, the table would be the same with those letters."""
    lock(study)
    before = rows_of(ratings_csv(study, blinded=True))
    turned = {"X": "Y", "Y": "Z", "Z": "X"}
    arms = list(study.arms.all())
    Arm.objects.update(letter="")
    for arm in arms:
        arm.letter = turned[arm.letter]
        arm.save(update_fields=["letter"])
    for row in before:
        row["variant"] = turned[row["variant"]]
    before.sort(key=lambda row: tuple(row.values()))
    assert rows_of(ratings_csv(study, blinded=True)) == before


def test_a_blinded_table_holds_no_name_run_token_or_seed(study):
    text = ratings_csv(lock(study), blinded=True)
    secrets = [*VARIANTS, "run-of"]
    for enrolment in study.enrolments.all():
        secrets += [enrolment.seed, *enrolment.presentations.values_list("token")[0]]
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_finds_no_formula(tmp_path, db, name):
    reader = User.objects.create(username=name)
    study = make_study(tmp_path / "bundle", readers=[reader], dataset=name, cases=1)
    (row, *_) = rows_of(ratings_csv(lock(study), blinded=True))
    assert row["reader"] == f"'{name}"
    assert row["dataset"] == f"'{name}"
    assert row["image"] == f"'{name}-0001"


def test_commas_and_quotes_in_a_name_survive(tmp_path, db):
    reader = User.objects.create(username='O"Hara, B.')
    study = make_study(tmp_path / "bundle", readers=[reader], cases=1)
    rows = rows_of(ratings_csv(lock(study), blinded=True))
    assert {row["reader"] for row in rows} == {'O"Hara, B.'}


def test_it_takes_as_many_queries_for_many_rows(
    tmp_path, study, rhea, django_assert_num_queries
):
    lock(study)
    with django_assert_num_queries(1):
        ratings_csv(study, blinded=True)
