"""Rating panel: one presentation as the page shows it, nothing that differs by arm."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any, Self

from django.db.models import Count, Q

from readerstudy.models import Case, Overlay, Presentation, RatingEvent, Study
from readerstudy.trial import policies, rating
from readerstudy.trial.protocol.answers import Place, questions_at
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Option, Question, Stage, in_language
from readerstudy.web.questions.asking import Asking, Given
from readerstudy.web.questions.in_words import answer_in_words, answer_lines
from readerstudy.web.questions.telling import Telling

# Answers by which a reader's pace is told.
PACE_OF = 21
FEWEST_STEPS = 5
PRACTICE_IS_OVER = "The practice is over. From this case on your answers count."


@dataclass(frozen=True)
class Panel:
    """A presentation with its place in the reader's order.

    Attributes:
        where: what of the presentation decides what is asked.
        stage: what the reader has before them: `image` alone, or with its `map`.
        before: the answer to the image alone, where there was such a stage.
        practice: how many of the `total` presentations are for practice, the first.
        saved: the answer given last.
        seconds_left: what the rest will take at the reader's pace; None if unknown.
        ahead: the presentation after this one, if its image can be sent ahead.
        previous: what can be gone back to: the presentation that was answered last;
            from an answer that may be changed, the one before it.
        change: the answer that this form would replace.
        notice: why an answer was not taken, or what is new, in one line.
        rest: a word about a break when one is due.
        given: what to put into the form again.
        at: the key of the question to begin with; empty for the first without answer.
    """

    presentation: Presentation
    protocol: Protocol
    where: Place
    stage: str
    before: RatingEvent | None
    total: int
    practice: int
    saved: RatingEvent | None
    seconds_left: float | None
    ahead: Presentation | None
    previous: Presentation | None
    change: RatingEvent | None = None
    notice: str = ""
    rest: str = ""
    given: Given = field(default_factory=Given)
    at: str = ""

    @classmethod
    def of(cls, presentation: Presentation, **more: Any) -> Self:
        enrolment = presentation.enrolment
        protocol = Protocol.of(enrolment.study.protocol)
        is_sequential = protocol.asks_before
        before = rating.standing_before(presentation) if is_sequential else None
        counts = enrolment.presentations.aggregate(
            total=Count("pk"), practice=Count("pk", filter=Q(training=True))
        )
        events = enrolment.rating_events.answers().select_related("presentation")
        answers = list(events.order_by("-number")[:PACE_OF])
        saved = answers[0] if answers else None
        rest = counts["total"] - presentation.position + 1
        if more.get("change"):
            previous = rating.changeable_before(presentation)
        else:
            previous = _changeable(saved, presentation)
        return cls(
            presentation=presentation,
            protocol=protocol,
            where=rating.place_of(presentation),
            stage=rating.stage_of(presentation),
            before=before,
            saved=saved,
            seconds_left=seconds_left([answer.at for answer in answers], rest),
            ahead=rating.fetchable_after(presentation),
            previous=previous,
            **counts,
            **more,
        )

    @property
    def case(self) -> Case:
        case: Case = self.presentation.case
        return case

    @property
    def overlay(self) -> Overlay | None:
        """The map on the screen: none in an arm without one, or before its turn."""
        return None if self.stage == "image" else self.presentation.overlay

    @property
    def overlay_ahead(self) -> Overlay | None:
        """The next map, if it can be sent ahead: not where an image comes before it."""
        if self.ahead is None or self.protocol.asks_before:
            return None
        return self.ahead.overlay

    @property
    def study(self) -> Study:
        return self.presentation.enrolment.study

    @property
    def language(self) -> str:
        return self.presentation.enrolment.language or self.protocol.languages[0]

    @cached_property
    def questions(self) -> list[Question]:
        return questions_at(self.protocol, self._stage, self.where)

    @cached_property
    def asking(self) -> Asking:
        return Asking.of(
            self.questions,
            protocol=self.protocol,
            place=self.where,
            language=self.language,
            given=self.given,
        )

    @property
    def _stage(self) -> Stage:
        return "image" if self.stage == "image" else "map"

    @property
    def step(self) -> str:
        """Which of two steps this is; empty where there is one."""
        if self.stage == "image":
            return "Step 1 of 2: no map yet"
        if self.before is None:
            return ""
        return "Step 2 of 2: with the map" if self.overlay else "Step 2 of 2"

    @property
    def button(self) -> str:
        """What the button says once nothing is missing."""
        if self.change:
            return "Save the change"
        return "Show the map" if self.stage == "image" else "Save and next"

    @property
    def words_before(self) -> list[tuple[str, str]]:
        """What was said of the image alone: by question, in words, and final."""
        answer = self.before.answer if self.before else None
        return answer_lines(answer or {}, self.protocol, self.language)

    @property
    def shows_findings(self) -> bool:
        """Whether the diagnosis is told."""
        return self.protocol.reference == "shown"

    @property
    def prompts(self) -> Sequence[str]:
        """The findings that are asked about, where no question asks for each itself."""
        is_named = any(question.needs_finding for question in self.questions)
        return () if self.shows_findings or is_named else self.protocol.findings

    @property
    def given_reason(self) -> str:
        return self.given.get("cannot_judge") or ""

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
        words = answer_in_words(self.saved.answer or {}, self.protocol, self.language)
        if shown.training:
            words += self._anchor_of(self.saved.answer or {})
        return f"{place} saved: {words}"

    def _anchor_of(self, answer: Mapping[str, Any]) -> str:
        question = self.protocol.primary_question
        value = answer["answers"].get(question.key)
        if question.kind != "scale" or not isinstance(value, int):
            return ""
        anchor = in_language(question.anchors[value - question.start], self.language)
        return f", “{anchor}”" if anchor else ""

    @property
    def change_in_words(self) -> str:
        """What stands so far, of an answer that may be changed."""
        if self.change is None:
            return ""
        answer = self.change.answer or {}
        if "cannot_judge" in answer:
            return "You said that it cannot be judged."
        lines = answer_lines(answer, self.protocol, self.language)
        if self.asking.layout == "plain":
            return f"You rated it {lines[0][1]}."
        return f"You answered: {'; '.join(f'{head} {words}' for head, words in lines)}."

    @property
    def time_left(self) -> str:
        if self.seconds_left is None:
            return ""
        minutes = max(1, round(self.seconds_left / 60))
        if minutes < 100:
            return f"about {minutes} min left at your pace"
        return f"about {round(minutes / 60)} h left at your pace"

    @property
    def reasons(self) -> list[tuple[Option, str]]:
        """Why nothing can be said, each with its words."""
        return [
            (option, in_language(option.text, self.language))
            for option in self.protocol.cannot_judge
        ]

    @cached_property
    def telling(self) -> Telling:
        return Telling(self.protocol, self.language)

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
