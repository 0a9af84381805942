"""Answers read from a ratings table that has the columns of several questions: `key`,
`key.Finding`, `key.option`, `key.x` and `key.y`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from readerstudy.analysis.answers.answers import (
    Answers,
    Part,
    Point,
    Reading,
    Remark,
    filled,
    numbers,
    without_map,
)
from readerstudy.analysis.answers.cases import Cases
from readerstudy.analysis.csv_records import NAMES, RatingsError, csv_records
from readerstudy.analysis.questions import Asked, Question, asked_by, guessed
from readerstudy.analysis.ratings import Ratings, is_training, parse_ratings

# reader, data set, image, variant, repeat
Key = tuple[str, str, str, str, int]
Line = tuple[int, Key, Mapping[str, str]]
LARGEST_PROTOCOL = 2**20  # bytes
_PIXEL = re.compile("0|[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a question: its finding and option, and which axis of a point."""

    name: str
    finding: str = ""
    option: str = ""
    axis: str = ""


def asked_of_table(
    content: bytes,
    protocol: Mapping[str, Any] | None,
    key: str | None = None,
) -> Asked:
    """What the readers of a table were asked: by the protocol beside it, or else
    guessed from the column `key`; without either, by the paper's question in the column
    `rating`.

    Raises RatingsError.
    """
    if protocol is not None:
        return asked_by(protocol, key)
    if key is None:
        return Asked()
    records = csv_records(content, (key,))
    return Asked(guessed(key, [cells[key] for _, cells in records]), declared=key)


def protocol_beside(table: Path) -> dict[str, Any] | None:
    """The object in `protocol.json` in the folder of a table; None without one.

    Raises RatingsError where it cannot be read, is larger than a protocol can be, or is
    no JSON object.
    """
    path = table.parent / "protocol.json"
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_PROTOCOL + 1)
    except OSError as error:
        raise RatingsError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > LARGEST_PROTOCOL:
        raise RatingsError(f"{path} is larger than any protocol")
    try:
        protocol = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RatingsError(f"{path} is not JSON: {error}") from error
    if not isinstance(protocol, dict):
        raise RatingsError(f"{path} is no protocol, which is a JSON object")
    return protocol


def read_answers(
    content: bytes,
    asked: Asked,
    variants: Sequence[str] | None = None,
    cases: Cases | None = None,
) -> Reading:
    """Every answer in a table, see `parse_ratings` for what it may hold otherwise.

    Columns of a question that are not there have no answers; the primary's must be.

    Raises RatingsError, one line with the number of the file's line, for an answer that
    its question does not take.
    """
    known = cases or Cases()
    laid_out = parse_ratings(content, variants, asked.primary)
    lines = list(_lines(content, asked.primary))
    header = tuple(lines[0][2])
    if not columns_of(asked.primary, header):
        raise RatingsError(
            f"line 1: no column of the question {asked.primary.key!r}, whose columns "
            f"begin with {asked.primary.key}"
        )
    primary = _answers(asked.primary, laid_out, lines, asked)
    others = [
        _answers(question, laid_out, lines, asked)
        for question in asked.others
        if question.kind != "text"
    ]
    return Reading(
        ratings=numbers(primary, laid_out, known),
        primary=primary,
        others=tuple(others),
        remarks=tuple(_remarks(asked, lines)),
        cases=known,
    )


def _lines(content: bytes, primary: Question) -> Iterator[Line]:
    wanted = (primary.key,) if primary.is_number else ()
    for line, cells in csv_records(content, wanted):
        if not is_training(cells, line):
            reader, dataset, image, variant = (cells[name] for name in NAMES)
            repeat = int(cells.get("repeat") or 0)
            yield line, (reader, dataset, image, variant, repeat), cells


