"""Answers to a protocol's questions as one canonical JSON document. Pure Python.

Form, API, import and verification ask here whether an answer is one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from readerstudy.trial.checked_json import is_text
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.fields import quoted
from readerstudy.trial.protocol.questions import Question, Stage

LARGEST_ANSWER = 2**14  # bytes of the canonical document
SLIDER = range(101)


class InvalidAnswer(ValueError):  # noqa: N818  (as an exam has a wrong answer)
    """An answer that cannot be recorded: one line that says why, with its stop."""


@dataclass(frozen=True, slots=True)
class Place:
    """What of a presentation decides on what is asked, and on where a point may lie.

    Args:
        findings: of the case.
        width: of the image as sent, in pixels; so is `height`.
        first: it is the first presentation of its case in the reader's list.
    """

    findings: tuple[str, ...]
    width: int
    height: int
    first: bool


def findings_at(
    protocol: Protocol, question: Question, place: Place
) -> tuple[str, ...]:
    """The findings that a question is asked for; none if it is asked per case.

    They are the protocol's; of points and boxes without that list the case's own.
    """
    if not question.needs_finding:
        return ()
    return protocol.findings or place.findings


def questions_at(protocol: Protocol, stage: Stage, place: Place) -> list[Question]:
    """The questions that a presentation asks at a stage, in order.

    Whether `show_if` holds depends on the answers and is not asked here.
    """
    return [
        question
        for question in protocol.questions
        if question.stage == stage
        and (place.first or question.repeat == "each")
        # A case without a finding, of which a point is asked for each.
        and (not question.needs_finding or findings_at(protocol, question, place))
    ]


def checked_answer(
    protocol: Protocol, stage: Stage, document: object, place: Place
) -> dict[str, Any]:
    """The canonical document of an answer, its questions in the protocol's order.

    Answers to questions whose `show_if` is false are dropped, and so are blank texts.

    Args:
        document: `{"answers": {key: value}}`, with `cannot_judge` and a reason where
            nothing else can be said.

    Raises:
        InvalidAnswer: a required answer is missing, or one is not what it has to be or
            was not asked for.
    """
    answers, reason = _parts(protocol, document)
    asked = questions_at(protocol, stage, place)
    _check_keys(answers, asked, protocol)
    kept: dict[str, Any] = {}
    for question in asked:
        if reason is not None and question.required and question.key in answers:
            raise InvalidAnswer(f"{question.key}: either answer or say why not.")
        if question.show_if is not None and not question.show_if.holds(kept):
            continue
        value = None
        if question.key in answers:
            findings = findings_at(protocol, question, place)
            value = _canonical(question, answers[question.key], place, findings)
        if value is not None:
            kept[question.key] = value
        elif question.required and reason is None:
            raise InvalidAnswer(f"{question.key}: an answer is missing.")
    canonical: dict[str, Any] = {"answers": kept}
    if reason is not None:
        canonical["cannot_judge"] = reason
    size = len(json.dumps(canonical, ensure_ascii=False).encode())
    if size > LARGEST_ANSWER:
        raise InvalidAnswer(f"answers: {size:,} bytes, {LARGEST_ANSWER:,} at most.")
    return canonical


def _parts(protocol: Protocol, document: object) -> tuple[dict[str, Any], str | None]:
    if type(document) is not dict or type(document.get("answers")) is not dict:
        raise InvalidAnswer("answers: must be an object by question.")
    for key in document:
        if key not in ("answers", "cannot_judge"):
            raise InvalidAnswer(f"{quoted(key)}: an answer has no such key.")
    if "cannot_judge" not in document:
        return document["answers"], None
    reason = document["cannot_judge"]
    reasons = [option.key for option in protocol.cannot_judge]
    if reason not in reasons:
        words = f"must be {' or '.join(reasons)}" if reasons else "is not asked here"
        raise InvalidAnswer(f"cannot_judge: {words}, not {quoted(reason)}.")
    return document["answers"], reason


def _check_keys(
    answers: Mapping[str, Any], asked: Sequence[Question], protocol: Protocol
) -> None:
    asked_keys = {question.key for question in asked}
    known_keys = {question.key for question in protocol.questions}
    for key in answers:
        if key not in known_keys:
            raise InvalidAnswer(f"{quoted(key)}: there is no such question.")
        if key not in asked_keys:
            raise InvalidAnswer(f"{key}: it is not asked here.")


def _canonical(
    question: Question, value: object, place: Place, findings: Sequence[str]
) -> Any:
    """The value as it is kept, by finding where it is asked so; None if it is blank."""
    if not question.needs_finding:
        return _CHECKS[question.kind](_Given(question, place), value)
    if type(value) is not dict:
        raise InvalidAnswer(f"{question.key}: must be an object by finding.")
    for finding in value:
        if finding not in findings:
            problem = f"{quoted(finding)} is no finding that is asked for"
            raise InvalidAnswer(f"{question.key}: {problem}.")
    kept = {}
    for finding in findings:
        given = _Given(question, place, finding)
        one = None
        if finding in value:
            one = _CHECKS[question.kind](given, value[finding])
        if one is not None:
            kept[finding] = one
        elif question.required:
            given.refuse("an answer is missing")
    return kept or None


@dataclass(frozen=True, slots=True)
class _Given:
    """What a value answers: a question at its place, of a finding or of the case."""

    question: Question
    place: Place
    finding: str | None = None

    def refuse(self, problem: str) -> NoReturn:
        of = "" if self.finding is None else f" of {quoted(self.finding)}"
        raise InvalidAnswer(f"{self.question.key}{of}: {problem}.")

    def listed(self, value: object, of_what: str) -> list[Any]:
        """`value` as a list that has as many items as the question wants."""
        least, most = self.question.least, self.question.most
        if type(value) is not list or not least <= len(value) <= most:
            number = str(most) if least == most else f"{least} to {most}"
            self.refuse(f"must be a list of {number} {of_what}")
        return value


def _whole(given: _Given, value: object, values: range) -> int:
    # 1 == True == 1.0, and only one of them is meant.
    if type(value) is not int or value not in values:
        given.refuse(f"must be a whole number from {values[0]} to {values[-1]}")
    return value


def _choice(given: _Given, value: object) -> str:
    keys = given.question.option_keys
    if not isinstance(value, str) or value not in keys:
        given.refuse(f"must be {' or '.join(keys)}")
    return value


def _several(given: _Given, value: object) -> list[str]:
    chosen = given.listed(value, "options")
    keys = given.question.option_keys
    for key in chosen:
        if not isinstance(key, str) or key not in keys:
            given.refuse(f"must be among {', '.join(keys)}")
        if chosen.count(key) > 1:
            given.refuse(f"'{key}' stands twice")
    return [key for key in keys if key in chosen]


def _yes_no(given: _Given, value: object) -> bool:
    if type(value) is not bool:
        given.refuse("must be true or false")
    return value


def _points(given: _Given, value: object) -> list[list[int]]:
    points = given.listed(value, "points [x, y]")
    return [_pixels(given, point, "a point [x, y]", 2) for point in points]


def _boxes(given: _Given, value: object) -> list[list[int]]:
    boxes = given.listed(value, "boxes [x, y, width, height]")
    return [_pixels(given, box, "a box [x, y, width, height]", 4) for box in boxes]


def _pixels(given: _Given, value: object, words: str, length: int) -> list[int]:
    """A point, or a box, whose pixels lie in the image."""
    if type(value) is not list or [type(number) for number in value] != [int] * length:
        given.refuse(f"{words} is {length} whole numbers")
    x, y, width, height = [*value, 1, 1][:4]
    place = given.place
    # Python's numbers have no end: nothing overflows here.
    is_inside = (
        0 <= x < x + width <= place.width and 0 <= y < y + height <= place.height
    )
    if not is_inside:
        given.refuse(f"{words} must lie in the image, {place.width} x {place.height}")
    return list(value)


def _text(given: _Given, value: object) -> str | None:
    if not isinstance(value, str) or not is_text(value):
        given.refuse("must be a text that can be kept")
    longest = given.question.longest
    # A browser counts a line's end as one character and sends two.
    if len(value.replace("\r\n", "\n")) > longest:
        given.refuse(f"must have {longest:,} characters at most")
    return value if value.strip() else None


# By kind the check of a value, which gives what is kept of it: None if it is blank.
_CHECKS: Mapping[str, Callable[[_Given, Any], Any]] = {
    "scale": lambda given, value: _whole(given, value, given.question.levels),
    "choice": _choice,
    "several": _several,
    "yes_no": _yes_no,
    "slider": lambda given, value: _whole(given, value, SLIDER),
    "points": _points,
    "box": _boxes,
    "text": _text,
}
