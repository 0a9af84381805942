"""Ledger, exported tables and recorded analyses of a study, to read and to fetch."""

import io
import mimetypes
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from readerstudy.admin.pages import Check, get_study, show
from readerstudy.models import Study, StudyEvent
from readerstudy.trial import policies
from readerstudy.trial.exports.tables import EXPORTS
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record import events as record_events
from readerstudy.trial.recorded_analyses import UnknownFile, analysis_file
from readerstudy.trial.verification import BrokenLedger, check_analyses, verify

# Of an event's details, what everybody with a role may read. Hashes of lists and files
# are left out for want of a use here, and what readers said of the maps because it can
# tell the arms apart.
SHOWN = (
    "reader",
    "run",
    "user",
    "role",
    "readers",
    "changes",
    "experience",
    "conflicts_of_interest",
    "case",
    "answers",
    "unrated",
    "not_signed_off",
    "folder",
    "profile",
)
# Who may fetch a table, besides what the table itself asks of the study's state.
FETCH_CHECKS: Mapping[str, Check] = {
    "ratings": policies.check_can_see_ratings,
    "answers": policies.check_can_see_ratings,
    "imrmc": policies.check_can_see_ratings,
    "guesses": policies.check_can_see_ratings,
    "codebook": policies.check_can_see_ratings,
    "allocation": policies.check_can_see_allocation,
    # Every rating is in it.
    "ledger": policies.check_can_see_ratings,
    "protocol": policies.check_can_see_ratings,
}
# The ending and media type of what is no CSV.
ENDINGS: Mapping[str, tuple[str, str]] = {
    "ledger": ("jsonl", "text/json; charset=utf-8"),
    "protocol": ("json", "application/json"),
}
# A report is a page from a file: it runs nothing, sends nothing and is no part of the
# site. What it shows lies in it.
FILE_CSP = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; "
    "frame-ancestors 'none'"
)
# What a browser shows; anything else is saved.
SHOWN_IN_PLACE = ("text/html", "image/png", "image/svg+xml", "application/json")


@require_http_methods(["GET", "POST"])
def ledger(request: HttpRequest, pk: int) -> HttpResponse:
    """The study's events and the heads of all chains; POST follows every chain."""
    study = get_study(request, pk)
    checked = _verified(study) if request.method == "POST" else {}
    events = study.events.select_related("user").order_by("number")
    return show(
        request,
        "ledger",
        f"Ledger of {study}",
        study,
        events=[(event, list(_said(event))) for event in events],
        head=record_events.study_head(study),
        chains=record_events.chain_heads(study),
        **checked,
    )


def _verified(study: Study) -> dict[str, Any]:
    try:
        chains = verify(study)
        check_analyses(study)
    except BrokenLedger as broken:
        return {"broken": str(broken)}
    return {"verified": chains}


def _said(event: StudyEvent) -> Iterator[str]:
    for name in SHOWN:
        value = event.details.get(name)
        if value in (None, "", []):
            continue
        if isinstance(value, dict):
            value = ", ".join(value)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        yield f"{name.replace('_', ' ')}: {value}"


@require_http_methods(["GET"])
def export(request: HttpRequest, pk: int, table: str) -> HttpResponse:
    """A table as a file, with the letters or names that the study's state gives."""
    if table not in FETCH_CHECKS:
        raise Http404
    study = get_study(request, pk, FETCH_CHECKS[table])
    try:
        files = EXPORTS[table](study, blinded=False)
    except Refusal as refusal:
        raise PermissionDenied(str(refusal)) from refusal
    ending, kind = ENDINGS.get(table, ("csv", "text/csv; charset=utf-8"))
    # A table is followed by more events, such as a role or an analysis. The name keeps
    # where the study's chain ended, so that none of those before it can be cut off.
    head = record_events.study_head(study)
    name = f"{table}-{study.uuid}-{head.length}-{head.hash}"
    content: str | bytes = files.get("", "")
    if list(files) != [""]:
        content = _zipped({f"{name}-{end}.{ending}": it for end, it in files.items()})
        ending, kind = "zip", "application/zip"
    return HttpResponse(
        content,
        content_type=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}.{ending}"'},
    )


def _zipped(files: Mapping[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


@require_http_methods(["GET"])
def analysis(request: HttpRequest, pk: int, folder: str, name: str) -> HttpResponse:
    """A file of an analysis as it was recorded, in a sandbox."""
    study = get_study(request, pk, policies.check_can_see_ratings)
    try:
        content = analysis_file(study, folder, name)
    except UnknownFile as unknown:
        raise Http404 from unknown
    except Refusal as refusal:
        title = "This file is not shown"
        return show(request, "message", title, study, status=409, message=str(refusal))
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    response = HttpResponse(content, content_type=_with_charset(kind))
    response["Content-Security-Policy"] = FILE_CSP
    response["X-Content-Type-Options"] = "nosniff"
    if kind not in SHOWN_IN_PLACE:
        response["Content-Disposition"] = "attachment"
    return response


def _with_charset(kind: str) -> str:
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def can_fetch(study: Study, user: User, table: str) -> bool:
    """May the person fetch that table of the study now?"""
    try:
        FETCH_CHECKS[table](study, user)
        policies.check_can_export(study)
        if table == "allocation":
            policies.check_can_export_allocation(study)
    except Refusal:
        return False
    return True
