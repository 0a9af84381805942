"""User accounts in the admin. Whoever is in a study's record keeps name and account."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator

from readerstudy.admin.pages import person
from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal
from readerstudy.trial.roles import record_password_change

if TYPE_CHECKING:
    # Generic for the type checker alone; the class itself takes no parameter.
    PersonChangeForm = UserChangeForm[User]
    PersonModelAdmin = UserAdmin[User]
else:
    PersonChangeForm = UserChangeForm
    PersonModelAdmin = UserAdmin


class PersonForm(PersonChangeForm):
    """Stock, but for two refusals that it says beside the field."""

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if name != self.initial.get("username"):
            _ask(policies.check_can_rename, self.instance)
        return name

    def clean_is_staff(self) -> bool:
        return self._kept_from_readers("is_staff")

    def clean_is_superuser(self) -> bool:
        return self._kept_from_readers("is_superuser")

    def _kept_from_readers(self, right: str) -> bool:
        """A right that nobody gets who reads in a study."""
        wanted: bool = self.cleaned_data[right]
        if wanted and not self.initial.get(right):
            _ask(policies.check_can_enter_admin, self.instance)
        return wanted


# The refusals speak of the account by its recorded name, so they get it from the
# database and not from the form, which has written the new one into its instance.
def _ask(check: Any, person: User) -> None:
    try:
        check(User.objects.get(pk=person.pk))
    except Refusal as refusal:
        raise forms.ValidationError(str(refusal)) from refusal


admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(PersonModelAdmin):
    form = PersonForm
    # Deleting many at once would list, to say why not, what they did in studies.
    actions = None

    @method_decorator(transaction.atomic)
    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        """Django's, in one transaction with what the studies record of it."""
        return super().user_change_password(request, id, form_url)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        # Django asks for it when a form was saved, and that of a password is no other.
        if isinstance(form, self.change_password_form):
            record_password_change(user=form.user, by=person(request))
        message: list[dict[str, Any]] = super().construct_change_message(
            request, form, formsets, add
        )
        return message

    def has_delete_permission(
        self, request: HttpRequest, obj: User | None = None
    ) -> bool:
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and (obj is None or policies.can_delete_account(obj))
