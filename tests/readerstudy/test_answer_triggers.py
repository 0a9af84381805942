"""The database itself lets no answer in that its study does not ask for.

By raw SQL, past every function of the application.
"""

import json

import pytest
from django.db import (
    DataError,
    IntegrityError,
    OperationalError,
    connection,
    models,
    transaction,
)

from readerstudy import answer_triggers, triggers
from readerstudy.models import RatingEvent
from readerstudy.trial.protocol.document import template
from tests.readerstudy.factories import make_study, said

NAME, TABLE = answer_triggers.NAME, answer_triggers.TABLE
ON_SQLITE = connection.vendor == "sqlite"
# What the databases say of a text that is none.
NO_JSON = (DataError, OperationalError)


def question(key, kind, **more):
    return {"key": key, "kind": kind, "text": key, "required": False, **more}


OPTIONS = [{"key": key, "text": key} for key in ("left", "right")]
# One of every kind, and some once for each finding.
QUESTIONS = [
    question("rating", "scale", anchors=["a", "b", "c"], required=True),
    question("trust", "scale", anchors=["a", "b", "c"], per="finding", **{"from": 1}),
    question("likely", "slider", ends=["no", "yes"]),
    question("side", "choice", options=OPTIONS),
    question("sides", "several", options=OPTIONS, per="finding"),
    question("seen", "yes_no"),
    question("why", "text", longest=100),
    question("spot", "points", max=2, per="case"),
]


@pytest.fixture
def presentation(tmp_path, rhea):
    document = {
        **template("paper"),
        "questions": QUESTIONS,
        "findings": ["Nodule", "Pleural effusion"],
        "reference": "hidden",
        "repeats": 0,
    }
    study = make_study(tmp_path / "b", readers=[rhea], cases=1, protocol=document)
    return study.enrolments.get().presentations.first()


def insert(presentation, text, kind="rate", stage="map"):
    """An event with this very text as its answer."""
    values = {
        "enrolment_id": presentation.enrolment_id,
        "presentation_id": presentation.pk,
        "number": 1,
        "username": "rhea",
        "at": "2026-03-01 12:00:00+00:00",
        "previous_hash": "",
        "payload": "{}",
        "hash": "",
        "overlay_sha256": "",
        "stage": stage,
        "kind": kind,
        "answer": text,
        "language": "en",
        "reason": "",
        "viewer": "{}",
        "user_id": presentation.enrolment.reader_id,
    }
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(["%s"] * len(values))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{TABLE}" ({names}) VALUES ({places})',  # noqa: S608
            list(values.values()),
        )


def answers(text):
    """The document of an answer to the primary question and this."""
    return '{"answers": {"rating": 1, ' + text + "}}"


def refused(presentation, text, match=None, **how):
    with pytest.raises((IntegrityError, *NO_JSON), match=match):
        insert(presentation, text, **how)
    assert not RatingEvent.objects.exists()


VALID = [
    said(0),
    said(2),
    said(1, trust={"Nodule": 1, "Pleural effusion": 3}),
    said(1, trust={"Nodule": 2}),
    said(1, likely=0),
    said(1, likely=100),
    said(1, side="left"),
    said(1, sides={"Nodule": ["left", "right"], "Pleural effusion": []}),
    said(1, seen=True),
    said(1, seen=False),
    said(1, why="ä\n\u2028 \U0001f480 \"quoted\" 'it' $.x"),
    said(1, spot=[[0, 1], [5, 5]]),
    {"answers": {"rating": 1, "side": "right", "seen": True, "why": "x"}},
]


@pytest.mark.parametrize("document", VALID, ids=json.dumps)
@pytest.mark.parametrize("kind", ["rate", "change"])
def test_every_kind_of_answer_is_let_in(presentation, document, kind):
    insert(presentation, json.dumps(document), kind=kind)
    assert RatingEvent.objects.get().answer == document


