"""The API tells a person about their own studies and nobody about anything else."""

import csv
import io
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.urls import reverse

from readerstudy.trial.enrolment import void_run
from readerstudy.trial.exports.codebook import ALLOCATION_TABLE, ALWAYS_RATED
from readerstudy.trial.exports.tables import allocation_table, ratings_table
from readerstudy.trial.rating import next_presentation
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.factories import answer, coordinator, give, make_study, rate_all

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
    answer(presentation, rhea, 4)
    client.force_login(rhea)
    expected = {
        "uuid": str(study.uuid),
        "name": "Chest maps",
        "state": "open",
        "question": study.protocol["questions"][0]["text"],
        "roles": ["reader"],
        "progress": {"rated": 1, "total": 6},
    }
    assert client.get(STUDIES).json() == [expected]
    assert client.get(address(study)).json() == expected


def test_another_readers_ratings_do_not_show(client, study, rhea, omar):
    presentation = next_presentation(study.enrolments.get(reader=rhea))
    answer(presentation, rhea, 4)
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
        own = address(study)
        pages = (STUDIES, own, f"{own}progress/", f"{own}ratings/")
        pages += (f"{own}allocation/", f"{STUDIES}{uuid4()}/")
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


def test_the_list_takes_few_queries_however_long_it_is(
    client, tmp_path, study, rhea, django_assert_num_queries
):
    for number in range(3):
        make_study(tmp_path / f"m{number}", readers=[rhea], cases=1, name=f"S{number}")
    client.force_login(rhea)
    # Session, person, own runs, studies, roles.
    with django_assert_num_queries(5):
        assert len(client.get(STUDIES).json()) == 4


# With a role


def test_who_holds_a_role_gets_the_study_in_any_state(client, tmp_path, rhea, eve):
    draft = make_study(tmp_path / "d", readers=[rhea], cases=1, opened=False)
    give(draft, eve, "statistician")
    give(draft, eve, "coordinator")
    client.force_login(eve)
    (study,) = client.get(STUDIES).json()
    assert (study["state"], study["progress"]) == ("draft", None)
    assert study["roles"] == ["coordinator", "statistician"]
    assert client.get(address(draft)).json() == study


def test_progress_says_how_far_everybody_is(client, study, rhea, omar):
    run = study.enrolments.get(reader=rhea)
    for presentation in run.presentations.all()[:2]:
        viewer = {"active_ms": 1000 * presentation.position}
        answer(presentation, rhea, 4, viewer=viewer)
    client.force_login(coordinator())
    first, second = client.get(f"{address(study)}progress/").json()
    assert (first["reader"], first["run"]) == ("rhea", 1)
    assert (first["rated"], first["total"], first["median_active_ms"]) == (2, 6, 1500)
    assert first["last_seen"]
    assert (second["reader"], second["rated"], second["last_seen"]) == ("omar", 0, None)
    assert set(first) == {
        "reader",
        "run",
        "rated",
        "total",
        "median_active_ms",
        "last_seen",
        "consented_at",
        "signed_off_at",
        "voided_at",
    }


def test_a_reader_gets_the_own_progress_alone(client, study, rhea, omar):
    rate_all(study.enrolments.get(reader=omar))
    void_run(
        enrolment=study.enrolments.get(reader=rhea), by=coordinator(), reason="monitor"
    )
    client.force_login(rhea)
    (own,) = client.get(f"{address(study)}progress/").json()
    assert (own["reader"], own["run"], own["rated"]) == ("rhea", 2, 0)
    assert own["last_seen"] is own["median_active_ms"] is None


def cells(rows):
    """As the table has them."""
    return [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in rows
    ]


def test_ratings_are_those_of_the_table_by_letter_and_then_by_name(
    client, study, rhea, eve
):
    rate_all(study.enrolments.get(reader=rhea))
    give(study, eve, "statistician")
    client.force_login(eve)
    page = f"{address(study)}ratings/"
    refused = client.get(page)
    assert refused.status_code == 403
    assert "leave it once it is locked" in refused.json()["detail"]

    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    rows = client.get(page).json()
    table = list(csv.DictReader(io.StringIO(ratings_table(study, blinded=True).csv())))
    assert cells(rows) == table
    assert {row["variant"] for row in rows} == {"X", "Y", "Z"}
    assert {type(row["rating"]) for row in rows} == {int, type(None)}

    unblind_study(study=study, by=coordinator(), reason="analysis")
    rows = client.get(page).json()
    assert {row["variant"] for row in rows} == set(CANARIES)


def test_the_allocation_is_told_once_the_study_is_unblinded(client, study, eve):
    give(study, eve, "allocator")
    client.force_login(eve)
    page = f"{address(study)}allocation/"
    assert client.get(page).status_code == 403
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    assert client.get(page).status_code == 403
    unblind_study(study=study, by=coordinator(), reason="analysis")
    rows = client.get(page).json()
    table = csv.DictReader(io.StringIO(allocation_table(study, blinded=False).csv()))
    assert cells(rows) == list(table)


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


@pytest.mark.parametrize(
    ("name", "columns"),
    [("Rating", ALWAYS_RATED), ("Place", ALLOCATION_TABLE)],
)
def test_the_schema_has_the_columns_of_the_codebook(client, rhea, name, columns):
    client.force_login(rhea)
    schema = client.get(SCHEMA, headers={"accept": "application/json"}).json()
    described = schema["components"]["schemas"][name]
    assert list(described["properties"]) == [column.name for column in columns]
    assert set(described["required"]) == set(described["properties"])
    # Its other columns are those of the study's questions, which no schema knows.
    assert ("additionalProperties" in described) == (name == "Rating")
    for column in columns:
        field = described["properties"][column.name]
        numeric = column.type == "integer"
        assert (field["type"], field.get("nullable", False)) == (
            "integer" if numeric else "string",
            numeric,
        )
        assert field["description"] == column.meaning
