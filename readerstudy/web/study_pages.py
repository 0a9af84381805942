"""Readers' pages but the rating page. What a person has no part in is a 404."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation.trans_real import parse_accept_lang_header
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from readerstudy.models import Enrolment, Study
from readerstudy.querysets import EnrolmentQuerySet
from readerstudy.trial import guesses, policies, rating
from readerstudy.trial.enrolment import consent, record_display_check, sign_off
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question
from readerstudy.web.forms import ConsentForm, DisplayForm, SettingsForm, SignOffForm
from readerstudy.web.http import HtmxHttpRequest
from readerstudy.web.questions.telling import Telling, keys_of, language_of
from readerstudy.web.sitting import Sitting

# One question of each kind, for the list of all keys; a scale of 0 to 5 as the paper's.
EVERY_KIND = [
    Question(key=kind, kind=kind, text="", anchors=("",) * 6 if kind == "scale" else ())
    for kind in ("scale", "yes_no", "several", "slider", "points", "text")
]
SHORTCUTS_COOKIE = "shortcuts"
A_YEAR = 365 * 24 * 60 * 60


def _enrolments(request: HtmxHttpRequest) -> EnrolmentQuerySet:
    studies = Study.objects.for_reader(request.user)
    enrolments = Enrolment.objects.current().filter(
        reader=request.user, study__in=studies
    )
    return enrolments.select_related("study", "reader").with_progress()


def get_reading(request: HtmxHttpRequest, uuid: UUID) -> Enrolment:
    """The person's part in a study that they may read in now."""
    enrolment: Enrolment = get_object_or_404(_enrolments(request), study__uuid=uuid)
    if not policies.can_rate(enrolment):
        raise Http404
    return enrolment


def _posted(request: HtmxHttpRequest) -> QueryDict | None:
    # An empty post is a post: what is missing in it has to be said.
    return request.POST if request.method == "POST" else None


# /


@require_http_methods(["GET"])
@never_cache
def home(request: HtmxHttpRequest) -> HttpResponse:
    enrolments = _enrolments(request).order_by("-study__created_at")
    return render(request, "readerstudy/home.html", {"enrolments": enrolments})


# /studies/<uuid>/


@require_http_methods(["GET", "POST"])
@never_cache
def study(request: HtmxHttpRequest, uuid: UUID) -> HttpResponse:
    """Instructions, consent, progress, and the way to the next case."""
    enrolment = get_object_or_404(_enrolments(request), study__uuid=uuid)
    form = ConsentForm(_posted(request))
    if request.method == "POST" and form.is_valid():
        try:
            language = form.cleaned_data["language"]
            consent(enrolment=enrolment, user=request.user, language=language)
        except Refusal as refusal:
            raise Http404 from refusal
        return redirect("readerstudy:display", uuid)
    following = rating.next_presentation(enrolment)
    waits = following is not None and not policies.has_begun(following)
    context = {
        "enrolment": enrolment,
        "telling": _telling(request, enrolment),
        "form": form,
        "following": following,
        "begins": policies.session_begins(following) if following and waits else None,
        "is_open": policies.can_consent(enrolment),
    }
    status = 422 if form.is_bound else 200
    return render(request, "readerstudy/study.html", context, status=status)


def _telling(request: HtmxHttpRequest, enrolment: Enrolment) -> Telling:
    """The instructions, until consent in the language that the reader looks at."""
    protocol = Protocol.of(enrolment.study.protocol)
    if enrolment.language:
        return Telling(protocol, enrolment.language)
    asked = [request.POST.get("language", ""), request.GET.get("language", "")]
    header = request.headers.get("Accept-Language", "")
    browser = [code for code, _ in parse_accept_lang_header(header)]
    return Telling(protocol, language_of(protocol, [*filter(None, asked), *browser]))


# /studies/<uuid>/display/


@require_http_methods(["GET", "POST"])
@never_cache
def display(request: HtmxHttpRequest, uuid: UUID) -> HttpResponse:
    """The display check, once in each browser session."""
    enrolment = get_reading(request, uuid)
    following = rating.next_presentation(enrolment)
    if following is not None and not policies.has_begun(following):
        return redirect("readerstudy:study", uuid)  # it says when
    form = DisplayForm(_posted(request))
    if not form.is_valid():
        context = {"enrolment": enrolment, "form": form}
        status = 422 if form.is_bound else 200
        return render(request, "readerstudy/display.html", context, status=status)
    try:
        record_display_check(
            enrolment=enrolment, user=request.user, answers=form.answers()
        )
    except Refusal as refusal:
        # The study was closed since the look above.
        raise Http404 from refusal
    if following is None:
        return redirect("readerstudy:study", uuid)
    Sitting(request.session, enrolment).begin(following.position)
    return redirect("readerstudy:read", following.token)


# /studies/<uuid>/finish/


@require_http_methods(["GET", "POST"])
@never_cache
def finish(request: HtmxHttpRequest, uuid: UUID) -> HttpResponse:
    """The last question, and the signature."""
    enrolment = get_reading(request, uuid)
    if rating.next_presentation(enrolment) is not None:
        return redirect("readerstudy:study", uuid)
    if guesses.is_due(enrolment):
        return redirect("readerstudy:guess", uuid)
    form = SignOffForm(_posted(request))
    if form.is_valid():
        try:
            sign_off(enrolment=enrolment, user=request.user, **form.cleaned_data)
        except Refusal as refusal:
            form.add_error("password", str(refusal))
        else:
            return redirect("readerstudy:study", uuid)
    last = rating.changeable_last(enrolment)
    context = {"enrolment": enrolment, "form": form, "last": last}
    status = 422 if form.is_bound else 200
    return render(request, "readerstudy/finish.html", context, status=status)


# /help/ and /settings/


@require_http_methods(["GET"])
def help_page(request: HtmxHttpRequest) -> HttpResponse:
    # Of any study: whoever reads it here may be in several.
    keys = list(keys_of(EVERY_KIND, can_refuse=True))
    return render(request, "readerstudy/help.html", {"keys": keys})


@require_http_methods(["GET", "POST"])
@never_cache
def settings(request: HtmxHttpRequest) -> HttpResponse:
    """Whether single keys do things, for this person's browser."""
    if request.method == "POST":
        form = SettingsForm(request.POST)
        form.is_valid()
        messages.success(request, "Saved.")
        response = redirect("readerstudy:settings")
        response.set_cookie(
            SHORTCUTS_COOKIE,
            "on" if form.cleaned_data["shortcuts"] else "off",
            max_age=A_YEAR,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure(),
        )
        return response
    is_on = request.COOKIES.get(SHORTCUTS_COOKIE) != "off"
    form = SettingsForm(initial={"shortcuts": is_on})
    return render(request, "readerstudy/settings.html", {"form": form})


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
