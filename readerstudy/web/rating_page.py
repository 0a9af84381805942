"""Rating page and its pixels. Whoever may not see a presentation gets a 404."""

import re
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRedirect, replace_url

from readerstudy.models import Enrolment, Presentation, RatingEvent
from readerstudy.trial import policies, rating
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.protocol.answers import InvalidAnswer
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import in_language
from readerstudy.web.forms import PostedAnswer
from readerstudy.web.http import HtmxHttpRequest
from readerstudy.web.panel import Panel
from readerstudy.web.pictures import pixels
from readerstudy.web.questions.asking import given_in, prefilled
from readerstudy.web.questions.in_words import answer_in_words
from readerstudy.web.sitting import Sitting


def _get_presentation(request: HtmxHttpRequest, token: str) -> Presentation:
    presentation = rating.find_presentation(user=request.user, token=token)
    if presentation is None:
        raise Http404
    return presentation


# /read/<token>/


@require_http_methods(["GET", "POST"])
@never_cache
@vary_on_headers("HX-Request")
def read(request: HtmxHttpRequest, token: str) -> HttpResponse:
    presentation = _get_presentation(request, token)
    enrolment = presentation.enrolment
    try:
        if request.method == "POST":
            return _rate(request, presentation)
        if not Sitting(request.session, enrolment).has_begun:
            return _leave(request, "display", enrolment)
        # A reload shows a presentation again, but nothing does once it is rated.
        if rating.next_presentation(enrolment) != presentation:
            return _go_on(request, enrolment)
        rating.record_shown(presentation=presentation, user=request.user)
        return _show_current(request, presentation)
    except policies.Refusal as refusal:
        # The study was closed since the look above, or the case was never shown.
        raise Http404 from refusal


def _rate(request: HtmxHttpRequest, presentation: Presentation) -> HttpResponse:
    protocol = Protocol.of(presentation.enrolment.study.protocol)
    place = rating.place_of(presentation)
    try:
        posted = PostedAnswer.of(request.POST, protocol, place)
        following = rating.record_answer_and_show_next(
            presentation=presentation,
            user=request.user,
            stage=posted.stage,
            answer=posted.document,
            viewer=posted.viewer,
            change=posted.change,
        )
    except (InvalidAnswer, rating.InvalidRating) as problem:
        return _ask_again(request, presentation, str(problem))
    except rating.RatingConflict as conflict:
        return _refuse_second(request, presentation, posted, conflict.event)
    return _move_to(request, presentation.enrolment, following)


def _refuse_second(
    request: HtmxHttpRequest,
    presentation: Presentation,
    posted: PostedAnswer,
    standing: RatingEvent,
) -> HttpResponse:
    """The presentation holds another answer than the one that came."""
    enrolment = presentation.enrolment
    protocol = Protocol.of(enrolment.study.protocol)
    words = answer_in_words(standing.answer or {}, protocol, _language(enrolment))
    said = f"perhaps in another window: {words}."
    is_change = posted.change and standing.stage == RatingEvent.Stage.MAP
    if is_change and policies.can_change(enrolment):
        notice = f"Nothing was saved: it was changed meanwhile, {said}"
        more = {"notice": notice, "given": given_in(request.POST), "change": standing}
        return _show(request, presentation, status=409, **more)
    notice = f"That case was answered before, {said} That answer stays."
    if posted.texts:
        notice += " The comment that you wrote just now was not saved."
    return _go_on(request, enrolment, notice, status=409)


def _ask_again(
    request: HtmxHttpRequest, presentation: Presentation, problem: str
) -> HttpResponse:
    """The same presentation with all that was entered, and what is wrong with it."""
    enrolment = presentation.enrolment
    at, notice = _about(problem, enrolment)
    is_change = request.POST.get("_change")
    change = rating.changeable(presentation) if is_change else None
    current = rating.next_presentation(enrolment) == presentation
    if not current and not change:
        return _go_on(request, enrolment, notice, status=422)
    if current:
        rating.record_shown(presentation=presentation, user=request.user)
    more = {
        "notice": notice,
        "given": given_in(request.POST),
        "change": change,
        "at": at,
    }
    return _show(request, presentation, status=422, **more)


