"""Rows of archives of version 1, brought to the form of version 2.

Their events have no payload. It is made of the row, as an upgrade of a database makes
it: the hash of an event that is as it was written fits it.
"""

from collections.abc import Iterator
from datetime import datetime

from readerstudy.trial.archive.study_rows import Row, RowsError, Tables
from readerstudy.trial.record.hash_chain import canonical_text, time_text

# By table of events what is recorded of a row, and of the rows that it refers to: by
# name the column that refers, the other table and what is recorded of the row there.
RECORDS = {
    "study_event": (
        ("kind", "reason", "details"),
        {"study": ("study_id", "study", "uuid")},
    ),
    "rating_event": (
        (
            "overlay_sha256",
            "kind",
            "rating",
            "old_rating",
            "reason",
            "comment",
            "confidence",
            "viewer",
        ),
        {
            "enrolment": ("enrolment_id", "enrolment", "uuid"),
            "presentation": ("presentation_id", "presentation", "token"),
        },
    ),
}


def brought_up_to_date(tables: Tables) -> Tables:
    """The tables with payloads in the rows of events.

    A row that lacks a column, or refers to none, is for `study_rows` to name.

    Raises:
        RowsError: a key or a time is none.
    """
    dated = {table: list(_with_payloads(table, tables)) for table in RECORDS}
    return {**tables, **dated}


def _with_payloads(table: str, tables: Tables) -> Iterator[Row]:
    names, references = RECORDS[table]
    try:
        values = {
            name: {row.get("id"): row.get(value) for row in tables[other]}
            for name, (_, other, value) in references.items()
        }
        for row in tables[table]:
            record = {name: row.get(name) for name in names}
            for name, (column, *_) in references.items():
                record[name] = values[name].get(row.get(column))
            record["user"] = row.get("username")
            record["at"] = time_text(datetime.fromisoformat(row.get("at", "")))
            place = {name: row.get(name) for name in ("number", "previous_hash")}
            yield {**row, "payload": canonical_text({"record": record, **place})}
    except (TypeError, ValueError) as error:
        raise RowsError(f"{table}: {error}") from error
