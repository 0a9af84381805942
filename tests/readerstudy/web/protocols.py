"""Protocols that ask more than the paper does, for the tests of the pages."""

from typing import Any

from readerstudy.trial.protocol.document import of_template

ANCHORS = ["Not at all", "A little", "Partly", "Largely", "Completely"]
LIKERT = {
    "useful": "This map would help me to find the diagnosis.",
    "place": "The highlighted regions are where the pathology is.",
    "trust": "This map makes me trust the network's decision.",
    "understood": "This map lets me understand how the network decided.",
    "colours": "The colours let me see what matters.",
}
COMMENT = {"key": "comment", "kind": "text", "text": "Comment", "required": False}


def likert(key: str, **more: Any) -> dict[str, Any]:
    """One of five statements, with levels from 1 to 5."""
    return {
        "key": key,
        "kind": "scale",
        "text": LIKERT[key],
        "short": key.capitalize(),
        "from": 1,
        "anchors": ANCHORS,
        **more,
    }


def asking(*questions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A protocol of these questions and a comment, the first of them primary."""
    return {
        "schema": 2,
        "questions": [*questions, COMMENT],
        "primary": questions[0]["key"],
        "repeats": 0,
        "primary_analysis": "Friedman's test of the arms over images.",
        **more,
    }


FIVE = asking(*map(likert, LIKERT))
# One of each kind, and two that depend on another.
KINDS = asking(
    {
        "key": "shows",
        "kind": "choice",
        "text": "What does the map show?",
        "options": [
            {"key": "pathology", "text": "The pathology"},
            {"key": "organ", "text": "Another organ"},
        ],
    },
    {
        "key": "wrong",
        "kind": "several",
        "text": "What does it highlight wrongly?",
        "options": [
            {"key": "device", "text": "A device"},
            {"key": "marker", "text": "A marker"},
            {"key": "border", "text": "The border"},
        ],
    },
    {"key": "sure", "kind": "slider", "text": "How sure?", "ends": ["not", "very"]},
    {"key": "lesions", "kind": "box", "text": "Box each lesion.", "max": 2},
    {"key": "again", "kind": "yes_no", "text": "Would you use it?"},
    {
        "key": "why",
        "kind": "text",
        "text": "Why not?",
        "required": False,
        "show_if": {"question": "again", "in": [False]},
    },
    {
        "key": "level",
        "kind": "scale",
        "text": "How good?",
        "from": 1,
        "anchors": ["bad", *[""] * 8, "good"],
        "required": False,
        "show_if": {"question": "shows", "not_in": ["organ"]},
    },
)


def aided() -> dict[str, Any]:
    """Probabilities of three findings without and with the map, one arm a session."""
    return {**of_template("aided-reading"), "washout_days": 0}


GERMAN = {
    "useful": "Hilft diese Karte?",
    "anchors": ["Gar nicht", "Etwas", "Teils", "Weithin", "Ganz"],
}


def in_two_languages() -> dict[str, Any]:
    """Two questions in English and German."""

    def both(english: str, german: str) -> dict[str, str]:
        return {"en": english, "de": german}

    anchors = [both(*texts) for texts in zip(ANCHORS, GERMAN["anchors"], strict=True)]
    document = asking(
        likert(
            "useful",
            text=both("Does this map help?", GERMAN["useful"]),
            short=both("Helps", "Hilft"),
            anchors=anchors,
        ),
        {
            "key": "again",
            "kind": "yes_no",
            "text": both("Would you use it?", "Würden Sie sie nutzen?"),
        },
        languages=["en", "de"],
        cannot_judge=[
            {
                "key": "other",
                "text": both("Another reason", "Ein anderer Grund"),
            }
        ],
        legend=[both("negative", "negativ"), both("positive", "positiv")],
        instructions=both("Look at the map.", "Sehen Sie die Karte an."),
        consent=both("I take part.", "Ich nehme teil."),
    )
    document["questions"][-1] = {**COMMENT, "text": both("Comment", "Bemerkung")}
    return document
