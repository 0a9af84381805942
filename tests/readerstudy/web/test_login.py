from urllib.parse import parse_qs, urlsplit

import pytest
from django.shortcuts import redirect
from django_htmx.middleware import HtmxMiddleware

from readerstudy.web.middleware import HtmxLoginMiddleware
from tests.readerstudy.web.conftest import HTMX, address


def test_a_person_logs_in_and_lands_where_they_wanted(client, rhea, presentation):
    asked = client.get(address(presentation))
    login = asked["Location"]
    assert "Log in to go on where you were." in client.get(login).content.decode()

    answer = client.post(
        login,
        {"username": "rhea", "password": "rhea-pass", "next": address(presentation)},
    )

    assert answer.status_code == 302
    assert answer["Location"] == address(presentation)


def test_a_wrong_password_is_said_and_the_name_is_kept(client, rhea):
    page = client.post(
        "/accounts/login/", {"username": "rhea", "password": "wrong"}
    ).content.decode()

    assert "do not fit together" in page
    assert 'value="rhea"' in page
    assert "wrong" not in page


def test_logging_out_ends_at_the_login_page(reader):
    answer = reader.post("/accounts/logout/")

    assert answer["Location"] == "/accounts/login/"
    assert reader.get("/").status_code == 302


def test_an_ended_session_sends_the_whole_page_to_the_login(client, presentation):
    page = f"http://testserver{address(presentation)}"
    headers = {"HX-Request": "true", "HX-Current-URL": page}

    answer = client.post(address(presentation), {"rating": 3}, headers=headers)

    assert answer.status_code == 200
    assert "Location" not in answer
    target = urlsplit(answer["HX-Redirect"])
    assert target.path == "/accounts/login/"
    assert parse_qs(target.query) == {"next": [address(presentation)]}


@pytest.mark.parametrize(
    "page", ["https://elsewhere.example/x", "//elsewhere.example", "http://["]
)
def test_an_ended_session_never_leads_to_another_site(client, presentation, page):
    headers = {"HX-Request": "true", "HX-Current-URL": page}

    answer = client.post(address(presentation), {"rating": 3}, headers=headers)

    assert answer["HX-Redirect"] == "/accounts/login/?next=%2F"


def test_other_redirects_of_htmx_requests_stay_what_they_are(rf):
    request = rf.get("/", **HTMX)
    middleware = HtmxLoginMiddleware(lambda _request: redirect("/elsewhere/"))

    answer = HtmxMiddleware(middleware)(request)

    assert (answer.status_code, answer["Location"]) == (302, "/elsewhere/")
