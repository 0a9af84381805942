from django.db import DatabaseError, connection


def test_it_says_ok_without_a_login_or_a_session(client, db):
    answer = client.get("/healthz")

    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert not answer.cookies


def test_it_says_when_the_database_does_not_answer(client, monkeypatch):
    def fail():
        raise DatabaseError

    monkeypatch.setattr(connection, "cursor", fail)
    answer = client.get("/healthz")

    assert (answer.status_code, answer.content) == (503, b"no database\n")
