"""A small open study with two readers, and short ways to read in it."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from readerstudy.models import Enrolment, Presentation, Study
from readerstudy.trial.rating import next_presentation
from readerstudy.web.sitting import Sitting
from tests.readerstudy.factories import make_study


@pytest.fixture
def study(tmp_path, rhea, omar) -> Study:
    """Two cases under three arms: six presentations for each of rhea and omar."""
    return make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2)


@pytest.fixture
def enrolment(study, rhea) -> Enrolment:
    return study.enrolments.get(reader=rhea)


@pytest.fixture
def presentation(enrolment) -> Presentation:
    """The one that rhea has to rate now, never shown so far."""
    following = next_presentation(enrolment)
    assert following
    return following


def reader_client(user: User | None) -> Client:
    """A browser of that person's, in which the display was checked; of nobody's for
    None.
    """
    client = Client()
    if user:
        client.force_login(user)
        session = client.session
        for enrolment in user.enrolments.current():
            Sitting(session, enrolment).begin(position=1)
        session.save()
    return client


@pytest.fixture
def logged_in() -> Callable[[User | None], Client]:
    return reader_client


@pytest.fixture
def reader(logged_in, rhea, study) -> Client:
    return logged_in(rhea)


def address(presentation: Presentation, name: str = "read") -> str:
    return reverse(f"readerstudy:{name}", args=[presentation.token])


def rate(client: Client, presentation: Presentation, rating: object, **options):
    """Show the presentation, then post a rating as the viewer does."""
    client.get(address(presentation))
    data = {"rating": rating, "_drawn": "1"}
    return client.post(address(presentation), data, **options)


HTMX = {"headers": {"HX-Request": "true"}}
