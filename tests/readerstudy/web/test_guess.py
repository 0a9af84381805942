"""The guess page: to who is asked, then; pixels as they are, and of nothing else."""

import pytest

from readerstudy.models import StudyEvent
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.guesses import shown_maps
from tests.readerstudy.factories import make_study, rate_all

pytestmark = pytest.mark.django_db


@pytest.fixture
def enrolment(tmp_path, rhea):
    study = make_study(
        tmp_path / "b", readers=[rhea], cases=2, training=1,
        protocol={"guess_arms": True},
    )  # fmt: skip
    return study.enrolments.get()


def address(enrolment, rest=""):
    return f"/studies/{enrolment.study.uuid}/{rest}"


def test_the_finish_leads_to_it_and_it_leads_back(client, rhea, enrolment):
    client.force_login(rhea)
    rate_all(enrolment)
    response = client.get(address(enrolment, "finish/"))
    assert response["Location"] == address(enrolment, "guess/")
    page = client.get(address(enrolment, "guess/")).content.decode()
    assert page.count("<canvas") == 3
    form = {"map_1": "arm standard", "map_2": "unknown", "map_3": "arm dual_bn"}
    response = client.post(address(enrolment, "guess/"), form)
    assert response["Location"] == address(enrolment, "finish/")
    event = StudyEvent.objects.get(kind="guessed")
    assert event.details["guesses"] == ["standard", "", "dual_bn"]
    assert client.get(address(enrolment, "finish/")).status_code == 200
    assert client.get(address(enrolment, "guess/")).status_code == 404


@pytest.mark.parametrize(
    "form", [{}, {"map_1": "unknown"}, {f"map_{n}": "arm X" for n in (1, 2, 3)}]
)
def test_half_a_guess_is_asked_again(client, rhea, enrolment, form):
    client.force_login(rhea)
    rate_all(enrolment)
    assert client.post(address(enrolment, "guess/"), form).status_code == 422
    assert not StudyEvent.objects.filter(kind="guessed").exists()


def test_its_pixels_are_those_of_the_maps_shown(client, rhea, enrolment):
    client.force_login(rhea)
    rate_all(enrolment)
    maps = shown_maps(enrolment)
    image = client.get(address(enrolment, "guess/image"))
    assert image.content == case_files.image_buffer(maps[0].case)
    for place, shown in enumerate(maps, start=1):
        response = client.get(address(enrolment, f"guess/{place}/overlay"))
        assert response.content == case_files.overlay_buffer(shown)
        assert response["Cache-Control"] == "no-store"
    for place in (0, 4):
        response = client.get(address(enrolment, f"guess/{place}/overlay"))
        assert response.status_code == 404


@pytest.mark.parametrize("rest", ["guess/", "guess/image", "guess/1/overlay"])
def test_nobody_sees_it_before_all_is_rated_nor_another_ever(
    client, rhea, omar, enrolment, rest
):
    client.force_login(rhea)
    assert client.get(address(enrolment, rest)).status_code == 404
    rate_all(enrolment)
    assert client.get(address(enrolment, rest)).status_code == 200
    client.force_login(omar)
    assert client.get(address(enrolment, rest)).status_code == 404
