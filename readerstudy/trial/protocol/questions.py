"""Questions of a protocol: their kinds and fields, parsed and checked. Pure Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from readerstudy.trial.protocol.fields import (
    KEY,
    Fields,
    Text,
    in_language,
    quoted,
)

__all__ = ["Option", "Question", "ShowIf", "Stage", "Text", "in_language"]

# What a reader has seen when a question is asked: the image alone, or its map too.
Stage = Literal["image", "map"]
Value = int | str | bool

MOST_LEVELS = 10
MOST_OPTIONS = 9
MOST_POINTS = 10
LONGEST_TEXT = 300
LONGEST_SHORT = 24
LONGEST_HELP = 600
LONGEST_LEVEL = 120  # of an anchor, an option or a reason
LONGEST_END = 40
LONGEST_ANSWER = 2000  # of a text

COMMON = (
    "key", "kind", "text", "short", "help", "required", "when", "per", "repeat",
    "show_if",
)  # fmt: skip
# By kind the fields that it alone has.
OWN: Mapping[str, tuple[str, ...]] = {
    "scale": ("from", "anchors"),
    "choice": ("options",),
    "several": ("options", "min", "max"),
    "yes_no": (),
    "slider": ("ends",),
    "points": ("min", "max"),
    "box": ("min", "max"),
    "text": ("longest",),
}
KINDS = tuple(OWN)
# How a message speaks of one.
A_KIND: Mapping[str, str] = {
    kind: kind if kind in ("several", "points") else f"a {kind}" for kind in KINDS
}


@dataclass(frozen=True, slots=True)
class Option:
    """What can be chosen, or a reason why nothing can be said."""

    key: str
    text: Text


@dataclass(frozen=True, slots=True)
class ShowIf:
    """The condition on which a question is asked: an earlier answer, among `values`.

    `negated`: an earlier answer that is none of them. Without an answer it is false.
    """

    question: str
    values: tuple[Value, ...]
    negated: bool

    def holds(self, answers: Mapping[str, Any]) -> bool:
        """Whether it is fulfilled by the answers that stand before the question."""
        if self.question not in answers:
            return False
        return (answers[self.question] in self.values) != self.negated


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a reader. Fields that its kind does not have are empty.

    `short` and `help` are empty where there are none. `least` and `most` are how many
    options, points or boxes an answer has.
    """

    key: str
    kind: str
    text: Text
    short: Text = ""
    help: Text = ""
    required: bool = True
    when: str = "with"
    per: str = "case"
    repeat: str = "each"
    show_if: ShowIf | None = None
    start: int = 0
    anchors: tuple[Text, ...] = ()
    options: tuple[Option, ...] = ()
    least: int = 0
    most: int = 0
    ends: tuple[Text, ...] = ()
    longest: int = 0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Question":
        """A question of a complete protocol, which was checked when it was made."""
        condition = document.get("show_if")
        own = {name: document[name] for name in COMMON if name in document}
        return cls(
            **{**own, "show_if": _show_if(condition) if condition else None},
            start=document.get("from", 0),
            anchors=tuple(document.get("anchors", ())),
            options=options_of(document.get("options", ())),
            least=document.get("min", 0),
            most=document.get("max", 0),
            ends=tuple(document.get("ends", ())),
            longest=document.get("longest", 0),
        )

    @property
    def stage(self) -> Stage:
        return "image" if self.when == "before" else "map"

    @property
    def levels(self) -> range:
        """The values of a scale, from its first."""
        return range(self.start, self.start + len(self.anchors))

    @property
    def option_keys(self) -> tuple[str, ...]:
        return tuple(option.key for option in self.options)

    @property
    def needs_finding(self) -> bool:
        """Whether it is asked for each finding, so that an answer has one of each."""
        return self.per == "finding"

    @property
    def is_place(self) -> bool:
        """Whether its answer lies in the image: points or boxes."""
        return self.kind in ("points", "box")

    @property
    def heading(self) -> Text:
        """How a folded row or a table's head calls it."""
        return self.short or self.text

    @property
    def condition_values(self) -> tuple[Value, ...]:
        """What a condition on it may name; none where there cannot be one."""
        if self.kind == "scale":
            return tuple(self.levels)
        return (True, False) if self.kind == "yes_no" else self._chosen_keys

    @property
    def _chosen_keys(self) -> tuple[str, ...]:
        return self.option_keys if self.kind == "choice" else ()


def options_of(documents: Sequence[Mapping[str, Any]]) -> tuple[Option, ...]:
    """The options of a complete document."""
    return tuple(Option(option["key"], option["text"]) for option in documents)


def complete_question(
    value: object, index: int, languages: Sequence[str]
) -> dict[str, Any]:
    """A question of a protocol with every default filled in, each field checked.

    Raises:
        ProtocolError: a field that its kind does not have, or that is not what it has
            to be.
    """
    place = f"questions[{index}]"
    key = value.get("key") if isinstance(value, dict) else None
    if isinstance(key, str) and KEY.fullmatch(key):
        place += f" '{key}'"
    fields = Fields(value, place, languages)
    kind = fields.one_of("kind", KINDS)
    fields.check_names((*COMMON, *OWN[kind]), A_KIND[kind])
    return _common(fields) | _OWN_CHECKS[kind](fields)


