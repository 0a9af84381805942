"""Exports of a study: tables as CSV, the ledger as JSON lines.

Every function here is refused before the study is locked, and each asks `policies`
itself. What a blinded file must not hold: see `record.hash_chain`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, cast

from readerstudy.models import Presentation, RatingEvent, Study
from readerstudy.querysets import ANSWERS
from readerstudy.trial import guesses, policies
from readerstudy.trial.exports import answer_tables, codebook
from readerstudy.trial.exports import imrmc_tables as imrmc
from readerstudy.trial.exports.answer_tables import Presented
from readerstudy.trial.exports.csv_table import Cell, ExportedTable, csv_text, text_cell
from readerstudy.trial.exports.imrmc_tables import UnfitScores
from readerstudy.trial.exports.question_words import range_of
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.answers import Place
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Stage
from readerstudy.trial.record import events as record_events
from readerstudy.trial.record.hash_chain import (
    BrokenChain,
    Link,
    canonical_text,
    enrolment_chain_identity,
    study_chain_identity,
)
from readerstudy.trial.study import LETTERS

RATINGS_KEY = ("reader", "dataset", "image", "variant", "repeat")
PRESENTED = (*RATINGS_KEY, "run", "position", "session")

# Of a rating's record: with the bundle at hand the hash of its map tells the arm, and
# without the token nobody can try maps until the record's hash fits.
WITHHELD = ("presentation", "overlay_sha256")


def ratings_table(study: Study, *, blinded: bool) -> ExportedTable:
    """The ratings of a study, one row per presentation.

    Training and runs that were voided are not in it. A presentation without a rating
    has an empty one. While the study is locked the variants are the letters that
    conceal them; unblinded, they have their names unless `blinded`. Rows are sorted by
    reader, dataset, image, that letter or name and repeat, times are UTC, and nothing
    in a row stems from the order in which rows were made, so that a blinded table does
    not tell which letter is which.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    rows = _presented(study, blinded)
    return answer_tables.ratings_table(_protocol(study), rows, _findings(rows))


def answers_table(study: Study, *, blinded: bool) -> ExportedTable:
    """The answers of a study, one row per question, finding and item of each answer.

    Presentations, arms and order as in `ratings_table`.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    return answer_tables.answers_table(_protocol(study), _presented(study, blinded))


def imrmc_tables(study: Study, *, blinded: bool) -> dict[str, ExportedTable]:
    """The scores as the iMRMC package takes them, by the column that they are from.

    Presentations, arms and order as in `ratings_table`.

    Raises:
        Refusal: the study is a draft or open, or the package cannot take its answers.
    """
    policies.check_can_export(study)
    cases = study.cases.values_list("dataset", "case_id", "truth")
    truths: dict[imrmc.Case, imrmc.Truth] = {
        (text_cell(dataset), text_cell(case_id)): _labels(truth or {})
        for dataset, case_id, truth in cases
    }
    try:
        return imrmc.imrmc_tables(_protocol(study), _presented(study, blinded), truths)
    except UnfitScores as error:
        raise Refusal(str(error)) from error


def protocol_json(study: Study) -> str:
    """What the study told and asked, as the canonical text that its hash is taken of.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    return canonical_text(study.protocol)


def allocation_table(study: Study, *, blinded: bool) -> ExportedTable:
    """Which map every reader was shown at each place of every list.

    Practice and voided runs are in it. Sorted by reader, run and position.

    Raises:
        Refusal: the study is not unblinded, or `blinded`: it cannot be.
    """
    policies.check_can_export_allocation(study)
    if blinded:
        raise Refusal("An allocation says which variant is which; it cannot be blind.")
    rows = Presentation.objects.filter(enrolment__study=study).values_list(
        "enrolment__reader__username",
        "enrolment__run",
        "position",
        "session",
        "block",
        "repeat",
        "training",
        "case__dataset",
        "case__case_id",
        "arm__letter",
        "arm__variant",
    )
    cells = [[_cell(value) for value in row] for row in sorted(rows)]
    return ExportedTable(codebook.ALLOCATION_TABLE, cells)


