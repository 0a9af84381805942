"""Reporting facts: what guidelines ask a report to say of a study besides ratings."""

from collections import Counter
from typing import Any

from readerstudy.models import Study, StudyEvent
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import in_language


def study_facts(study: Study) -> dict[str, Any]:
    """What is recorded of a study; no arm is named in it.

    Of the protocol, in the study's first language, the primary `question`, by level its
    `scale`, `instructions`, `guess_arms` and `primary_analysis`; `qualification`,
    `training`, `display` and `selection`, each in words, where there is something to
    say; and of the events that opened and locked the study, as `opening` and `lock`,
    the `number`, `hash`, `at`, `reason` and what they fixed.
    """
    facts = {
        **_protocol(study),
        "qualification": _qualification(study),
        "training": _training(study),
        "display": _display(study),
        "selection": _selection(study),
    }
    kinds = {StudyEvent.Kind.OPENED: "opening", StudyEvent.Kind.LOCKED: "lock"}
    for event in study.events.filter(kind__in=kinds).order_by("number"):
        facts[kinds[StudyEvent.Kind(event.kind)]] = {
            "number": event.number,
            "hash": event.hash,
            "at": f"{event.at:%Y-%m-%d %H:%M} UTC",
            "reason": event.reason,
            **event.details,
        }
    return facts


def _protocol(study: Study) -> dict[str, Any]:
    protocol = Protocol.of(study.protocol)
    language, primary = protocol.languages[0], protocol.primary_question
    return {
        "question": in_language(primary.text, language),
        "scale": {
            level: in_language(anchor, language)
            for level, anchor in zip(primary.levels, primary.anchors, strict=True)
        },
        "instructions": in_language(protocol.instructions, language)
        or "the general ones of this application",
        "guess_arms": protocol.guess_arms,
        "primary_analysis": protocol.primary_analysis,
    }


def _qualification(study: Study) -> str:
    """Experience and conflicts of interest of the readers who gave any."""
    rows = study.enrolments.current().order_by("pk")
    said = []
    for row in rows.select_related("reader"):
        words = [row.experience.strip()]
        if row.conflicts_of_interest.strip():
            words.append(f"conflicts of interest: {row.conflicts_of_interest.strip()}")
        if text := ", ".join(word for word in words if word):
            said.append(f"{row.reader}: {text}")
    return "; ".join(said)


def _training(study: Study) -> str:
    cases = study.cases.filter(training=True).count()
    return f"{cases} practice cases of their own, never analysed" if cases else ""


def _display(study: Study) -> str:
    """How often the display was checked, and what the readers said of the room."""
    events = study.events.filter(kind=StudyEvent.Kind.DISPLAY_CHECKED)
    answers = [event.details["answers"] for event in events]
    if not answers:
        return ""
    parts = [f"{len(answers)} checks with a test pattern"]
    for name, words in (
        ("dark_patch", "5 % square seen"),
        ("bright_patch", "95 % square seen"),
        ("calibrated", "monitor calibrated to GSDF"),
        ("room", "light in the room"),
    ):
        counts = Counter(str(answer[name]) for answer in answers if name in answer)
        if counts:
            listed = ", ".join(f"{value} {n}" for value, n in sorted(counts.items()))
            parts.append(f"{words}: {listed}")
    return "; ".join(parts)


def _selection(study: Study) -> str:
    created = (
        study.events.filter(kind=StudyEvent.Kind.CREATED).order_by("number").first()
    )
    if created is None:
        return ""
    return "; ".join(
        f"{bundle['dataset']}: {bundle['cases']} cases drawn by seed, blind to what "
        "the networks said of them "
        f"(SHA-256 of the bundle's manifest {bundle['manifest_sha256']})"
        for bundle in created.details["bundles"]
    )
