"""CSV records of a ratings table: its text by column, not yet looked into."""

import csv
import io
from collections.abc import Iterator, Sequence

# What says of which map a row is; beside it stands what was answered.
NAMES = ("reader", "dataset", "image", "variant")
RATING = "rating"
REQUIRED = (*NAMES, RATING)
# Columns that are read where a table has them. Others are left alone.
OPTIONAL = ("repeat", "run", "position", "session", "cannot_judge", "training")


class RatingsError(ValueError):
    """What is wrong with a ratings table, or with where its analysis is to go."""


def csv_records(
    content: bytes, answers: Sequence[str] = (RATING,)
) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of its first line and the cells by column, for each record.

    `answers` are the columns that are wanted beside NAMES. Cells are stripped of spaces
    around them; records of empty cells are left out.

    Raises RatingsError, one line, for text that is not UTF-8 or no CSV, a record longer
    or shorter than the header, a header that lacks a column that is wanted or names one
    twice that is read, and for an empty file.
    """
    required = (*NAMES, *answers)
    text = _decode(content)
    # newline="": csv wants to see the line ends itself, whichever they are.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if header is None:
                header = _header(cells, required)
            elif any(cells):  # spreadsheets leave empty rows at the end
                if len(cells) != len(header):
                    raise RatingsError(
                        f"line {line}: {len(cells)} cells where the header has "
                        f"{len(header)}"
                    )
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise RatingsError(f"line {reader.line_num}: not valid CSV: {error}") from error
    if header is None:
        raise RatingsError(
            f"the ratings table is empty; its first line must be {','.join(required)}"
        )


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RatingsError(
            f"line {line}: the table is not UTF-8 text; save it as 'CSV UTF-8'"
        ) from error


def _header(cells: list[str], required: Sequence[str]) -> list[str]:
    if absent := [name for name in required if name not in cells]:
        raise RatingsError(
            f"line 1: no column {', '.join(absent)}; the header must name "
            f"{','.join(required)}, with commas between"
        )
    for name in (*required, *OPTIONAL):
        if cells.count(name) > 1:
            raise RatingsError(f"line 1: the column {name} is there twice")
    return cells
