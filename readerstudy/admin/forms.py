"""Forms of the admin's pages. Every value is checked again by the act itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import QueryDict

from readerstudy.models import Case, Study
from readerstudy.trial import policies
from readerstudy.trial.checked_json import JsonError, JsonObject, parse_json
from readerstudy.trial.protocol.document import (
    LARGEST_FILE,
    LONGEST_WASHOUT_DAYS,
    TEMPLATES,
    of_template,
)

if TYPE_CHECKING:
    # Generic for the type checker alone; the class itself takes no parameter.
    CaseChoiceField = forms.ModelChoiceField[Case]
else:
    CaseChoiceField = forms.ModelChoiceField

# Of a protocol's keys, those with a field of their own.
SIMPLE = (
    "display_mode",
    "opacity",
    "blocks",
    "sessions",
    "washout_days",
    "repeats",
    "ratings_can_change",
    "primary_analysis",
)
REASON = "Kept in the study's record, with your name and the time."
NO_REASON = "A reason is needed; it becomes part of the study's record."


class TextField(forms.CharField):
    """A text as it was typed, with line ends as one line feed."""

    def __init__(self, *, rows: int = 3, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "cols": 80})
        super().__init__(widget=widget, strip=False, **options)

    def to_python(self, value: Any) -> str:
        text: str = super().to_python(value) or ""
        return text.replace("\r\n", "\n").replace("\r", "\n")


class CaseField(CaseChoiceField):
    def label_from_instance(self, obj: Case) -> str:
        return f"{obj.dataset}/{obj.case_id}"


class ReasonForm(forms.Form):
    """Why a person does something to a study."""

    reason = TextField(help_text=REASON, error_messages={"required": NO_REASON})


class LockForm(ReasonForm):
    unfinished = forms.BooleanField(
        required=False, label="Lock it although maps are without an answer"
    )


class RoleForm(ReasonForm):
    """A role for oneself."""

    role = forms.ChoiceField(choices=[(role, role) for role in policies.ROLES])
    field_order = ["user", "role", "reason"]


class GiveRoleForm(RoleForm):
    """A role for somebody who does not read in the study."""

    user = forms.ModelChoiceField(User.objects.none(), label="Person")

    def __init__(self, data: QueryDict | None, *, study: Study) -> None:
        super().__init__(data)
        readers = study.memberships.filter(reader=True).values("user")
        people = User.objects.filter(is_active=True).exclude(pk__in=readers)
        self.fields["user"].queryset = people.order_by("username")  # type: ignore[attr-defined]


class UnblindCaseForm(ReasonForm):
    case = CaseField(Case.objects.none())
    field_order = ["case", "reason"]

    def __init__(self, data: QueryDict | None, *, study: Study) -> None:
        super().__init__(data)
        cases = study.cases.order_by("dataset", "case_id")
        self.fields["case"].queryset = cases  # type: ignore[attr-defined]


class EnrolForm(forms.Form):
    reader = forms.ModelChoiceField(User.objects.none())
    experience = TextField(
        required=False, help_text="Years, board certification, subspecialty."
    )
    conflicts_of_interest = TextField(
        required=False, help_text="Whether the reader had a part in making the models."
    )

    def __init__(self, data: QueryDict | None, *, study: Study) -> None:
        super().__init__(data)
        members = study.memberships.values("user")
        people = possible_readers().exclude(pk__in=members)
        self.fields["reader"].queryset = people  # type: ignore[attr-defined]


class DocumentField(TextField):
    """A part of a protocol as JSON, checked as a whole by the act itself."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return json.dumps(value, indent=1, ensure_ascii=False)
        return value

    def clean(self, value: Any) -> Any:
        try:
            return JsonObject(
                parse_json(super().clean(value), largest=LARGEST_FILE)
            ).value
        except JsonError as error:
            raise forms.ValidationError(f"{error}.") from error


