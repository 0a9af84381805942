"""Ratings table: read from CSV in long form, a row per rating, and checked."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from mlcore.files import sha256_bytes
from readerstudy.analysis import labels
from readerstudy.analysis.csv_records import RatingsError, csv_records
from readerstudy.analysis.questions import USEFULNESS, Question
from readerstudy.analysis.statistics.arrays import Booleans, Floats

# Stands for every reader or every data set in the results, so nothing may be named so.
ALL = "all"

# Stands for the reason of a reader who gave none.
NO_REASON = "no reason given"

# Readers times images; every cell takes memory, whether it holds a rating or not.
MOST_CELLS = 10_000_000

_FLAGS = {"": False, "0": False, "false": False, "no": False} | {
    "1": True,
    "true": True,
    "yes": True,
}

# Names are printed on terminals, where these can erase or rewrite what is there.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class RatingRow:
    """One line of the table. `rating` is None where the cell is empty.

    position, session: when the reader saw it, from 1; None where that is not told.
    cannot_judge: why there is no rating, in the table's words; "" for no such answer.
    """

    reader: str
    dataset: str
    image: str
    variant: str
    repeat: int
    rating: int | None
    position: int | None = None
    session: int | None = None
    cannot_judge: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.reader, self.dataset, self.image, self.variant, self.repeat


@dataclass(frozen=True, eq=False)
class Ratings:
    """A checked table. The order of the file's rows leaves no trace in it.

    values: (readers, images, variants), whole numbers, by default of 0 to 5; NaN where
      a rating is missing.
    assigned: (readers, images), whether the reader has any row in the image's data set.
      Only there can a rating be missing: nobody need read every data set.
    images: (dataset, image) pairs, as image names are unique only within a data set.
    positions, sessions: as `values`, when each cell was first shown; NaN where that is
      not told.
    repeats: presentations shown once more. They are in `intra_reader` and nowhere else.
    refusals: first presentations that the reader said cannot be judged; None where the
      table has no such column.
    n_training: rows of training cases, which are not read any further.
    sha256: of the file's bytes.
    question: whose answers the values are.
    """

    readers: tuple[str, ...]
    images: tuple[tuple[str, str], ...]
    variants: tuple[str, ...]
    values: Floats
    assigned: Booleans
    positions: Floats
    sessions: Floats
    repeats: tuple[RatingRow, ...]
    refusals: tuple[RatingRow, ...] | None
    n_training: int
    sha256: str
    question: Question = USEFULNESS

    @property
    def dataset_of_image(self) -> tuple[str, ...]:
        return tuple(dataset for dataset, _ in self.images)

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.dataset_of_image))

    def part(self, reader: str, dataset: str) -> tuple[Floats, Booleans]:
        """`values` and `assigned` of one reader or ALL, in one data set or ALL."""
        rows = np.array([reader in (name, ALL) for name in self.readers])
        columns = self.in_dataset(dataset)
        return self.values[rows][:, columns], self.assigned[rows][:, columns]

    def parts(self) -> Iterator[tuple[str, str, Floats, Booleans]]:
        """Each reader and ALL in each data set and ALL, with `values` and `assigned`.

        A reader who has no row in a data set is not part of it.
        """
        for reader in (*self.readers, ALL):
            for dataset in (*self.datasets, ALL):
                values, assigned = self.part(reader, dataset)
                if assigned.any():
                    yield reader, dataset, values, assigned

    @property
    def pairs(self) -> list[tuple[str, int, int]]:
        """Name and places of each pair of variants: ("A-B", 0, 1)."""
        return [
            (f"{self.variants[a]}-{self.variants[b]}", a, b)
            for a, b in combinations(range(len(self.variants)), 2)
        ]

    def in_dataset(self, dataset: str) -> Booleans:
        """(images,): which of the images are in this data set, or in ALL."""
        return np.array([dataset in (name, ALL) for name in self.dataset_of_image])

    def missing(self) -> list[dict[str, str]]:
        """The cells without a rating: reader, dataset, image and variant of each."""
        empty = np.isnan(self.values) & self.assigned[:, :, np.newaxis]
        return [
            {
                "reader": self.readers[r],
                "dataset": self.images[i][0],
                "image": self.images[i][1],
                "variant": self.variants[v],
            }
            for r, i, v in np.argwhere(empty)
        ]


def read_ratings(path: Path, variants: Sequence[str] | None = None) -> Ratings:
    """Read the table in the file at `path`; see `parse_ratings`."""
    return parse_ratings(table_bytes(path), variants)


def table_bytes(path: Path) -> bytes:
    """What is in the file of a table. Raises RatingsError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RatingsError(f"cannot read {path}: {error.strerror}") from error


