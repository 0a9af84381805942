"""Forms of the readers' pages: what a reader's browser may post."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from readerstudy.trial.checked_json import JsonError, parse_json
from readerstudy.trial.enrolment import LONGEST_ANSWER, TOLD_APART
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import LONGEST_ANSWER as LONGEST_COMMENT

CONFIDENCES = range(1, 6)
NOT_CHOSEN = ""
UNKNOWN_GUESS = "unknown"
LONGEST_SUMMARY = 2048
LONGEST_MONITOR = 100


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


class RatingForm(forms.Form):
    """The answer for an image and a map that were on the screen.

    `rating` is a rating or the reason why there is none: one group of choices, so that
    nobody can give both.
    """

    rating = forms.ChoiceField(
        choices=[],
        error_messages={
            "required": "Nothing was saved: choose one of the six answers first.",
            "invalid_choice": "Nothing was saved: a rating is a number from 0 to 5.",
        },
    )
    confidence = forms.TypedChoiceField(
        choices=[(str(value), value) for value in CONFIDENCES],
        coerce=int,
        empty_value=None,
        required=False,
        error_messages={
            "invalid_choice": "Nothing was saved: how sure you are is 1 to 5."
        },
    )
    comment = forms.CharField(
        max_length=LONGEST_COMMENT,
        required=False,
        error_messages={
            "max_length": f"Nothing was saved: a comment has up to {LONGEST_COMMENT} "
            "characters."
        },
    )
    # The number of the answer that this one replaces.
    change = forms.IntegerField(required=False, min_value=1)
    viewer = forms.CharField(required=False)
    # The viewer fills this in once both are drawn.
    drawn = forms.BooleanField(
        widget=forms.HiddenInput,
        error_messages={
            "required": "Nothing was saved: the image and its map were not drawn yet."
        },
    )

    def __init__(self, data: QueryDict, *, protocol: Protocol) -> None:
        super().__init__(data)
        self.ratings = data.getlist("rating")
        self.reasons = [option.key for option in protocol.cannot_judge]
        levels = protocol.primary_question.levels
        self.fields["rating"].choices = [  # type: ignore[attr-defined]
            (str(value), value) for value in (*levels, *self.reasons)
        ]
        keys = [question.key for question in protocol.questions]
        self.asks_confidence = "confidence" in keys

    def clean_rating(self) -> str:
        # Django would take the last of several, and nobody knows which was meant.
        if len(self.ratings) > 1:
            raise forms.ValidationError("Nothing was saved: more than one rating came.")
        rating: str = self.cleaned_data["rating"]
        return rating

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = self.cleaned_data
        rated = cleaned.get("rating", "") not in self.reasons
        if not (self.asks_confidence and rated):
            cleaned["confidence"] = None
        elif cleaned.get("confidence", 0) is None:
            raise forms.ValidationError("Nothing was saved: say how sure you are too.")
        return cleaned

    def problem(self) -> str:
        """What is wrong with the form, in one line; empty when nothing is."""
        return next((str(errors[0]) for errors in self.errors.values()), "")

    def answer(self) -> dict[str, Any]:
        """The document that a valid form says."""
        cleaned = self.cleaned_data
        given = cleaned["rating"]
        judged = given not in self.reasons
        answers = {
            "rating": int(given) if judged else None,
            "confidence": cleaned["confidence"],
            "comment": cleaned["comment"] or None,
        }
        kept = {key: value for key, value in answers.items() if value is not None}
        return {"answers": kept} | ({} if judged else {"cannot_judge": given})

    def looked_at(self) -> dict[str, Any]:
        """How the map was looked at."""
        return _viewer_summary(self.cleaned_data["viewer"])


class ConsentForm(forms.Form):
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
