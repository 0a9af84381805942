"""Fields of a protocol, taken out by type and, where they are words, by language.

What is wrong raises `ProtocolError`: one line that names the place, such as
`questions[0] 'rating': anchors[3] is missing in 'de'.`
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from readerstudy.trial.checked_json import JsonObject

# Words that a reader sees: one text, or one in every language of the study.
Text = str | Mapping[str, str]

KEY = re.compile(r"[a-z][a-z0-9_]{0,30}")
KEY_WORDS = "1 to 31 letters a to z, digits and _, a letter first"

# What tells the lines of a text apart is no harm where a text may have lines.
_CONTROL_CHARACTER = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_CHARACTERS = "\t\n\r"
_LONGEST_QUOTE = 60


class ProtocolError(ValueError):
    """What is wrong with a protocol: one line that names the place, with its stop."""


def in_language(text: Text, language: str) -> str:
    """The words of a text in one of the study's languages."""
    return text if isinstance(text, str) else text[language]


def quoted(value: object) -> str:
    """A value as a message of one short line quotes it, whatever it holds."""
    if isinstance(value, str):
        is_short = len(value) <= _LONGEST_QUOTE and value.isprintable()
        return f"'{value}'" if is_short else json.dumps(value[:_LONGEST_QUOTE])
    is_plain = value is None or isinstance(value, bool | int | float)
    words = json.dumps(value) if is_plain else f"a {type(value).__name__}"
    return words[:_LONGEST_QUOTE]


class Fields(JsonObject):
    """An object of a protocol; every way to take a value out of it checks the value.

    `place` is how messages call it, empty for the whole document; `languages` are the
    study's, in which every text of it must exist.
    """

    def __init__(
        self, value: object, place: str = "", languages: Sequence[str] = ()
    ) -> None:
        super().__init__(value, place)
        self.languages = languages

    def refuse(self, problem: str, key: str | None = None) -> NoReturn:
        """Raise the `ProtocolError` of the object or of one of its keys."""
        if key is None:
            raise ProtocolError(f"{self.place or 'protocol'}: {problem}.")
        raise ProtocolError(
            f"{self.place}: {key} {problem}." if self.place else f"{key}: {problem}."
        )

    def inner(self, key: str) -> "Fields":
        """The object that a key holds."""
        place = f"{self.place}: {key}" if self.place else key
        return Fields(self.take(key), place, self.languages)

    def check_names(self, names: Iterable[str], owner: str) -> None:
        """Refuse any key that `owner` does not have."""
        names = tuple(names)
        for key in self.value:
            if key not in names:
                self.refuse(
                    f"there is no {quoted(key)}; {owner} has {', '.join(names)}"
                )

    def listed(self, key: str, least: int, most: int, of_what: str) -> list[Any]:
        """A list of `least` to `most` items."""
        items = self.items(key)
        if not least <= len(items) <= most:
            number = str(most) if least == most else f"{least} to {most}"
            self.refuse(f"must be {number} {of_what}, not {len(items)}", key)
        return items

    def key(self, key: str) -> str:
        """A key as questions, options and reasons have them."""
        value = self.take(key)
        if not (isinstance(value, str) and KEY.fullmatch(value)):
            self.refuse(f"must be {KEY_WORDS}", key)
        if value in RESERVED:
            self.refuse("that key is a column of every export; choose another")
        return value

    def wording(self, key: str, longest: int, **how: bool) -> Text:
        """The text of a key, see `checked_wording`."""
        return self.checked_wording(self.take(key), key, longest, **how)

    def wordings(self, key: str, longest: int, least: int, most: int) -> list[Text]:
        """A list of texts, none of them blank."""
        return [
            self.checked_wording(item, f"{key}[{index}]", longest)
            for index, item in enumerate(self.listed(key, least, most, "texts"))
        ]

    def checked_wording(
        self,
        value: object,
        name: str,
        longest: int,
        *,
        lines: bool = False,
        may_be_blank: bool = False,
    ) -> Text:
        """`value`, once it is words in every language of the study.

        A text that is not given by language is in the first one.

        Args:
            name: how a message calls it.
            longest: characters, in each language.
            lines: it may have several lines.
            may_be_blank: in all languages alike.
        """
        texts = {self.languages[0]: value} if isinstance(value, str) else value
        if not (isinstance(texts, dict) and texts):
            self.refuse("must be a text, or one per language", name)
        for language, text in texts.items():
            if language not in self.languages:
                self.refuse(f"is in {quoted(language)}, which no reader reads", name)
            self._check_text(text, name, longest, lines)
        is_blank = {it: not texts.get(it, "").strip() for it in self.languages}
        if may_be_blank and not any(text.strip() for text in texts.values()):
            return value if isinstance(value, str) else dict(texts)
        for language in self.languages:
            if is_blank[language]:
                alone = isinstance(value, str) and len(self.languages) == 1
                self.refuse(
                    "is blank" if alone else f"is missing in '{language}'", name
                )
        return value if isinstance(value, str) else dict(texts)

    def _check_text(self, text: object, name: str, longest: int, lines: bool) -> None:
        if not isinstance(text, str):
            self.refuse("must be a text, or one per language", name)
        if len(text) > longest:
            self.refuse(f"is longer than {longest:,} characters", name)
        allowed = _LINE_CHARACTERS if lines else ""
        for found in _CONTROL_CHARACTER.finditer(text):
            if found[0] not in allowed:
                self.refuse(f"has a control character, U+{ord(found[0]):04X}", name)


# Columns of every exported table.
RESERVED = frozenset(
    {
        "reader", "dataset", "image", "variant", "repeat", "run", "position", "session",
        "block", "stage", "training", "letter", "finding", "question", "answer",
        "status", "cannot_judge", "shown_at", "map_shown_at", "submitted_at",
        "active_ms",
    }
)  # fmt: skip
