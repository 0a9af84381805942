"""Guess page: one practice case under each of its maps, to say which was made how."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from readerstudy.models import Enrolment, Overlay
from readerstudy.trial import guesses, rating
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.policies import Refusal
from readerstudy.web.forms import GuessForm
from readerstudy.web.http import HtmxHttpRequest
from readerstudy.web.pictures import picture, pixels
from readerstudy.web.study_pages import get_reading


def _get_guessing(
    request: HtmxHttpRequest, uuid: UUID
) -> tuple[Enrolment, list[Overlay]]:
    """The person's part in a study whose end asks them to guess, and their maps."""
    enrolment = get_reading(request, uuid)
    if not guesses.is_due(enrolment) or rating.next_presentation(enrolment):
        raise Http404
    return enrolment, guesses.shown_maps(enrolment)


# /studies/<uuid>/guess/


@require_http_methods(["GET", "POST"])
@never_cache
def guess(request: HtmxHttpRequest, uuid: UUID) -> HttpResponse:
    enrolment, maps = _get_guessing(request, uuid)
    posted = request.POST if request.method == "POST" else None
    form = GuessForm(posted, maps=len(maps), labels=guesses.labels(enrolment.study))
    if form.is_valid():
        try:
            guesses.record_guesses(
                enrolment=enrolment, user=request.user, guesses=form.guesses()
            )
        except Refusal as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect("readerstudy:finish", uuid)
    if not form.is_bound:
        guesses.record_shown(enrolment=enrolment, user=request.user)
    context = {
        "enrolment": enrolment,
        "form": form,
        "picture": picture(maps[0].case) if maps else "",
        "maps": list(zip(maps, form, strict=True)),
    }
    status = 422 if form.is_bound else 200
    return render(request, "readerstudy/guess.html", context, status=status)


# /studies/<uuid>/guess/image and /studies/<uuid>/guess/<place>/overlay


@require_http_methods(["GET"])
def image(request: HtmxHttpRequest, uuid: UUID) -> HttpResponse:
    _, maps = _get_guessing(request, uuid)
    if not maps:
        raise Http404
    return pixels(case_files.image_buffer(maps[0].case))


@require_http_methods(["GET"])
def overlay(request: HtmxHttpRequest, uuid: UUID, place: int) -> HttpResponse:
    _, maps = _get_guessing(request, uuid)
    if not 1 <= place <= len(maps):
        raise Http404
    return pixels(case_files.overlay_buffer(maps[place - 1]))
