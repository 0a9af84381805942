"""Instructions: what readers are told before they begin, and which keys do what.

Both follow the protocol.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.utils import translation

from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question, in_language
from readerstudy.web.questions.asking import Asked, asked_of
from readerstudy.web.questions.in_words import is_comment

CHOSEN_BY_DIGIT = ("scale", "choice", "yes_no")


@dataclass(frozen=True)
class Keys:
    """A row of the list of keys: the keys, what stands between them, what they do."""

    keys: Sequence[str]
    between: str
    does: str


@dataclass(frozen=True)
class Telling:
    """What a protocol tells its readers, in one of its languages."""

    protocol: Protocol
    language: str

    @property
    def instructions(self) -> str:
        return in_language(self.protocol.instructions, self.language)

    @property
    def consent(self) -> str:
        return in_language(self.protocol.consent, self.language)

    @property
    def legend(self) -> list[str]:
        return [in_language(text, self.language) for text in self.protocol.legend]

    @cached_property
    def questions(self) -> list[Asked]:
        """Each with its levels and no field; comments are left out."""
        return [
            asked_of(question, self.language)
            for question in self.protocol.questions
            if not is_comment(question)
        ]

    @property
    def shows_findings(self) -> bool:
        return self.protocol.reference == "shown"

    @property
    def is_sequential(self) -> bool:
        return self.protocol.asks_before

    @property
    def asks_places(self) -> bool:
        return any(question.is_place for question in self.protocol.questions)

    @property
    def languages(self) -> list[tuple[str, str]]:
        """The study's languages by code, each by its own name; none if it has one."""
        codes = self.protocol.languages
        return [(code, language_name(code)) for code in codes] if len(codes) > 1 else []

    @property
    def language_name(self) -> str:
        return language_name(self.language)

    @property
    def keys(self) -> list[Keys]:
        return list(keys_of(self.protocol.questions, bool(self.protocol.cannot_judge)))


def language_name(code: str) -> str:
    """A language by its own name; by its code where Django does not know it."""
    try:
        return str(translation.get_language_info(code.lower())["name_local"])
    except KeyError:
        return code


def language_of(protocol: Protocol, wanted: Collection[str]) -> str:
    """The first of the study's languages that is wanted; its first if none is."""
    for code in wanted:
        for known in protocol.languages:
            if known.lower() == code.lower() or known.lower() == code[:2].lower():
                return known
    return protocol.languages[0]


def keys_of(questions: Sequence[Question], can_refuse: bool) -> Iterator[Keys]:
    """The keys that answer, by the kinds of question that there are."""
    main = [question for question in questions if not is_comment(question)]
    kinds = {question.kind for question in main}
    digits = _digits(main)
    if digits:
        yield Keys((digits[0], digits[-1]), "to", "choose an answer")
    if "yes_no" in kinds:
        yield Keys(("1", "0"), "and", "yes and no")
    if "several" in kinds:
        yield Keys(("1", "9"), "to", "turn one of several answers on and off")
    if "slider" in kinds:
        yield Keys(("0", "100"), "to", "type a number; Enter takes a short one")
        yield Keys(("←", "→"), "and", "slide by 1; by 10 with Page Up and Page Down")
    if kinds & {"points", "box"}:
        yield Keys(("↑ ↓ ← →",), "", "move a cross in the image, with Shift faster")
        yield Keys(("X",), "", "set a point or a corner there")
        yield Keys(("Delete",), "", "take the last one away")
    if "text" in kinds:
        yield Keys(("Tab", "Esc"), "and", "into a text and out of it")
    if len(main) > 1 or any(question.needs_finding for question in main):
        yield Keys(("↑", "↓"), "and", "the question before and after")
        yield Keys(("Enter",), "", "to what is missing; if nothing is, save, next case")
    else:
        yield Keys(("Enter",), "", "save it, next case")
    if can_refuse:
        yield Keys(("C",), "", "then a digit: why there is no answer")


def _digits(questions: Sequence[Question]) -> list[str]:
    values = [
        number
        for question in questions
        if question.kind in CHOSEN_BY_DIGIT and question.kind != "yes_no"
        for number in (question.levels or range(1, len(question.options) + 1))
    ]
    # The tenth level of ten from 1 has the digit 0, which lies behind the 9.
    order = "1234567890" if 10 in values else "0123456789"
    return sorted({str(number % 10) for number in values}, key=order.index)