@pytest.mark.parametrize("reason", ["finding_not_visible", "image_quality", "other"])
def test_every_reason_is_let_in_with_what_was_said_all_the_same(presentation, reason):
    document = said(None, reason, why="dark")
    insert(presentation, json.dumps(document), kind="cannot_judge")
    assert RatingEvent.objects.get().answer == document


def test_of_the_image_alone_the_primary_answer_is_not_asked(presentation):
    insert(presentation, '{"answers": {}}', stage="image")
    assert RatingEvent.objects.get().stage == "image"


@pytest.mark.parametrize("kind", ["shown", "void"])
def test_what_is_no_answer_has_none(presentation, kind):
    insert(presentation, None, kind=kind)
    assert RatingEvent.objects.get().answer is None


NOT_ASKED = [
    # The document.
    '"rating"',
    "3",
    "[]",
    "null",
    "{}",
    '{"rating": 1}',
    '{"answers": null}',
    '{"answers": []}',
    '{"answers": 1}',
    '{"answers": {"rating": 1}, "more": 1}',
    '{"answers": {"rating": 1}, "cannot_judge": null}',
    # The primary question.
    '{"answers": {}}',
    '{"answers": {"likely": 2}}',
    '{"answers": {"rating": null}}',
    '{"answers": {"rating": 3}}',
    '{"answers": {"rating": -1}}',
    '{"answers": {"rating": 1.5}}',
    '{"answers": {"rating": "1"}}',
    '{"answers": {"rating": true}}',
    '{"answers": {"rating": false}}',
    '{"answers": {"rating": [1]}}',
    '{"answers": {"rating": {}}}',
    '{"answers": {"rating": 1e300}}',
    '{"answers": {"rating": 100000000000000000000000000001}}',
    # The others.
    answers('"mood": 1'),
    answers('"Rating": 1'),
    answers('"": 1'),
    answers('"likely": {"Nodule": 1}'),
    answers('"likely": -1'),
    answers('"likely": 101'),
    answers('"likely": 49.5'),
    answers('"likely": "50"'),
    answers('"likely": true'),
    answers('"side": "up"'),
    answers('"side": 0'),
    answers('"side": ["left"]'),
    answers('"seen": 1'),
    answers('"seen": "yes"'),
    answers('"seen": null'),
    answers('"why": 7'),
    answers('"why": ["x"]'),
    answers('"why": null'),
    answers('"spot": {"Nodule": [[0, 0]]}'),
    answers('"spot": "0,0"'),
    # Of findings.
    answers('"trust": 1'),
    answers('"trust": [1]'),
    answers('"trust": null'),
    answers('"trust": {"Nodule": 0}'),
    answers('"trust": {"Nodule": 4}'),
    answers('"trust": {"Nodule": 1.5}'),
    answers('"trust": {"Nodule": true}'),
    answers('"trust": {"Nodule": null}'),
    answers('"trust": {"Nodule": 1, "Pleural effusion": "1"}'),
    answers('"sides": {"Nodule": "left"}'),
    answers('"sides": ["left"]'),
    # A key twice, whichever of the two counts.
    '{"answers": {"rating": 1, "rating": 9}}',
    answers('"trust": {"Nodule": 1, "Nodule": 9}'),
]
# PostgreSQL keeps what they mean: the last of two, and a number by its value.
WRITTEN_OTHERWISE = [
    '{"answers": {"rating": 1.0}}',
    '{"answers": {"rating": 1e0}}',
    '{"answers": {"rating": 2, "rating": 1}}',
    '{"answers": {"rating": 9, "rating": 1}}',
    '{"answers": {"rating": 9}, "answers": {"rating": 1}}',
    '{"answers": {"rating": 1}, "answers": {"rating": 1}}',
    answers('"trust": {"Nodule": 2, "Nodule": 1}'),
]


