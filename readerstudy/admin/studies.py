"""Studies in the admin: the list, and of each a page with all that its state allows."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.views.decorators.http import require_http_methods

from readerstudy.admin import contact_sheet, downloads, study_changes
from readerstudy.admin.pages import (
    may_take_roles,
    person,
    show,
    visible_studies,
)
from readerstudy.models import Membership, Study
from readerstudy.trial import policies, readiness
from readerstudy.trial.reader_progress import progress
from readerstudy.trial.recorded_analyses import recorded_analyses

if TYPE_CHECKING:
    # Generic for the type checker alone; the class itself takes no parameter.
    StudyModelAdmin = admin.ModelAdmin[Study]
else:
    StudyModelAdmin = admin.ModelAdmin

View = Callable[..., HttpResponse]

# After admin/readerstudy/study/<pk>/, by name of the address. The views guard
# themselves.
PAGES: dict[str, tuple[str, View]] = {
    "take": ("roles/take/", study_changes.take),
    "give": ("roles/give/", study_changes.give),
    "end": ("roles/<int:user>/<str:role>/end/", study_changes.end),
    "protocol": ("protocol/", study_changes.protocol),
    "enrol": ("readers/enrol/", study_changes.enrol_reader),
    "withdraw": ("readers/<int:enrolment>/withdraw/", study_changes.withdraw_reader),
    "void": ("readers/<int:enrolment>/void/", study_changes.void),
    "open": ("open/", study_changes.open_),
    "lock": ("lock/", study_changes.lock),
    "unblind": ("unblind/", study_changes.unblind),
    "unblind_one": ("unblind-case/", study_changes.unblind_one),
    "ledger": ("ledger/", downloads.ledger),
    "export": ("export/<str:table>/", downloads.export),
    "analysis": ("analyses/<str:folder>/<path:name>", downloads.analysis),
    "cases": ("cases/", contact_sheet.cases),
    "image": ("cases/<int:case>/image", contact_sheet.image),
    "overlay": ("overlays/<int:overlay>/map", contact_sheet.overlay),
}


@admin.register(Study)
class StudyAdmin(StudyModelAdmin):
    """A list of names and states; every other page is one of ours."""

    list_display = ["name", "state", "your_roles"]
    sortable_by = ["name", "state"]
    search_fields = ["name"]
    ordering = ["-created_at"]
    # Nothing is done to many studies at once.
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_view_permission(
        self, request: HttpRequest, obj: Study | None = None
    ) -> bool:
        return True

    def has_change_permission(
        self, request: HttpRequest, obj: Study | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Study | None = None
    ) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Django lets an address filter by any of the model's own columns, and what is
        # left in the list would tell them to people without a role.
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Study]:
        user = person(request)
        return visible_studies(user).with_own_roles(user)

    def get_urls(self) -> list[URLPattern]:
        # In place of Django's: its pages would show and write the row itself.
        view = self.admin_site.admin_view
        name = "readerstudy_study_{}".format
        return [
            path("", view(self.changelist_view), name=name("changelist")),
            path("add/", view(study_changes.add), name=name("add")),
            path("<int:pk>/change/", view(overview), name=name("change")),
            *(
                path(f"<int:pk>/{route}", view(page), name=name(which))
                for which, (route, page) in PAGES.items()
            ),
        ]

    @admin.display(description="your roles")
    def your_roles(self, study: Study) -> str:
        return ", ".join(role for row in study.own for role in row.roles)


@require_http_methods(["GET"])
def overview(request: HttpRequest, pk: int) -> HttpResponse:
    """All of a study that its state and the person's roles allow."""
    user = person(request)
    study = get_object_or_404(visible_studies(user), pk=pk)
    context: dict[str, Any] = {"may_take_roles": may_take_roles(user)}
    # Without a role: the name, the state, and the way to a role.
    if policies.can_see_study(study, user):
        context |= _contents(study, user)
    return show(request, "overview", str(study), study, **context)


def _contents(study: Study, user: User) -> dict[str, Any]:
    is_draft = study.state == Study.State.DRAFT
    can_see_ratings = policies.can_see_ratings(study, user)
    return {
        "roles": sorted(policies.roles_in(study, user)),
        "can_run": policies.can_run(study, user),
        "can_see_allocation": policies.can_see_allocation(study, user),
        "checklist": readiness.checklist(study) if is_draft else None,
        "protocol": _protocol(study),
        "progress": progress(study),
        "members": _members(study),
        "analyses": recorded_analyses(study) if can_see_ratings else None,
        "tables": [
            table
            for table in downloads.FETCH_CHECKS
            if downloads.can_fetch(study, user, table)
        ],
    }


def _protocol(study: Study) -> list[tuple[str, list[str]]]:
    """Every key of the protocol, with its value in one text or several."""
    language = study.protocol["languages"][0]
    return [
        (key.replace("_", " "), list(_texts(value, language)))
        for key, value in study.protocol.items()
    ]


def _texts(value: Any, language: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item, language)
    elif isinstance(value, dict):
        if language in value:
            yield str(value[language])
        else:
            for key, item in value.items():
                yield f"{key}: {'; '.join(_texts(item, language))}"
    elif isinstance(value, bool):
        yield "yes" if value else "no"
    else:
        yield "none" if value in (None, "") else str(value)


def _members(study: Study) -> QuerySet[Membership]:
    """Everybody with a role, readers apart."""
    rows = study.memberships.filter(reader=False).select_related("user")
    return rows.order_by("user__username")
