"""What a coordinator sees: people, studies and their progress; no arms, no scores.

Arm, Case, Overlay, Presentation and RatingEvent are not here, and no page of the admin
reaches them. Whatever changes a study goes through `readerstudy.trial`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import ForeignKey, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from readerstudy.models import Enrolment, Study, StudyEvent
from readerstudy.trial import policies
from readerstudy.trial.enrolment import enrol, withdraw
from readerstudy.trial.policies import Refusal

if TYPE_CHECKING:
    # Generic for the type checker alone; the classes themselves take no parameter.
    EnrolmentModelForm = forms.ModelForm[Enrolment]
    EnrolmentModelAdmin = admin.ModelAdmin[Enrolment]
    StudyModelAdmin = admin.ModelAdmin[Study]
    StudyEventModelAdmin = admin.ModelAdmin[StudyEvent]
else:
    EnrolmentModelForm = forms.ModelForm
    EnrolmentModelAdmin = StudyModelAdmin = StudyEventModelAdmin = admin.ModelAdmin

admin.site.site_header = "Reader studies"
admin.site.site_title = "Reader studies"
admin.site.index_title = "People and studies"


class ReadOnly:
    """For rows that are looked at here and written elsewhere."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Study)
class StudyAdmin(ReadOnly, StudyModelAdmin):
    list_display = ["name", "state", "case_count", "reader_count", "created_at"]
    search_fields = ["name"]
    fields = [
        "name",
        "state",
        "case_count",
        "progress",
        "question",
        "anchors",
        "instructions",
        "opacity",
        "created_at",
    ]
    readonly_fields = ["case_count", "progress"]

    @admin.display(description="cases")
    def case_count(self, study: Study) -> int:
        return study.cases.count()

    @admin.display(description="readers")
    def reader_count(self, study: Study) -> int:
        return study.enrolments.count()

    @admin.display(description="presentations rated")
    def progress(self, study: Study) -> SafeString:
        readers = study.enrolments.with_progress().select_related("reader")
        lines = [(row.reader, row.rated, row.total) for row in readers]
        return format_html_join("", "<div>{}: {} of {}</div>", lines)


class EnrolmentForm(EnrolmentModelForm):
    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or self.cleaned_data
        if "study" in cleaned and "reader" in cleaned:
            try:
                policies.check_can_enrol(cleaned["study"], cleaned["reader"])
            except Refusal as refusal:
                raise forms.ValidationError(str(refusal)) from refusal
        return cleaned


@admin.register(Enrolment)
class EnrolmentAdmin(EnrolmentModelAdmin):
    form = EnrolmentForm
    fields = ["study", "reader"]
    list_display = ["reader", "study", "enrolled_at"]
    list_filter = ["study"]
    # Deleting many at once would pass withdraw() by.
    actions = None

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Django lets an address filter by any of the model's own columns. The seed,
        # guessed letter by letter with ?seed__startswith=, gives the reader's order.
        shown = lookup.split("__")[0] in self.list_filter
        return shown and super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Enrolment]:
        return super().get_queryset(request).select_related("study", "reader")

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name == "study":
            kwargs["queryset"] = Study.objects.filter(state=Study.State.DRAFT)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_change_permission(
        self, request: HttpRequest, obj: Enrolment | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Enrolment | None = None
    ) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or policies.can_withdraw(obj))

    def save_model(
        self, request: HttpRequest, obj: Enrolment, form: Any, change: bool
    ) -> None:
        written = enrol(study=obj.study, reader=obj.reader, by=_person(request))
        obj.pk = written.pk

    def delete_model(self, request: HttpRequest, obj: Enrolment) -> None:
        withdraw(enrolment=obj, by=_person(request))

    # Between the form's check and the write the study may open: the refusal is told,
    # not raised.
    def changeform_view(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return self._or_tell(super().changeform_view, request, *args, **kwargs)

    def delete_view(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return self._or_tell(super().delete_view, request, *args, **kwargs)

    def _or_tell(
        self,
        view: Callable[..., HttpResponse],
        request: HttpRequest,
        *args: Any,
        **kwargs: Any,
    ) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Refusal as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return redirect("admin:readerstudy_enrolment_changelist")


@admin.register(StudyEvent)
class StudyEventAdmin(ReadOnly, StudyEventModelAdmin):
    list_display = ["at", "study", "kind", "user", "reason"]
    list_filter = ["study", "kind"]
    list_select_related = ["study", "user"]
    ordering = ["-at", "-pk"]


def _person(request: HttpRequest) -> User:
    # The admin lets nobody in who is not logged in.
    return cast(User, request.user)
