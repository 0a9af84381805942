"""Questions as a panel asks them: in one language, with fields and digits.

Which question lies open and what is a row is the browser's affair (`questions.js`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from readerstudy.trial.protocol.answers import Place, findings_at
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question, Text, in_language
from readerstudy.web.questions.in_words import is_comment, yes_and_no

# Of a level's caption, under a button that is a fifth of the panel wide.
LONGEST_CAPTION = 22
LONGEST_CAPTION_WORD = 11
MOST_CAPTIONS = 5
COMMENT = "Comment"

Given = MultiValueDict[str, str]


@dataclass(frozen=True)
class Level:
    """One of the answers to choose from: of a scale, a choice, several, yes or no.

    Attributes:
        value: in the form.
        digit: the key that chooses it.
        label: what its button says: a level's number or the digit.
        text: in words; empty for a level without an anchor.
    """

    value: str
    digit: str
    label: str
    text: str
    is_chosen: bool


@dataclass(frozen=True)
class Item:
    """A field of the form: a question, or one of the findings that it is asked for."""

    name: str
    finding: str
    value: str
    levels: Sequence[Level]


@dataclass(frozen=True)
class Asked:
    """A question with its items.

    Attributes:
        number: in the panel, from 1.
        look: of a scale's levels: `rows`, one below the other; `captions`, side by side
            with a text each; `ends`, side by side with a text at either end.
        condition: when it is asked, as JSON for `items.js`; empty for always.
    """

    question: Question
    number: int
    text: str
    short: str
    help: str
    ends: Sequence[str]
    look: str
    condition: str
    items: Sequence[Item]

    @property
    def is_plain(self) -> bool:
        """One scale whose levels are told in words: it can lie open all the time."""
        is_scale = self.question.kind == "scale" and self.look == "rows"
        return is_scale and not self.question.needs_finding

    @property
    def is_worded(self) -> bool:
        """Whether what opens a comment is in the study's words, not in ours."""
        return self.text != COMMENT

    @property
    def summary(self) -> str:
        """What opens a comment."""
        return f"{self.short or self.text} …" if self.is_worded else "Add a comment"


@dataclass(frozen=True)
class Asking:
    """What a panel asks.

    Attributes:
        layout: `plain`, one scale that lies open, perhaps with a row for `sure` below;
            `single`, one question of another kind; `folded`, several of which one is
            open.
        sure: how sure the reader is, on a scale that takes one row.
        comments: texts that nobody has to write.
    """

    layout: str
    main: Sequence[Asked]
    sure: Asked | None
    comments: Sequence[Asked]

    @classmethod
    def of(
        cls,
        questions: Sequence[Question],
        *,
        protocol: Protocol,
        place: Place,
        language: str,
        given: Given,
    ) -> "Asking":
        main = [question for question in questions if not is_comment(question)]
        comments = [question for question in questions if is_comment(question)]

        def asked(these: Sequence[Question]) -> list[Asked]:
            return [
                _asked(question, number, protocol, place, language, given)
                for number, question in enumerate(these, 1)
            ]

        ready = asked(main)
        sure = ready[1] if len(ready) == 2 and _is_confidence(ready[1]) else None
        if sure and ready[0].is_plain:
            return cls("plain", ready[:1], sure, asked(comments))
        layout = "folded"
        if len(ready) < 2:
            layout = "plain" if ready and ready[0].is_plain else "single"
        return cls(layout, ready, None, asked(comments))


def _is_confidence(asked: Asked) -> bool:
    question = asked.question
    is_scale = question.key == "confidence" and question.kind == "scale"
    is_free = question.show_if is None and not question.needs_finding
    return is_scale and is_free and asked.look == "ends" and len(question.levels) <= 5


def field_names(question: Question, findings: Sequence[str]) -> list[str]:
    """The names of a question's fields in the form: its own, or one a finding."""
    if not question.needs_finding:
        return [question.key]
    return [f"{question.key}.{index}" for index in range(len(findings))]


def asked_of(question: Question, language: str) -> Asked:
    """A question as instructions tell of it: with its levels, of no case."""
    item = Item(question.key, "", "", _levels(question, language, ()))
    return _in_words(question, 1, language, [item])


def _asked(
    question: Question,
    number: int,
    protocol: Protocol,
    place: Place,
    language: str,
    given: Given,
) -> Asked:
    findings = findings_at(protocol, question, place)
    names = field_names(question, findings)
    items = [
        Item(
            name=name,
            finding=finding,
            value=given.get(name) or "",
            levels=_levels(question, language, given.getlist(name)),
        )
        for name, finding in zip(names, findings or [""], strict=True)
    ]
    return _in_words(question, number, language, items)


def _in_words(
    question: Question, number: int, language: str, items: Sequence[Item]
) -> Asked:
    return Asked(
        question=question,
        number=number,
        text=in_language(question.text, language),
        short=in_language(question.short, language),
        help=in_language(question.help, language),
        ends=_ends(question, language),
        look=_look(question, language),
        condition=_condition(question),
        items=items,
    )


def _ends(question: Question, language: str) -> list[str]:
    texts = question.ends or question.anchors
    words = [in_language(text, language) for text in texts]
    return [words[0], words[-1]] if words else []


def _look(question: Question, language: str) -> str:
    if question.kind == "yes_no":
        return "captions"
    if question.kind != "scale":
        return "rows"
    words = [in_language(text, language) for text in question.anchors]
    if len(words) > 2 and not any(words[1:-1]):
        return "ends"
    if len(words) <= MOST_CAPTIONS and all(map(_is_caption, words)):
        return "captions"
    return "rows"


def _is_caption(text: str) -> bool:
    longest_word = max(map(len, text.split()), default=0)
    return len(text) <= LONGEST_CAPTION and longest_word <= LONGEST_CAPTION_WORD


def _condition(question: Question) -> str:
    condition = question.show_if
    if condition is None:
        return ""
    return json.dumps(
        {
            "question": condition.question,
            "values": list(condition.values),
            "negated": condition.negated,
        }
    )


def _levels(question: Question, language: str, given: Sequence[str]) -> list[Level]:
    return [
        Level(value, digit, label, in_language(text, language), value in given)
        for value, digit, label, text in _choices(question, language)
    ]


def _choices(question: Question, language: str) -> Iterable[tuple[str, str, str, Text]]:
    """Value, digit, label and text of each answer to choose from."""
    if question.kind == "scale":
        for level, anchor in zip(question.levels, question.anchors, strict=True):
            yield str(level), str(level % 10), str(level), anchor
    if question.kind == "yes_no":
        yes, no = yes_and_no(language)
        yield from (("yes", "1", "1", yes), ("no", "0", "0", no))
    for number, option in enumerate(question.options, 1):
        yield option.key, str(number), str(number), option.text
    # Without it nobody could tell "none" from "not answered yet".
    if question.kind == "several" and question.required and question.least == 0:
        yield "", "0", "0", "None of these"


def given_in(data: QueryDict) -> Given:
    """What a form came with, to be shown once more."""
    return Given({name: data.getlist(name) for name in data})


def prefilled(protocol: Protocol, place: Place, answers: Mapping[str, Any]) -> Given:
    """What of an answer stands in the form where it is to be changed: texts alone.

    What was chosen is told in words and chosen anew; what was written would be lost.
    """
    given = Given()
    for question in protocol.questions:
        value = answers.get(question.key)
        if question.kind != "text" or value is None:
            continue
        findings = findings_at(protocol, question, place)
        values = [value.get(f, "") for f in findings] if findings else [value]
        for name, text in zip(field_names(question, findings), values, strict=True):
            given[name] = text
    return given
