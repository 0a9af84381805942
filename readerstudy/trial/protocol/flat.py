"""Flat protocols of schema 1: fourteen fields with one question, as documents and back.

Studies that were opened with them are recorded by the hash of exactly these fields.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from readerstudy.trial.protocol.defaults import DEFAULTS, SCHEMA, template_document
from readerstudy.trial.protocol.fields import Fields, ProtocolError, quoted
from readerstudy.trial.protocol.questions import (
    LONGEST_ANSWER,
    LONGEST_LEVEL,
    LONGEST_TEXT,
)

FLAT_FIELDS = (
    "question",
    "anchors",
    "instructions",
    "consent",
    "opacity",
    "display_mode",
    "legend",
    "blocks",
    "sessions",
    "washout_days",
    "repeats",
    "ratings_can_change",
    "asks_confidence",
    "primary_analysis",
)
# What they do not say, as it was while there was nothing else. Their studies are known
# by the document that is made of them: it stays, whatever new studies begin with.
_REST: Mapping[str, Any] = {
    "template": "paper",
    "languages": ["en"],
    "cannot_judge": [
        {"key": "finding_not_visible", "text": "The finding is not visible to me"},
        {"key": "image_quality", "text": "The image quality does not allow it"},
        {"key": "other", "text": "Another reason"},
    ],
    "findings": [],
    "reference": "shown",
    "reading": "map",
    "break_after": {"answers": 40, "minutes": 30},
    "open_by": "one",
    "ended_runs": "keep",
    "ends_on": None,
    "guess_arms": False,
    "analysis": {
        "alpha": 0.001,
        "pooling": "complete",
        "margin": None,
        "threshold": None,
        "primary_dataset": None,
    },
}
# What the document calls alike.
_SAME = (
    "instructions", "consent", "opacity", "display_mode", "legend", "blocks",
    "washout_days", "repeats", "ratings_can_change", "primary_analysis",
)  # fmt: skip
_SESSIONS = {1: "one", 3: "per_arm"}
LEVELS = 6


def from_flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The document of all fourteen fields, unchecked, otherwise as `paper` is.

    Raises:
        ProtocolError: `sessions` is neither 1 nor 3.
    """
    if fields["sessions"] not in _SESSIONS:
        raise ProtocolError(f"sessions: must be 1 or 3, not {fields['sessions']!r}.")
    questions = [_scale("rating", fields["question"], 0, list(fields["anchors"]))]
    if fields["asks_confidence"]:
        anchors = ["not at all", "", "", "", "very"]
        questions.append(_scale("confidence", "How sure are you?", 1, anchors))
    questions.append(
        {
            **_common("comment", "text", "Comment"),
            "required": False,
            "longest": LONGEST_ANSWER,
        }
    )
    return {
        "schema": SCHEMA,
        **deepcopy(dict(_REST)),
        **{name: deepcopy(fields[name]) for name in _SAME},
        "sessions": _SESSIONS[fields["sessions"]],
        "questions": questions,
        "primary": "rating",
    }


def answer_of(recorded: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document of an answer to a flat protocol; None of what is shown or void.

    Args:
        recorded: kind, rating, confidence, comment and reason.
    """
    kind = recorded["kind"]
    if kind in ("shown", "void"):
        return None
    answers = {name: recorded[name] for name in ("rating", "confidence", "comment")}
    answers["comment"] = answers["comment"] or None
    given = {key: value for key, value in answers.items() if value is not None}
    if kind == "cannot_judge":
        return {"answers": given, "cannot_judge": recorded["reason"]}
    return {"answers": given}


def to_flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fourteen fields that `from_flat` makes a complete document of.

    Raises:
        ProtocolError: the document says or asks more than they can.
    """
    fields = _fields(document)
    if from_flat(fields) != document:
        raise ProtocolError("protocol: it asks more than a protocol of schema 1 can.")
    return fields


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """All fourteen fields, those of the template `paper` where `given` lacks them.

    Only what the document calls otherwise is checked here; `document.complete` checks
    the rest, which has the same names in both.

    Raises:
        ProtocolError: no such field, or a value that is not what it has to be.
    """
    defaults = _fields({**DEFAULTS, **template_document("paper")})
    fields = Fields({**defaults, **given}, languages=DEFAULTS["languages"])
    for key in given:
        if key not in FLAT_FIELDS:
            names = ", ".join(FLAT_FIELDS)
            fields.refuse(
                f"there is no {quoted(key)}; there are {names}, or 'schema' for a "
                "list of questions"
            )
    fields.wording("question", LONGEST_TEXT)
    fields.wordings("anchors", LONGEST_LEVEL, LEVELS, LEVELS)
    fields.one_of("sessions", tuple(_SESSIONS))
    fields.boolean("asks_confidence")
    return fields.value


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    first = document["questions"][0]
    fields = {
        **{name: document[name] for name in _SAME},
        "question": first["text"],
        "anchors": first.get("anchors", []),
        "sessions": 3 if document["sessions"] == "per_arm" else 1,
        "asks_confidence": any(q["key"] == "confidence" for q in document["questions"]),
    }
    return {name: fields[name] for name in FLAT_FIELDS}


def _scale(key: str, text: Any, start: int, anchors: list[Any]) -> dict[str, Any]:
    return {**_common(key, "scale", text), "from": start, "anchors": anchors}


def _common(key: str, kind: str, text: Any) -> dict[str, Any]:
    return {
        "key": key,
        "kind": kind,
        "text": text,
        "when": "with",
        "per": "case",
        "repeat": "each",
        "required": True,
    }
