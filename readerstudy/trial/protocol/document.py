"""Protocol of a study as one JSON document: defaults, checks, templates. Pure Python.

`complete` checks a document and fills it in; a study keeps what it gives, so that a
default that changes later changes no study. `Protocol.of` is the same as an object.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from readerstudy.trial.checked_json import JsonError, is_name, parse_json, read_at_most
from readerstudy.trial.protocol import flat
from readerstudy.trial.protocol.defaults import (
    DEFAULTS,
    KEYS,
    SCHEMA,
    TEMPLATES,
    template_document,
)
from readerstudy.trial.protocol.fields import (
    KEY_WORDS,
    Fields,
    ProtocolError,
    Text,
    quoted,
)
from readerstudy.trial.protocol.questions import (
    Option,
    Question,
    complete_options,
    complete_question,
    options_of,
)
from readerstudy.trial.protocol.rules import check_rules

__all__ = [
    "TEMPLATES",
    "Analysis",
    "BreakAfter",
    "Protocol",
    "ProtocolError",
    "complete",
    "of_template",
    "read_protocol",
    "template",
]

LARGEST_FILE = 2**20  # bytes
LARGEST_DOCUMENT = 2**16  # bytes of the complete document
MOST_QUESTIONS = 8
MOST_LANGUAGES = 4
MOST_FINDINGS = 6
MOST_REASONS = 5
LONGEST_FINDING = 80
LONGEST_PAGE = 20_000  # of instructions or consent
LONGEST_LEGEND = 50
LONGEST_MEANING = 500  # of the legend's sentence
LONGEST_ANALYSIS = 2000
# Half a year: beyond it nobody waits for a session of their own will.
LONGEST_WASHOUT_DAYS = 183
# In units of an answer: no scale or slider is longer.
LARGEST_MARGIN = 100


@dataclass(frozen=True, slots=True)
class BreakAfter:
    """When a reader is told that a break would be good, whichever comes first."""

    answers: int
    minutes: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was fixed of the analysis before any answer was there.

    `pooling`: whether readers are pooled over images with every rating (complete) or
    over those that there are (available). `margin`: of equivalence, in units of the
    primary answer. `threshold`: of a slider, from where on it says yes.
    """

    alpha: float
    pooling: str
    margin: float | None
    threshold: int | None
    primary_dataset: str | None


@dataclass(frozen=True, slots=True)
class Protocol:
    """All that a study tells and asks its readers; `document` is its canonical form."""

    document: Mapping[str, Any]
    template: str | None
    languages: tuple[str, ...]
    questions: tuple[Question, ...]
    primary: str
    cannot_judge: tuple[Option, ...]
    findings: tuple[str, ...]
    reference: str
    reading: str
    instructions: Text
    consent: Text
    opacity: float
    display_mode: str
    legend: tuple[Text, ...]
    blocks: str
    sessions: str
    washout_days: int
    repeats: float
    ratings_can_change: bool
    break_after: BreakAfter
    open_by: str
    ended_runs: str
    ends_on: date | None
    guess_arms: bool
    primary_analysis: str
    analysis: Analysis

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Protocol":
        """A complete document, which was checked when it was made, as an object."""
        same = {key: document[key] for key in KEYS if key != "schema"}
        ends_on = document["ends_on"]
        return cls(
            **{
                **same,
                "document": document,
                "languages": tuple(document["languages"]),
                "questions": tuple(map(Question.of, document["questions"])),
                "cannot_judge": options_of(document["cannot_judge"] or ()),
                "findings": tuple(document["findings"]),
                "legend": tuple(document["legend"]),
                "break_after": BreakAfter(**document["break_after"]),
                "ends_on": date.fromisoformat(ends_on) if ends_on else None,
                "analysis": Analysis(**document["analysis"]),
            }
        )

    def question(self, key: str) -> Question:
        """The question of that key.

        Raises:
            KeyError: there is none.
        """
        for question in self.questions:
            if question.key == key:
                return question
        raise KeyError(key)

    @property
    def primary_question(self) -> Question:
        return self.question(self.primary)

    @property
    def asks_before(self) -> bool:
        """Whether anything is asked before the map is shown."""
        return any(question.when == "before" for question in self.questions)

    def session_count(self, arms: int) -> int:
        """In how many sessions a reader reads."""
        return arms if self.sessions == "per_arm" else 1


