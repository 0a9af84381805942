"""A study's pages: what a coordinator sees and does, and what goes wrong in words."""

import html
import json
import re
from copy import deepcopy

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from readerstudy.admin import study_changes
from readerstudy.admin.forms import SIMPLE
from readerstudy.models import Case, Study
from readerstudy.trial import policies
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.cases.legend import BY_TARGET
from readerstudy.trial.enrolment import sign_off, void_run
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import template
from readerstudy.trial.roles import end_role
from readerstudy.trial.study import lock_study, open_study
from tests.readerstudy.factories import (
    answer,
    begin,
    coordinator,
    give,
    make_bundle,
    make_study,
    rate_all,
)


@pytest.fixture
def study(tmp_path, rhea, omar):
    return make_study(tmp_path / "b", readers=[rhea, omar], cases=2, opened=False)


@pytest.fixture
def by(db):
    User.objects.update_or_create(username="coordinator", defaults={"is_staff": True})
    return coordinator()


@pytest.fixture
def staff(by):
    client = Client()
    client.force_login(by)
    return client


def url(study, page="change", *args):
    return reverse(f"admin:readerstudy_study_{page}", args=[study.pk, *args])


def text_of(response):
    """What a person reads, without markup, each gap as one space."""
    main = response.content.decode().partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", main))


def readiness_of(response):
    """Of that, what says whether a draft can open."""
    page = response.content.decode()
    (section,) = re.findall(r'id="readiness">(.*?)</section>', page, re.DOTALL)
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", section))


def last(study):
    event = study.events.order_by("number").last()
    return event.kind, event.user, event.reason


def alert(response):
    found = re.findall(r'role="alert">(.*?)</p>', response.content.decode(), re.DOTALL)
    return [text.strip().replace("&#x27;", "'") for text in found]


# What it shows


def test_a_draft_says_line_by_line_what_it_still_needs(study, staff):
    assert readiness_of(staff.get(url(study))).count(": yes") == 7
    file = case_files.study_folder(study) / study.cases.first().file
    file.write_bytes(b"other")
    text = readiness_of(staff.get(url(study)))
    assert "Every file is as it was imported: no" in text
    assert f"File {file.name} of the study is missing or not as it was" in text
    assert text.count(": yes") == 6


def test_an_open_study_has_no_readiness(study, staff):
    open_study(study=study, by=coordinator(), reason="ready")
    assert "Readiness" not in text_of(staff.get(url(study)))


def test_it_shows_each_readers_progress_and_times(study, staff, rhea):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    run = study.enrolments.get(reader=rhea)
    for ms, presentation in zip(
        (1000, 9000, 4000), run.presentations.all(), strict=False
    ):
        answer(presentation, rhea, 5, viewer={"active_ms": ms})
    page = staff.get(url(study))
    assert "rhea 3 of 6 4.0 s" in text_of(page)
    assert "omar 0 of 6" in text_of(page)
    seen = run.rating_events.last().at
    assert f"{seen:%Y, %H:%M}" in text_of(page)


def test_a_void_run_is_listed_beside_the_new_one(study, staff, rhea):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    run = study.enrolments.get(reader=rhea)
    rate_all(run)
    void_run(enrolment=run, by=coordinator(), reason="wrong monitor")
    text = text_of(staff.get(url(study)))
    assert "rhea, run 1 (void) 6 of 6" in text
    assert "rhea, run 2 0 of 6" in text


def test_it_shows_the_whole_protocol(study, staff):
    text = text_of(staff.get(url(study)))
    assert "coordinator coordinator" in text
    scale = template("paper")["questions"][0]
    assert scale["text"] in text
    assert "from: 0" in text
    assert "; ".join(scale["anchors"]) in text
    assert "ratings can change yes" in text
    assert "sessions one" in text
    assert "consent none" in text


