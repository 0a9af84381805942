"""Frame of the admin's study pages: permission, confirmation, act, and the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from readerstudy.models import Study
from readerstudy.querysets import StudyQuerySet
from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal

Check = Callable[[Study, User], None]


@dataclass(frozen=True, slots=True)
class Confirm:
    """A page that says what is about to happen, asks for what it needs, and does it.

    `act` gets the form's values by name and returns the sentence that is told after, or
    a page of its own, which is then seen once.
    `lines` are said above the form; `back` is where the person goes afterwards.
    """

    title: str
    button: str
    lines: tuple[str, ...]
    act: Callable[..., str | HttpResponse]
    back: str = ""


def person(request: HttpRequest) -> User:
    # The admin lets nobody in who is not logged in.
    return cast(User, request.user)


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: also to a POST with nothing in it."""
    return request.POST if request.method == "POST" else None


def may_take_roles(user: User) -> bool:
    """Whoever the site trusts with memberships: superusers, if nobody else.

    It is a right over the site, not a role in a study: it shows a study's name and
    state, and using it leaves an event.
    """
    return user.has_perm("readerstudy.add_membership")


def visible_studies(user: User) -> StudyQuerySet:
    """The studies that exist for a person of the staff."""
    if may_take_roles(user):
        return Study.objects.all()
    return Study.objects.for_role_holder(user)


def get_study(
    request: HttpRequest, pk: int, check: Check = policies.check_can_see_study
) -> Study:
    """The study, if it is there for this person (else 404) and allowed (else 403)."""
    study = get_object_or_404(visible_studies(person(request)), pk=pk)
    try:
        check(study, person(request))
    except Refusal as refusal:
        raise PermissionDenied(str(refusal)) from refusal
    return study


def address(study: Study, page: str = "change", *args: Any) -> str:
    """Of a page of the study in the admin."""
    return reverse(f"admin:readerstudy_study_{page}", args=[study.pk, *args])


def show(
    request: HttpRequest,
    template: str,
    title: str,
    study: Study | None,
    *,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """A page in the admin's frame."""
    everywhere = admin.site.each_context(request)
    return render(
        request,
        f"admin/readerstudy/study/{template}.html",
        {**everywhere, "title": title, "study": study, **context},
        status=status,
    )


def confirm(
    request: HttpRequest,
    study: Study | None,
    form: forms.Form,
    page: Confirm,
    problem: str = "",
) -> HttpResponse:
    """Ask, and do it once the form is right; a refusal is told beside what was typed.

    `problem` is why it cannot be done at all now: then there is no form.
    """
    if problem:
        return _ask(request, study, None, page, problem, status=409)
    if request.method != "POST":
        return _ask(request, study, form, page)
    if form.is_valid():
        try:
            done = page.act(**form.cleaned_data)
        except Refusal as refusal:
            form.add_error(None, str(refusal))
        else:
            if isinstance(done, HttpResponse):
                return done
            messages.success(request, done)
            return redirect(page.back or (address(study) if study else "admin:index"))
    return _ask(request, study, form, page, status=422)


def refusal_of(check: Callable[..., None], *args: Any) -> str:
    """Why a check refuses, in one line; empty when it does not."""
    try:
        check(*args)
    except Refusal as refusal:
        return str(refusal)
    return ""


def _ask(
    request: HttpRequest,
    study: Study | None,
    form: forms.Form | None,
    page: Confirm,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {"form": form, "page": page, "problem": problem}
    return show(request, "confirm", page.title, study, status=status, **context)