def read_protocol(path: Path) -> dict[str, Any]:
    """The object in a protocol's file; `complete` says whether it is a protocol.

    Raises:
        ProtocolError: it cannot be read, is larger than `LARGEST_FILE` or is no JSON
            object.
    """
    try:
        content = read_at_most(path, LARGEST_FILE)
        value = parse_json(content, largest=LARGEST_FILE)
    except OSError as error:
        raise ProtocolError(f"{path}: {error.strerror or error}.") from error
    except JsonError as error:
        raise ProtocolError(f"{path}: {error}.") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"{path}: must be an object.")
    return value


def template(name: str) -> dict[str, Any]:
    """The complete document of a template.

    Raises:
        ProtocolError: there is no such template.
    """
    if name not in TEMPLATES:
        names = ", ".join(TEMPLATES)
        raise ProtocolError(f"template: there is no {quoted(name)}; there are {names}.")
    return complete(template_document(name))


def of_template(name: str) -> dict[str, Any]:
    """A template for a new study, but for the legend, which its bundles bring.

    Raises:
        ProtocolError: there is no such template.
    """
    return {key: value for key, value in template(name).items() if key != "legend"}


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """The whole document: `given` with every default filled in, and every rule checked.

    One without `schema` has the flat fields of schema 1 and is laid over the template
    `paper`. A complete document stays as it is.

    Raises:
        ProtocolError: the first thing that is wrong, with its place.
    """
    value = dict(given)
    if "schema" not in value:
        value = flat.from_flat(flat.checked(value))
    root = Fields(value)
    root.check_names(KEYS, "a protocol")
    if type(root.take("schema")) is not int or value["schema"] != SCHEMA:
        root.refuse(f"must be {SCHEMA}, not {quoted(value['schema'])}", "schema")
    filled = Fields({**DEFAULTS, **value})
    filled.languages = _languages(filled)
    document = {"schema": SCHEMA} | {
        key: check(filled, key) for key, check in _CHECKS.items()
    }
    check_rules(document)
    size = len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())
    if size > LARGEST_DOCUMENT:
        root.refuse(f"{size:,} bytes, {LARGEST_DOCUMENT:,} at most; shorten its texts")
    return document


def _languages(root: Fields) -> list[str]:
    languages = root.listed("languages", 1, MOST_LANGUAGES, "languages")
    for language in languages:
        if not (isinstance(language, str) and _is_language(language)):
            root.refuse(
                f"{quoted(language)} is none; write it as en or de-CH", "languages"
            )
        if languages.count(language) > 1:
            root.refuse(f"{quoted(language)} stands twice", "languages")
    return list(languages)


def _is_language(text: str) -> bool:
    name, dash, region = text.partition("-")
    return (
        text.isascii()
        and 2 <= len(name) <= 3
        and name.isalpha()
        and name.islower()
        and (len(region) == 2 and region.isalpha() and region.isupper()) == bool(dash)
    )


def _questions(root: Fields, key: str) -> list[dict[str, Any]]:
    questions = root.listed(key, 1, MOST_QUESTIONS, "questions")
    return [
        complete_question(question, index, root.languages)
        for index, question in enumerate(questions)
    ]


def _primary(root: Fields, key: str) -> str:
    primary = root.take(key)
    if not isinstance(primary, str):
        root.refuse(f"must be the key of a question, {KEY_WORDS}", key)
    return primary


def _cannot_judge(root: Fields, key: str) -> list[dict[str, Any]] | None:
    if root.take(key) is None:
        return None
    return complete_options(root, key, 1, MOST_REASONS)


def _findings(root: Fields, key: str) -> list[str]:
    findings = root.listed(key, 0, MOST_FINDINGS, "findings")
    for index, finding in enumerate(findings):
        if not is_name(finding, LONGEST_FINDING):
            root.refuse(
                f"must be 1 to {LONGEST_FINDING} printable characters, no space first "
                "or last",
                f"{key}[{index}]",
            )
        if finding in findings[:index]:
            root.refuse(f"{quoted(finding)} stands twice", f"{key}[{index}]")
    return list(findings)


