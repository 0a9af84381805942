"""Defaults of a protocol and the templates that are shipped with the application."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 2
SCHEMA_FILE = Path(__file__).with_name("protocol.schema.json")

# The first is what a study has that names none: the paper's.
TEMPLATES = (
    "paper",
    "paper-noise-control",
    "several-likert",
    "point",
    "aided-reading",
    "aided-crossover",
)

# What a document that does not say otherwise means, by key, in the order of the schema.
DEFAULTS: Mapping[str, Any] = {
    "template": None,
    "languages": ["en"],
    "cannot_judge": [
        {"key": "finding_not_visible", "text": "The finding is not visible to me"},
        {"key": "image_quality", "text": "The image quality does not allow it"},
        {"key": "other", "text": "Another reason"},
    ],
    "findings": [],
    "reference": "shown",
    "reading": "map",
    "instructions": "",
    "consent": "",
    "opacity": 0.7,
    "display_mode": "overlay",
    "legend": ["negative", "positive"],
    "blocks": "mixed",
    "sessions": "one",
    "washout_days": 28,
    "repeats": 0.1,
    "ratings_can_change": True,
    "break_after": {"answers": 40, "minutes": 30},
    "open_by": "one",
    "ended_runs": "keep",
    "ends_on": None,
    "guess_arms": False,
    "primary_analysis": "",
    "analysis": {
        "alpha": 0.001,
        "pooling": "complete",
        "margin": None,
        "threshold": None,
        "primary_dataset": None,
    },
}
KEYS = ("schema", "questions", "primary", *DEFAULTS)


_ARMS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def paper_analysis(arms: int) -> str:
    """What the template `paper` says of its analysis, for so many arms.

    The paper has three; with two there is no test before that of the pair, and with
    more Holm's adjustment takes the place of the gate alone.
    """
    images = (
        "over images, ratings summed over the readers, images with every rating, "
        "P < 0.001"
    )
    wilcoxon = "Wilcoxon's signed-rank test"
    if arms == 2:
        test = f"{wilcoxon} of the two arms {images}"
    else:
        adjusted = "" if arms == 3 else ", after Holm's adjustment"
        test = f"Friedman's test of the {_ARMS[arms]} arms {images}"
        test += f"; then {wilcoxon} of each pair{adjusted}"
    return f"Per data set: {test}. It speaks for these readers."


def template_file(name: str) -> Path:
    """Where a template is."""
    return Path(__file__).parent / "templates" / f"{name}.json"


def template_document(name: str) -> dict[str, Any]:
    """A template as its file has it, defaults not filled in."""
    document: dict[str, Any] = json.loads(template_file(name).read_text("utf-8"))
    return document
