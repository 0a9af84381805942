"""Changes to a study in the admin: a page for each act, which asks for its reason."""

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods

from readerstudy.admin.forms import (
    ChangeProtocolForm,
    EnrolForm,
    GiveRoleForm,
    LockForm,
    NewStudyForm,
    ReasonForm,
    RoleForm,
    UnblindCaseForm,
)
from readerstudy.admin.pages import (
    Confirm,
    confirm,
    get_study,
    may_take_roles,
    person,
    posted,
    refusal_of,
    show,
    visible_studies,
)
from readerstudy.models import Case, Enrolment, Study
from readerstudy.trial import policies
from readerstudy.trial.enrolment import enrol, void_run, withdraw
from readerstudy.trial.policies import Refusal
from readerstudy.trial.reader_progress import progress
from readerstudy.trial.roles import end_role, give_role
from readerstudy.trial.study import (
    change_protocol,
    create_study,
    lock_study,
    open_study,
    unblind_case,
    unblind_study,
)

page_of = require_http_methods(["GET", "POST"])


# Making a study


@page_of
def add(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("readerstudy.add_study"):
        raise PermissionDenied
    form = NewStudyForm(posted(request))

    def act(**_values: Any) -> str:
        study = _create(form, person(request))
        return f"'{study}' is a draft. Its page says what it still needs."

    page = Confirm(
        title="New study",
        button="Create draft",
        lines=(
            "Bundles are the folders under bundles/ in the data folder. Their files "
            "are copied; you become the study's coordinator.",
        ),
        act=act,
        back="admin:readerstudy_study_changelist",
    )
    return confirm(request, None, form, page)


def _create(form: NewStudyForm, by: User) -> Study:
    try:
        return create_study(
            name=form.cleaned_data["name"],
            bundles=form.paths(),
            readers=list(form.cleaned_data["readers"]),
            by=by,
            protocol=form.protocol(),
        )
    except OSError as error:  # such as a full disk
        reason = f"{error.strerror or error} ({error.filename})"
        raise Refusal(f"The study was not made: {reason}.") from error


@page_of
def protocol(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)
    form = ChangeProtocolForm(posted(request), study=study)

    def act(reason: str, **_values: Any) -> str:
        by = person(request)
        change_protocol(study=study, protocol=form.protocol(), by=by, reason=reason)
        return "The protocol is changed."

    page = Confirm(
        title="Change the protocol",
        button="Change",
        lines=("It is fixed for good when the study opens.",),
        act=act,
    )
    problem = refusal_of(policies.check_can_change_protocol, study, person(request))
    return confirm(request, study, form, page, problem)


# States


@page_of
def open_(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)

    def act(reason: str) -> str:
        open_study(study=study, by=person(request), reason=reason)
        return f"'{study}' is open. Its readers can begin."

    page = Confirm(
        title="Open the study",
        button="Open",
        lines=(
            "The arms go behind letters and every reader's list is drawn. From then "
            "on protocol, cases, maps and readers are fixed; there is no way back.",
        ),
        act=act,
    )
    problem = refusal_of(policies.check_can_open, study, person(request))
    return confirm(request, study, ReasonForm(posted(request)), page, problem)


@page_of
def lock(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)
    unfinished = _unfinished(study)
    form = LockForm(posted(request))
    if not unfinished:
        del form.fields["unfinished"]

    def act(**values: Any) -> str:
        unrated = lock_study(study=study, by=person(request), **values)
        rest = f"{unrated} maps without an answer" if unrated else "no map is missing"
        return f"'{study}' is locked: {rest}."

    page = Confirm(
        title="Lock the study",
        button="Lock",
        lines=("Nobody can rate any more, for good.", *unfinished),
        act=act,
    )
    problem = refusal_of(policies.check_can_lock, study, person(request))
    return confirm(request, study, form, page, problem)


def _unfinished(study: Study) -> list[str]:
    """Every reader who has not answered all maps, in a line."""
    return [
        f"{run.enrolment.reader} has not finished: {run.rated} of {run.total}."
        for run in progress(study)
        if run.enrolment.voided_at is None and run.rated < run.total
    ]


@page_of
def unblind(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)

    def act(reason: str) -> str:
        unblind_study(study=study, by=person(request), reason=reason)
        return f"'{study}' is unblinded: its variants have their names."

    page = Confirm(
        title="Unblind the study",
        button="Unblind",
        lines=(
            "Whoever holds a role may then see which letter is which variant. What "
            "was to be decided blind has to be decided by now.",
        ),
        act=act,
    )
    problem = refusal_of(policies.check_can_unblind, study, person(request))
    return confirm(request, study, ReasonForm(posted(request)), page, problem)


@page_of
def unblind_one(request: HttpRequest, pk: int) -> HttpResponse:
    """An emergency: the answer is on the page that answers the form, and only there."""
    study = get_study(request, pk)
    by = person(request)
    if "allocator" not in policies.roles_in(study, by):
        raise PermissionDenied
    form = UnblindCaseForm(posted(request), study=study)

    def act(case: Case, reason: str) -> HttpResponse:
        letters = unblind_case(case=case, by=by, reason=reason)
        return show(request, "told", "One case unblinded", study, letters=letters)

    page = Confirm(
        title="Unblind one case",
        button="Unblind this case",
        lines=(
            "For an emergency. The letters are those of the whole study: whoever knows "
            "them for one case knows them for all. The record says that you do.",
        ),
        act=act,
    )
    problem = refusal_of(policies.check_can_unblind_case, study, by)
    return confirm(request, study, form, page, problem)


# Readers


@page_of
def enrol_reader(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)

    def act(reader: User, **said: str) -> str:
        enrol(study=study, reader=reader, by=person(request), **said)
        return f"{reader} is enrolled."

    page = Confirm(
        title="Enrol a reader",
        button="Enrol",
        lines=("Accounts are added under Users, without access to the admin.",),
        act=act,
    )
    problem = _not_a_draft(study)
    form = EnrolForm(posted(request), study=study)
    return confirm(request, study, form, page, problem)


def _not_a_draft(study: Study) -> str:
    if study.state == Study.State.DRAFT:
        return ""
    return f"Study '{study}' is {study.state}; readers come and go in a draft only."


@page_of
def withdraw_reader(request: HttpRequest, pk: int, enrolment: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)
    run = _run(study, enrolment)

    def act() -> str:
        withdraw(enrolment=run, by=person(request))
        return f"{run.reader} is withdrawn."

    page = Confirm(
        title=f"Withdraw {run.reader}",
        button="Withdraw",
        lines=(f"{run.reader} will not read in this study.",),
        act=act,
    )
    problem = refusal_of(policies.check_can_withdraw, run)
    return confirm(request, study, forms.Form(posted(request)), page, problem)


@page_of
def void(request: HttpRequest, pk: int, enrolment: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)
    run = _run(study, enrolment)

    def act(reason: str) -> str:
        new = void_run(enrolment=run, by=person(request), reason=reason)
        return f"Run {run.run} of {run.reader} is void; run {new.run} can begin."

    page = Confirm(
        title=f"Void run {run.run} of {run.reader}",
        button="Void this run",
        lines=(
            "Every answer of the run is kept and none is analysed. The reader begins "
            "anew, in another order, once the washout is over: "
            f"{study.protocol['washout_days']} days after the last map seen.",
        ),
        act=act,
    )
    problem = refusal_of(policies.check_can_void, run, person(request))
    return confirm(request, study, ReasonForm(posted(request)), page, problem)


def _run(study: Study, enrolment: int) -> Enrolment:
    rows = Enrolment.objects.select_related("study", "reader")
    return get_object_or_404(rows, study=study, pk=enrolment)


# Roles


@page_of
def take(request: HttpRequest, pk: int) -> HttpResponse:
    by = person(request)
    study = get_object_or_404(visible_studies(by), pk=pk)
    if not may_take_roles(by):
        raise PermissionDenied

    def act(role: str, reason: str) -> str:
        give_role(study=study, user=by, role=role, by=by, reason=reason)
        return f"You are {role} of '{study}' now."

    page = Confirm(
        title="Take a role",
        button="Take this role",
        lines=(
            "A coordinator runs the study and sees progress. An allocator may see "
            "which map is of which variant. A statistician sees the ratings once the "
            "study is locked. The record will say that you took it.",
        ),
        act=act,
    )
    return confirm(request, study, RoleForm(posted(request)), page)


@page_of
def give(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_run)

    def act(user: User, role: str, reason: str) -> str:
        give_role(study=study, user=user, role=role, by=person(request), reason=reason)
        return f"{user} is {role} now."

    page = Confirm(
        title="Give a role",
        button="Give this role",
        lines=(
            "A coordinator runs the study and sees progress. An allocator may see "
            "which map is of which variant. A statistician sees the ratings once the "
            "study is locked.",
        ),
        act=act,
    )
    form = GiveRoleForm(posted(request), study=study)
    return confirm(request, study, form, page)


@page_of
def end(request: HttpRequest, pk: int, user: int, role: str) -> HttpResponse:
    study = get_study(request, pk)
    holder = get_object_or_404(User, memberships__study=study, pk=user)
    if refusal_of(policies.check_can_end_role, study, holder, person(request)):
        raise PermissionDenied
    if role not in policies.roles_in(study, holder) & set(policies.ROLES):
        raise Http404

    def act(reason: str) -> str:
        end_role(study=study, user=holder, role=role, by=person(request), reason=reason)
        return f"{holder} is {role} no more."

    page = Confirm(
        title=f"End a role: {holder} is {role}",
        button="End this role",
        lines=(f"{holder} will see no more than any other person of the staff.",),
        act=act,
        # Whoever laid down the only role held cannot go back to the study.
        back="admin:readerstudy_study_changelist",
    )
    return confirm(request, study, ReasonForm(posted(request)), page)