def complete_options(
    fields: Fields, key: str, least: int, most: int
) -> list[dict[str, Any]]:
    """The list of {key, text} that a key holds, no key twice.

    Raises:
        ProtocolError: see `complete_question`.
    """
    options: list[dict[str, Any]] = []
    for index, item in enumerate(fields.listed(key, least, most, "options")):
        name = f"{key}[{index}]"
        place = f"{fields.place}: {name}" if fields.place else name
        option = Fields(item, place, fields.languages)
        option.check_names(("key", "text"), "it")
        own = option.key("key")
        if own in (before["key"] for before in options):
            option.refuse(f"{quoted(own)} stands twice; choose another", "key")
        options.append({"key": own, "text": option.wording("text", LONGEST_LEVEL)})
    return options


def _common(fields: Fields) -> dict[str, Any]:
    given = fields.value
    document = {
        "key": fields.key("key"),
        "kind": given["kind"],
        "text": fields.wording("text", LONGEST_TEXT),
    }
    if "short" in given:
        document["short"] = fields.wording("short", LONGEST_SHORT)
    if "help" in given:
        document["help"] = fields.wording("help", LONGEST_HELP, lines=True)
    for name, default, values in (
        ("when", "with", ("with", "before")),
        ("per", "case", ("case", "finding")),
        ("repeat", "each", ("each", "first")),
    ):
        document[name] = fields.one_of(name, values) if name in given else default
    document["required"] = fields.boolean("required") if "required" in given else True
    if "show_if" in given:
        document["show_if"] = _complete_show_if(fields.inner("show_if"))
    return document


def _complete_show_if(fields: Fields) -> dict[str, Any]:
    fields.check_names(("question", "in", "not_in"), "it")
    names = [name for name in ("in", "not_in") if name in fields.value]
    if len(names) != 1:
        fields.refuse("has in or not_in, one of the two")
    values = fields.listed(names[0], 1, MOST_LEVELS, "values")
    for value in values:
        if not isinstance(value, int | str):
            fields.refuse(f"holds {quoted(value)}, which is no answer", names[0])
    question = fields.take("question")
    if not isinstance(question, str):
        fields.refuse("must be the key of an earlier question", "question")
    return {"question": question, names[0]: list(values)}


def _show_if(document: Mapping[str, Any]) -> ShowIf:
    negated = "not_in" in document
    values = document["not_in" if negated else "in"]
    return ShowIf(document["question"], tuple(values), negated)


def _scale(fields: Fields) -> dict[str, Any]:
    anchors = fields.items("anchors")
    if not 2 <= len(anchors) <= MOST_LEVELS:
        instead = "; use a slider" if len(anchors) > MOST_LEVELS else ""
        fields.refuse(
            f"a scale has 2 to {MOST_LEVELS} levels, one digit key each, "
            f"not {len(anchors)}{instead}"
        )
    ends = (0, len(anchors) - 1)
    return {
        "from": fields.one_of("from", (0, 1)) if "from" in fields.value else 0,
        "anchors": [
            fields.checked_wording(
                anchor,
                f"anchors[{index}]",
                LONGEST_LEVEL,
                may_be_blank=index not in ends,
            )
            for index, anchor in enumerate(anchors)
        ],
    }


def _choice(fields: Fields) -> dict[str, Any]:
    return {"options": complete_options(fields, "options", 2, MOST_OPTIONS)}


def _several(fields: Fields) -> dict[str, Any]:
    document = _choice(fields)
    return document | _bounds(fields, 0, len(document["options"]))


def _places(fields: Fields) -> dict[str, Any]:
    # One, unless it says more.
    least = fields.value.get("min", 1)
    default = least if type(least) is int else 1
    given = {"max": default, **fields.value}
    return _bounds(Fields(given, fields.place, fields.languages), 1, MOST_POINTS)


def _bounds(fields: Fields, lowest: int, highest: int) -> dict[str, Any]:
    given = fields.value
    least = fields.whole("min", lowest, highest) if "min" in given else lowest
    most = fields.whole("max", max(lowest, 1), highest) if "max" in given else highest
    if least > most:
        fields.refuse(f"is {least}, and max is {most}", "min")
    return {"min": least, "max": most}


def _slider(fields: Fields) -> dict[str, Any]:
    return {"ends": fields.wordings("ends", LONGEST_END, 2, 2)}


def _text(fields: Fields) -> dict[str, Any]:
    if "longest" not in fields.value:
        return {"longest": LONGEST_ANSWER}
    return {"longest": fields.whole("longest", 1, LONGEST_ANSWER)}


_OWN_CHECKS = {
    "scale": _scale,
    "choice": _choice,
    "several": _several,
    "yes_no": lambda _: {},
    "slider": _slider,
    "points": _places,
    "box": _places,
    "text": _text,
}
