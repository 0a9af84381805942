"""A reader's pages. Each view fetches what the person may see first, else it is 404."""

from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect, replace_url

from readerstudy.models import Enrolment, Presentation, Study
from readerstudy.querysets import EnrolmentQuerySet
from readerstudy.trial import policies, rating, stimuli
from readerstudy.web.forms import RatingForm
from readerstudy.web.http import HtmxHttpRequest
from readerstudy.web.panel import Panel


def _enrolments(request: HtmxHttpRequest) -> EnrolmentQuerySet:
    studies = Study.objects.for_reader(request.user)
    enrolments = Enrolment.objects.current().filter(
        reader=request.user, study__in=studies
    )
    return enrolments.select_related("study").with_progress()


def _get_presentation(request: HtmxHttpRequest, token: str) -> Presentation:
    presentation = rating.find_presentation(user=request.user, token=token)
    if presentation is None:
        raise Http404
    return presentation


# /


@require_http_methods(["GET"])
@never_cache
def home(request: HtmxHttpRequest) -> HttpResponse:
    enrolments = _enrolments(request).order_by("-study__created_at")
    return render(request, "readerstudy/home.html", {"enrolments": enrolments})


# /studies/<uuid>/


@require_http_methods(["GET"])
@never_cache
def study(request: HtmxHttpRequest, uuid: UUID) -> HttpResponse:
    enrolment = get_object_or_404(_enrolments(request), study__uuid=uuid)
    following = rating.next_presentation(enrolment)
    is_open = policies.can_rate(enrolment)
    context = {"enrolment": enrolment, "following": following, "is_open": is_open}
    return render(request, "readerstudy/study.html", context)


# /read/<token>/


@require_http_methods(["GET", "POST"])
@never_cache
@vary_on_headers("HX-Request")
def read(request: HtmxHttpRequest, token: str) -> HttpResponse:
    presentation = _get_presentation(request, token)
    try:
        if request.method == "POST":
            return _rate(request, presentation)
        # A reload shows a presentation again, but nothing does once it is rated.
        if rating.next_presentation(presentation.enrolment) != presentation:
            return _go_on(request, presentation.enrolment)
        return _show(request, presentation)
    except policies.Refusal as refusal:
        # The study was closed since the look above, or the case was never shown.
        raise Http404 from refusal


def _rate(request: HtmxHttpRequest, presentation: Presentation) -> HttpResponse:
    form = RatingForm(request.POST)
    if not form.is_valid():
        return _go_on(request, presentation.enrolment, form.problem(), status=422)
    value = form.cleaned_data["rating"]
    try:
        rating.record_answer(
            presentation=presentation,
            user=request.user,
            answer=rating.Answer(rating=value),
        )
    except rating.RatingConflict as conflict:
        notice = (
            f"Case {presentation.position} was rated {conflict.event.rating} before, "
            "perhaps in another window. That rating stays."
        )
        return _go_on(request, presentation.enrolment, notice, status=409)
    return _go_on(request, presentation.enrolment)


def _go_on(
    request: HtmxHttpRequest, enrolment: Enrolment, notice: str = "", status: int = 200
) -> HttpResponse:
    """To what the reader has to rate now; after the last one, to the study's page."""
    following = rating.next_presentation(enrolment)
    if following is None:
        go_to = HttpResponseClientRedirect if request.htmx else HttpResponseRedirect
        return go_to(reverse("readerstudy:study", args=[enrolment.study.uuid]))
    address = reverse("readerstudy:read", args=[following.token])
    if request.htmx:
        return replace_url(_show(request, following, notice, status), address)
    if notice:
        return _show(request, following, notice, status)
    return redirect(address)


def _show(
    request: HtmxHttpRequest,
    presentation: Presentation,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    rating.record_shown(presentation=presentation, user=request.user)
    template = "readerstudy/read.html" + ("#panel" if request.htmx else "")
    panel = Panel.of(presentation, notice)
    return render(request, template, {"panel": panel}, status=status)


# /read/<token>/image and /read/<token>/overlay


@require_http_methods(["GET"])
def image(request: HtmxHttpRequest, token: str) -> HttpResponse:
    shown = _get_presentation(request, token).overlay.case
    return _pixels(stimuli.image_buffer(shown))


@require_http_methods(["GET"])
def overlay(request: HtmxHttpRequest, token: str) -> HttpResponse:
    shown = _get_presentation(request, token).overlay
    return _pixels(stimuli.overlay_buffer(shown))


def _pixels(content: bytes) -> HttpResponse:
    # Nothing but bytes, equally many for every arm: no name, no date, no fingerprint.
    return HttpResponse(
        content,
        content_type="application/octet-stream",
        headers={"Cache-Control": "no-store"},
    )


# /healthz


@login_not_required
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse("no database\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")
