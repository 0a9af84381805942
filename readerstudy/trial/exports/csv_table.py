"""Tables as CSV: columns, rows and cells that no spreadsheet misreads. Pure Python."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from readerstudy.trial.exports.codebook import Column

# A text, a whole number, or an empty number; a time is a text, an unknown one is empty.
Cell = str | int | None

# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@", "\t", "\n", "\r")


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