class ProtocolForm(forms.Form):
    """The keys of a protocol: simple ones a field each, all others as JSON."""

    rest = DocumentField(
        rows=24,
        label="Questions and words",
        help_text="What readers are told and asked, as JSON; see docs/studies.md.",
    )
    display_mode = forms.ChoiceField(
        label="Display",
        choices=[
            ("overlay", "map over the image"),
            ("side_by_side", "map beside the image"),
        ],
    )
    opacity = forms.FloatField(
        min_value=0, max_value=1, help_text="Of the map when a case begins, 0 to 1."
    )
    blocks = forms.ChoiceField(
        label="Order",
        choices=[
            ("mixed", "data sets mixed"),
            ("by_dataset", "one data set after the other"),
        ],
    )
    sessions = forms.ChoiceField(
        choices=[
            ("one", "one"),
            ("per_arm", "one for each arm, with one map of each case in each"),
        ]
    )
    washout_days = forms.IntegerField(
        min_value=0,
        max_value=LONGEST_WASHOUT_DAYS,
        label="Washout",
        help_text="Days between two sessions, or a voided run and the next.",
    )
    repeats = forms.FloatField(
        min_value=0,
        max_value=0.25,
        help_text="Share of the maps that are shown again, 0 to 0.25.",
    )
    ratings_can_change = forms.BooleanField(
        required=False, label="An answer can be changed until the reader signs off"
    )
    primary_analysis = TextField(
        help_text="The test that the study is about, said before any rating is there."
    )

    def protocol(self) -> dict[str, Any]:
        """The document: the JSON and, over it, the simple keys."""
        simple = {name: self.cleaned_data[name] for name in SIMPLE}
        return {**self.cleaned_data["rest"], **simple}


def _initial(document: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol as the form's values."""
    rest = {key: value for key, value in document.items() if key not in SIMPLE}
    return {"rest": rest, **{name: document[name] for name in SIMPLE}}


class ChangeProtocolForm(ProtocolForm, ReasonForm):
    field_order = ["rest", *SIMPLE, "reason"]

    def __init__(self, data: QueryDict | None, *, study: Study) -> None:
        self.before = study.protocol
        super().__init__(data, initial=_initial(study.protocol))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and self.protocol() == self.before:
            raise forms.ValidationError("Nothing is different from before.")
        return cleaned


class NewStudyForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="Readers see it.")
    bundles = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        help_text="One or more, all of the same arms.",
    )
    readers = forms.ModelMultipleChoiceField(
        User.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="More can be enrolled until the study opens.",
    )
    template = forms.ChoiceField(
        choices=[(name, name) for name in TEMPLATES],
        initial="paper",
        help_text="Every word of it can be changed until the study opens.",
    )
    repeats = forms.FloatField(
        required=False,
        min_value=0,
        max_value=0.25,
        help_text="Share of the maps that are shown again; empty: as the template has.",
    )

    def __init__(self, data: QueryDict | None) -> None:
        super().__init__(data)
        names = [path.name for path in bundle_folders()]
        self.fields["bundles"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        self.fields["readers"].queryset = possible_readers()  # type: ignore[attr-defined]

    def protocol(self) -> dict[str, Any]:
        """The template's document, with the repeats that were wanted."""
        repeats = self.cleaned_data["repeats"]
        wanted = {} if repeats is None else {"repeats": repeats}
        return of_template(self.cleaned_data["template"]) | wanted

    def paths(self) -> list[Path]:
        """The folders that were chosen, each one of those that were offered."""
        folders: Mapping[str, Path] = {path.name: path for path in bundle_folders()}
        return [folders[name] for name in self.cleaned_data["bundles"]]


def possible_readers() -> QuerySet[User]:
    """Those who can read in a study by their account."""
    people = User.objects.filter(is_active=True, is_staff=False, is_superuser=False)
    return people.exclude(username=policies.ALL).order_by("username")


def bundle_folders() -> list[Path]:
    """The case bundles in the data folder, by name."""
    folder = Path(settings.READERSTUDY_DATA) / "bundles"
    return sorted(path.parent for path in folder.glob("*/manifest.json"))
