"""The API tells a person about their own studies and nobody about anything else."""

from uuid import uuid4

import pytest
from django.core.management import call_command
from django.urls import reverse

from readerstudy.trial.rating import (
    Answer,
    next_presentation,
    record_answer,
    record_shown,
)
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.factories import coordinator, make_study

STUDIES = "/api/v1/studies/"
SCHEMA = "/api/schema/"
CANARIES = ("canary-one", "canary-two", "canary-three")


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(
        tmp_path / "bundle", readers=[rhea, omar], cases=2, variants=CANARIES
    )


def address(study):
    return f"{STUDIES}{study.uuid}/"


def test_a_reader_gets_their_studies_with_their_own_progress(client, study, rhea):
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    record_shown(presentation=presentation, user=rhea)
    record_answer(presentation=presentation, user=rhea, answer=Answer(rating=4))
    client.force_login(rhea)
    expected = {
        "uuid": str(study.uuid),
        "name": "Chest maps",
        "state": "open",
        "question": study.question,
        "progress": {"rated": 1, "total": 6},
    }
    assert client.get(STUDIES).json() == [expected]
    assert client.get(address(study)).json() == expected


def test_another_readers_ratings_do_not_show(client, study, rhea, omar):
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    record_shown(presentation=presentation, user=rhea)
    record_answer(presentation=presentation, user=rhea, answer=Answer(rating=4))
    client.force_login(omar)
    assert client.get(address(study)).json()["progress"] == {"rated": 0, "total": 6}


@pytest.mark.parametrize("person", ["ada", "eve"])
def test_who_reads_in_no_study_gets_none(client, study, person, request):
    client.force_login(request.getfixturevalue(person))
    assert client.get(STUDIES).json() == []
    foreign = client.get(address(study))
    unknown = client.get(f"{STUDIES}{uuid4()}/")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content


def test_a_draft_is_not_there_yet(client, tmp_path, rhea):
    draft = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    client.force_login(rhea)
    assert client.get(STUDIES).json() == []
    assert client.get(address(draft)).status_code == 404
    open_study(study=draft, by=coordinator(), reason="ready")
    assert client.get(address(draft)).status_code == 200


def test_whoever_is_not_logged_in_is_refused(client, study):
    for page in (STUDIES, address(study), SCHEMA):
        response = client.get(page)
        assert response.status_code == 403
        assert "credentials were not provided" in response.content.decode()
        assert "Chest maps" not in response.content.decode()


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_read_only(client, study, rhea, method):
    client.force_login(rhea)
    for page in (STUDIES, address(study)):
        response = getattr(client, method)(page, {}, "application/json")
        assert response.status_code == 405


def test_no_answer_names_an_arm_a_run_or_a_letter_in_any_state(client, study, rhea):
    client.force_login(rhea)

    def answers():
        pages = (STUDIES, address(study), SCHEMA, f"{STUDIES}{uuid4()}/")
        return [client.get(page) for page in pages]

    seen = answers()
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    seen += answers()
    unblind_study(study=study, by=coordinator(), reason="analysis")
    seen += answers()
    for response in seen:
        text = response.content.decode() + str(response.headers)
        assert "canary" not in text
        assert "letter" not in text


def test_the_list_takes_one_query_for_its_rows(
    client, study, rhea, django_assert_num_queries
):
    client.force_login(rhea)
    with django_assert_num_queries(3):  # session, person, rows
        client.get(STUDIES)


def test_the_schema_describes_it(client, rhea):
    client.force_login(rhea)
    response = client.get(SCHEMA)
    assert response.status_code == 200
    text = response.content.decode()
    assert "/api/v1/studies/{uuid}/" in text
    assert reverse("api:study-list") == STUDIES
    assert reverse("api:schema") == SCHEMA


def test_the_schema_is_valid_and_without_warnings(tmp_path):
    out = tmp_path / "schema.yml"
    options = {"validate": True, "fail_on_warn": True, "file": str(out)}
    call_command("spectacular", **options)
    assert "openapi: 3" in out.read_text()
