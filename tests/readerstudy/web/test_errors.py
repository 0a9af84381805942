import pytest
from django.test import Client

from readerstudy.trial.cases import files as case_files
from tests.readerstudy.web.conftest import address


def test_an_unknown_page_is_answered_in_our_own_hand(reader):
    answer = reader.get("/no/such/page/")

    assert answer.status_code == 404
    assert b"This page is not there" in answer.content


def test_a_missing_csrf_token_is_explained(rhea, presentation):
    client = Client(enforce_csrf_checks=True)
    client.force_login(rhea)

    answer = client.post(address(presentation), {"rating": 3, "_drawn": "1"})

    assert answer.status_code == 403
    assert b"This page was out of date" in answer.content
    assert not presentation.events.exists()


def test_a_broken_server_tells_no_details(reader, presentation, monkeypatch):
    def fail(_case):
        raise OSError("/secret/path/of/canary.npy")

    monkeypatch.setattr(case_files, "image_buffer", fail)
    reader.raise_request_exception = False

    answer = reader.get(address(presentation, "image"))

    assert answer.status_code == 500
    assert b"Something went wrong" in answer.content
    assert b"canary" not in answer.content


@pytest.mark.parametrize("template", ["400.html", "403.html", "404.html", "500.html"])
def test_error_pages_need_nothing_of_the_request(template):
    from django.template.loader import render_to_string

    page = render_to_string(template)

    assert "csrf" not in page
    assert "To your studies" in page
