"""Admin site that is closed to everybody who reads in a study."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal


class NoReaderForm(AdminAuthenticationForm):
    """The admin's login, which says why a reader is not let in."""

    def confirm_login_allowed(self, user: Any) -> None:
        # First, because a reader who is not staff would hear of a wrong password.
        if refusal := reader_refusal(user):
            raise ValidationError(refusal, code="reader")
        super().confirm_login_allowed(user)


class StudyAdminSite(AdminSite):
    site_header = "Reader studies"
    site_title = "Reader studies"
    index_title = "People and studies"
    login_form = NoReaderForm
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff, but nobody who is or ever was enrolled, superusers included."""
        return super().has_permission(request) and not reader_refusal(request.user)

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        refusal = reader_refusal(request.user)
        return super().login(request, {"refusal": refusal, **(extra_context or {})})


def reader_refusal(user: AbstractBaseUser | AnonymousUser) -> str:
    """Why the person is kept out as a reader, in one line; empty for who is none."""
    if not isinstance(user, User):
        return ""
    try:
        policies.check_can_enter_admin(user)
    except Refusal as refusal:
        return str(refusal)
    return ""
