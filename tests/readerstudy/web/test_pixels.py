import numpy as np
import pytest

from tests.readerstudy.web.conftest import address

# What a server may say about the bytes; anything more could tell maps apart.
HEADERS = {
    "Cache-Control",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Cross-Origin-Opener-Policy",
    "Referrer-Policy",
    "Vary",
    "X-Content-Type-Options",
    "X-Frame-Options",
}


def stored(study, settings, file):
    folder = settings.READERSTUDY_DATA / "studies" / str(study.uuid)
    return np.load(folder / file, allow_pickle=False)


def test_the_image_is_its_pixels_row_by_row(reader, study, settings, presentation):
    response = reader.get(address(presentation, "image"))

    case = presentation.case
    assert response.content == stored(study, settings, case.file).tobytes()
    assert len(response.content) == case.height * case.width


def test_the_overlay_is_its_values_row_by_row(reader, study, settings, presentation):
    response = reader.get(address(presentation, "overlay"))

    overlay = presentation.overlay
    assert response.content == stored(study, settings, overlay.file).tobytes()
    assert len(response.content) == overlay.height * overlay.width


@pytest.mark.parametrize("name", ["image", "overlay"])
def test_a_buffer_comes_without_name_date_or_fingerprint(reader, presentation, name):
    response = reader.get(address(presentation, name))

    assert response.status_code == 200
    assert set(response.headers) <= HEADERS
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["image", "overlay"])
@pytest.mark.parametrize("method", ["head", "post", "put", "delete", "options"])
def test_a_buffer_can_only_be_got(reader, presentation, name, method):
    response = getattr(reader, method)(address(presentation, name))

    assert response.status_code == 405


def test_all_maps_of_a_case_answer_alike(reader, enrolment):
    answers = {
        tuple(sorted(reader.get(address(presentation, "overlay")).headers.items()))
        for presentation in enrolment.presentations.all()
    }

    assert len(answers) == 1
