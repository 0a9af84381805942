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
from readerstudy.analysis.units import POOLINGS

# reader, data set, image, variant, repeat
Key = tuple[str, str, str, str, int]
Line = tuple[int, Key, Mapping[str, str]]
LARGEST_PROTOCOL = 2**20  # bytes
LONG = ("question", "finding", "item", "answer")
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


def pooling_of(protocol: Mapping[str, Any]) -> str:
    """The primary pooling that a protocol fixed before there were ratings.

    One that does not say so is of a time when only complete images were pooled. Raises
    RatingsError for what is none of POOLINGS.
    """
    analysis = protocol.get("analysis")
    fixed = analysis if isinstance(analysis, Mapping) else {}
    pooling = fixed.get("pooling", "complete")
    if pooling not in POOLINGS:
        raise RatingsError(
            f"the protocol's analysis.pooling {pooling!r} is none of "
            f"{', '.join(POOLINGS)}"
        )
    return str(pooling)


def read_answers(
    content: bytes,
    asked: Asked,
    variants: Sequence[str] | None = None,
    cases: Cases | None = None,
    *,
    long_table: bytes | None = None,
) -> Reading:
    """Every answer in a table, see `parse_ratings` for what it may hold otherwise.

    Columns of a question that are not there have no answers; the primary's must be.
    Several points on one finding have no columns: they are in `long_table` alone, see
    `points_of`.

    Raises RatingsError, one line with the number of the file's line, for an answer that
    its question does not take.
    """
    known = cases or Cases()
    laid_out = parse_ratings(content, variants, asked.primary)
    lines = list(_lines(content, asked.primary))
    header = tuple(lines[0][2])
    several = points_of(long_table, asked) if long_table is not None else {}
    if not columns_of(asked.primary, header) and asked.primary.key not in several:
        raise RatingsError(
            f"line 1: no column of the question {asked.primary.key!r}, whose columns "
            f"begin with {asked.primary.key}"
        )
    columns = {
        question.key: columns_of(question, header)
        for question in (asked.primary, *asked.others)
    }
    points = several | {
        question.key: tuple(_points(columns[question.key], lines))
        for question in (asked.primary, *asked.others)
        if question.kind == "points" and columns[question.key]
    }

    def answers_to(question: Question) -> Answers:
        if question.kind == "points":
            earlier = _question_before(question, asked)
            before = points.get(earlier.key, ()) if earlier else None
            return Answers(question, (), points.get(question.key, ()), before)
        return _answers(question, laid_out, lines, columns[question.key])

    primary = answers_to(asked.primary)
    others = [answers_to(other) for other in asked.others if other.kind != "text"]
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
            yield line, _key(cells), cells


def _key(cells: Mapping[str, str]) -> Key:
    reader, dataset, image, variant = (cells[name] for name in NAMES)
    return reader, dataset, image, variant, int(cells.get("repeat") or 0)


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
    question: Question,
    laid_out: Ratings,
    lines: Sequence[Line],
    columns: Sequence[Column],
) -> Answers:
    if question.kind == "box":
        return Answers(question)
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


def points_of(long_table: bytes, asked: Asked) -> dict[str, tuple[Point, ...]]:
    """The points in a table with a row a question, finding and item, by question.

    Beside NAMES its columns are `question`, `finding`, `item` (x and y, or 1.x and 1.y,
    2.x and so on) and `answer`. Raises RatingsError as `read_answers`.
    """
    kinds = {q.key: q.kind for q in (asked.primary, *asked.others)}
    axes: dict[tuple[str, Key, str, str], dict[str, int]] = {}
    for line, cells in csv_records(long_table, LONG):
        key, (number, _, axis) = cells["question"], cells["item"].rpartition(".")
        if kinds.get(key) == "points" and cells["answer"]:
            pixel = _pixel(cells["answer"], f"{key} {cells['item']}", line)
            place = (key, _key(cells), cells["finding"], number)
            if pixel is not None:
                axes.setdefault(place, {})[axis] = pixel
    found: dict[str, list[Point]] = {
        key: [] for key, kind in kinds.items() if kind == "points"
    }
    for (key, presentation, finding, _), pixels in axes.items():
        if pixels.keys() != {"x", "y"}:
            raise RatingsError(
                f"a point of {key} lacks x or y: reader {presentation[0]!r}, image "
                f"{presentation[2]!r}"
            )
        found[key].append(Point(*presentation, finding, pixels["x"], pixels["y"]))
    return {key: tuple(points) for key, points in found.items()}


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
