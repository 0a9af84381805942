"""Contact sheet for an allocator: every case with its maps side by side, by name.

It is here that a coloured frame, a missing map or one of another size is seen before
readers do. Nobody else gets these pages before the study is unblinded; nothing is
written by looking at them.
"""

from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods

from readerstudy.admin.pages import get_study, show
from readerstudy.models import Case, Overlay
from readerstudy.trial import policies
from readerstudy.trial.cases import files as case_files
from readerstudy.web.pictures import picture, pixels

CASES_A_PAGE = 10


@require_http_methods(["GET"])
def cases(request: HttpRequest, pk: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_see_allocation)
    overlays = Overlay.objects.select_related("arm").order_by("arm__variant")
    rows = study.cases.order_by("training", "dataset", "case_id").prefetch_related(
        Prefetch("overlays", queryset=overlays)
    )
    page = Paginator(rows, CASES_A_PAGE).get_page(request.GET.get("page"))
    pictures = [(case, picture(case)) for case in page]
    title = f"Cases and maps of {study}"
    return show(request, "cases", title, study, page=page, pictures=pictures)


@require_http_methods(["GET"])
def image(request: HttpRequest, pk: int, case: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_see_allocation)
    row = get_object_or_404(Case.objects.select_related("study"), study=study, pk=case)
    return pixels(case_files.image_buffer(row))


@require_http_methods(["GET"])
def overlay(request: HttpRequest, pk: int, overlay: int) -> HttpResponse:
    study = get_study(request, pk, policies.check_can_see_allocation)
    rows = Overlay.objects.select_related("case__study")
    return pixels(
        case_files.overlay_buffer(
            get_object_or_404(rows, case__study=study, pk=overlay)
        )
    )
