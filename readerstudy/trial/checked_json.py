"""Checked JSON: documents from elsewhere, parsed within limits and taken out by type.

Whatever is wrong raises `JsonError`, one line that names the place as a path, such as
`cases[3].image.height: must be a whole number from 1 to 2048`. Pure Python.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

# Levels of objects and lists; no document here needs a third of it.
DEEPEST = 32
# Far beyond any unit of measurement, and every float below it is finite.
LARGEST_NUMBER = 1e30

Value = TypeVar("Value")


class JsonError(ValueError):
    """What is wrong with a document: one line, without the file's name or a stop."""


def read_at_most(path: Path, size: int) -> bytes:
    """The content of a file, or its beginning where that is more than `size` bytes.

    `parse_json` then says that it is too large. A device would be read without end.
    """
    with path.open("rb") as file:
        return file.read(size + 1)


def parse_json(content: bytes | str, *, largest: int, deepest: int = DEEPEST) -> Any:
    """The value of a JSON text, in UTF-8 if it comes as bytes.

    Raises:
        JsonError: it is longer than `largest`, nested deeper than `deepest` objects and
            lists, not JSON, has NaN or an infinity, or an object has a key twice.
    """
    if len(content) > largest:
        raise JsonError(f"larger than {largest:,} bytes")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_object
        )
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not valid JSON ({error})") from error
    if _is_deeper(value, deepest):
        raise JsonError(f"nested deeper than {deepest} levels")
    return value


def is_text(value: object) -> bool:
    """A text that a database can keep: no NUL, no half of a surrogate pair."""
    return isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value)


def is_name(value: object, longest: int) -> bool:
    """Fit to be shown to a reader and to stand in one line of a table."""
    # Whoever reads the table may strip it: "a" and "a " would be one case there.
    return (
        isinstance(value, str)
        and 0 < len(value) <= longest
        and value.isprintable()
        and value == value.strip()
    )


class JsonObject:
    """An object of a document. Every way to take a value out of it checks the value.

    `place` is its path from the document's root, which has none.
    """

    def __init__(self, value: object, place: str = "") -> None:
        self.place = place
        if type(value) is not dict:
            self.refuse("must be an object")
        self.value: dict[str, Any] = value

    def refuse(self, problem: str, key: str | None = None) -> NoReturn:
        """Raise the `JsonError` that says what is wrong with the object or a key."""
        place = self.place if key is None else self._place_of(key)
        raise JsonError(f"{place}: {problem}" if place else problem)

    def take(self, key: str) -> Any:
        """The value of a key that must be there, whatever it is."""
        if key not in self.value:
            self.refuse("is missing", key)
        return self.value[key]

    def boolean(self, key: str) -> bool:
        return self._take(key, bool, "true or false")

    def whole(self, key: str, least: int, most: int) -> int:
        words = f"a whole number from {least} to {most}"
        return self._take(key, int, words, lambda value: least <= value <= most)

    def number(
        self, key: str, least: float = -LARGEST_NUMBER, most: float = LARGEST_NUMBER
    ) -> float:
        value = self.take(key)
        # NaN is within no bounds, nor is 1e999, which is valid JSON.
        if type(value) not in (int, float) or not least <= value <= most:
            self.refuse(f"must be a number from {least:g} to {most:g}", key)
        return float(value)

    def text(self, key: str) -> str:
        """A text of any length and any lines."""
        return self._take(key, str, "a text that can be kept", is_text)

    def name(self, key: str, longest: int = 200) -> str:
        """A text of one line, as `is_name` says."""
        words = f"1 to {longest} printable characters, no space first or last"
        return self._take(key, str, words, lambda value: is_name(value, longest))

    def one_of(self, key: str, values: Sequence[Value]) -> Value:
        words = " or ".join(map(str, values))
        return self._take(key, type(values[0]), words, lambda value: value in values)

    def items(self, key: str) -> list[Any]:
        return self._take(key, list, "a list")

    def part(self, key: str) -> "JsonObject":
        return JsonObject(self.take(key), self._place_of(key))

    def parts(self, key: str) -> "list[JsonObject]":
        """The objects of a list that has one at least."""
        place = self._place_of(key)
        parts = [
            JsonObject(item, f"{place}[{index}]")
            for index, item in enumerate(self.items(key))
        ]
        if not parts:
            self.refuse("must not be empty", key)
        return parts

    def _take(
        self,
        key: str,
        kind: type[Value],
        words: str,
        is_right: Callable[[Value], bool] = lambda _: True,
    ) -> Value:
        value: Value = self.take(key)
        # 1 == True == 1.0, and only one of them is meant; a choice of Django is a text.
        is_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
        if not (is_kind and is_right(value)):
            self.refuse(f"must be {words}", key)
        return value

    def _place_of(self, key: str) -> str:
        if re.fullmatch(r"\w{1,60}", key):
            return f"{self.place}.{key}" if self.place else key
        # Whatever stands in a key, the message is one short line.
        return f"{self.place}[{json.dumps(key[:60])}]"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {json.dumps(twice[:60])} stands twice in an object")
    return value


def _is_deeper(value: object, deepest: int) -> bool:
    level = [value]
    for _ in range(deepest + 1):
        nested = [item for item in level if isinstance(item, dict | list)]
        if not nested:
            return False
        level = [
            child
            for item in nested
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return True