def test_progress_takes_as_many_queries_for_many_readers_as_for_few(
    tmp_path, study, staff, django_assert_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def queries(study):
        with CaptureQueriesContext(connection) as captured:
            staff.get(url(study))
        return len(captured)

    readers = [User.objects.create_user(f"reader-{n}") for n in range(7)]
    many = make_study(tmp_path / "m", readers=readers, name="Many", cases=2)
    open_study(study=study, by=coordinator(), reason="ready")
    assert queries(many) == queries(study)


# Creating


def protocol_form(study, rest=None, **changes):
    """What the page of a draft sends back when nothing but `changes` was typed.

    `rest`: keys of what stands there as JSON.
    """
    document = study.protocol | (rest or {})
    simple = {name: document[name] for name in SIMPLE}
    form = {name: value for name, value in simple.items() if value is not False}
    others = {key: value for key, value in document.items() if key not in SIMPLE}
    return form | {"rest": json.dumps(others)} | changes


@pytest.fixture
def maker(by):
    """The coordinator with the right to make studies."""
    User.objects.filter(pk=by.pk).update(is_superuser=True)
    client = Client()
    client.force_login(by)
    return client


def add(client, **data):
    chosen = {"template": "paper"} | data
    return client.post(reverse("admin:readerstudy_study_add"), chosen)


def test_a_study_is_made_from_the_bundles_in_the_data_folder(
    maker, by, rhea, data_folder
):
    make_bundle(data_folder / "bundles" / "chest", dataset="chest", cases=2)
    make_bundle(data_folder / "bundles" / "knee", dataset="knee", cases=1)
    make_bundle(data_folder / "bundles" / "other", dataset="other", cases=1)
    response = add(
        maker,
        name="Two sets",
        bundles=["chest", "knee"],
        readers=[rhea.pk],
        template="several-likert",
    )
    study = Study.objects.get()
    assert response.status_code == 302
    assert study.name == "Two sets"
    legend = list(BY_TARGET["loss"])  # as the bundles here say
    assert study.protocol == template("several-likert") | {"legend": legend}
    assert set(study.cases.values_list("dataset", flat=True)) == {"chest", "knee"}
    assert [e.reader for e in study.enrolments.all()] == [rhea]
    assert policies.roles_in(study, by) == {"coordinator"}
    assert study.events.first().user == by


def test_a_folder_that_was_not_offered_is_refused(maker, tmp_path, data_folder):
    make_bundle(data_folder / "bundles" / "chest", cases=1)
    make_bundle(tmp_path / "elsewhere", cases=1)
    for name in ("../../elsewhere", str(tmp_path / "elsewhere"), ".."):
        assert add(maker, name="S", bundles=[name]).status_code == 422
    assert not Study.objects.exists()


def test_a_damaged_bundle_is_named_and_nothing_is_lost(maker, rhea, data_folder):
    bundle = make_bundle(data_folder / "bundles" / "chest", cases=1)
    (bundle / "images/0001.npy").write_bytes(b"x")
    response = add(
        maker,
        name="My study",
        bundles=["chest"],
        readers=[rhea.pk],
        template="point",
    )
    assert response.status_code == 422
    assert "0001.npy" in alert(response)[0]
    page = response.content.decode()
    for typed in ('value="My study"', '<option value="point" selected>'):
        assert typed in page
    assert page.count("checked") >= 2
    assert not Study.objects.exists()
    assert not (data_folder / "studies").exists() or not any(
        (data_folder / "studies").iterdir()
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "Chest maps"}, "There is a study"),
        ({"template": "mine"}, "Select a valid choice"),
        ({"bundles": []}, "This field is required"),
    ],
)
def test_a_wrong_value_is_said_and_nothing_made(study, maker, data_folder, wrong, says):
    make_bundle(data_folder / "bundles" / "chest", cases=1)
    response = add(maker, **({"name": "New", "bundles": ["chest"]} | wrong))
    assert response.status_code == 422
    assert says in response.content.decode()
    assert Study.objects.count() == 1


# The protocol


def test_the_coordinator_changes_the_protocol_of_a_draft(study, staff, by):
    rest = {"languages": ["en"], "instructions": "Look first.\nThen rate."}
    data = protocol_form(study, rest, repeats="0.2", reason="pilot")
    assert staff.post(url(study, "protocol"), data).status_code == 302
    before = study.protocol
    study.refresh_from_db()
    changes = {"repeats": 0.2, "instructions": "Look first.\nThen rate."}
    assert study.protocol == before | changes
    assert last(study) == ("protocol", by, "pilot")
    # Only what is different is recorded, and a text that came back as it was is not.
    assert study.events.last().details == {"changes": changes}


