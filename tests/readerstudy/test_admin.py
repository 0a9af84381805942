"""The admin as a whole: who is let in, what is listed, and what no page tells."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from readerstudy.admin import people
from readerstudy.models import (
    Arm,
    Case,
    Enrolment,
    Membership,
    Overlay,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.trial.enrolment import withdraw
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.factories import begin, coordinator, give, make_study, rate_all

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
def by(study):
    """The study's coordinator, let into the admin."""
    User.objects.filter(username="coordinator").update(is_staff=True)
    return coordinator()


def logged_in(user):
    client = Client()
    client.force_login(user)
    return client


def url(model, page, *args):
    return reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args
    )


def walk(study):
    """A study through all its states, with ratings; yields at each."""
    yield study
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    rate_all(study.enrolments.first())
    yield study
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    yield study
    unblind_study(study=study, by=coordinator(), reason="analysis")
    yield study


def pages_of(study):
    pk = study.pk
    people = User.objects.values_list("pk", flat=True)
    enrolments = list(study.enrolments.values_list("pk", flat=True))
    acts = ("take", "give", "protocol", "enrol", "open", "lock", "unblind", "ledger")
    return [
        reverse("admin:index"),
        reverse("admin:app_list", args=["readerstudy"]),
        url(Study, "changelist"),
        url(Study, "change", pk),
        *(url(Study, act, pk) for act in acts),
        url(Study, "unblind_one", pk),
        url(Study, "cases", pk),
        *(url(Study, "withdraw", pk, enrolment) for enrolment in enrolments),
        *(url(Study, "void", pk, enrolment) for enrolment in enrolments),
        url(User, "changelist"),
        *(url(User, "change", user) for user in people),
        *(url(User, "history", user) for user in people),
        *(url(User, "delete", user) for user in people),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("who", ["coordinator", "superuser"])
def test_no_page_names_an_arm_or_a_run_before_unblinding(study, by, ada, who):
    """To whom runs the study, and to a superuser who holds no role in it."""
    client = logged_in(by if who == "coordinator" else ada)
    hashes = [
        run["checkpoint_sha256"] for a in study.arms.all() for run in a.runs.values()
    ]
    files = list(Overlay.objects.values_list("file", flat=True))
    maps = list(Overlay.objects.values_list("sha256", flat=True))
    seen = 0
    for _ in walk(study):
        if study.state == "unblinded" and who == "coordinator":
            continue
        seeds = [
            seed for seed in study.enrolments.values_list("seed", flat=True) if seed
        ]
        tokens = list(Presentation.objects.values_list("token", flat=True))
        secrets = ["canary", *hashes, *files, *maps, *seeds, *tokens]
        for page in pages_of(study):
            response = client.get(page)
            seen += response.status_code == 200
            text = response.content.decode() + str(response.headers)
            assert [secret for secret in secrets if secret in text] == [], page
    assert seen > 25


def test_a_superuser_without_a_role_sees_name_and_state_alone(study, ada):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    rate_all(study.enrolments.first())
    text = logged_in(ada).get(url(Study, "change", study.pk)).content.decode()
    assert "Chest maps" in text
    assert "<strong>open</strong>" in text
    assert url(Study, "take", study.pk) in text
    for hidden in (
        "rhea",
        "of 6",
        study.protocol["questions"][0]["text"],
        "coordinator",
        "Ledger",
        "phantom",
    ):
        assert hidden not in text


@pytest.mark.parametrize(
    "model",
    [Arm, Case, Overlay, Presentation, RatingEvent, StudyEvent, Enrolment, Membership],
)
def test_nothing_that_a_rating_rests_on_is_there_to_be_edited(model):
    assert not admin.site.is_registered(model)


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Study, "arms__variant"),
        (Study, "arms__variant__startswith"),
        (Study, "enrolments__presentations__arm__variant"),
        (Study, "enrolments__presentations__overlay__arm__variant"),
        (Study, "enrolments__reader"),
        (Study, "memberships__coordinator"),
        (Study, "protocol__questions__startswith"),
        (Study, "protocol__repeats"),
        (User, "enrolments__presentations__arm__variant"),
        (User, "enrolments__presentations__overlay__arm__variant"),
        (User, "enrolments__seed__startswith"),
        (User, "rating_events__answer"),
        (User, "rating_events__answer__answers__rating"),
        (User, "memberships__allocator"),
    ],
)
def test_no_list_can_be_asked_for_more_than_it_shows(study, ada, model, lookup):
    # A filter that is obeyed tells by what it leaves in the list.
    answer = logged_in(ada).get(url(model, "changelist"), {lookup: "c"})
    assert answer.status_code == 400


