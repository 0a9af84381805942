"""Protocol of a study: what it tells and asks its readers, fixed when it opens."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from readerstudy.models import ANCHORS, RATINGS, Study
from readerstudy.trial.checked_json import (
    JsonError,
    JsonObject,
    is_text,
    parse_json,
    read_at_most,
)
from readerstudy.trial.policies import Refusal

LARGEST_PROTOCOL = 2**20  # bytes of a file
# Half a year: beyond it nobody waits for a session of their own will.
LONGEST_WASHOUT_DAYS = 183

Check = Callable[[JsonObject, str], object]


def _texts(*names: str, optional: str = "") -> Check:
    """A list of texts, one for each of what `names` says, none of them blank.

    Args:
        optional: what one more text would be for, if there may be one.
    """
    lengths = (len(names), len(names) + bool(optional))
    words = f"must be {len(names)} texts, for {', '.join(names)}"
    words += f", or one more, for {optional}" if optional else ""

    def check(protocol: JsonObject, key: str) -> None:
        texts = protocol.take(key)
        if not (isinstance(texts, list) and len(texts) in lengths) or not all(
            is_text(text) and text.strip() for text in texts
        ):
            protocol.refuse(words, key)

    return check


# By field of Study the check of its value.
FIELDS: Mapping[str, Check] = {
    "question": JsonObject.text,
    "anchors": _texts(*map(str, RATINGS)),
    "instructions": JsonObject.text,
    "consent": JsonObject.text,
    "opacity": lambda protocol, key: protocol.number(key, 0, 1),
    "display_mode": lambda p, key: p.one_of(key, Study.DisplayMode.values),
    "legend": _texts("below zero", "above zero", optional="what they mean"),
    "blocks": lambda p, key: p.one_of(key, Study.Blocks.values),
    "sessions": lambda p, key: p.one_of(key, (1, 3)),
    "washout_days": lambda p, key: p.whole(key, 0, LONGEST_WASHOUT_DAYS),
    "repeats": lambda p, key: p.number(key, 0, 0.25),
    "ratings_can_change": JsonObject.boolean,
    "asks_confidence": JsonObject.boolean,
    "primary_analysis": JsonObject.text,
}


def read_protocol(path: Path) -> dict[str, Any]:
    """The object in a protocol's file; `checked` says whether it is a protocol.

    Raises:
        Refusal: it cannot be read or is no JSON object.
    """
    try:
        content = read_at_most(path, LARGEST_PROTOCOL)
        return JsonObject(parse_json(content, largest=LARGEST_PROTOCOL)).value
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror or error}.") from error
    except JsonError as error:
        raise Refusal(f"{path}: {error}.") from error


def checked(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a new study's protocol; what is not named has its default.

    Raises:
        Refusal: an unknown key or a value that is not what it has to be.
    """
    return {"anchors": list(ANCHORS), **checked_changes(protocol)}


def checked_changes(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """`protocol` itself, once every key and value is right.

    Raises:
        Refusal: an unknown key or a value that is not what it has to be.
    """
    fields = JsonObject(dict(protocol), "protocol")
    try:
        for key in fields.value:
            if key not in FIELDS:
                fields.refuse(f"no such field; there are {', '.join(FIELDS)}", key)
            FIELDS[key](fields, key)
    except JsonError as error:
        raise Refusal(f"{error}.") from error
    return fields.value


def of_study(study: Study) -> dict[str, Any]:
    """The protocol of a study, by field."""
    return {name: getattr(study, name) for name in FIELDS}