def test_the_page_of_a_draft_shows_its_protocol_to_be_changed(study, staff):
    page = html.unescape(staff.get(url(study, "protocol")).content.decode())
    rest = re.search(r'<textarea name="rest"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    shown = json.loads(rest.group(1))
    assert study.protocol == shown | {name: study.protocol[name] for name in SIMPLE}


def without_a_level(study):
    questions = deepcopy(study.protocol["questions"])
    questions[0]["anchors"] = ["one"]
    return {"questions": questions}


@pytest.mark.parametrize(
    ("rest", "wrong", "says"),
    [
        (without_a_level, {}, "The protocol is wrong: questions[0] 'rating': a scale"),
        (lambda _: {"legend": ["only one"]}, {}, "legend: must be 2 to 3 texts"),
        (lambda _: {"more": 1}, {}, "protocol: there is no 'more'"),
        ("{", {}, "not valid JSON"),
        ("[]", {}, "must be an object"),
        (None, {"opacity": "2"}, "less than or equal to 1"),
        (None, {"repeats": "0.5"}, "less than or equal to 0.25"),
        (None, {"sessions": "2"}, "Select a valid choice"),
        (None, {"washout_days": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_protocol_is_said_and_changes_nothing(study, staff, rest, wrong, says):
    before, events = study.protocol, study.events.count()
    data = protocol_form(study, reason="pilot", **wrong)
    if isinstance(rest, str):
        data["rest"] = rest
    elif rest:
        data = protocol_form(study, rest(study), reason="pilot")
    response = staff.post(url(study, "protocol"), data)
    assert response.status_code == 422
    assert says in html.unescape(response.content.decode())
    study.refresh_from_db()
    assert (study.protocol, study.events.count()) == (before, events)


def test_a_protocol_that_was_not_changed_leaves_no_event(study, staff):
    before = study.events.count()
    data = protocol_form(study, reason="none")
    response = staff.post(url(study, "protocol"), data)
    assert response.status_code == 422
    assert alert(response) == ["Nothing is different from before."]
    assert study.events.count() == before


def test_the_protocol_of_an_open_study_is_fixed(study, staff):
    open_study(study=study, by=coordinator(), reason="ready")
    data = protocol_form(study, repeats="0.2", reason="late")
    response = staff.post(url(study, "protocol"), data)
    assert response.status_code == 409
    assert "is open; only a study that is draft" in alert(response)[0]
    study.refresh_from_db()
    assert study.protocol["repeats"] == 0


# States


def test_it_opens_locks_and_unblinds_with_reasons(study, staff, by):
    for page, state in (("open", "open"), ("lock", "locked"), ("unblind", "unblinded")):
        data = {"reason": f"to be {state}", "unfinished": "on"}
        assert staff.post(url(study, page), data).status_code == 302
        study.refresh_from_db()
        assert study.state == state
        assert study.events.last().reason == f"to be {state}"
        assert study.events.last().user == by


@pytest.mark.parametrize("reason", ["", "  ", "\0"])
def test_nothing_happens_without_a_reason(study, staff, reason):
    response = staff.post(url(study, "open"), {"reason": reason})
    assert response.status_code == 422
    study.refresh_from_db()
    assert study.state == "draft"


def test_it_says_why_a_draft_cannot_open(study, staff):
    (case_files.study_folder(study) / Case.objects.first().file).unlink()
    response = staff.post(url(study, "open"), {"reason": "in a hurry"})
    assert response.status_code == 422
    assert "cannot open: File" in alert(response)[0]
    assert "in a hurry" in response.content.decode()


def test_unfinished_readers_are_named_and_have_to_be_said(study, staff, rhea):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    rate_all(study.enrolments.get(reader=rhea))
    text = text_of(staff.get(url(study, "lock")))
    assert "omar has not finished: 0 of 6." in text
    assert "rhea has not" not in text
    response = staff.post(url(study, "lock"), {"reason": "over"})
    assert response.status_code == 422
    assert "unrated presentations: omar 6" in alert(response)[0]
    study.refresh_from_db()
    assert study.state == "open"
    staff.post(url(study, "lock"), {"reason": "over", "unfinished": "on"})
    study.refresh_from_db()
    assert study.state == "locked"


def test_a_finished_study_is_locked_without_further_questions(study, staff):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    for run in study.enrolments.all():
        rate_all(run)
    assert "unfinished" not in staff.get(url(study, "lock")).content.decode()
    staff.post(url(study, "lock"), {"reason": "over"})
    study.refresh_from_db()
    assert study.state == "locked"


def test_a_refusal_at_the_last_moment_is_told(study, staff, monkeypatch):
    """The study opens between the look at the page and the click."""

    def refuse(**_arguments):
        raise Refusal("The study has opened.")

    monkeypatch.setattr(study_changes, "open_study", refuse)
    response = staff.post(url(study, "open"), {"reason": "ready"})
    assert (response.status_code, alert(response)) == (422, ["The study has opened."])


# Readers


def test_a_reader_is_enrolled_with_experience_and_conflicts(study, staff, by, eve):
    data = {
        "reader": eve.pk,
        "experience": "7 years, board certified",
        "conflicts_of_interest": "none",
    }
    assert staff.post(url(study, "enrol"), data).status_code == 302
    run = study.enrolments.get(reader=eve)
    assert run.experience == "7 years, board certified"
    assert last(study)[:2] == ("enrolled", by)
    text = text_of(staff.get(url(study)))
    assert "eve 0 of 0" in text
    assert "7 years, board certified none" in text


def test_only_who_can_read_is_offered(study, staff, ada, eve):
    User.objects.create_user("gone", is_active=False)
    User.objects.create_user("all")
    offered = re.findall(
        r'<option value="\d+">(.*?)<', staff.get(url(study, "enrol")).content.decode()
    )
    assert offered == ["eve"]
    response = staff.post(url(study, "enrol"), {"reader": ada.pk})
    assert response.status_code == 422
    assert study.enrolments.count() == 2


def test_a_reader_is_withdrawn_from_a_draft(study, staff, by, rhea):
    run = study.enrolments.get(reader=rhea)
    assert "rhea will not read" in text_of(staff.get(url(study, "withdraw", run.pk)))
    assert staff.post(url(study, "withdraw", run.pk)).status_code == 302
    assert not study.enrolments.filter(reader=rhea).exists()
    assert last(study)[:2] == ("withdrawn", by)


def test_a_run_is_voided_with_a_reason(study, staff, by, rhea):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    run = study.enrolments.get(reader=rhea)
    rate_all(run)
    staff.post(url(study, "void", run.pk), {"reason": "wrong monitor"})
    run.refresh_from_db()
    assert run.voided_at
    assert study.enrolments.current().get(reader=rhea).run == 2
    assert last(study) == ("voided", by, "wrong monitor")
    again = staff.post(url(study, "void", run.pk), {"reason": "twice"})
    assert (again.status_code, alert(again)) == (
        409,
        ["Run 1 of rhea is void already."],
    )


def test_a_run_of_another_study_is_not_there(tmp_path, study, staff, eve):
    other = make_study(
        tmp_path / "o", readers=[eve], cases=1, name="Other", opened=False
    )
    foreign = other.enrolments.get().pk
    assert staff.post(url(study, "withdraw", foreign)).status_code == 404
    assert other.enrolments.count() == 1


# Roles


def test_a_coordinator_gives_and_ends_roles(study, staff, by, eve):
    data = {"user": eve.pk, "role": "allocator", "reason": "checks the maps"}
    assert staff.post(url(study, "give"), data).status_code == 302
    assert policies.roles_in(study, eve) == {"allocator"}
    assert last(study) == ("role_given", by, "checks the maps")
    page = url(study, "end", eve.pk, "allocator")
    assert staff.post(page, {"reason": "checked"}).status_code == 302
    assert policies.roles_in(study, eve) == frozenset()
    assert last(study) == ("role_ended", by, "checked")
    assert staff.get(page).status_code == 404


def test_a_reader_is_given_no_role(study, staff, rhea):
    data = {"user": rhea.pk, "role": "allocator", "reason": "why not"}
    assert staff.post(url(study, "give"), data).status_code == 422
    assert policies.roles_in(study, rhea) == {"reader"}
    page = url(study, "end", rhea.pk, "reader")
    assert staff.post(page, {"reason": "x"}).status_code == 404


def test_a_superuser_takes_a_role_on_the_record(study, ada):
    client = Client()
    client.force_login(ada)
    assert client.get(url(study, "ledger")).status_code == 403
    data = {"role": "statistician", "reason": "I analyse it"}
    client.post(url(study, "take"), data)
    assert policies.roles_in(study, ada) == {"statistician"}
    assert last(study) == ("role_given", ada, "I analyse it")
    assert client.get(url(study, "ledger")).status_code == 200
    # Another role is another event, never a matter of being superuser.
    assert client.get(url(study, "open")).status_code == 403


def test_who_holds_a_role_can_lay_it_down_and_no_other(study, eve, by):
    User.objects.filter(pk=eve.pk).update(is_staff=True)
    give(study, eve, "statistician")
    client = Client()
    client.force_login(eve)
    foreign = url(study, "end", by.pk, "coordinator")
    assert client.post(foreign, {"reason": "mine"}).status_code == 403
    own = url(study, "end", eve.pk, "statistician")
    answer = client.post(own, {"reason": "done"}, follow=True)
    assert answer.status_code == 200
    assert policies.roles_in(study, eve) == frozenset()


def test_what_a_role_gave_ends_with_it(study, staff, by):
    assert staff.get(url(study, "ledger")).status_code == 200
    end_role(study=study, user=by, role="coordinator", by=by, reason="leaves")
    assert staff.get(url(study)).status_code == 404
    assert staff.get(url(study, "ledger")).status_code == 404


# One case


def test_an_allocator_unblinds_one_case_and_is_told_once(study, eve):
    User.objects.filter(pk=eve.pk).update(is_staff=True)
    give(study, eve, "allocator")
    open_study(study=study, by=coordinator(), reason="ready")
    client = Client()
    client.force_login(eve)
    case = study.cases.first()
    data = {"case": case.pk, "reason": "an incidental finding"}
    response = client.post(url(study, "unblind_one"), data)
    letters = dict(study.arms.values_list("letter", "variant"))
    assert response.status_code == 200
    for letter, variant in letters.items():
        assert f"{letter} {variant}" in text_of(response)
    assert "no-store" in response["Cache-Control"]
    assert last(study) == ("case_unblinded", eve, "an incidental finding")
    afterwards = text_of(client.get(url(study, "unblind_one")))
    assert "standard" not in afterwards + text_of(client.get(url(study, "ledger")))


def test_a_case_of_another_study_is_not_unblinded(tmp_path, study, eve):
    User.objects.filter(pk=eve.pk).update(is_staff=True)
    give(study, eve, "allocator")
    open_study(study=study, by=coordinator(), reason="ready")
    other = make_study(tmp_path / "o", readers=[], cases=1, name="Other", opened=False)
    client = Client()
    client.force_login(eve)
    data = {"case": other.cases.get().pk, "reason": "curious"}
    assert client.post(url(study, "unblind_one"), data).status_code == 422


def test_signing_off_shows(study, staff, rhea):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    run = study.enrolments.get(reader=rhea)
    rate_all(run)
    sign_off(
        enrolment=run,
        user=rhea,
        password="rhea-pass",
        told_apart="mostly",
        words="the grainy ones",
    )
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    text = text_of(staff.get(url(study))) + text_of(staff.get(url(study, "ledger")))
    run.refresh_from_db()
    assert f"{run.signed_off_at:%b %Y}" in text
    # What a reader thinks of the maps can tell the arms apart.
    assert "grainy" not in text