def test_names_can_be_searched_and_nothing_else(study, by, ada):
    client = logged_in(ada)
    link = url(Study, "change", study.pk)
    found = {
        words: link
        in client.get(url(Study, "changelist"), {"q": words}).content.decode()
        for words in ("Chest", "canary", "phantom", "rhea")
    }
    assert found == {"Chest": True, "canary": False, "phantom": False, "rhea": False}


def test_the_list_shows_own_studies_with_own_roles(tmp_path, study, by, eve):
    User.objects.filter(pk=eve.pk).update(is_staff=True)
    page = logged_in(by).get(url(Study, "changelist")).content.decode()
    assert "Chest maps" in page
    assert '<td class="field-your_roles">coordinator</td>' in page
    assert (
        "Chest maps"
        not in logged_in(eve).get(url(Study, "changelist")).content.decode()
    )


def test_the_study_list_takes_few_queries(
    tmp_path, study, ada, django_assert_max_num_queries
):
    for number in range(3):
        make_study(
            tmp_path / f"more-{number}", readers=[], opened=False, name=f"S{number}"
        )
    client = logged_in(ada)
    with django_assert_max_num_queries(9):
        client.get(url(Study, "changelist"))


# The door


def test_it_bears_the_products_name_and_colours(ada):
    text = logged_in(ada).get(reverse("admin:index")).content.decode()
    assert "Reader studies" in text
    assert "readerstudy/admin.css" in text
    assert "theme" not in text  # one theme, and no script that sets another


def every_page(study):
    return [*pages_of(study), reverse("admin:jsi18n"), reverse("admin:password_change")]


@pytest.mark.parametrize("rights", [{}, {"is_staff": True, "is_superuser": True}])
def test_an_enrolled_reader_is_refused_everywhere_and_told_why(study, rhea, rights):
    User.objects.filter(pk=rhea.pk).update(**rights)
    client = logged_in(rhea)
    for page in every_page(study):
        response = client.get(page)
        assert response.status_code == 302, page
        assert response.url.startswith(reverse("admin:login")), page
    text = client.get(reverse("admin:login")).content.decode()
    assert "rhea reads in a study; the admin is closed to its readers." in text


@pytest.mark.parametrize("rights", [{}, {"is_staff": True, "is_superuser": True}])
def test_a_reader_who_logs_in_at_its_door_is_told_why_not(client, study, rhea, rights):
    User.objects.filter(pk=rhea.pk).update(**rights)
    data = {"username": "rhea", "password": "rhea-pass"}
    response = client.post(reverse("admin:login"), data)
    assert "rhea reads in a study" in response.content.decode()
    assert "_auth_user_id" not in client.session


def test_a_wrong_password_does_not_tell_who_reads(client, study, rhea):
    data = {"username": "rhea", "password": "guess"}
    text = client.post(reverse("admin:login"), data).content.decode()
    assert "reads in a study" not in text


def test_a_withdrawn_reader_may_be_let_in(study, rhea):
    withdraw(enrolment=study.enrolments.get(reader=rhea), by=coordinator())
    User.objects.filter(pk=rhea.pk).update(is_staff=True)
    assert logged_in(rhea).get(reverse("admin:index")).status_code == 200


def test_an_outsider_is_sent_to_the_login(study, eve):
    client = logged_in(eve)
    for page in every_page(study):
        assert client.get(page).url.startswith(reverse("admin:login"))


# People