@pytest.mark.parametrize("text", NOT_ASKED)
@pytest.mark.parametrize("kind", ["rate", "change"])
def test_what_the_study_does_not_ask_for_is_refused(presentation, text, kind):
    refused(presentation, text, kind=kind)


@pytest.mark.parametrize("text", WRITTEN_OTHERWISE)
def test_what_is_written_otherwise_is_refused_or_kept_as_it_is_meant(
    presentation, text
):
    try:
        insert(presentation, text)
    except IntegrityError:
        assert not RatingEvent.objects.exists()
    else:
        assert not ON_SQLITE, "SQLite keeps the text, and readers of it differ"
        kept = RatingEvent.objects.get().answer
        assert kept in (said(1), said(1, trust={"Nodule": 1}))
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT "answer"::text FROM "{TABLE}"')  # noqa: S608
            assert json.loads(cursor.fetchone()[0]) == kept


@pytest.mark.parametrize(
    "text", ["", "{", "{answers: {rating: 1}}", '{"answers": {"rating": 0x1}}', "NaN"]
)
def test_what_is_no_json_is_refused(presentation, text):
    refused(presentation, text)


@pytest.mark.parametrize(
    "text",
    [
        '{"answers": {}}',
        '{"answers": {}, "cannot_judge": "tired"}',
        '{"answers": {}, "cannot_judge": ""}',
        '{"answers": {}, "cannot_judge": null}',
        '{"answers": {}, "cannot_judge": 0}',
        '{"answers": {}, "cannot_judge": ["other"]}',
        '{"answers": {"why": 1}, "cannot_judge": "other"}',
        '{"answers": {"mood": 1}, "cannot_judge": "other"}',
        '{"cannot_judge": "other"}',
        '{"answers": [], "cannot_judge": "other"}',
        '{"answers": {}, "cannot_judge": "other", "more": 1}',
        None,
    ],
)
def test_what_is_no_reason_is_refused(presentation, text):
    refused(presentation, text, kind="cannot_judge")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("rate", None),
        ("change", None),
        ("rate", '{"answers": {"rating": 1}, "cannot_judge": "other"}'),
        ("change", '{"answers": {"rating": 1}, "cannot_judge": "other"}'),
        ("rate", '{"answers": {}, "cannot_judge": "other"}'),
        ("shown", '{"answers": {"rating": 1}}'),
        ("void", '{"answers": {"rating": 1}}'),
        ("shown", "null"),
    ],
)
def test_an_answer_that_is_not_of_its_kind_is_refused(presentation, kind, text):
    refused(presentation, text, kind=kind)


def test_no_reason_is_let_in_where_the_study_has_none(tmp_path, rhea):
    document = {**template("paper"), "cannot_judge": None, "repeats": 0}
    study = make_study(tmp_path / "b", readers=[rhea], cases=1, protocol=document)
    presentation = study.enrolments.get().presentations.first()
    for reason in ('"other"', "null"):
        text = f'{{"answers": {{}}, "cannot_judge": {reason}}}'
        refused(presentation, text, "what its study asks for", kind="cannot_judge")


def test_the_primary_answer_is_asked_before_the_map_where_the_study_says_so(
    tmp_path, rhea
):
    rating, comment = template("paper")["questions"]
    document = {
        **template("paper"),
        "reading": "sequential",
        "sessions": "per_arm",
        "questions": [{**rating, "when": "before"}, comment],
        "repeats": 0,
    }
    study = make_study(tmp_path / "b", readers=[rhea], cases=1, protocol=document)
    presentation = study.enrolments.get().presentations.first()
    refused(presentation, '{"answers": {}}', "its study asks for", stage="image")
    insert(presentation, '{"answers": {}}', stage="map")


def test_it_says_which_table_and_why(presentation):
    said_by_it = f"{TABLE}: an answer is what its study asks for"
    refused(presentation, '{"answers": {"rating": 3}}', said_by_it)
    with pytest.raises(IntegrityError, match=said_by_it), transaction.atomic():
        RatingEvent.objects.create(
            enrolment=presentation.enrolment,
            presentation=presentation,
            number=1,
            user=presentation.enrolment.reader,
            at="2026-03-01T12:00:00Z",
            kind="rate",
            answer=said(3),
        )