def guesses_table(study: Study, *, blinded: bool) -> ExportedTable:
    """What each reader took each of the maps at the end for, sorted.

    Variants are letters or names, as in `ratings_table`.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    name = "letter" if _is_blinded(study, blinded) else "variant"
    rows = [
        (row["reader"], row["run"], getattr(row["arm"], name), row["guess"])
        for row in guesses.guessed(study)
    ]
    cells = [[_cell(value) for value in row] for row in sorted(rows)]
    return ExportedTable(codebook.GUESSES_TABLE, cells)


def codebook_csv(study: Study, *, blinded: bool) -> str:
    """Every column of every table: table, column, type, range, meaning. CSV text.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    letters, variants = zip(*study.arms.values_list("letter", "variant"), strict=True)
    letters = tuple(sorted(letters, key=LETTERS.index))
    is_blinded = _is_blinded(study, blinded)
    protocol = _protocol(study)
    findings = _findings(_presented(study, blinded))
    voided = "; ".join(map(str, record_events.voided_runs(study)))
    words = {
        "voided": f"Voided: {voided}" if voided else "None was voided",
        "variants": ", ".join(letters if is_blinded else sorted(variants)),
        "names": "names of variants" if is_blinded else ", ".join(sorted(variants)),
        "letters": ", ".join(letters),
        "levels": range_of(protocol.primary_question).removesuffix(", or empty"),
        "reasons": ", ".join(r.key for r in protocol.cannot_judge) or "none",
        "questions": ", ".join(question.key for question in protocol.questions),
        "findings": ", ".join((*(protocol.findings or findings), "or empty")),
    }
    tables = {
        "ratings": answer_tables.ratings_columns(protocol, findings),
        **codebook.COLUMNS,
    }
    return csv_text(
        codebook.HEADER,
        (
            (table, *map(text_cell, column.described(words)))
            for table, columns in tables.items()
            for column in columns
        ),
    )


def ledger_jsonl(study: Study, *, blinded: bool) -> str:
    """Every link of every chain of the study, a JSON object a line.

    First the study's chain, then each run's in the order of enrolling. A line has all
    that its hash covers, so that anybody can compute it anew (`codebook.LEDGER_LINE`);
    before the study is unblinded, or if `blinded`, the ratings' lines lack `WITHHELD`,
    and only that each hash is the next line's `previous_hash` can be seen.

    Raises:
        Refusal: the study is a draft or open, or an event does not go with the rows
            that it refers to.
    """
    policies.check_can_export(study)
    is_blinded = _is_blinded(study, blinded)
    try:
        lines = list(_ledger_lines(study, WITHHELD if is_blinded else ()))
    except BrokenChain as broken:
        raise Refusal(
            f"The ledger of study '{study}' is broken at {broken}; see verify_ledger."
        ) from broken
    return "".join(canonical_text(line) + "\n" for line in lines)


def _imrmc_files(study: Study, *, blinded: bool) -> dict[str, str]:
    tables = imrmc_tables(study, blinded=blinded)
    if len(tables) == 1:
        (table,) = tables.values()
        return {"": table.csv()}
    # The number keeps apart what a file's name cannot.
    return {
        f"{number}-{re.sub('[^A-Za-z0-9_.]+', '_', name)}": table.csv()
        for number, (name, table) in enumerate(tables.items(), 1)
    }


# By what `export_ratings --format` calls it: the text of each file, by what the file's
# name has behind the given one. Nothing but where there is more than one.
EXPORTS: Mapping[str, Callable[..., dict[str, str]]] = {
    "ratings": lambda study, **how: {"": ratings_table(study, **how).csv()},
    "answers": lambda study, **how: {"": answers_table(study, **how).csv()},
    "imrmc": _imrmc_files,
    "allocation": lambda study, **how: {"": allocation_table(study, **how).csv()},
    "guesses": lambda study, **how: {"": guesses_table(study, **how).csv()},
    "codebook": lambda study, **how: {"": codebook_csv(study, **how)},
    "ledger": lambda study, **how: {"": ledger_jsonl(study, **how)},
    "protocol": lambda study, **_: {"": protocol_json(study)},
}


def _protocol(study: Study) -> Protocol:
    return Protocol.of(study.protocol)


def _labels(truth: Mapping[str, Any]) -> dict[str, int]:
    """By finding whether the case has it, 1 or 0."""
    return {finding: of["label"] for finding, of in truth.items()}


