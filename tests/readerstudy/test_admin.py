"""What a coordinator sees and does; no arm, no score, no way around `trial`."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from readerstudy import admin as our_admin
from readerstudy.models import (
    Arm,
    Case,
    Enrolment,
    Overlay,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.trial.policies import Refusal
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.factories import coordinator, make_study, rate_all

CANARIES = ("canary-one", "canary-two", "canary-three")


@pytest.fixture
def study(tmp_path, rhea, omar):
    """A draft whose arms bear names that occur nowhere else."""
    return make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=2,
        opened=False,
        variants=CANARIES,
    )


@pytest.fixture
def staff(client, ada):
    client.force_login(ada)
    return client


def url(model, page, *args):
    return reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args
    )


def walk(study, by):
    """A study through all its states, with ratings; yields at each."""
    yield study
    open_study(study=study, by=by, reason="ready")
    rate_all(study.enrolments.first())
    yield study
    lock_study(study=study, by=by, reason="over", unfinished=True)
    yield study
    unblind_study(study=study, by=by, reason="analysis")
    yield study


def pages_of(study):
    people = User.objects.values_list("pk", flat=True)
    events = StudyEvent.objects.values_list("pk", flat=True)
    enrolments = Enrolment.objects.values_list("pk", flat=True)
    return [
        reverse("admin:index"),
        reverse("admin:app_list", args=["readerstudy"]),
        url(Study, "changelist"),
        url(Study, "change", study.pk),
        url(Study, "history", study.pk),
        url(Enrolment, "changelist"),
        url(Enrolment, "add"),
        *(url(Enrolment, "change", pk) for pk in enrolments),
        *(url(Enrolment, "delete", pk) for pk in enrolments),
        url(StudyEvent, "changelist"),
        *(url(StudyEvent, "change", pk) for pk in events),
        url(User, "changelist"),
        *(url(User, "change", pk) for pk in people),
        *(url(User, "delete", pk) for pk in people),
    ]


def test_no_page_names_an_arm_or_a_run_in_any_state(staff, study, ada):
    hashes = [
        run["checkpoint_sha256"] for a in study.arms.all() for run in a.runs.values()
    ]
    files = list(Overlay.objects.values_list("file", flat=True))
    for _ in walk(study, ada):
        seeds = [
            seed for seed in study.enrolments.values_list("seed", flat=True) if seed
        ]
        tokens = list(Presentation.objects.values_list("token", flat=True))
        secrets = ["canary", *hashes, *files, *seeds, *tokens]
        for page in pages_of(study):
            response = staff.get(page)
            # 403: an enrolment cannot be deleted any more.
            assert response.status_code in (200, 403), page
            text = response.content.decode()
            assert [secret for secret in secrets if secret in text] == [], page


@pytest.mark.parametrize("model", [Arm, Case, Overlay, Presentation, RatingEvent])
def test_what_could_tell_an_arm_or_a_score_is_not_there(model):
    assert not admin.site.is_registered(model)


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Study, "arms__variant"),
        (Study, "arms__variant__startswith"),
        (Study, "enrolments__presentations__overlay__arm__variant"),
        (Enrolment, "presentations__events__rating"),
        (Enrolment, "seed"),
        (Enrolment, "seed__startswith"),
        (Enrolment, "presentations"),
        (StudyEvent, "study__arms__variant"),
        (User, "enrolments__presentations__overlay__arm__variant"),
    ],
)
def test_no_list_can_be_asked_for_arms_or_scores(staff, study, model, lookup):
    # A filter that is obeyed tells by what it leaves in the list.
    assert staff.get(url(model, "changelist"), {lookup: "c"}).status_code == 400


def test_enrolments_can_still_be_filtered_by_study(staff, study):
    for lookup in ("study__id__exact", "study__isnull"):
        answer = staff.get(url(Enrolment, "changelist"), {lookup: "0"})
        assert answer.status_code == 200


def test_it_bears_the_products_name(staff):
    assert "Reader studies" in staff.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize("person", ["rhea", "eve"])
def test_nobody_else_is_let_in(client, study, person, request):
    client.force_login(request.getfixturevalue(person))
    for page in pages_of(study):
        response = client.get(page)
        assert response.status_code == 302
        assert response.url.startswith(reverse("admin:login"))


# Study


def test_a_study_shows_its_state_and_each_readers_progress(staff, study, ada, rhea):
    open_study(study=study, by=ada, reason="ready")
    rate_all(study.enrolments.get(reader=rhea))
    text = staff.get(url(Study, "change", study.pk)).content.decode()
    assert "rhea: 6 of 6" in text
    assert "omar: 0 of 6" in text
    assert "open" in text


def test_a_study_cannot_be_changed_added_or_deleted(staff, study):
    assert staff.get(url(Study, "add")).status_code == 403
    assert staff.get(url(Study, "delete", study.pk)).status_code == 403
    response = staff.post(url(Study, "change", study.pk), {"state": "unblinded"})
    assert response.status_code == 403
    study.refresh_from_db()
    assert study.state == "draft"


# Enrolment


def test_it_enrols_through_the_trial(staff, study, ada, eve):
    data = {"study": study.pk, "reader": eve.pk}
    response = staff.post(url(Enrolment, "add"), data)
    assert response.status_code == 302
    assert study.enrolments.filter(reader=eve).exists()
    event = study.events.last()
    assert (event.kind, event.user, event.details) == (
        "enrolled",
        ada,
        {"reader": "eve"},
    )


@pytest.mark.parametrize("who", ["rhea", "ada"])
def test_it_says_why_somebody_cannot_be_enrolled(staff, study, who, request):
    person = request.getfixturevalue(who)
    response = staff.post(
        url(Enrolment, "add"), {"study": study.pk, "reader": person.pk}
    )
    problem = {"rhea": "is enrolled in study", "ada": "has access to the admin"}[who]
    assert response.status_code == 200
    assert problem in response.content.decode()
    assert study.enrolments.count() == 2


def test_an_open_study_is_not_offered(staff, study, ada, eve):
    open_study(study=study, by=ada, reason="ready")
    assert "Chest maps" not in staff.get(url(Enrolment, "add")).content.decode()
    staff.post(url(Enrolment, "add"), {"study": study.pk, "reader": eve.pk})
    assert study.enrolments.count() == 2


def test_it_withdraws_through_the_trial(staff, study, ada, rhea):
    enrolment = study.enrolments.get(reader=rhea)
    response = staff.post(url(Enrolment, "delete", enrolment.pk), {"post": "yes"})
    assert response.status_code == 302
    assert not study.enrolments.filter(reader=rhea).exists()
    event = study.events.last()
    assert (event.kind, event.user) == ("withdrawn", ada)


def test_it_withdraws_nobody_once_the_study_is_open(staff, study, ada, rhea):
    open_study(study=study, by=ada, reason="ready")
    enrolment = study.enrolments.get(reader=rhea)
    response = staff.post(url(Enrolment, "delete", enrolment.pk), {"post": "yes"})
    assert response.status_code == 403
    assert study.enrolments.count() == 2


@pytest.mark.parametrize("act", ["enrol", "withdraw"])
def test_a_refusal_at_the_last_moment_is_told(
    staff, study, rhea, eve, monkeypatch, act
):
    """The study opens between the form's check and the write."""

    def refuse(**kwargs):
        raise Refusal("The study has opened.")

    monkeypatch.setattr(our_admin, act, refuse)
    if act == "enrol":
        page, data = url(Enrolment, "add"), {"study": study.pk, "reader": eve.pk}
    else:
        enrolment = study.enrolments.get(reader=rhea)
        page, data = url(Enrolment, "delete", enrolment.pk), {"post": "yes"}
    response = staff.post(page, data, follow=True)
    assert response.redirect_chain[-1][0] == url(Enrolment, "changelist")
    assert "The study has opened." in response.content.decode()
    assert study.enrolments.count() == 2