def columns_of(question: Question, header: Sequence[str]) -> list[Column]:
    """Those of a question in a table's header, by findings and options."""
    start = f"{question.key}."
    if question.kind == "points":
        return [
            Column(name, finding=name[len(start) : -2].removesuffix("."), axis=name[-1])
            for name in header
            if name.startswith(start) and name.endswith((".x", ".y"))
        ]
    if not question.per_finding:
        options = question.options if question.kind == "several" else ("",)
        names = {f"{start}{o}" if o else question.key: o for o in options}
        return [Column(n, option=o) for n, o in names.items() if n in header]
    rest = [name[len(start) :] for name in header if name.startswith(start)]
    if question.kind == "several":
        return [
            Column(f"{start}{name}", finding=name.removesuffix(f".{o}"), option=o)
            for name in rest
            for o in question.options
            if name.endswith(f".{o}")
        ]
    return [Column(f"{start}{name}", finding=name) for name in rest]


def _answers(
    question: Question, laid_out: Ratings, lines: Sequence[Line], asked: Asked
) -> Answers:
    columns = columns_of(question, tuple(lines[0][2]))
    if question.kind == "box":
        return Answers(question)
    if question.kind == "points":
        before = _question_before(question, asked)
        header = tuple(lines[0][2])
        return Answers(
            question,
            points=tuple(_points(columns, lines)),
            before=tuple(_points(columns_of(before, header), lines))
            if before
            else None,
        )
    parts = [
        Part(column.finding, option, _filled(question, laid_out, lines, column, option))
        for column in columns
        for option in (
            question.options if question.kind == "choice" else [column.option]
        )
    ]
    if not parts:
        empty = replace(filled(laid_out, {}), question=question)
        parts = [Part("", option, empty) for option in question.options or ("",)]
    return Answers(question, tuple(parts))


def _filled(
    question: Question,
    laid_out: Ratings,
    lines: Sequence[Line],
    column: Column,
    option: str,
) -> Ratings:
    given: dict[Key, int] = {}
    for line, key, cells in lines:
        value = _value(question, cells[column.name], column.name, option, line)
        if value is not None:
            given[key] = value
    part = replace(
        filled(laid_out, given), question=replace(question, per_finding=False)
    )
    if question.before:
        return without_map(laid_out, part.values, part.question)
    return part


def _value(
    question: Question, cell: str, column: str, option: str, line: int
) -> int | None:
    if question.kind != "choice":
        return question.number(cell, column, line)
    if cell and cell not in question.options:
        raise RatingsError(
            f"line {line}: {column} {cell!r} is none of {', '.join(question.options)}; "
            "leave it empty if there is none"
        )
    return int(cell == option) if cell else None


def _question_before(question: Question, asked: Asked) -> Question | None:
    """The question that asks for the same points before the map."""
    if question.before:
        return None
    return next(
        (
            other
            for other in (asked.primary, *asked.others)
            if other.kind == "points"
            and other.before
            and other.per_finding == question.per_finding
        ),
        None,
    )


def _points(columns: Sequence[Column], lines: Sequence[Line]) -> Iterator[Point]:
    by_finding = {(column.finding, column.axis): column.name for column in columns}
    findings = dict.fromkeys(column.finding for column in columns)
    for line, key, cells in lines:
        for finding in findings:
            names = [by_finding.get((finding, axis), "") for axis in "xy"]
            x, y = (_pixel(cells.get(name, ""), name, line) for name in names)
            if (x is None) != (y is None):
                raise RatingsError(
                    f"line {line}: one of {' and '.join(filter(None, names))} is "
                    "empty; a point has both"
                )
            if x is not None and y is not None:
                yield Point(*key, finding, x, y)


def _pixel(cell: str, column: str, line: int) -> int | None:
    if not cell:
        return None
    if not _PIXEL.fullmatch(cell):
        raise RatingsError(
            f"line {line}: {column} {cell!r} is no pixel, a whole number from 0; leave "
            "it empty if there is none"
        )
    return int(cell)


def _remarks(asked: Asked, lines: Sequence[Line]) -> Iterator[Remark]:
    for question in asked.others:
        if question.kind == "text":
            for _, key, cells in lines:
                if text := cells.get(question.key, ""):
                    yield Remark(question.key, *key, text)