def _legend(root: Fields, key: str) -> list[Text]:
    texts = root.listed(key, 2, 3, "texts, for below and above zero and what they mean")
    longest = (LONGEST_LEGEND, LONGEST_LEGEND, LONGEST_MEANING)
    return [
        root.checked_wording(text, f"{key}[{index}]", longest[index])
        for index, text in enumerate(texts)
    ]


def _page(root: Fields, key: str) -> Text:
    return root.wording(key, LONGEST_PAGE, lines=True, may_be_blank=True)


def _primary_analysis(root: Fields, key: str) -> str:
    text = root.take(key)
    if not isinstance(text, str):
        root.refuse("must be a text", key)
    # It is for who analyses, in one language.
    alone = Fields(root.value, languages=root.languages[:1])
    alone.wording(key, LONGEST_ANALYSIS, lines=True, may_be_blank=True)
    return text


def _break_after(root: Fields, key: str) -> dict[str, int]:
    given = root.inner(key)
    given.check_names(DEFAULTS[key], "it")
    fields = Fields({**DEFAULTS[key], **given.value}, key)
    return {
        "answers": fields.whole("answers", 10, 200),
        "minutes": fields.whole("minutes", 10, 120),
    }


def _ends_on(root: Fields, key: str) -> str | None:
    text = root.take(key)
    if text is None:
        return None
    if not (isinstance(text, str) and _is_day(text)):
        root.refuse(f"{quoted(text)} is no day, written as 2027-03-31", key)
    return text


def _is_day(text: str) -> bool:
    try:
        # It takes more than YYYY-MM-DD, which is what the schema says.
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _analysis(root: Fields, key: str) -> dict[str, Any]:
    given = root.inner(key)
    given.check_names(DEFAULTS[key], "it")
    fields = Fields({**DEFAULTS[key], **given.value}, key)
    alpha = fields.number("alpha", 0, 1)
    if not 0 < alpha < 1:
        fields.refuse("must be more than 0 and less than 1", "alpha")
    optional: Mapping[str, Callable[[], Any]] = {
        "margin": lambda: fields.number("margin", 0, LARGEST_MARGIN),
        "threshold": lambda: fields.whole("threshold", 0, 100),
        "primary_dataset": lambda: fields.name("primary_dataset", 100),
    }
    values = {
        name: None if fields.take(name) is None else check()
        for name, check in optional.items()
    }
    if values["margin"] == 0:
        fields.refuse("must be more than 0, or null", "margin")
    pooling = fields.one_of("pooling", ("complete", "available"))
    return {"alpha": alpha, "pooling": pooling, **values}


def _template(root: Fields, key: str) -> str | None:
    return None if root.take(key) is None else root.name(key, 40)


def _one_of(*values: str) -> Callable[[Fields, str], str]:
    return lambda root, key: root.one_of(key, values)


# By key the value as the canonical document has it, in the order of the document.
_CHECKS: Mapping[str, Callable[[Fields, str], Any]] = {
    "template": _template,
    "languages": lambda root, _: list(root.languages),
    "questions": _questions,
    "primary": _primary,
    "cannot_judge": _cannot_judge,
    "findings": _findings,
    "reference": _one_of("shown", "hidden"),
    "reading": _one_of("map", "sequential", "crossover"),
    "instructions": _page,
    "consent": _page,
    "opacity": lambda root, key: root.number(key, 0, 1),
    "display_mode": _one_of("overlay", "side_by_side"),
    "legend": _legend,
    "blocks": _one_of("mixed", "by_dataset"),
    "sessions": _one_of("one", "per_arm"),
    "washout_days": lambda root, key: root.whole(key, 0, LONGEST_WASHOUT_DAYS),
    "repeats": lambda root, key: root.number(key, 0, 0.25),
    "ratings_can_change": Fields.boolean,
    "break_after": _break_after,
    "open_by": _one_of("one", "two"),
    "ended_runs": _one_of("keep", "drop"),
    "ends_on": _ends_on,
    "guess_arms": Fields.boolean,
    "primary_analysis": _primary_analysis,
    "analysis": _analysis,
}
