"""Answers in words, as a page tells a reader what was answered."""

from collections.abc import Mapping
from typing import Any

from django.utils import translation

from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question, in_language


def is_comment(question: Question) -> bool:
    """A text that nobody has to write: it lies below, until it is wanted."""
    is_free = not question.required and question.show_if is None
    return question.kind == "text" and is_free and not question.needs_finding


def yes_and_no(language: str) -> tuple[str, str]:
    """The two words in a language, or in English where Django does not know them."""
    with translation.override(language):
        yes, no = translation.gettext("yes,no,maybe").split(",")[:2]
    return yes.capitalize(), no.capitalize()


def answer_lines(
    answer: Mapping[str, Any], protocol: Protocol, language: str
) -> list[tuple[str, str]]:
    """What was answered, in the order of the questions: how each is called, and words.

    Comments are left out.
    """
    answers = answer.get("answers", {})
    return [
        (
            in_language(question.heading, language),
            value_in_words(question, answers[question.key], language),
        )
        for question in protocol.questions
        if question.key in answers and not is_comment(question)
    ]


def answer_in_words(
    answer: Mapping[str, Any], protocol: Protocol, language: str
) -> str:
    """An answer in a few words, its values alone; how sure somebody is stays out."""
    if "cannot_judge" in answer:
        return "cannot be judged"
    lines = answer_lines(answer, protocol, language)
    if protocol.primary_question.kind == "scale" and _has_confidence(protocol):
        lines = lines[:1]
    return " · ".join(words for _, words in lines)


def _has_confidence(protocol: Protocol) -> bool:
    main = [question.key for question in protocol.questions if not is_comment(question)]
    return len(main) == 2 and main[1] == "confidence"


def value_in_words(question: Question, value: Any, language: str) -> str:
    """An answer as a line of text names it: by finding where it was asked so."""
    if question.needs_finding:
        return ", ".join(
            f"{finding} {_one_in_words(question, one, language)}"
            # The database has an order of its own.
            for finding, one in sorted(value.items())
        )
    return _one_in_words(question, value, language)


def _one_in_words(question: Question, value: Any, language: str) -> str:
    if question.kind == "yes_no":
        return yes_and_no(language)[not value].lower()
    if question.kind in ("choice", "several"):
        chosen = [value] if isinstance(value, str) else value
        words = {option.key: option.text for option in question.options}
        texts = [f"“{in_language(words[key], language)}”" for key in chosen]
        return " and ".join(texts) or "none"
    if question.kind in ("points", "box"):
        one, more = (
            ("point", "points") if question.kind == "points" else ("box", "boxes")
        )
        return f"{len(value)} {one if len(value) == 1 else more}"
    return f"“{value}”" if question.kind == "text" else str(value)
