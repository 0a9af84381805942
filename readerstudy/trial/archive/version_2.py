"""Rows of archives of version 2, brought to the form of version 3.

Their studies have a column for each part of one question's protocol, their events one
for each part of its answer, and their presentations name a map alone. What is made of
them is what an upgrade of a database makes.
"""

from collections.abc import Iterator
from typing import Any

from readerstudy.trial.archive.study_rows import Row, RowsError, Tables
from readerstudy.trial.protocol.flat import FLAT_FIELDS, answer_of, from_flat

ANSWERS = ("rating", "old_rating", "confidence", "comment")


def brought_up_to_date(tables: Tables) -> Tables:
    """The tables with protocols and answers as documents.

    A row that lacks a column, or refers to none, is for `study_rows` to name.

    Raises:
        RowsError: a row is none of a study.
    """
    overlays = {row.get("id"): row for row in tables["overlay"]}
    try:
        return {
            **tables,
            "study": list(map(_study, tables["study"])),
            "case": [_with(row, truth=None) for row in tables["case"]],
            "enrolment": [_with(row, language="") for row in tables["enrolment"]],
            "presentation": [
                _with(
                    row,
                    case_id=overlays.get(row.get("overlay_id"), {}).get("case_id"),
                    arm_id=overlays.get(row.get("overlay_id"), {}).get("arm_id"),
                )
                for row in tables["presentation"]
            ],
            "rating_event": list(_events(tables)),
        }
    except (LookupError, TypeError, ValueError) as error:
        raise RowsError(f"a row of version 2: {error}") from error


def _with(row: Row, **made: Any) -> Row:
    if there := sorted(made.keys() & row.keys()):
        raise ValueError(f"a column too many: {', '.join(there)}")
    return {**row, **made}


def _study(row: Row) -> Row:
    rest = {name: value for name, value in row.items() if name not in FLAT_FIELDS}
    return _with(rest, protocol=from_flat({name: row[name] for name in FLAT_FIELDS}))


def _events(tables: Tables) -> Iterator[Row]:
    for row in tables["rating_event"]:
        if lacking := [name for name in ANSWERS if name not in row]:
            raise ValueError(f"a column too few: {', '.join(lacking)}")
        rest = {name: value for name, value in row.items() if name not in ANSWERS}
        if row.get("kind") == "cannot_judge":
            rest["reason"] = ""
        yield _with(rest, stage="map", language="", answer=answer_of(row))