def parse_ratings(
    content: bytes,
    variants: Sequence[str] | None = None,
    question: Question = USEFULNESS,
) -> Ratings:
    """Check a ratings table and lay it out as an array.

    `content` is a CSV file: UTF-8 with or without a byte-order mark, any line ends, the
    columns of `csv_records.REQUIRED` and any of its OPTIONAL: `repeat` (0, or empty,
    for the first presentation), `run` (of the reader, from 1: one for all of a reader's
    rows), `position` and `session` (whole numbers from 1), `cannot_judge` (the reason,
    or 1) and `training` (1 for a row that is not to be analysed). Other columns are
    left alone. `variants` are the labels of two to six arms, whatever they are, in the
    order of every result; without them it is `labels.in_order`. `question`, another
    than 0 to 5 in the column `rating`, names its column by its key; an answer that is
    no number leaves all values missing.

    Raises RatingsError, one line with the number of the file's line, for a missing
    column, a rating that is neither the question's nor empty, a variant that is none of
    `variants` or no label, a cell given twice, a reader with two runs, another value
    that its column does not take, and for a table with one variant, more than six, or
    not all of `variants`.
    """
    wanted_labels = labels.named(variants)
    rows: dict[tuple[str, str, str, str, int], RatingRow] = {}
    lines: dict[tuple[str, str, str, str, int], int] = {}
    runs: dict[str, int | None] = {}
    n_training = 0
    columns: frozenset[str] = frozenset()
    wanted = (question.key,) if question.is_number else ()
    for line, cells in csv_records(content, wanted):
        columns = columns or frozenset(cells)
        if is_training(cells, line):
            n_training += 1
            continue
        row = _row(cells, question, line)
        first = next(iter(rows.values()), row).variant
        labels.check_variant(
            row.variant, wanted_labels or labels.closed(first), first, line
        )
        run = _whole(cells, "run", line)
        _check_run(row.reader, run, runs.setdefault(row.reader, run), line)
        if row.key in rows:
            raise RatingsError(
                f"line {line}: reader {row.reader!r}, image {row.image!r} of "
                f"{row.dataset!r}, variant {row.variant!r} and repeat {row.repeat} "
                f"were given before, in line {lines[row.key]}"
            )
        rows[row.key], lines[row.key] = row, line
    if not rows:
        raise RatingsError("the ratings table has no rows")
    return _laid_out(
        list(rows.values()),
        _variants_of(rows.values(), wanted_labels),
        question=question,
        knows_refusals="cannot_judge" in columns,
        n_training=n_training,
        sha256=sha256_bytes(content),
    )


def _check_run(reader: str, run: int | None, first: int | None, line: int) -> None:
    """A reader has one run: another was voided, and half of each would pass for one."""
    if run != first:
        raise RatingsError(
            f"line {line}: reader {reader!r} has run {run or 'none'} here and "
            f"{first or 'none'} before; keep the rows of one run"
        )


def _row(cells: dict[str, str], question: Question, line: int) -> RatingRow:
    for name in ("reader", "dataset", "image", "variant"):
        if not cells[name]:
            raise RatingsError(f"line {line}: {name} is empty")
        if _CONTROL.search(cells[name]):
            raise RatingsError(
                f"line {line}: {name} {cells[name]!r} holds a line break or another "
                "control character"
            )
    for name in ("reader", "dataset"):
        if cells[name] == ALL:
            raise RatingsError(
                f"line {line}: a {name} cannot be named {ALL!r}, which stands for all "
                "of them in the results"
            )
    rating = None
    if question.is_number:
        rating = question.number(cells[question.key], question.key, line)
    repeat = _whole(cells, "repeat", line)
    position, session = (_whole(cells, name, line) for name in ("position", "session"))
    return RatingRow(
        reader=cells["reader"],
        dataset=cells["dataset"],
        image=cells["image"],
        variant=cells["variant"],
        repeat=repeat or 0,
        rating=rating,
        position=position,
        session=session,
        cannot_judge=_refusal(cells, question, line),
    )


def _whole(cells: dict[str, str], name: str, line: int) -> int | None:
    """The number in an optional column, None where there is none."""
    lowest = 0 if name == "repeat" else 1
    cell = cells.get(name) or ""
    if not cell:
        return None
    if not re.fullmatch("[0-9]{1,6}", cell) or int(cell) < lowest:
        hint = "; 0, or empty, stands for the first presentation" if not lowest else ""
        raise RatingsError(
            f"line {line}: {name} {cell!r} is not a whole number from {lowest}{hint}"
        )
    return int(cell)


