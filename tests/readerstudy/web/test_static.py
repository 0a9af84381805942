"""What lies in the open: files that anybody may fetch, and where pages may turn."""

import pytest
from django.conf import settings
from django.core import mail

from mlcore.engine.model.objectives import VARIANTS
from readerstudy.trial.cases.files import study_folder
from tests.conftest import ROOT
from tests.readerstudy.factories import rate_all
from tests.readerstudy.web.conftest import address

STATIC = [path for path in (ROOT / "static").rglob("*") if path.is_file()]


def test_no_static_file_names_a_variant():
    assert len(STATIC) > 5
    for path in STATIC:
        text = path.read_bytes()
        for variant in (*VARIANTS, "single_bn", "dual_bn", "SSBN", "SDBN"):
            # An ordinary word in a licence is no leak.
            if "_" in variant or variant.isupper():
                assert variant.encode() not in text, path.name
        assert path.suffix != ".map", path.name


@pytest.mark.parametrize(
    "path", ["static/", "static/readerstudy/", "media/", ".git/config", "data/"]
)
def test_no_folder_can_be_listed_and_no_stimulus_is_static(reader, study, path):
    assert reader.get(f"/{path}").status_code == 404
    folder = study_folder(study)
    for directory in settings.STATICFILES_DIRS:
        assert not folder.is_relative_to(directory)
    name = study.cases.first().file
    for prefix in ("static", "media", f"studies/{study.uuid}"):
        assert reader.get(f"/{prefix}/{name}").status_code == 404


def test_a_page_may_speak_to_its_own_server_alone(reader, presentation):
    policy = reader.get(address(presentation))["Content-Security-Policy"]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed.pop("default-src") == "'none'"
    assert set(allowed.values()) <= {"'self'", "'none'"}


def test_the_application_sends_no_mail(reader, enrolment):
    rate_all(enrolment)
    reader.get("/")
    assert mail.outbox == []
