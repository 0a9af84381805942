"""Forms of the admin's pages. Every value is checked again by the act itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import QueryDict

from readerstudy.models import Case, Study
from readerstudy.trial import policies, protocol

if TYPE_CHECKING:
    # Generic for the type checker alone; the class itself takes no parameter.
    CaseChoiceField = forms.ModelChoiceField[Case]
else:
    CaseChoiceField = forms.ModelChoiceField

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


class LinesField(TextField):
    """A list of texts, a line each."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        lines = super().clean(value).split("\n")
        return [line.strip() for line in lines if line.strip()]


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


class ProtocolForm(forms.Form):
    """The fields of a study's protocol, as `trial.protocol.FIELDS` has them."""

    question = forms.CharField(
        max_length=300, widget=forms.TextInput(attrs={"size": 90})
    )
    anchors = LinesField(
        rows=6, help_text="What the ratings 0, 1, 2, 3, 4 and 5 mean, a line each."
    )
    instructions = TextField(required=False, rows=5)
    consent = TextField(required=False, help_text="What a reader agrees to.")
    display_mode = forms.ChoiceField(choices=Study.DisplayMode.choices, label="Display")
    opacity = forms.FloatField(
        min_value=0, max_value=1, help_text="Of the map when a case begins, 0 to 1."
    )
    legend = LinesField(
        rows=3,
        help_text="Words for the map's colours below and above zero, and what they "
        "mean, a line each.",
    )
    blocks = forms.ChoiceField(choices=Study.Blocks.choices, label="Order")
    sessions = forms.TypedChoiceField(
        coerce=int,
        choices=[(1, "one"), (3, "three, with one map of each case in each")],
    )
    washout_days = forms.IntegerField(
        min_value=0,
        max_value=protocol.LONGEST_WASHOUT_DAYS,
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
    asks_confidence = forms.BooleanField(required=False, label="Confidence is asked")
    primary_analysis = TextField(
        help_text="The test that the study is about, said before any rating is there."
    )

    def protocol(self) -> dict[str, Any]:
        """The values by field of the protocol."""
        return {name: self.cleaned_data[name] for name in protocol.FIELDS}


class ChangeProtocolForm(ProtocolForm, ReasonForm):
    field_order = [*protocol.FIELDS, "reason"]

    def __init__(self, data: QueryDict | None, *, study: Study) -> None:
        self.before = protocol.of_study(study)
        super().__init__(data, initial=self.before)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and not self.changes():
            raise forms.ValidationError("Nothing is different from before.")
        return cleaned

    def changes(self) -> dict[str, Any]:
        """Only what is different from before."""
        after = self.protocol()
        return {k: v for k, v in after.items() if v != self.before[k]}


class NewStudyForm(ProtocolForm):
    name = forms.CharField(max_length=100, help_text="Readers see it.")
    bundles = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        help_text="One or more, all of the same three variants.",
    )
    readers = forms.ModelMultipleChoiceField(
        User.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="More can be enrolled until the study opens.",
    )
    legend = LinesField(required=False, rows=3, help_text="Empty: as the bundles say.")
    field_order = ["name", "bundles", "readers", *protocol.FIELDS]

    def __init__(self, data: QueryDict | None) -> None:
        defaults = protocol.of_study(Study(**protocol.checked({})))
        super().__init__(data, initial=defaults | {"legend": []})
        names = [path.name for path in bundle_folders()]
        self.fields["bundles"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        self.fields["readers"].queryset = possible_readers()  # type: ignore[attr-defined]

    def protocol(self) -> dict[str, Any]:
        fields = super().protocol()
        if not fields["legend"]:
            del fields["legend"]
        return fields

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
