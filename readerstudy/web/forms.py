"""Forms of the readers' pages: what a reader's browser may post."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from django import forms
from django.http import QueryDict

from readerstudy.trial.checked_json import JsonError, parse_json
from readerstudy.trial.enrolment import LONGEST_ANSWER, TOLD_APART
from readerstudy.trial.protocol.answers import InvalidAnswer, Place, findings_at
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question, Stage

NOT_CHOSEN = ""
UNKNOWN_GUESS = "unknown"
LONGEST_SUMMARY = 2048
LONGEST_MONITOR = 100
LONGEST_PLACES = 2048
CANNOT_JUDGE = "cannot_judge"
# Of Django, in every form.
CSRF_FIELD = "csrfmiddlewaretoken"
# Of ASCII digits, and few: Python would take any digit, and numbers without end.
WHOLE = re.compile("-?[0-9]{1,9}")
YES_OR_NO = {"yes": True, "no": False}


def summary_of(text: str) -> dict[str, Any]:
    """The JSON object that a script of ours sent along; empty if it is anything else.

    It only says how something was looked at: a rating is not lost for its sake.
    """
    try:
        summary = parse_json(text, largest=LONGEST_SUMMARY, deepest=3)
    except JsonError:
        return {}
    return summary if isinstance(summary, dict) and _can_be_kept(summary) else {}


def _viewer_summary(text: str) -> dict[str, Any]:
    summary = summary_of(text)
    # Exports add these times up.
    active_ms = summary.get("active_ms", 0)
    return summary if type(active_ms) is int and active_ms >= 0 else {}


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_can_be_kept, value.values()))
    if isinstance(value, list):
        return all(map(_can_be_kept, value))
    if isinstance(value, str):
        return _is_plain(value)
    # What fits into a float is read alike from both databases; infinity does not.
    return value is None or abs(value) < 2**53


def _is_plain(text: str) -> bool:
    return text.isprintable() and text.isascii()


@dataclass(frozen=True)
class PostedAnswer:
    """An answer as a panel posts it, not checked yet.

    Attributes:
        document: as `protocol.answers` wants it, with whatever was posted.
        stage: that the panel was of.
        change: the number of the answer that this one replaces.
        viewer: how image and map were looked at.
        texts: whether something was written in it.
    """

    document: dict[str, Any]
    stage: Stage
    change: int | None
    viewer: dict[str, Any]
    texts: bool

    @classmethod
    def of(cls, data: QueryDict, protocol: Protocol, place: Place) -> Self:
        """The answer in a form's fields.

        Raises:
            InvalidAnswer: image and map were not on the screen, a field came twice or
                is not of a finding. What else is wrong `checked_answer` says.
        """
        answers = _answers(data, protocol, place)
        document: dict[str, Any] = {"answers": answers}
        reason = _single(data, CANNOT_JUDGE)
        if reason:
            document[CANNOT_JUDGE] = reason
        # The viewer fills this in once both are drawn.
        if not data.get("_drawn"):
            raise InvalidAnswer("The image and its map were not drawn yet.")
        change = data.get("_change", "")
        if change and not WHOLE.fullmatch(change):
            raise InvalidAnswer("This page is out of date; reload it.")
        kinds = {question.key: question.kind for question in protocol.questions}
        return cls(
            document=document,
            stage="image" if data.get("_stage") == "image" else "map",
            change=int(change) if change else None,
            viewer=_viewer_summary(data.get("_viewer", "")),
            texts=any(kinds.get(key) == "text" for key in answers),
        )


def _answers(data: QueryDict, protocol: Protocol, place: Place) -> dict[str, Any]:
    questions = {question.key: question for question in protocol.questions}
    answers: dict[str, Any] = {}
    for name in data:
        if name.startswith("_") or name in (CANNOT_JUDGE, CSRF_FIELD):
            continue
        key, _, index = name.partition(".")
        question = questions.get(key)
        if question is None or bool(index) != question.needs_finding:
            answers[name] = data[name]  # which is refused by its name
            continue
        value = _value(question, data, name)
        if value is None:
            continue
        if not index:
            answers[key] = value
        else:
            finding = _finding(question, index, findings_at(protocol, question, place))
            answers.setdefault(key, {})[finding] = value
    return answers


def _finding(question: Question, index: str, findings: Sequence[str]) -> str:
    if not re.fullmatch("[0-9]{1,2}", index) or int(index) >= len(findings):
        raise InvalidAnswer(f"{question.key}: there is no finding {index!r}.")
    return findings[int(index)]


def _single(data: QueryDict, name: str) -> str:
    """The one value of a field; Django would take the last of several, and nobody knows
    which was meant."""
    texts = data.getlist(name)
    if len(texts) > 1:
        raise InvalidAnswer(f"{name.partition('.')[0]}: more than one answer came.")
    return texts[0] if texts else ""


def _value(question: Question, data: QueryDict, name: str) -> Any:
    """A field's value by the question's kind; as it came if it is none, which is then
    refused. None for an empty field."""
    if question.kind == "several":
        # One that is empty says "none of these".
        return [text for text in data.getlist(name) if text]
    text = _single(data, name)
    if text == "":
        return None
    if question.kind in ("scale", "slider") and WHOLE.fullmatch(text):
        return int(text)
    if question.kind == "yes_no":
        return YES_OR_NO.get(text, text)
    if question.is_place:
        try:
            return parse_json(text, largest=LONGEST_PLACES, deepest=2)
        except JsonError:
            return text
    return text


class ConsentForm(forms.Form):
    language = forms.CharField(required=False, widget=forms.HiddenInput)
    agree = forms.BooleanField(
        label="I have read this and take part.",
        error_messages={"required": "Tick the box to take part."},
    )


YES_NO = [("yes", "Yes"), ("no", "No")]


class DisplayForm(forms.Form):
    """What a reader sees of the test pattern, and where."""

    dark_patch = forms.ChoiceField(
        label="Do you see the 5 % square within the black one?",
        choices=YES_NO,
        widget=forms.RadioSelect,
    )
    bright_patch = forms.ChoiceField(
        label="Do you see the 95 % square within the white one?",
        choices=YES_NO,
        widget=forms.RadioSelect,
    )
    room = forms.ChoiceField(
        label="The light in the room",
        choices=[("dark", "Dark"), ("dim", "Dim"), ("bright", "Bright")],
        widget=forms.RadioSelect,
    )
    calibrated = forms.ChoiceField(
        label="Is the monitor calibrated to the DICOM greyscale function (GSDF)?",
        choices=[*YES_NO, ("unknown", "I do not know")],
        widget=forms.RadioSelect,
    )
    monitor = forms.CharField(
        label="Monitor, if you know it", max_length=LONGEST_MONITOR, required=False
    )
    # Filled in by display.js: what the browser tells of screen and window.
    device = forms.CharField(required=False, widget=forms.HiddenInput)

    def answers(self) -> dict[str, Any]:
        """What a valid form says, as it is recorded."""
        answers: dict[str, Any] = dict(self.cleaned_data)
        answers["device"] = summary_of(answers["device"])
        return answers


class SignOffForm(forms.Form):
    told_apart = forms.ChoiceField(
        label="Could you tell the kinds of map apart?",
        choices=[(value, value.capitalize()) for value in TOLD_APART],
        widget=forms.RadioSelect,
        error_messages={"required": "Say whether you could tell them apart."},
    )
    words = forms.CharField(
        label="If so, by what?",
        max_length=LONGEST_ANSWER,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    password = forms.CharField(
        label="Your password, to sign",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Type your password to sign."},
    )


class GuessForm(forms.Form):
    """How each of some maps was made, in their order."""

    def __init__(
        self, data: QueryDict | None, *, maps: int, labels: Sequence[str]
    ) -> None:
        super().__init__(data)
        choices = [
            (NOT_CHOSEN, "choose"),
            (UNKNOWN_GUESS, "I do not know"),
            *((f"arm {label}", label) for label in labels),
        ]
        for place in range(1, maps + 1):
            self.fields[f"map_{place}"] = forms.ChoiceField(
                choices=choices,
                error_messages={"required": "Choose, or say that you do not know."},
            )

    def guesses(self) -> list[str]:
        """What a valid form says of each map: a label, or empty."""
        given = [self.cleaned_data[name] for name in self.fields]
        return [
            text.removeprefix("arm ") if text != UNKNOWN_GUESS else "" for text in given
        ]


class SettingsForm(forms.Form):
    shortcuts = forms.BooleanField(label="Single keys do things", required=False)
