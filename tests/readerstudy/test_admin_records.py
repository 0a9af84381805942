"""What is on record, read and fetched in the admin: ledger, tables, analyses, maps."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from readerstudy.models import Overlay, RatingEvent
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.exports.tables import (
    EXPORTS,
    allocation_table,
    ledger_jsonl,
    ratings_table,
)
from readerstudy.trial.recorded_analyses import analyses_folder, recorded_analyses
from readerstudy.trial.study import lock_study, unblind_study
from tests.readerstudy.commands import run
from tests.readerstudy.factories import coordinator, give, make_study, rate_all
from tests.readerstudy.tampering import past_the_triggers

SANDBOX = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; "
    "frame-ancestors 'none'"
)


@pytest.fixture
def study(tmp_path, rhea, omar):
    study = make_study(tmp_path / "b", readers=[rhea, omar], cases=3)
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    return study


def holder(study, role):
    user = User.objects.create_user(role, is_staff=True)
    client = Client()
    client.force_login(give(study, user, role))
    return client


@pytest.fixture
def statistician(study):
    return holder(study, "statistician")


@pytest.fixture
def allocator(study):
    return holder(study, "allocator")


def lock(study):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)


def unblind(study):
    unblind_study(study=study, by=coordinator(), reason="analysed")


def url(study, page="change", *args):
    return reverse(f"admin:readerstudy_study_{page}", args=[study.pk, *args])


# The ledger


def test_it_shows_every_event_with_who_when_and_why(study, statistician):
    text = statistician.get(url(study, "ledger")).content.decode()
    for event in study.events.all():
        assert event.hash[:12] in text
        assert event.get_kind_display() in text
    assert "<td>ready</td>" in text
    for run_ in study.enrolments.all():
        assert run_.rating_events.last().hash in text


def test_it_tells_no_hash_that_could_be_tried_out(study, statistician):
    text = statistician.get(url(study, "ledger")).content.decode()
    shown = set(re.findall("[0-9a-f]{64}", text))
    heads = {study.events.last().hash}
    heads |= {run_.rating_events.last().hash for run_ in study.enrolments.all()}
    assert shown == heads | set(study.events.values_list("hash", flat=True))


def test_it_verifies_on_request(study, statistician):
    assert "Unbroken" not in statistician.get(url(study, "ledger")).content.decode()
    text = statistician.post(url(study, "ledger")).content.decode()
    assert "Unbroken: 3 chains" in text


def test_it_names_the_first_broken_link(study, statistician):
    event = RatingEvent.objects.filter(kind="rate").first()
    with past_the_triggers():
        RatingEvent.objects.filter(pk=event.pk).update(answer={"answers": {}})
    text = statistician.post(url(study, "ledger")).content.decode()
    assert f"Broken at reader rhea, event {event.number}" in text
    assert "Unbroken" not in text


# Tables


def test_tables_are_fetched_as_the_state_allows(study, statistician):
    def fetched(table):
        response = statistician.get(url(study, "export", table))
        return response.content.decode() if response.status_code == 200 else None

    tables = ("ratings", "answers", "imrmc", "codebook", "protocol", "allocation")
    assert [fetched(table) for table in tables] == [None] * 6
    lock(study)
    assert fetched("ratings") == ratings_table(study, blinded=True).csv()
    assert fetched("ledger") == ledger_jsonl(study, blinded=True)
    assert fetched("allocation") is None
    unblind(study)
    assert fetched("ratings") == ratings_table(study, blinded=False).csv()
    assert fetched("allocation") == allocation_table(study, blinded=False).csv()
    assert statistician.get(url(study, "export", "unknown")).status_code == 404


def test_several_tables_come_in_one_archive(study, statistician, monkeypatch):
    lock(study)
    files = {"1-probability.Nodule": "a,b\n", "2-probability.Mass": "c\n"}
    monkeypatch.setitem(EXPORTS, "imrmc", lambda study, blinded: files)
    response = statistician.get(url(study, "export", "imrmc"))
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"].endswith('.zip"')
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    name = re.search(r'filename="(.+)\.zip"', response["Content-Disposition"])[1]
    assert texts == {f"{name}-{end}.csv": text for end, text in files.items()}


def test_the_page_links_what_can_be_fetched_and_nothing_else(study, statistician):
    def linked():
        text = statistician.get(url(study)).content.decode()
        return re.findall(r"/export/(\w+)/", text)

    tables = ["ratings", "answers", "imrmc", "guesses", "codebook"]
    always = ["ledger", "protocol"]
    assert linked() == []
    lock(study)
    assert linked() == [*tables, *always]
    unblind(study)
    assert linked() == [*tables, "allocation", *always]


def test_who_may_see_the_allocation_gets_no_ratings_while_it_is_blind(study, allocator):
    give(study, User.objects.get(username="allocator"), "statistician")
    lock(study)
    assert allocator.get(url(study, "export", "ratings")).status_code == 403
    unblind(study)
    assert allocator.get(url(study, "export", "ratings")).status_code == 200


# Analyses


@pytest.fixture
def analysed(study, unrendered):
    """A locked study with an analysis, and the name of its folder."""
    lock(study)
    run("analyze_ratings", study.name)
    (analysis,) = recorded_analyses(study)
    return analysis.folder


def test_an_analysis_is_listed_and_its_files_are_served_in_a_sandbox(
    study, statistician, analysed
):
    folder = analyses_folder(study) / analysed
    page = statistician.get(url(study)).content.decode()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        address = url(study, "analysis", analysed, path.relative_to(folder).as_posix())
        assert f'href="{address}"' in page
        response = statistician.get(address)
        assert response.content == path.read_bytes()
        assert response["Content-Security-Policy"] == SANDBOX
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["X-Frame-Options"] == "DENY"


def test_the_ledger_says_that_it_was_analysed(study, statistician, analysed):
    event = study.events.last()
    assert (event.kind, event.details["profile"]) == ("analysed", "paper")
    assert "analysis.json" in event.details["files"]
    assert analysed in statistician.get(url(study, "ledger")).content.decode()
    assert "Unbroken" in statistician.post(url(study, "ledger")).content.decode()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_file_that_is_not_as_it_was_is_refused_by_name(
    study, statistician, analysed, how
):
    path = analyses_folder(study) / analysed / "analysis.json"
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    response = statistician.get(url(study, "analysis", analysed, "analysis.json"))
    assert response.status_code == 409
    text = response.content.decode()
    assert f"File analysis.json of analysis {analysed}" in text
    assert '"run"' not in text


def test_a_changed_file_of_an_analysis_breaks_the_ledger(study, statistician, analysed):
    (analyses_folder(study) / analysed / "report.html").write_text("better")
    text = statistician.post(url(study, "ledger")).content.decode()
    assert f"File report.html of analysis {analysed} is not as it was recorded" in text
    assert "Unbroken" not in text


def test_nothing_but_recorded_files_is_served(study, statistician, analysed):
    folder = analyses_folder(study) / analysed
    (folder / "extra.html").write_text("not recorded")
    secret = study.cases.first().file
    base = url(study, "analysis", analysed, "x")[:-1]
    for name in (
        "extra.html",
        f"../../{secret}",
        f"..%2F..%2F{secret}",
        "../" + analysed + "/analysis.json",
        str(folder / "analysis.json"),
        "",
        ".",
    ):
        assert statistician.get(base + name).status_code == 404, name
    other = url(study, "analysis", "..", "analysis.json")
    assert statistician.get(other).status_code == 404


def test_an_analysis_is_not_for_who_may_not_see_ratings(study, allocator, analysed):
    address = url(study, "analysis", analysed, "analysis.json")
    assert allocator.get(address).status_code == 403
    assert "Analyses" not in allocator.get(url(study)).content.decode()


# Cases and maps


def test_the_allocator_sees_each_case_with_its_three_maps(study, allocator):
    text = allocator.get(url(study, "cases")).content.decode()
    assert text.count("<canvas") == 12
    for overlay in Overlay.objects.all():
        assert url(study, "overlay", overlay.pk) in text
    for variant in ("standard", "single_bn", "dual_bn"):
        assert text.count(f"<figcaption>{variant}") == 3
    # Names, not letters: with the letters it would undo the blinding of the ratings.
    assert not re.search(r"<figcaption>\s*[XYZ]\b", text)


def test_the_buffers_are_those_that_readers_get(study, allocator):
    case = study.cases.first()
    image = allocator.get(url(study, "image", case.pk))
    assert image.content == case_files.image_buffer(case)
    assert image["Cache-Control"].startswith("no-store")
    overlay = case.overlays.first()
    answer = allocator.get(url(study, "overlay", overlay.pk))
    assert answer.content == case_files.overlay_buffer(overlay)
    assert np.frombuffer(answer.content, np.int8).size == overlay.height * overlay.width


def test_looking_at_it_writes_nothing(study, allocator):
    before = study.events.count()
    allocator.get(url(study, "cases"))
    allocator.get(url(study, "image", study.cases.first().pk))
    assert study.events.count() == before


def test_maps_of_another_study_are_not_there(tmp_path, study, allocator):
    other = make_study(tmp_path / "o", readers=[], name="Other", opened=False)
    case = other.cases.first()
    assert allocator.get(url(study, "image", case.pk)).status_code == 404
    overlay = case.overlays.first().pk
    assert allocator.get(url(study, "overlay", overlay)).status_code == 404


def test_many_cases_are_on_pages_and_a_page_takes_few_queries(
    tmp_path, study, allocator, django_assert_max_num_queries
):
    many = make_study(tmp_path / "m", readers=[], name="Many", cases=23, opened=False)
    give(many, User.objects.get(username="allocator"), "allocator")
    with django_assert_max_num_queries(12):
        first = allocator.get(url(many, "cases")).content.decode()
    seen = [
        allocator.get(url(many, "cases"), {"page": page}).content.decode()
        for page in (1, 2, 3)
    ]
    assert seen[0].count("<canvas") == first.count("<canvas") == 40
    assert seen[2].count("<canvas") == 12
    ids = [case for text in seen for case in re.findall(r"phantom/(phantom-\d+)", text)]
    assert len(ids) == len(set(ids)) == 23


def test_a_fetched_table_can_be_read(study, statistician):
    lock(study)
    response = statistician.get(url(study, "export", "ratings"))
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert len(rows) == 18
    assert {row["variant"] for row in rows} == {"X", "Y", "Z"}
    last = study.events.last()
    name = f"ratings-{study.uuid}-{last.number}-{last.hash}.csv"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    lines = statistician.get(url(study, "export", "ledger")).content.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
