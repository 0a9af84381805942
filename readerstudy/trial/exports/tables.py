"""Exports of a study: tables as CSV, the ledger as JSON lines.

Every function here is refused before the study is locked, and each asks `policies`
itself. What a blinded file must not hold: see `record.hash_chain`.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from readerstudy.models import Presentation, RatingEvent, Study
from readerstudy.querysets import ANSWERS
from readerstudy.trial import policies
from readerstudy.trial.exports import codebook
from readerstudy.trial.exports.codebook import Column
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import in_language
from readerstudy.trial.record import events as record_events
from readerstudy.trial.record.hash_chain import (
    BrokenChain,
    Link,
    canonical_text,
    enrolment_chain_identity,
    study_chain_identity,
)

# A text, a whole number, or an empty number; a time is a text, an unknown one is empty.
Cell = str | int | None
RATINGS_KEY = ("reader", "dataset", "image", "variant", "repeat")

# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@", "\t", "\n", "\r")
# Of a rating's record: with the bundle at hand the hash of its map tells the arm, and
# without the token nobody can try maps until the record's hash fits.
WITHHELD = ("presentation", "overlay_sha256")


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """Rows under the columns that they are described by."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    @property
    def header(self) -> list[str]:
        return [column.name for column in self.columns]

    def records(self) -> list[dict[str, Cell]]:
        """Every row by the names of its columns."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]

    def csv(self) -> str:
        """The table as CSV text."""
        return csv_text(self.header, self.rows)


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
    columns = codebook.RATINGS_TABLE
    rows = _rating_rows(study, blinded)
    return ExportedTable(columns, [[row[c.name] for c in columns] for row in rows])


def imrmc_table(study: Study, *, blinded: bool) -> ExportedTable:
    """The ratings as the iMRMC package takes them, one row per rating.

    First presentations alone; variants and their order as in `ratings_table`. A case is
    called `dataset/image`, because images of two data sets may share a name.

    Raises:
        Refusal: the study is a draft or open, or one row would stand for two ratings,
            which the package takes without a word.
    """
    policies.check_can_export(study)
    cases: dict[str, tuple[Cell, Cell]] = {}
    rows: dict[tuple[Cell, ...], Cell] = {}
    for row in _rating_rows(study, blinded):
        if row["repeat"] or row["rating"] is None:
            continue
        case = f"{row['dataset']}/{row['image']}"
        names = (row["dataset"], row["image"])
        key = (row["reader"], case, row["variant"])
        if cases.setdefault(case, names) != names or key in rows:
            one = ", ".join(map(str, key))
            raise Refusal(f"{one}: two ratings would be one; use 'ratings'.")
        rows[key] = row["rating"]
    return ExportedTable(codebook.IMRMC_TABLE, [(*k, r) for k, r in rows.items()])


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


def codebook_csv(study: Study, *, blinded: bool) -> str:
    """Every column of every table: table, column, type, range, meaning. CSV text.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    arms = sorted(study.arms.values_list("letter", "variant"))
    letters, variants = zip(*arms, strict=True)
    is_blinded = _is_blinded(study, blinded)
    protocol = Protocol.of(study.protocol)
    language, primary = protocol.languages[0], protocol.primary_question
    scale = "; ".join(
        f"{level}: {in_language(text, language)}"
        for level, text in zip(primary.levels, primary.anchors, strict=True)
    )
    voided = "; ".join(map(str, record_events.voided_runs(study)))
    words = {
        "voided": f"Voided: {voided}" if voided else "None was voided",
        "variants": ", ".join(letters if is_blinded else sorted(variants)),
        "names": "names of variants" if is_blinded else ", ".join(sorted(variants)),
        "letters": ", ".join(letters),
        "levels": f"{primary.levels[0]} to {primary.levels[-1]}",
        "reasons": ", ".join(option.key for option in protocol.cannot_judge),
        "scale": f"{in_language(primary.text, language)} {scale}",
    }
    return csv_text(
        codebook.HEADER,
        (
            (table, *map(text_cell, column.described(words)))
            for table, columns in codebook.COLUMNS.items()
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


# By what `export_ratings --format` calls it: the text of the file.
EXPORTS: Mapping[str, Callable[..., str]] = {
    "ratings": lambda study, **how: ratings_table(study, **how).csv(),
    "imrmc": lambda study, **how: imrmc_table(study, **how).csv(),
    "allocation": lambda study, **how: allocation_table(study, **how).csv(),
    "codebook": codebook_csv,
    "ledger": ledger_jsonl,
}


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    """A table as CSV text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue()


def text_cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula, its line ends one line feed."""
    # csv leaves a lone carriage return unquoted in Python 3.11: it would end the row.
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{value}" if value.startswith(FORMULA_CHARACTERS) else value


def _is_blinded(study: Study, blinded: bool) -> bool:
    return blinded or study.state != Study.State.UNBLINDED


def _rating_rows(study: Study, blinded: bool) -> list[dict[str, Cell]]:
    """The rows of the ratings table, sorted by what makes them unique."""
    is_blinded = _is_blinded(study, blinded)
    events: dict[int, list[RatingEvent]] = defaultdict(list)
    for event in RatingEvent.objects.filter(enrolment__study=study).order_by("number"):
        events[event.presentation_id].append(event)
    rows = Presentation.objects.filter(
        enrolment__study=study, enrolment__voided_at__isnull=True, training=False
    ).values_list(
        "pk",
        "enrolment__reader__username",
        "case__dataset",
        "case__case_id",
        "arm__letter" if is_blinded else "arm__variant",
        "repeat",
        "enrolment__run",
        "position",
        "session",
    )
    names = (*RATINGS_KEY, "run", "position", "session")
    records = [
        dict(zip(names, map(_cell, row), strict=True)) | _history(events[pk])
        for pk, *row in rows
    ]
    return sorted(records, key=itemgetter(*RATINGS_KEY))


def _history(events: Iterable[RatingEvent]) -> dict[str, Cell]:
    """What happened to one presentation, as the cells of its row.

    The answer is the last one given, and `submitted_at` its time; `active_ms` is the
    time spent on all of them.
    """
    shown = [event for event in events if event.kind == RatingEvent.Kind.SHOWN]
    answers = [event for event in events if event.kind in ANSWERS]
    last = answers[-1] if answers else None
    document = (last and last.answer) or {"answers": {}}
    given = document["answers"]
    times = [e.viewer["active_ms"] for e in answers if "active_ms" in e.viewer]
    return {
        "rating": given.get("rating"),
        "shown_at": _time_cell(shown[0].at) if shown else "",
        "submitted_at": _time_cell(last.at) if last else "",
        "active_ms": sum(times) if times else None,
        "confidence": given.get("confidence"),
        "comment": text_cell(given.get("comment", "")),
        "cannot_judge": document.get("cannot_judge", ""),
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