def _findings(rows: Iterable[Presented]) -> list[str]:
    """All that the cases have, in an order that no case decides."""
    return sorted({finding for row in rows for finding in row.place.findings})


def _is_blinded(study: Study, blinded: bool) -> bool:
    return blinded or study.state != Study.State.UNBLINDED


def _presented(study: Study, blinded: bool) -> list[Presented]:
    """What was answered to each presentation, sorted by what makes a rating unique."""
    is_blinded = _is_blinded(study, blinded)
    events: dict[int, list[RatingEvent]] = defaultdict(list)
    for event in RatingEvent.objects.filter(enrolment__study=study).order_by("number"):
        events[event.presentation_id].append(event)
    rows = (
        Presentation.objects.filter(
            enrolment__study=study, enrolment__voided_at__isnull=True, training=False
        )
        .order_by("enrolment", "position")
        .values_list(
            *("pk", "enrolment", "case", "case__findings", "case__width"),
            *("case__height", "enrolment__reader__username"),
            *("case__dataset", "case__case_id"),
            "arm__letter" if is_blinded else "arm__variant",
            *("repeat", "enrolment__run", "position", "session"),
        )
    )
    presented = []
    seen: set[tuple[int, int]] = set()
    for pk, enrolment, case, findings, width, height, *cells in rows:
        facts = dict(zip(PRESENTED, map(_cell, cells), strict=True))
        is_first = (enrolment, case) not in seen
        seen.add((enrolment, case))
        place = Place(tuple(findings), width, height, first=is_first)
        answers = _answers(events[pk])
        presented.append(Presented(facts | _conduct(events[pk]), answers, place))
    return sorted(presented, key=lambda row: itemgetter(*RATINGS_KEY)(row.facts))


def _answers(events: Iterable[RatingEvent]) -> dict[Stage, dict[str, Any]]:
    """By stage the answer that stood at the end: the last one given."""
    return {
        cast(Stage, event.stage): cast(dict[str, Any], event.answer)
        for event in events
        if event.kind in ANSWERS
    }


def _conduct(events: Iterable[RatingEvent]) -> dict[str, Cell]:
    """When a presentation was shown and answered with its map, and how long it took.

    `submitted_at` is the time of the last answer; `active_ms` the time spent on all of
    them, those to the image alone as well.
    """
    at_map = [event for event in events if event.stage == RatingEvent.Stage.MAP]
    shown = [event for event in at_map if event.kind == RatingEvent.Kind.SHOWN]
    answered = [event for event in at_map if event.kind in ANSWERS]
    viewers = [event.viewer for event in events if event.kind in ANSWERS]
    times = [viewer["active_ms"] for viewer in viewers if "active_ms" in viewer]
    return {
        "shown_at": _time_cell(shown[0].at) if shown else "",
        "submitted_at": _time_cell(answered[-1].at) if answered else "",
        "active_ms": sum(times) if times else None,
    }


def _cell(value: str | int) -> Cell:
    return text_cell(value) if isinstance(value, str) else int(value)


def _time_cell(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _ledger_lines(study: Study, withheld: Iterable[str]) -> Iterator[dict[str, Any]]:
    events = study.events.select_related("user", "study").order_by("number")
    chain = study_chain_identity(study.uuid)
    # Every column is compared before a line is made: a payload then says all it must.
    for link in list(record_events.study_links(events)):
        yield _ledger_line(link, (), chain=chain)
    for enrolment in study.enrolments.select_related("reader", "study").order_by("pk"):
        chain = enrolment_chain_identity(study.uuid, enrolment.uuid)
        reader, run = enrolment.reader.get_username(), enrolment.run
        answers = record_events.rating_events(enrolment)
        for link in list(record_events.enrolment_links(answers)):
            yield _ledger_line(link, withheld, chain=chain, reader=reader, run=run)


def _ledger_line(link: Link, withheld: Iterable[str], **owner: Any) -> dict[str, Any]:
    content = json.loads(link.payload)
    record = {key: v for key, v in content["record"].items() if key not in withheld}
    return {
        **owner,
        **content,
        "record": record,
        **({"withheld": list(withheld)} if withheld else {}),
        "hash": link.hash,
    }
