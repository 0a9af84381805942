"""Who gets which answer in the admin's study pages and in the API, in every state.

Each row of the tables has a cell per person; a cell is one status for all states, or
four for draft, open, locked and unblinded. A route without a row fails.
"""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver

from readerstudy.models import Study
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.factories import coordinator, give, make_study

STUDY = "admin/readerstudy/study/<int:pk>/"

# eve is logged in and nothing else, clerk is staff without a role in this study, ada a
# superuser without one; rhea and omar read in it, omar with the staff's and superuser's
# rights that he was given behind the forms' back.
PEOPLE = (
    "anonymous",
    "eve",
    "rhea",
    "omar",
    "clerk",
    "ada",
    "coordinator",
    "allocator",
    "statistician",
)


def staff(clerk, ada, coordinator, allocator, statistician):
    """A row of the admin: everybody else is sent to its login."""
    return (302, 302, 302, 302, clerk, ada, coordinator, allocator, statistician)


ROLES_ONLY = staff(404, 403, 200, 200, 200)
FOR_COORDINATOR = staff(404, 403, 200, 403, 403)
# 409: the page says why the state does not allow it.
IN_DRAFT = staff(404, 403, (200, 409, 409, 409), 403, 403)
IN_OPEN = staff(404, 403, (409, 200, 409, 409), 403, 403)
IN_LOCKED = staff(404, 403, (409, 409, 200, 409), 403, 403)
ALLOCATION = (403, 403, 403, 200)
OF_ALLOCATION = staff(404, 403, ALLOCATION, 200, ALLOCATION)
AFTER_LOCK = (403, 403, 200, 200)

GET = {
    "admin/readerstudy/study/": staff(200, 200, 200, 200, 200),
    "admin/readerstudy/study/add/": staff(403, 200, 403, 403, 403),
    STUDY + "change/": staff(404, 200, 200, 200, 200),
    STUDY + "roles/take/": staff(404, 200, 403, 403, 403),
    STUDY + "roles/give/": FOR_COORDINATOR,
    # The statistician's: whoever holds a role may lay it down.
    STUDY + "roles/<int:user>/<str:role>/end/": staff(404, 403, 200, 403, 200),
    STUDY + "protocol/": IN_DRAFT,
    STUDY + "readers/enrol/": IN_DRAFT,
    STUDY + "readers/<int:enrolment>/withdraw/": IN_DRAFT,
    STUDY + "readers/<int:enrolment>/void/": IN_OPEN,
    STUDY + "open/": IN_DRAFT,
    STUDY + "lock/": IN_OPEN,
    STUDY + "unblind/": IN_LOCKED,
    STUDY + "unblind-case/": staff(404, 403, 403, (409, 200, 200, 409), 403),
    STUDY + "ledger/": ROLES_ONLY,
    # The ratings.
    STUDY + "export/<str:table>/": staff(404, 403, 403, 403, AFTER_LOCK),
    # A file that no analysis has.
    STUDY + "analyses/<str:folder>/<path:name>": staff(
        404, 403, 403, 403, (403, 403, 404, 404)
    ),
    STUDY + "cases/": OF_ALLOCATION,
    STUDY + "cases/<int:case>/image": OF_ALLOCATION,
    STUDY + "overlays/<int:overlay>/map": OF_ALLOCATION,
    "api/v1/studies/": (403, 200, 200, 200, 200, 200, 200, 200, 200),
    "api/v1/studies/<uuid:uuid>/": (
        *(403, 404, (404, 200, 200, 200), (404, 200, 200, 200), 404, 404),
        *(200, 200, 200),
    ),
    "api/v1/studies/<uuid:uuid>/progress/": (
        *(403, 404, (404, 200, 200, 200), (404, 200, 200, 200), 404, 404),
        *(200, 200, 200),
    ),
    "api/v1/studies/<uuid:uuid>/ratings/": (
        *(403, 404, (404, 403, 403, 403), (404, 403, 403, 403), 404, 404),
        *(403, 403, AFTER_LOCK),
    ),
    "api/v1/studies/<uuid:uuid>/allocation/": (
        *(403, 404, (404, 403, 403, 403), (404, 403, 403, 403), 404, 404),
        *(ALLOCATION, ALLOCATION, ALLOCATION),
    ),
    "api/schema/": (403, 200, 200, 200, 200, 200, 200, 200, 200),
}


def after_post(cell):
    """What an empty form gets where GET gives the cell."""
    if isinstance(cell, tuple):
        return tuple(map(after_post, cell))
    return {200: 422}.get(cell, cell)


