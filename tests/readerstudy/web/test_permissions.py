"""Who gets which answer at which address, as one table."""

from django.urls import URLPattern, get_resolver

from tests.readerstudy.web.conftest import address

PEOPLE = ("anonymous", "eve", "rhea", "omar", "ada")

# eve reads in nothing, rhea and omar in the study, ada runs the site and reads nothing;
# the token is rhea's. 302 is the way to the login page.
GET = {
    "": (302, 200, 200, 200, 200),
    "studies/<uuid:uuid>/": (302, 404, 200, 200, 404),
    "read/<str:token>/": (302, 404, 200, 404, 404),
    "read/<str:token>/image": (302, 404, 200, 404, 404),
    "read/<str:token>/overlay": (302, 404, 200, 404, 404),
    "healthz": (200, 200, 200, 200, 200),
    "accounts/login/": (200, 200, 200, 200, 200),
    "accounts/logout/": (302, 405, 405, 405, 405),
    "admin/": (302, 302, 302, 302, 200),
    "api/v1/studies/": (403, 200, 200, 200, 200),
    "api/v1/studies/<uuid:uuid>/": (403, 404, 200, 200, 404),
    "api/schema/": (403, 200, 200, 200, 200),
}
POST = {
    "": (302, 405, 405, 405, 405),
    "studies/<uuid:uuid>/": (302, 405, 405, 405, 405),
    "read/<str:token>/": (302, 404, 302, 404, 404),
    "read/<str:token>/image": (302, 405, 405, 405, 405),
    "read/<str:token>/overlay": (302, 405, 405, 405, 405),
    "healthz": (405, 405, 405, 405, 405),
    "accounts/login/": (200, 200, 200, 200, 200),
    "accounts/logout/": (302, 302, 302, 302, 302),
    "admin/": (302, 302, 302, 302, 200),
    "api/v1/studies/": (403, 405, 405, 405, 405),
    "api/v1/studies/<uuid:uuid>/": (403, 405, 405, 405, 405),
    "api/schema/": (403, 405, 405, 405, 405),
}


def addresses(patterns=None, prefix=""):
    """Every route of the site; of the admin, which guards its own, only the first."""
    for pattern in patterns or get_resolver().url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern) or route == "admin/":
            yield route
        else:
            yield from addresses(pattern.url_patterns, route)


def test_every_address_has_its_rows():
    assert set(addresses()) == set(GET) == set(POST)


def test_everybody_gets_what_the_table_says(
    logged_in, eve, rhea, omar, ada, study, presentation
):
    people = dict(zip(PEOPLE, (None, eve, rhea, omar, ada), strict=True))
    logged_in(rhea).get(address(presentation))  # a rating follows a look
    form = {"rating": 3, "drawn": "1"}

    def answers(method, data):
        for route in GET:
            path = route.replace("<uuid:uuid>", str(study.uuid))
            path = path.replace("<str:token>", presentation.token)
            yield (
                route,
                tuple(
                    getattr(logged_in(user), method)(f"/{path}", data).status_code
                    for user in people.values()
                ),
            )

    assert dict(answers("get", {})) == GET
    assert dict(answers("post", form)) == POST


def test_nobody_but_the_reader_can_have_written(
    logged_in, eve, omar, ada, presentation
):
    for user in (None, eve, omar, ada):
        logged_in(user).get(address(presentation))
        logged_in(user).post(address(presentation), {"rating": 3, "drawn": "1"})

    assert not presentation.events.exists()
