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


def test_no_answer_names_an_arm_a_run_a_file_or_a_source(
    reader, study, enrolment
):
    overlays = study.cases.values_list("overlays__file", flat=True)
    canaries = [
        *VARIANTS,
        *study.arms.values_list("runs", flat=True),
        *study.cases.values_list("case_id", flat=True),
        *study.cases.values_list("file", flat=True),
        *overlays,
        "run-of-",
        "canary",
    ]
    secret = re.compile("|".join(re.escape(str(name)) for name in canaries).encode())

    count = 0
    for answer in traffic(reader, study, enrolment):
        count += 1
        sent = b"\n".join(
            [
                answer.content,
                str(answer.headers).encode(),
                str(answer.cookies).encode(),
            ]
        )
        assert not secret.search(sent), answer.request["PATH_INFO"]
    assert count > 40


def test_pages_of_all_arms_differ_in_token_position_and_case_only(
    reader, study, enrolment
):
    """With these three taken out, and the CSRF token, one page is left per case."""
    pages = set()
    while following := next_presentation(enrolment):
        page = reader.get(address(following)).content.decode()
        page = re.sub(r'csrfmiddlewaretoken" value="\w+"', "", page)
        page = page.replace(following.token, "TOKEN")
        page = re.sub(r"Case \d+ (of|saved)", r"Case N \1", page)
        page = re.sub(r'<progress value="\d+"', "<progress", page)
        page = re.sub(r"<p>\s*(<span aria-hidden.*?</span>.*?)?</p>", "", page, flags=re.S)
        pages.add((following.overlay.case_id, page))
        rate(reader, following, 3)

    assert len(pages) == study.cases.count()