def test_many_cannot_be_deleted_at_once(staff, study):
    data = {
        "action": "delete_selected",
        "_selected_action": list(study.enrolments.values_list("pk", flat=True)),
        "post": "yes",
    }
    staff.post(url(Enrolment, "changelist"), data)
    assert study.enrolments.count() == 2


def test_an_enrolment_cannot_be_turned_into_another(staff, study, rhea, eve):
    enrolment = study.enrolments.get(reader=rhea)
    data = {"study": study.pk, "reader": eve.pk}
    assert staff.post(url(Enrolment, "change", enrolment.pk), data).status_code == 403
    enrolment.refresh_from_db()
    assert enrolment.reader == rhea


def test_without_the_permission_nobody_is_withdrawn(client, study, rhea):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_enrolment"))
    client.force_login(clerk)
    enrolment = study.enrolments.get(reader=rhea)
    page = url(Enrolment, "delete", enrolment.pk)
    assert client.post(page, {"post": "yes"}).status_code == 403
    assert client.get(url(Enrolment, "changelist")).status_code == 200


# The record


def test_the_record_can_be_read_and_nothing_else(staff, study):
    event = study.events.first()
    assert staff.get(url(StudyEvent, "change", event.pk)).status_code == 200
    assert staff.get(url(StudyEvent, "add")).status_code == 403
    assert staff.get(url(StudyEvent, "delete", event.pk)).status_code == 403
    page = url(StudyEvent, "change", event.pk)
    assert staff.post(page, {"reason": "another"}).status_code == 403


# People


def test_a_person_can_be_added(staff):
    data = {
        "username": "newcomer",
        "usable_password": "true",
        "password1": "long-enough-42",
        "password2": "long-enough-42",
    }
    assert staff.post(url(User, "add"), data).status_code == 302
    assert User.objects.get(username="newcomer").check_password("long-enough-42")


def test_a_reader_of_a_study_cannot_be_deleted(staff, study, rhea):
    staff.post(url(User, "delete", rhea.pk), {"post": "yes"})
    assert User.objects.filter(pk=rhea.pk).exists()


def test_the_study_list_takes_few_queries(staff, study, django_assert_max_num_queries):
    coordinator()
    with django_assert_max_num_queries(10):
        staff.get(url(Study, "changelist"))
