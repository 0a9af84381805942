"""No byte that a reader gets tells which arm a map is of."""

import re

import pytest

from readerstudy.trial.rating import next_presentation
from tests.readerstudy.factories import make_study
from tests.readerstudy.web.conftest import HTMX, address, rate

VARIANTS = ("canary-alpha", "canary-beta", "canary-gamma")


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=2,
        variants=VARIANTS,
        dataset="canary-dataset",
    )


def traffic(client, study, enrolment):
    """Every answer of a reader's whole way, mistakes included."""
    yield client.get("/accounts/login/")
    yield client.get("/")
    yield client.get(f"/studies/{study.uuid}/")
    rated = None
    while following := next_presentation(enrolment):
        yield client.get(address(following))
        yield client.get(address(following, "image"))
        yield client.get(address(following, "overlay"))
        yield client.post(address(following), {"rating": 7, "drawn": "1"}, **HTMX)
        yield client.post(address(following), {"rating": 3})
        yield client.get("/read/none/")
        htmx = HTMX if following.position % 2 else {}
        yield rate(client, following, 3, **htmx)
        if rated:
            yield client.post(address(rated), {"rating": 1, "drawn": "1"}, **HTMX)
            yield client.get(address(rated))
        rated = following
    yield client.get(f"/studies/{study.uuid}/")
    yield client.get("/admin/", follow=True)
    yield client.get("/api/v1/studies/")
    yield client.get(f"/api/v1/studies/{study.uuid}/")
    yield client.get("/api/schema/")


def test_no_answer_names_an_arm_a_run_a_file_or_a_source(reader, study, enrolment):
    files = study.cases.values_list("file", flat=True)
    overlays = study.cases.values_list("overlays__file", flat=True)
    # Variants and data set (and with it the case_id) are canaries; see `make_bundle`
    # for the runs.
    secrets = [b"canary", b"run-of-", *(name.encode() for name in (*files, *overlays))]

    answers = list(traffic(reader, study, enrolment))

    assert len(answers) > 40
    for answer in answers:
        headers = f"{answer.headers}{answer.cookies}".encode()
        for secret in secrets:
            assert secret not in answer.content + headers, answer.request["PATH_INFO"]


def test_pages_differ_in_token_position_and_case_only(reader, study, enrolment):
    """With these taken out one page is left per case, whatever its arm."""
    pages = set()
    while following := next_presentation(enrolment):
        page = reader.get(address(following)).content.decode()
        for pattern in (
            following.token,
            r'csrfmiddlewaretoken" value="\w+"',
            r"Case \d+ of",
            r'<progress value="\d+"',
            r"<footer>.*</footer>",  # the rating before
        ):
            page, count = re.subn(pattern, "", page, flags=re.DOTALL)
            assert count
        # The reader's pace; and what comes next, which the last case has not.
        page = re.sub(r"about \d+ min left at your pace", "", page)
        page = re.sub(r'\s*data-next-[\w-]+="[^"]*"', "", page)
        page = re.sub(r'data-display="overlay"\s*>', 'data-display="overlay">', page)
        pages.add((following.overlay.case_id, page))
        rate(reader, following, 3)

    assert len(pages) == study.cases.count()
