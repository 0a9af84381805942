"""Questions of a reader study as its analysis sees them: key, kind and what can be
answered; from a protocol, or guessed from the column of a table."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from readerstudy.analysis.csv_records import RATING, RatingsError

KINDS = ("scale", "slider", "yes_no", "choice", "several", "points", "box", "text")
# Those that are a number by themselves.
NUMBERS = ("scale", "slider", "yes_no")
SLIDER = range(101)
# More levels than a scale has are a slider's.
MOST_LEVELS = 10
# Keys name folders of results.
_KEY = re.compile("[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True)
class Question:
    """One question that readers were asked.

    heading: what a report calls it; its key where that is all there is.
    levels: of a scale, ascending whole numbers; a slider's are 0 to 100 and a yes or
      no's 0 and 1, whatever is given.
    options: keys of a choice and of several.
    before: asked before the reader saw the map, so that its answers are of no arm.
    per_finding: answered once for each finding of a case.
    """

    key: str
    kind: str
    heading: str = ""
    levels: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    before: bool = False
    per_finding: bool = False

    @property
    def title(self) -> str:
        return self.heading or self.key

    @property
    def is_number(self) -> bool:
        """Whether one column has its answers, as whole numbers."""
        return self.kind in NUMBERS and not self.per_finding

    @property
    def has_items(self) -> bool:
        """Whether it is several answers side by side: by finding, or yes or no to each
        of its options."""
        numbers = self.per_finding and self.kind in NUMBERS
        return numbers or self.kind in ("choice", "several")

    @property
    def is_yes_no(self) -> bool:
        """Whether an answer, or each part of it, is yes or no."""
        return self.kind in ("yes_no", "choice", "several", "points")

    @property
    def values(self) -> tuple[int, ...]:
        """The whole numbers that it can be answered by."""
        if self.kind == "slider":
            return tuple(SLIDER)
        return self.levels if self.kind == "scale" else (0, 1)

    @property
    def scores(self) -> tuple[int, ...]:
        """Those of which it is told how often each was given; none of a slider."""
        return self.values if self.kind in ("scale", "yes_no") else ()

    def number(self, cell: str, column: str, line: int) -> int | None:
        """What a cell of its column says, None where it is empty.

        Raises RatingsError for anything but one of its `values`.
        """
        if not cell:
            return None
        # Compared as text: int() would also take "+3" and digits of other scripts.
        if not re.fullmatch("0|[1-9][0-9]{0,2}", cell) or int(cell) not in self.values:
            low, high = self.values[0], self.values[-1]
            raise RatingsError(
                f"line {line}: {column} {cell!r} is not a whole number from {low} to "
                f"{high}; leave it empty if there is none"
            )
        return int(cell)


# What the paper asks: from 0, no correlation with the pathology, to 5.
USEFULNESS = Question(RATING, "scale", levels=tuple(range(6)))


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of a study: the one that its hypothesis is about, and the others.

    findings: that are asked about one by one, where the protocol lists them.
    declared: the key that the protocol calls primary; another leads where somebody
      chose so.
    """

    primary: Question = USEFULNESS
    others: tuple[Question, ...] = ()
    findings: tuple[str, ...] = ()
    declared: str = ""


def asked_by(
    protocol: Mapping[str, Any], primary: str | None = None, language: str | None = None
) -> Asked:
    """The questions of a protocol's document, `primary` leading if it is named.

    `language` is that of headings, by default the protocol's first. A document without
    `questions`, as protocols were when each had one, asks for a rating from 0 to 5.

    Raises RatingsError for a document that is none, and for a key that it does not ask.
    """
    if "questions" not in protocol:
        return Asked(_named((USEFULNESS,), primary or RATING), declared=RATING)
    try:
        languages = [language] if language else list(protocol.get("languages", ()))
        questions = tuple(_question(q, languages) for q in protocol["questions"])
        declared = str(protocol["primary"])
        findings = tuple(map(str, protocol.get("findings") or ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RatingsError(f"the protocol cannot be read: {error!r}") from error
    leading = _named(questions, primary or declared)
    others = tuple(question for question in questions if question is not leading)
    # Whichever leads compares the arms.
    return Asked(replace(leading, before=False), others, findings, declared)


def _named(questions: Iterable[Question], key: str) -> Question:
    known = {question.key: question for question in questions}
    if key not in known:
        raise RatingsError(
            f"the protocol asks no question {key!r}; it asks {', '.join(known)}"
        )
    return known[key]


def _question(document: Mapping[str, Any], languages: list[str]) -> Question:
    key, kind = document["key"], document["kind"]
    if not is_key(key) or kind not in KINDS:
        raise ValueError(f"question {key!r} of kind {kind!r}")
    start = document.get("from", 0)
    heading = document.get("short") or document.get("text", "")
    return Question(
        key=key,
        kind=kind,
        heading=_in_language(heading, languages),
        levels=tuple(range(start, start + len(document.get("anchors", ())))),
        options=tuple(option["key"] for option in document.get("options", ())),
        before=document.get("when") == "before",
        per_finding=document.get("per") == "finding",
    )


def _in_language(text: str | Mapping[str, str], languages: list[str]) -> str:
    if isinstance(text, str):
        return text
    return next((text[name] for name in languages if name in text), "")


def guessed(key: str, cells: Iterable[str]) -> Question:
    """The question whose answers are in a column, by the answers alone.

    0 and 1 alone are no and yes; up to ten whole numbers in a row, among them all that
    are there, a scale; others up to 100 a slider.

    Raises RatingsError for a column that holds no number or something else.
    """
    if not is_key(key):
        raise RatingsError(
            f"the question {key!r} needs a name of small letters, digits and _"
        )
    given = sorted({cell for cell in cells if cell})
    numbers = [int(cell) for cell in given if re.fullmatch("0|[1-9][0-9]{0,2}", cell)]
    if not given or len(numbers) < len(given) or max(numbers) > SLIDER[-1]:
        raise RatingsError(
            f"the column {key} holds no answers that are whole numbers up to 100; what "
            "else was asked has to be told by a protocol.json beside the table"
        )
    low, high = min(numbers), max(numbers)
    if set(numbers) <= {0, 1}:
        return Question(key, "yes_no")
    if high - low >= MOST_LEVELS:
        return Question(key, "slider")
    return Question(key, "scale", levels=tuple(range(low, high + 1)))


def is_key(name: str) -> bool:
    """Whether a question may be named so."""
    return _KEY.fullmatch(name) is not None


def summed(question: Question, most: int) -> Question:
    """What the sum over `most` parts of its answers is an answer to: as numbers, from
    the least of one part to the largest sum."""
    values = question.values
    levels = tuple(range(values[0], most * values[-1] + 1))
    return replace(question, kind="scale", levels=levels)
