"""The ratings table: complete, and blind as long as it has to be."""

import csv
import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import time_machine
from django.contrib.auth.models import User

from readerstudy.analysis.ratings import parse_ratings
from readerstudy.models import Arm, Study
from readerstudy.trial.enrolment import void_run
from readerstudy.trial.exports.tables import ratings_table
from readerstudy.trial.policies import Refusal
from readerstudy.trial.rating import record_shown
from readerstudy.trial.study import lock_study, unblind_study
from tests.readerstudy.factories import (
    VARIANTS,
    answer,
    begin,
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
        ratings_table(study, blinded=blinded).csv()


def test_it_has_the_columns_of_the_contract(study):
    header = (
        "reader,dataset,image,variant,rating,repeat,run,position,session,shown_at,"
        "submitted_at,active_ms,confidence,comment,cannot_judge"
    )
    assert ratings_table(lock(study), blinded=True).csv().startswith(f"{header}\n")


def test_every_presentation_is_a_row_with_what_was_recorded(study):
    rows = rows_of(ratings_table(unblind(study), blinded=False).csv())
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
                    "rating": str(rated.answer["answers"]["rating"]),
                    "repeat": "0",
                    "run": "1",
                    "position": str(p.position),
                    "session": "1",
                    "shown_at": shown.at.isoformat(timespec="milliseconds"),
                    "submitted_at": rated.at.isoformat(timespec="milliseconds"),
                    "active_ms": "",
                    "confidence": "",
                    "comment": "",
                    "cannot_judge": "",
                }
            )
    expected.sort(key=lambda row: tuple(row.values()))
    assert rows == expected
    assert len(rows) == 12


@pytest.mark.parametrize("blinded", [True, False])
def test_a_locked_study_gives_letters_whatever_is_asked(study, blinded):
    rows = rows_of(ratings_table(lock(study), blinded=blinded).csv())
    assert {row["variant"] for row in rows} == {"X", "Y", "Z"}


def test_an_unblinded_study_gives_names_or_letters(study):
    unblind(study)
    names = {
        row["variant"] for row in rows_of(ratings_table(study, blinded=False).csv())
    }
    letters = {
        row["variant"] for row in rows_of(ratings_table(study, blinded=True).csv())
    }
    assert (names, letters) == (set(VARIANTS), {"X", "Y", "Z"})


def test_names_and_letters_stand_for_the_same_ratings(study):
    unblind(study)
    letter_of = dict(study.arms.values_list("variant", "letter"))
    named = rows_of(ratings_table(study, blinded=False).csv())
    for row in named:
        row["variant"] = letter_of[row["variant"]]
    named.sort(key=lambda row: tuple(row.values()))
    assert named == rows_of(ratings_table(study, blinded=True).csv())


def test_what_was_not_rated_is_an_empty_rating(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    first, second, _ = study.enrolments.get().presentations.order_by("position")
    answer(first, rhea, 0)
    record_shown(presentation=second, user=rhea)
    rows = {
        row["position"]: row
        for row in rows_of(ratings_table(lock(study), blinded=1).csv())
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
        answer(presentation, rhea, 3)
    (row,) = [
        r
        for r in rows_of(ratings_table(lock(study), blinded=True).csv())
        if r["rating"]
    ]
    assert row["shown_at"] == "2026-03-01T12:00:00.250+00:00"
    assert row["submitted_at"] == "2026-03-01T12:00:08.250+00:00"


def test_rows_are_sorted_by_reader_data_set_image_and_letter(tmp_path, study):
    keys = [
        (row["reader"], row["dataset"], row["image"], row["variant"])
        for row in rows_of(ratings_table(lock(study), blinded=True).csv())
    ]
    assert keys == sorted(set(keys))


def test_a_blinded_table_depends_on_the_letters_alone(study):
    """Had other letters been drawn, the table would be the same with those letters."""
    lock(study)
    before = rows_of(ratings_table(study, blinded=True).csv())
    turned = {"X": "Y", "Y": "Z", "Z": "X"}
    arms = list(study.arms.all())
    Arm.objects.update(letter="")
    for arm in arms:
        arm.letter = turned[arm.letter]
        arm.save(update_fields=["letter"])
    for row in before:
        row["variant"] = turned[row["variant"]]
    before.sort(key=lambda row: tuple(row.values()))
    assert rows_of(ratings_table(study, blinded=True).csv()) == before


def test_a_blinded_table_holds_no_name_run_token_or_seed(study):
    text = ratings_table(lock(study), blinded=True).csv()
    secrets = [*VARIANTS, "run-of"]
    for enrolment in study.enrolments.all():
        secrets += [enrolment.seed, *enrolment.presentations.values_list("token")[0]]
    assert [secret for secret in secrets if secret in text] == []


def presentations_of(reader):
    return list(reader.enrolments.current().get().presentations.order_by("position"))


def only_row(study, position):
    rows = rows_of(ratings_table(lock(study), blinded=True).csv())
    (row,) = [row for row in rows if row["position"] == str(position)]
    return row


def test_a_row_has_the_answer_that_stood_at_the_end(tmp_path, rhea):
    study = make_study(
        tmp_path / "bundle", readers=[rhea], protocol={"asks_confidence": True}
    )
    first = presentations_of(rhea)[0]
    given = answer(
        first, rhea, 2, confidence=1, comment="unsure", viewer={"active_ms": 4000}
    )
    changed = answer(
        first,
        rhea,
        5,
        confidence=4,
        comment="now I see it",
        viewer={"active_ms": 1500, "zoom": 2},
        change=given.number,
    )
    row = only_row(study, 1)
    assert row["rating"] == "5"
    assert row["confidence"] == "4"
    assert row["comment"] == "now I see it"
    assert row["active_ms"] == "5500"
    assert row["submitted_at"] == changed.at.isoformat(timespec="milliseconds")
    assert row["cannot_judge"] == ""


def test_what_cannot_be_judged_has_its_reason_and_no_rating(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea])
    first, second, *_ = presentations_of(rhea)
    answer(first, rhea, None, cannot_judge="image_quality", comment="blurred")
    # An answer that was withdrawn is none, whichever came first.
    given = answer(second, rhea, 4)
    answer(second, rhea, None, cannot_judge="finding_not_visible", change=given.number)
    rows = {
        row["position"]: row
        for row in rows_of(ratings_table(lock(study), blinded=True).csv())
    }
    assert rows["1"]["cannot_judge"] == "image_quality"
    assert rows["1"]["comment"] == "blurred"
    assert rows["2"]["cannot_judge"] == "finding_not_visible"
    assert rows["1"]["rating"] == rows["2"]["rating"] == ""
    assert rows["1"]["submitted_at"] != ""
    assert rows["3"]["cannot_judge"] == rows["3"]["submitted_at"] == ""


def test_an_answer_after_a_refusal_to_judge_is_a_rating(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea])
    first = presentations_of(rhea)[0]
    refused = answer(first, rhea, None, cannot_judge="other")
    answer(first, rhea, 0, change=refused.number)
    row = only_row(study, 1)
    assert (row["rating"], row["cannot_judge"]) == ("0", "")


