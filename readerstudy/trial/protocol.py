"""What a study tells and asks its readers, and in which order: fixed when it opens."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from readerstudy.models import ANCHORS, RATINGS, Study
from readerstudy.trial.policies import Refusal

# Half a year: beyond it nobody waits for a session of their own will.
LONGEST_WASHOUT_DAYS = 183


def is_text(value: object) -> bool:
    """A text that a database can keep: no NUL, no half of a surrogate pair."""
    return isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value)


def _is_scale(value: object) -> bool:
    return _are_texts(value, len(RATINGS))


def _is_legend(value: object) -> bool:
    return _are_texts(value, 2) or _are_texts(value, 3)


def _are_texts(value: object, number: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == number
        and all(is_text(text) and text.strip() for text in value)
    )


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _from_to(lowest: float, highest: float) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return type(value) in (int, float) and lowest <= value <= highest  # type: ignore[operator]

    return check


def _one_of(*values: object) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        # 1 == True == 1.0, and only one of them is meant.
        return value in values and isinstance(value, (str, int)) and value is not True

    return check


def _days(value: object) -> bool:
    return type(value) is int and 0 <= value <= LONGEST_WASHOUT_DAYS


Check = tuple[Callable[[object], bool], str]
TEXT: Check = (is_text, "a text")

# By field of Study: what its value must be, and how a message says so.
FIELDS: Mapping[str, Check] = {
    "question": TEXT,
    "anchors": (_is_scale, f"{len(RATINGS)} texts, from 0 up"),
    "instructions": TEXT,
    "consent": TEXT,
    "opacity": (_from_to(0, 1), "a number from 0 to 1"),
    "display_mode": (_one_of("overlay", "side_by_side"), "overlay or side_by_side"),
    "legend": (
        _is_legend,
        "two texts, below and above zero, or a third on what they mean as well",
    ),
    "blocks": (_one_of("mixed", "by_dataset"), "mixed or by_dataset"),
    "sessions": (_one_of(1, 3), "1 or 3"),
    "washout_days": (_days, f"a whole number from 0 to {LONGEST_WASHOUT_DAYS}"),
    "repeats": (_from_to(0, 0.25), "a number from 0 to 0.25"),
    "ratings_can_change": (_is_bool, "true or false"),
    "asks_confidence": (_is_bool, "true or false"),
    "primary_analysis": TEXT,
}


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
    for key, value in protocol.items():
        if key not in FIELDS:
            raise Refusal(f"protocol: no '{key}'; there are {', '.join(FIELDS)}.")
        is_right, what = FIELDS[key]
        if not is_right(value):
            raise Refusal(f"protocol: '{key}' has to be {what}.")
    return dict(protocol)


def of_study(study: Study) -> dict[str, Any]:
    """The protocol of a study, by field."""
    return {name: getattr(study, name) for name in FIELDS}