def person_form(user, **changes):
    form = {
        "username": user.username,
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    for right in ("is_staff", "is_superuser"):
        if getattr(user, right):
            form[right] = "on"
    return form | changes


def test_a_person_can_be_added(ada):
    data = {
        "username": "newcomer",
        "usable_password": "true",
        "password1": "long-enough-42",
        "password2": "long-enough-42",
    }
    assert logged_in(ada).post(url(User, "add"), data).status_code == 302
    assert User.objects.get(username="newcomer").check_password("long-enough-42")


def set_password(client, user, **changes):
    form = {
        "usable_password": "true",
        "password1": "long-enough-42",
        "password2": "long-enough-42",
        "set-password": "Change password",
    }
    page = reverse("admin:auth_user_password_change", args=[user.pk])
    return client.post(page, {**form, **changes})


def passwords_changed(study):
    return list(
        study.events.filter(kind="password_changed").values_list("username", "details")
    )


@pytest.mark.parametrize("who", ["rhea", "coordinator"])
def test_a_password_set_for_another_is_recorded_and_nothing_of_it(study, by, ada, who):
    user = User.objects.get(username=who)
    assert set_password(logged_in(ada), user).status_code == 302
    user.refresh_from_db()
    assert user.check_password("long-enough-42")
    assert passwords_changed(study) == [("ada", {"user": who})]
    text = str(list(study.events.values()))
    assert [word for word in ("long-enough-42", user.password) if word in text] == []
    ledger = logged_in(coordinator()).get(url(Study, "ledger", study.pk))
    page = ledger.content.decode()
    assert "password changed by another person" in page
    assert f"user: {who}" in page


def test_a_password_that_was_taken_away_is_recorded(study, ada, rhea):
    empty = {"password1": "", "password2": "", "unset-password": "Disable"}
    changes = {"usable_password": "false", **empty}
    assert set_password(logged_in(ada), rhea, **changes).status_code == 302
    rhea.refresh_from_db()
    assert not rhea.has_usable_password()
    assert passwords_changed(study) == [("ada", {"user": "rhea"})]


@pytest.mark.parametrize("changes", [{"password2": "another"}, {"password1": ""}])
def test_a_password_that_was_not_set_is_not_recorded(study, ada, rhea, changes):
    before = rhea.password
    assert set_password(logged_in(ada), rhea, **changes).status_code == 200
    rhea.refresh_from_db()
    assert rhea.password == before
    assert passwords_changed(study) == []


def test_a_password_that_cannot_be_recorded_is_not_set(study, ada, rhea, monkeypatch):
    def fail(**_details):
        raise OSError("no space left")

    monkeypatch.setattr(people, "record_password_change", fail)
    with pytest.raises(OSError, match="no space left"):
        set_password(logged_in(ada), rhea)
    before = rhea.password
    rhea.refresh_from_db()
    assert rhea.password == before


def test_other_changes_of_an_account_are_no_event(study, by, ada, rhea):
    give(study, ada, "statistician")
    events = study.events.count()
    data = person_form(rhea, first_name="Rhea")
    assert logged_in(ada).post(url(User, "change", rhea.pk), data).status_code == 302
    # One's own password is nobody else's business.
    assert set_password(logged_in(ada), ada).status_code == 302
    assert study.events.count() == events


def test_who_may_not_change_accounts_sets_no_password(study, by, rhea):
    assert set_password(logged_in(by), rhea).status_code == 403
    assert passwords_changed(study) == []


@pytest.mark.parametrize("who", ["rhea", "coordinator"])
def test_who_is_in_a_record_cannot_be_renamed(study, by, ada, who):
    user = User.objects.get(username=who)
    page = url(User, "change", user.pk)
    response = logged_in(ada).post(page, person_form(user, username="another"))
    assert f"{who} is in the record of a study under this name" in (
        response.content.decode()
    )
    user.refresh_from_db()
    assert user.username == who


def test_who_is_in_a_record_can_still_be_edited_and_deactivated(study, ada, rhea):
    data = person_form(rhea, first_name="Rhea")
    del data["is_active"]
    response = logged_in(ada).post(url(User, "change", rhea.pk), data)
    assert response.status_code == 302
    rhea.refresh_from_db()
    assert (rhea.first_name, rhea.is_active) == ("Rhea", False)


def test_an_outsider_can_be_renamed_and_let_into_the_admin(study, ada, eve):
    data = person_form(eve, username="eva", is_staff="on")
    assert logged_in(ada).post(url(User, "change", eve.pk), data).status_code == 302
    eve.refresh_from_db()
    assert (eve.username, eve.is_staff) == ("eva", True)


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_an_enrolled_reader_is_given_no_right_over_the_admin(study, ada, rhea, right):
    data = person_form(rhea, **{right: "on"})
    response = logged_in(ada).post(url(User, "change", rhea.pk), data)
    assert "rhea reads in a study" in response.content.decode()
    rhea.refresh_from_db()
    assert not getattr(rhea, right)


@pytest.mark.parametrize("who", ["rhea", "coordinator"])
def test_who_is_in_a_record_cannot_be_deleted(study, by, ada, who):
    user = User.objects.get(username=who)
    client = logged_in(ada)
    assert client.get(url(User, "delete", user.pk)).status_code == 403
    assert client.post(url(User, "delete", user.pk), {"post": "yes"}).status_code == 403
    many = {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"}
    client.post(url(User, "changelist"), many)
    assert User.objects.filter(username=who).exists()


def test_an_outsider_can_be_deleted(study, ada, eve):
    logged_in(ada).post(url(User, "delete", eve.pk), {"post": "yes"})
    assert not User.objects.filter(pk=eve.pk).exists()