def test_a_repeat_is_a_row_of_its_own_after_the_first_showing(tmp_path, rhea):
    study = make_study(
        tmp_path / "bundle", readers=[rhea], cases=6, protocol={"repeats": 0.25}
    )
    # The second time it is rated lower, which must not decide the order of the rows.
    for p in presentations_of(rhea):
        answer(p, rhea, 1 if p.repeat else 4)
    rows = rows_of(ratings_table(lock(study), blinded=True).csv())
    keys = [
        (row["reader"], row["dataset"], row["image"], row["variant"], row["repeat"])
        for row in rows
    ]
    assert keys == sorted(set(keys))
    assert {(row["repeat"], row["rating"]) for row in rows} == {("0", "4"), ("1", "1")}
    for row in rows:
        p = presentations_of(rhea)[int(row["position"]) - 1]
        assert str(p.repeat) == row["repeat"]
        assert str(p.session) == row["session"]
    table = parse_ratings(ratings_table(study, blinded=True).csv().encode())
    assert np.nanmax(table.values) == np.nanmin(table.values) == 4
    assert {row.rating for row in table.repeats} == {1}


def test_practice_and_voided_runs_are_not_in_it(tmp_path, rhea, omar):
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=2,
        training=2,
        protocol={"washout_days": 0},
    )
    for enrolment in study.enrolments.all():
        rate_all(enrolment, 1)
    first_run = rhea.enrolments.get()
    void_run(enrolment=first_run, by=coordinator(), reason="the wrong person")
    begin(study)
    rate_all(rhea.enrolments.current().get(), 5)
    rows = rows_of(ratings_table(lock(study), blinded=True).csv())
    assert len(rows) == 2 * 2 * 3
    assert {(row["reader"], row["run"], row["rating"]) for row in rows} == {
        ("rhea", "2", "5"),
        ("omar", "1", "1"),
    }
    practice = set(study.cases.filter(training=True).values_list("case_id", flat=True))
    assert len(practice) == 2
    assert {row["image"] for row in rows} & practice == set()


def test_the_analysis_reads_whatever_a_reader_writes(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    said = ["a\rb", '"quoted", with\r\ncommas', "\r=1+1"]
    for p, comment in zip(presentations_of(rhea), said, strict=True):
        answer(p, rhea, 3, comment=comment)
    text = ratings_table(lock(study), blinded=True).csv()
    assert parse_ratings(text.encode()).values.tolist() == [[[3.0, 3.0, 3.0]]]
    comments = {row["position"]: row["comment"] for row in rows_of(text)}
    assert comments["1"] == "a\nb"
    assert comments["2"] == '"quoted", with\ncommas'
    assert comments["3"] == "'\n=1+1"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_spreadsheet_finds_no_formula_in_a_comment(tmp_path, rhea, text):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    answer(presentations_of(rhea)[0], rhea, 3, comment=text)
    assert only_row(study, 1)["comment"] == f"'{text}"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_finds_no_formula(tmp_path, db, name):
    reader = User.objects.create(username=name)
    study = make_study(tmp_path / "bundle", readers=[reader], dataset=name, cases=1)
    (row, *_) = rows_of(ratings_table(lock(study), blinded=True).csv())
    assert row["reader"] == f"'{name}"
    assert row["dataset"] == f"'{name}"
    assert row["image"] == f"'{name}-0001"


def test_commas_and_quotes_in_a_name_survive(tmp_path, db):
    reader = User.objects.create(username='O"Hara, B.')
    study = make_study(tmp_path / "bundle", readers=[reader], cases=1)
    rows = rows_of(ratings_table(lock(study), blinded=True).csv())
    assert {row["reader"] for row in rows} == {'O"Hara, B.'}


def test_it_takes_as_many_queries_for_many_rows(
    tmp_path, study, rhea, django_assert_num_queries
):
    lock(study)
    with django_assert_num_queries(2):
        ratings_table(study, blinded=True).csv()