def is_training(cells: dict[str, str], line: int) -> bool:
    """Whether a row of a table is of a training case, and so not of the study."""
    return _flag(cells, "training", line)


def _flag(cells: dict[str, str], name: str, line: int) -> bool:
    cell = cells.get(name) or ""
    if cell.lower() not in _FLAGS:
        raise RatingsError(
            f"line {line}: {name} {cell!r} is neither 1 nor 0; leave it empty for 0"
        )
    return _FLAGS[cell.lower()]


def _refusal(cells: dict[str, str], question: Question, line: int) -> str:
    """The reason in the column cannot_judge, "" where the map could be judged."""
    cell = cells.get("cannot_judge") or ""
    if not _FLAGS.get(cell.lower(), True):
        return ""
    if _CONTROL.search(cell):
        raise RatingsError(
            f"line {line}: cannot_judge {cell!r} holds a line break or another control "
            "character"
        )
    given = cells[question.key] if question.is_number else ""
    if given:
        raise RatingsError(
            f"line {line}: {question.key} {given!r} beside cannot_judge {cell!r}; "
            "one of them must be empty"
        )
    return NO_REASON if cell.lower() in _FLAGS else cell


def _variants_of(
    rows: Iterable[RatingRow], wanted: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The variants that the table has, in the order of results."""
    there = dict.fromkeys(row.variant for row in rows)
    if absent := [variant for variant in wanted or () if variant not in there]:
        raise RatingsError(
            f"the table has no row of {' and '.join(absent)}: all of "
            f"{', '.join(wanted or ())} are needed"
        )
    if not 2 <= len(there) <= labels.MOST_VARIANTS:
        raise RatingsError(
            f"the table compares nothing: its only variant is {next(iter(there))}"
            if len(there) == 1
            else f"the table has {len(there)} variants; at most "
            f"{labels.MOST_VARIANTS} can be compared"
        )
    return wanted or labels.in_order(there)


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sorts R2 before R10. The name itself decides between 1 and 01."""
    parts = re.split(r"([0-9]+)", name)
    return [_magnitude(p) if i % 2 else p for i, p in enumerate(parts)], name


def _magnitude(digits: str) -> tuple[int, str]:
    """Sorts as int(digits) would, which refuses more than 4300 digits."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _laid_out(
    rows: list[RatingRow],
    variants: tuple[str, ...],
    *,
    question: Question,
    knows_refusals: bool,
    n_training: int,
    sha256: str,
) -> Ratings:
    readers = sorted({row.reader for row in rows}, key=_natural)
    images = sorted(
        {(row.dataset, row.image) for row in rows},
        key=lambda image: (_natural(image[0]), _natural(image[1])),
    )
    if len(readers) * len(images) > MOST_CELLS:
        raise RatingsError(
            f"the table has {len(readers)} readers and {len(images)} images, more than "
            "any study; are the columns reader and image what their names say?"
        )
    cells = _first_shown(rows, readers, images, variants)
    reads = {(row.reader, row.dataset) for row in rows}
    assigned = np.array(
        [[(reader, dataset) in reads for dataset, _ in images] for reader in readers]
    )
    rows.sort(key=lambda row: row.key)
    return Ratings(
        readers=tuple(readers),
        images=tuple(images),
        variants=variants,
        values=cells[0],
        assigned=assigned,
        positions=cells[1],
        sessions=cells[2],
        repeats=tuple(row for row in rows if row.repeat),
        refusals=_refusals(rows) if knows_refusals else None,
        n_training=n_training,
        sha256=sha256,
        question=question,
    )


def _first_shown(
    rows: Sequence[RatingRow],
    readers: Sequence[str],
    images: Sequence[tuple[str, str]],
    variants: Sequence[str],
) -> Floats:
    """(3, readers, images, variants): rating, position and session of each cell, NaN
    where it has none."""
    reader_at = {name: i for i, name in enumerate(readers)}
    image_at = {image: i for i, image in enumerate(images)}
    cells = np.full((3, len(readers), len(images), len(variants)), np.nan)
    for row in rows:
        if row.repeat == 0:
            at = image_at[row.dataset, row.image], variants.index(row.variant)
            numbers = (row.rating, row.position, row.session)
            cells[:, reader_at[row.reader], *at] = [
                np.nan if number is None else number for number in numbers
            ]
    return cells


def _refusals(rows: list[RatingRow]) -> tuple[RatingRow, ...]:
    return tuple(row for row in rows if row.cannot_judge and not row.repeat)
