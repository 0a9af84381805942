"""Rating panel: one presentation as the page shows it, nothing that differs by arm."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any, Self

from django.db.models import Count, Q

from readerstudy.models import Case, Overlay, Presentation, RatingEvent, Study
from readerstudy.trial import policies
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import in_language
from readerstudy.trial.rating import changeable_before, fetchable_after
from readerstudy.web.forms import CONFIDENCES, RatingForm

# Answers by which a reader's pace is told.
PACE_OF = 21
FEWEST_STEPS = 5
PRACTICE_IS_OVER = "The practice is over. From this case on your answers count."


@dataclass(frozen=True)
class Given:
    """What a reader chose in a form that could not be taken, to be shown once more."""

    rating: str = ""
    confidence: str = ""
    comment: str = ""

    @classmethod
    def of(cls, form: RatingForm) -> Self:
        return cls(
            **{field.name: form.data.get(field.name, "") for field in fields(cls)}
        )


@dataclass(frozen=True)
class Panel:
    """A presentation with its place in the reader's order.

    Attributes:
        practice: how many of the `total` presentations are for practice, the first.
        saved: the answer given last.
        seconds_left: what the rest will take at the reader's pace; None if unknown.
        ahead: the presentation after this one, if its pixels can be sent ahead.
        previous: what can be gone back to: the presentation that was answered last;
            from an answer that may be changed, the one before it.
        change: the answer that this form would replace.
        notice: why an answer was not taken, or what is new, in one line.
        rest: a word about a break when one is due.
        given: what to put into the form again.
    """

    presentation: Presentation
    total: int
    practice: int
    saved: RatingEvent | None
    seconds_left: float | None
    ahead: Presentation | None
    previous: Presentation | None
    change: RatingEvent | None = None
    notice: str = ""
    rest: str = ""
    given: Given = Given()

    @classmethod
    def of(cls, presentation: Presentation, **more: Any) -> Self:
        enrolment = presentation.enrolment
        counts = enrolment.presentations.aggregate(
            total=Count("pk"), practice=Count("pk", filter=Q(training=True))
        )
        events = enrolment.rating_events.answers().select_related("presentation")
        answers = list(events.order_by("-number")[:PACE_OF])
        saved = answers[0] if answers else None
        rest = counts["total"] - presentation.position + 1
        if more.get("change"):
            previous = changeable_before(presentation)
        else:
            previous = _changeable(saved, presentation)
        return cls(
            presentation=presentation,
            saved=saved,
            seconds_left=seconds_left([answer.at for answer in answers], rest),
            ahead=fetchable_after(presentation),
            previous=previous,
            **counts,
            **more,
        )

    @property
    def case(self) -> Case:
        return self.presentation.case

    @property
    def overlay(self) -> Overlay | None:
        return self.presentation.overlay

    @property
    def study(self) -> Study:
        return self.presentation.enrolment.study

    @property
    def protocol(self) -> Protocol:
        return Protocol.of(self.study.protocol)

    @property
    def question(self) -> str:
        return in_language(self.protocol.primary_question.text, self._language)

    @property
    def asks_confidence(self) -> bool:
        return any(q.key == "confidence" for q in self.protocol.questions)

    @property
    def _language(self) -> str:
        return self.presentation.enrolment.language or self.protocol.languages[0]

    @property
    def windows(self) -> str:
        """The case's presets in rescaled values, as JSON; the first is the default."""
        return json.dumps(self.case.windows)

    @property
    def pixel_spacing(self) -> str:
        """`row,column` in millimetres as in DICOM, or empty where nobody knows."""
        return ",".join(map(str, self.case.pixel_spacing_mm or []))

    @property
    def place(self) -> str:
        """Where in the list this is: practice and cases are counted apart."""
        if self.presentation.training:
            return f"Practice {self.presentation.position} of {self.practice}"
        number = self.presentation.position - self.practice
        return f"Case {number} of {self.total - self.practice}"

    @property
    def news(self) -> str:
        """What is new with this case; empty when nothing is."""
        first = self.practice + 1 == self.presentation.position
        return PRACTICE_IS_OVER if self.practice and first else ""

    @property
    def done(self) -> int:
        return self.presentation.position - 1

    @property
    def saved_as(self) -> str:
        """What was saved last, in words; of a practice case with the anchor's."""
        if self.saved is None:
            return ""
        shown = self.saved.presentation
        if shown.training:
            place = f"Practice {shown.position}"
        else:
            place = f"Case {shown.position - self.practice}"
        value = answer_in_words(self.saved)
        rating = _rating(self.saved)
        if shown.training and rating is not None:
            value = f"{value}, “{self.scale[rating][1]}”"
        return f"{place} saved: {value}"

    @property
    def change_in_words(self) -> str:
        """What stands so far, of an answer that may be changed."""
        if self.change is None:
            return ""
        rating = _rating(self.change)
        if rating is None:
            return "You said that it cannot be judged."
        return f"You rated it {rating}."

    @property
    def time_left(self) -> str:
        if self.seconds_left is None:
            return ""
        minutes = max(1, round(self.seconds_left / 60))
        if minutes < 100:
            return f"about {minutes} min left at your pace"
        return f"about {round(minutes / 60)} h left at your pace"

    @property
    def scale(self) -> list[tuple[str, str]]:
        """The ratings with their anchors."""
        primary = self.protocol.primary_question
        return [
            (str(level), in_language(anchor, self._language))
            for level, anchor in zip(primary.levels, primary.anchors, strict=True)
        ]

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """Why a map may not be judged."""
        reasons = self.protocol.cannot_judge
        return [(r.key, in_language(r.text, self._language)) for r in reasons]

    @property
    def confidences(self) -> list[str]:
        return [str(value) for value in CONFIDENCES]

    @property
    def opacity_percent(self) -> int:
        return round(100 * self.protocol.opacity)


def _changeable(
    saved: RatingEvent | None, current: Presentation
) -> Presentation | None:
    """Where the last answer was given, if it is of this session and can be changed."""
    if saved is None or not policies.can_change(current.enrolment):
        return None
    answered = saved.presentation
    return answered if answered.session == current.session else None


def _rating(event: RatingEvent) -> int | None:
    rating: int | None = answers_of(event).get("rating")
    return rating


def answers_of(event: RatingEvent) -> dict[str, Any]:
    """What an answer says, by question."""
    answers: dict[str, Any] = (event.answer or {}).get("answers", {})
    return answers


def answer_in_words(event: RatingEvent) -> str:
    rating = _rating(event)
    return "cannot be judged" if rating is None else str(rating)


def seconds_left(moments: Sequence[datetime], presentations: int) -> float | None:
    """How long so many presentations take, at the median pace of the last answers.

    Args:
        moments: of the last answers, the newest first. A break between two is one long
            step among many, and the median does not mind it.

    Returns:
        None before there are five steps to go by.
    """
    steps = [(b - a).total_seconds() for b, a in pairwise(moments)]
    if len(steps) < FEWEST_STEPS:
        return None
    return median(steps) * presentations