@pytest.mark.skipif(not ON_SQLITE, reason="SQLite alone has these statements")
@pytest.mark.parametrize("way", ["INSERT OR IGNORE", "REPLACE", "INSERT OR REPLACE"])
def test_no_kind_of_insert_passes_it(presentation, way):
    insert(presentation, '{"answers": {"rating": 1}}')
    columns = [f.column for f in RatingEvent._meta.fields if not f.primary_key]
    names = ", ".join(f'"{name}"' for name in columns)
    other = {"number": "2", "kind": "'change'", "answer": "'{\"answers\": {}}'"}
    values = ", ".join(other.get(name, f'"{name}"') for name in columns)
    sql = f'{way} INTO "{TABLE}" ({names}) SELECT {values} FROM "{TABLE}"'  # noqa: S608
    with (
        pytest.raises(IntegrityError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
    assert RatingEvent.objects.get().answer == said(1)


@pytest.mark.skipif(ON_SQLITE, reason="PostgreSQL alone has roles of replication")
def test_a_replica_is_checked_as_well(presentation):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        refused(presentation, '{"answers": {"rating": 3}}', "its study asks for")


# What the check finds

MISSING = f"The trigger {NAME} that guards {TABLE} is missing."
CHANGED = f"The trigger {NAME} that guards {TABLE} is not as it was made."
WEAKER = {
    "sqlite": [
        f'DROP TRIGGER "{NAME}"',
        answer_triggers.SQLITE.replace("BETWEEN 0 AND 100", "BETWEEN 0 AND 1000"),
    ],
    "postgresql": [
        f'CREATE OR REPLACE FUNCTION "{NAME}"() RETURNS trigger LANGUAGE plpgsql '
        "AS $$ BEGIN RETURN NEW; END $$",
    ],
}
DISABLED = [
    f'ALTER TABLE "{TABLE}" DISABLE TRIGGER "{NAME}"',
    f'ALTER TABLE "{TABLE}" ENABLE TRIGGER "{NAME}"',
]


def execute(*statements):
    connection.check_constraints()
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


@pytest.mark.django_db
def test_a_database_as_migrated_lacks_nothing():
    assert triggers.problems(connection) == []


@pytest.mark.django_db
def test_it_names_the_trigger_that_is_missing():
    execute(*answer_triggers.dropping_sql(connection.vendor))
    assert triggers.problems(connection) == [MISSING]
    triggers.install(connection)
    assert triggers.problems(connection) == []


@pytest.mark.django_db
def test_it_names_the_trigger_that_was_weakened():
    execute(*WEAKER[connection.vendor])
    assert triggers.problems(connection) == [CHANGED]
    triggers.install(connection)
    assert triggers.problems(connection) == []


@pytest.mark.skipif(ON_SQLITE, reason="SQLite cannot switch a trigger off")
@pytest.mark.django_db
@pytest.mark.parametrize("sql", DISABLED)
def test_it_names_the_trigger_that_was_switched_off(sql):
    execute(sql)
    assert triggers.problems(connection) == [CHANGED]


@pytest.mark.django_db
def test_a_column_that_is_yet_to_come_needs_no_trigger(monkeypatch):
    """Or every upgrade would begin with a warning that means nothing."""
    execute(*answer_triggers.dropping_sql(connection.vendor))
    field = RatingEvent._meta.get_field("answer")
    assert isinstance(field, models.JSONField)
    told = connection.introspection.get_table_description
    monkeypatch.setattr(
        connection.introspection,
        "get_table_description",
        lambda *of: [column for column in told(*of) if column.name != field.column],
    )
    assert triggers.problems(connection) == []