def _about(problem: str, enrolment: Enrolment) -> tuple[str, str]:
    """The key of the question that a problem is about, and the problem in words."""
    protocol = Protocol.of(enrolment.study.protocol)
    language = _language(enrolment)
    for question in protocol.questions:
        # `rating: an answer is missing.` or `rating of 'Nodule': an answer is missing.`
        found = re.match(rf"{question.key}(?: of (.+?))?: ", problem)
        if found:
            name = f"“{in_language(question.heading, language)}”"
            name += f", {found[1]}" if found[1] else ""
            return question.key, f"Nothing was saved. {name}: {problem[found.end() :]}"
    return "", f"Nothing was saved. {problem[:1].upper()}{problem[1:]}"


def _language(enrolment: Enrolment) -> str:
    return enrolment.language or Protocol.of(enrolment.study.protocol).languages[0]


def _go_on(
    request: HtmxHttpRequest, enrolment: Enrolment, notice: str = "", status: int = 200
) -> HttpResponse:
    """To what the reader has to rate now."""
    following = rating.next_presentation(enrolment)
    if following is not None:
        try:
            rating.record_shown(presentation=following, user=request.user)
        except policies.Refusal:
            following = None  # its session is yet to begin; the study's page says so
    return _move_to(request, enrolment, following, notice, status)


def _move_to(
    request: HtmxHttpRequest,
    enrolment: Enrolment,
    following: Presentation | None,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    """Show what comes next; without it, the study's page, which says the notice too."""
    if following is None:
        if notice:
            messages.warning(request, notice)
        return _leave(request, "study", enrolment)
    if not request.htmx and not notice:
        return redirect("readerstudy:read", following.token)
    response = _show_current(request, following, status=status, notice=notice)
    return replace_url(response, reverse("readerstudy:read", args=[following.token]))


def _show_current(
    request: HtmxHttpRequest, presentation: Presentation, **more: Any
) -> HttpResponse:
    sitting = Sitting(request.session, presentation.enrolment)
    rest = sitting.break_due(presentation.position)
    return _show(request, presentation, rest=rest, **more)


def _leave(
    request: HtmxHttpRequest, page: str, enrolment: Enrolment
) -> HttpResponseRedirect | HttpResponseClientRedirect:
    go_to = HttpResponseClientRedirect if request.htmx else HttpResponseRedirect
    return go_to(reverse(f"readerstudy:{page}", args=[enrolment.study.uuid]))


def _show(
    request: HtmxHttpRequest,
    presentation: Presentation,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    panel = Panel.of(presentation, **more)
    template = "readerstudy/read.html" + ("#panel" if request.htmx else "")
    return render(request, template, {"panel": panel}, status=status)


# /read/<token>/change


@require_http_methods(["GET"])
@never_cache
@vary_on_headers("HX-Request")
def change(request: HtmxHttpRequest, token: str) -> HttpResponse:
    """Show an answered presentation again, to answer it otherwise."""
    presentation = _get_presentation(request, token)
    standing = rating.changeable(presentation)
    if (
        standing is None
        or not Sitting(request.session, presentation.enrolment).has_begun
    ):
        return redirect("readerstudy:read", token)
    protocol = Protocol.of(presentation.enrolment.study.protocol)
    answers = (standing.answer or {})["answers"]
    given = prefilled(protocol, rating.place_of(presentation), answers)
    response = _show(request, presentation, change=standing, given=given)
    return replace_url(response, request.path) if request.htmx else response


# /read/<token>/image and /read/<token>/overlay


@require_http_methods(["GET"])
def image(request: HtmxHttpRequest, token: str) -> HttpResponse:
    shown = _get_presentation(request, token).case
    return pixels(case_files.image_buffer(shown))


@require_http_methods(["GET"])
def overlay(request: HtmxHttpRequest, token: str) -> HttpResponse:
    presentation = _get_presentation(request, token)
    # Not a byte of it before what is asked of the image alone is answered.
    if presentation.overlay is None or not rating.can_see_map(presentation):
        raise Http404
    return pixels(case_files.overlay_buffer(presentation.overlay))