READ_ONLY = staff(405, 405, 405, 405, 405)
POST = {
    **{route: tuple(map(after_post, row)) for route, row in GET.items()},
    # Django's list takes no action and shows itself.
    "admin/readerstudy/study/": staff(200, 200, 200, 200, 200),
    "admin/readerstudy/study/add/": staff(403, 422, 403, 403, 403),
    STUDY + "change/": READ_ONLY,
    STUDY + "ledger/": ROLES_ONLY,
    STUDY + "export/<str:table>/": READ_ONLY,
    STUDY + "analyses/<str:folder>/<path:name>": READ_ONLY,
    STUDY + "cases/": READ_ONLY,
    STUDY + "cases/<int:case>/image": READ_ONLY,
    STUDY + "overlays/<int:overlay>/map": READ_ONLY,
    **{
        route: (403, *[405] * (len(PEOPLE) - 1))
        for route in GET
        if route.startswith("api/")
    },
}
# It has no field to be empty: the reader goes.
WITHDRAW = STUDY + "readers/<int:enrolment>/withdraw/"
POST[WITHDRAW] = staff(404, 403, (302, 409, 409, 409), 403, 403)


def routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from routes(pattern.url_patterns, route)


def ours():
    every = routes(get_resolver().url_patterns)
    return {r for r in every if r.startswith(("admin/readerstudy/", "api/"))}


def test_every_route_has_its_rows():
    assert ours() == set(GET) == set(POST)


def test_of_ours_only_studies_are_in_the_admin():
    models = {m for m in admin.site._registry if m._meta.app_label == "readerstudy"}
    assert models == {Study}


@pytest.fixture
def people(study, rhea, omar, eve, ada):
    def somebody(name):
        return User.objects.create_user(name, is_staff=True)

    User.objects.filter(username="coordinator").update(is_staff=True)
    named = {
        "anonymous": None,
        "eve": eve,
        "rhea": rhea,
        "omar": omar,
        "clerk": somebody("clerk"),
        "ada": ada,
        "coordinator": coordinator(),
        "allocator": give(study, somebody("allocator"), "allocator"),
        "statistician": give(study, somebody("statistician"), "statistician"),
    }
    assert tuple(named) == PEOPLE
    return named


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(tmp_path / "bundle", readers=[rhea, omar], cases=1, opened=False)


def reach(study, state):
    by = coordinator()
    if state != "draft":
        open_study(study=study, by=by, reason="ready")
    if state in ("locked", "unblinded"):
        lock_study(study=study, by=by, reason="over", unfinished=True)
    if state == "unblinded":
        unblind_study(study=study, by=by, reason="analysis")


def path_of(route, study, people):
    case = study.cases.first()
    values = {
        "<int:pk>": study.pk,
        "<uuid:uuid>": study.uuid,
        "<int:user>": people["statistician"].pk,
        "<str:role>": "statistician",
        "<int:enrolment>": study.enrolments.get(reader=people["rhea"]).pk,
        "<str:table>": "ratings",
        "<str:folder>": "20260101T000000Z",
        "<path:name>": "report.html",
        "<int:case>": case.pk,
        "<int:overlay>": case.overlays.first().pk,
    }
    for name, value in values.items():
        route = route.replace(name, str(value))
    return f"/{route}"


@pytest.mark.slow
@pytest.mark.parametrize("state", ["draft", "open", "locked", "unblinded"])
def test_everybody_gets_what_the_tables_say(study, people, state):
    reach(study, state)
    User.objects.filter(username="omar").update(is_staff=True, is_superuser=True)
    at = list(Study.State).index(state)
    clients = {}
    for name, user in people.items():
        clients[name] = Client()
        if user:
            clients[name].force_login(user)

    def answers(table, method):
        return {
            route: tuple(
                getattr(client, method)(path_of(route, study, people)).status_code
                for client in clients.values()
            )
            for route in table
            if (method, route) != ("post", WITHDRAW)
        }

    def expected(table, but=()):
        return {
            route: tuple(c[at] if isinstance(c, tuple) else c for c in row)
            for route, row in table.items()
            if route not in but
        }

    events = study.events.count()
    assert answers(GET, "get") == expected(GET)
    assert answers(POST, "post") == expected(POST, but=[WITHDRAW])
    # Neither looking nor an empty form did anything.
    assert study.events.count() == events
    address = path_of(WITHDRAW, study, people)
    withdrawn = tuple(client.post(address).status_code for client in clients.values())
    assert withdrawn == expected(POST)[WITHDRAW]


@pytest.mark.parametrize("table", ["ratings", "imrmc", "codebook", "ledger"])
@pytest.mark.parametrize("role", ["coordinator", "allocator", "statistician"])
def test_a_locked_study_gives_no_rating_but_to_its_statistician(
    tmp_path, rhea, django_user_model, client, table, role
):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    person = django_user_model.objects.create_user("somebody", is_staff=True)
    give(study, person, role)
    client.force_login(person)
    answer = client.get(f"/admin/readerstudy/study/{study.pk}/export/{table}/")
    assert answer.status_code == (200 if role == "statistician" else 403)
