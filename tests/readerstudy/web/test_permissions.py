"""Who gets which answer at which page, in which state of the study, as one table.

The admin and the API have a table of their own (`tests/readerstudy/test_permissions`).
"""

import pytest
from django.urls import URLPattern, get_resolver

from readerstudy.models import RatingEvent
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.factories import begin, coordinator, give, make_study
from tests.readerstudy.web.conftest import address, reader_client

# eve has no part in the study; rhea and omar read in it, and the token is rhea's; the
# next three hold that role in it; ada runs the site and has none.
PEOPLE = (
    "anonymous",
    "eve",
    "rhea",
    "omar",
    "coordinator",
    "allocator",
    "statistician",
    "ada",
)
STATES = ("draft", "open", "locked", "unblinded")

# 302 is the way to the login page, or from a form to the page after it.
EVERYBODY = {state: (302, *[200] * 7) for state in STATES}
NOBODY = (302, *[404] * 7)
READERS = (302, 404, 200, 200, 404, 404, 404, 404)
NOT_ALLOWED = {state: (302, *[405] * 7) for state in STATES}


def open_only(*answers):
    return {state: answers if state == "open" else NOBODY for state in STATES}


def rhea_only(status):
    return open_only(302, 404, status, 404, 404, 404, 404, 404)


# Of a study whose end asks for a guess, which this one's does not.
NEVER = dict.fromkeys(STATES, NOBODY)

GET = {
    "": EVERYBODY,
    "studies/<uuid:uuid>/": {
        state: NOBODY if state == "draft" else READERS for state in STATES
    },
    "studies/<uuid:uuid>/display/": open_only(*READERS),
    # While something is to be rated it leads back to the study.
    "studies/<uuid:uuid>/finish/": open_only(302, 404, 302, 302, 404, 404, 404, 404),
    "studies/<uuid:uuid>/guess/": NEVER,
    "studies/<uuid:uuid>/guess/image": NEVER,
    "studies/<uuid:uuid>/guess/<int:place>/overlay": NEVER,
    "read/<str:token>/": rhea_only(200),
    # Without an answer to change it leads to the rating page.
    "read/<str:token>/change": rhea_only(302),
    "read/<str:token>/image": rhea_only(200),
    "read/<str:token>/overlay": rhea_only(200),
    "help/": EVERYBODY,
    "settings/": EVERYBODY,
    "healthz": dict.fromkeys(STATES, (200,) * 8),
    "accounts/login/": dict.fromkeys(STATES, (200,) * 8),
    "accounts/logout/": NOT_ALLOWED,
}
POST = {
    "": NOT_ALLOWED,
    # What is posted agrees to nothing and answers no question.
    "studies/<uuid:uuid>/": {
        state: NOBODY if state == "draft" else (302, 404, 422, 422, 404, 404, 404, 404)
        for state in STATES
    },
    "studies/<uuid:uuid>/display/": open_only(302, 404, 422, 422, 404, 404, 404, 404),
    "studies/<uuid:uuid>/finish/": open_only(302, 404, 302, 302, 404, 404, 404, 404),
    "studies/<uuid:uuid>/guess/": NEVER,
    "studies/<uuid:uuid>/guess/image": NOT_ALLOWED,
    "studies/<uuid:uuid>/guess/<int:place>/overlay": NOT_ALLOWED,
    "read/<str:token>/": rhea_only(302),
    "read/<str:token>/change": NOT_ALLOWED,
    "read/<str:token>/image": NOT_ALLOWED,
    "read/<str:token>/overlay": NOT_ALLOWED,
    "help/": NOT_ALLOWED,
    "settings/": dict.fromkeys(STATES, (302,) * 8),
    "healthz": dict.fromkeys(STATES, (405,) * 8),
    "accounts/login/": dict.fromkeys(STATES, (200,) * 8),
    "accounts/logout/": dict.fromkeys(STATES, (302,) * 8),
}


def pages(patterns=None, prefix=""):
    """Every route of the site but those of admin and API."""
    for pattern in patterns or get_resolver().url_patterns:
        route = prefix + str(pattern.pattern)
        if route in ("admin/", "api/"):
            continue
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from pages(pattern.url_patterns, route)


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2, opened=False)


def advance(study, state):
    by = coordinator()
    if state != "draft":
        open_study(study=study, by=by, reason="ready")
        begin(study)
    if state in ("locked", "unblinded"):
        lock_study(study=study, by=by, reason="over", unfinished=True)
    if state == "unblinded":
        unblind_study(study=study, by=by, reason="analysis")


def test_every_page_has_its_rows():
    assert set(pages()) == set(GET) == set(POST)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_everybody_gets_what_the_table_says(
    study, state, eve, rhea, omar, ada, django_user_model
):
    advance(study, state)
    others = {
        role: give(study, django_user_model.objects.create_user(role), role)
        for role in ("allocator", "statistician")
    }
    others["coordinator"] = coordinator()
    people = {"eve": eve, "rhea": rhea, "omar": omar, "ada": ada, **others}
    first = study.enrolments.get(reader=rhea).presentations.first()
    token = first.token if first else "none"
    if state == "open":
        reader_client(rhea).get(address(first))  # a rating follows a look
    form = {"rating": 3, "_drawn": "1"}

    def answers(method, table, data):
        for route in table:
            path = route.replace("<uuid:uuid>", str(study.uuid))
            path = path.replace("<str:token>", token).replace("<int:place>", "1")
            asks = [getattr(reader_client(people.get(name)), method) for name in PEOPLE]
            yield route, tuple(ask(f"/{path}", data).status_code for ask in asks)

    assert dict(answers("get", GET, {})) == {r: GET[r][state] for r in GET}
    assert dict(answers("post", POST, form)) == {r: POST[r][state] for r in POST}


def test_nobody_but_the_reader_can_have_written(study, eve, omar, ada):
    advance(study, "open")
    presentation = study.enrolments.get(reader__username="rhea").presentations.first()
    for user in (None, eve, omar, ada, coordinator()):
        client = reader_client(user)
        client.get(address(presentation))
        client.post(address(presentation), {"rating": 3, "_drawn": "1"})

    assert not RatingEvent.objects.filter(presentation=presentation).exists()
