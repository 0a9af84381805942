"""CSV lists of a source, read with care, and the names and paths in them."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mlcore.datasets.table import TableError, split_address
from mlcore.datasets.writing.table_writer import file_state
from mlcore.errors import UsageError
from mlcore.files import canonical_json, sha256_bytes, sha256_file

# Control, format, line and paragraph separator.
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a CSV file.

    Attributes:
        file: name of the file.
        line: the one that the row ends on.
        header: of the file.
        values: stripped of surrounding spaces.
    """

    file: str
    line: int
    header: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def where(self) -> str:
        """The row's place, for messages."""
        return f"{self.file} line {self.line}"

    def cells(self) -> dict[str, str]:
        """The values by column.

        Raises:
            TableError: they are not as many as the columns.
        """
        if len(self.values) != len(self.header):
            raise TableError(
                f"{self.where}: {len(self.values)} values under {len(self.header)} "
                "columns."
            )
        return dict(zip(self.header, self.values, strict=True))


def read_csv(path: Path) -> tuple[tuple[str, ...], tuple[CsvRow, ...]]:
    """Header and rows of a CSV file in UTF-8, or of a TSV file by its suffix.

    A byte-order mark and Windows line ends are accepted, empty lines are skipped.

    Raises:
        TableError: the file is missing, is not UTF-8, is no CSV, or has no row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(path), strict=True)
            rows = [
                (reader.line_num, tuple(value.strip() for value in row))
                for row in reader
                if any(row)
            ]
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except NotADirectoryError:
        raise TableError(f"{path.parent} is a file; give its folder.") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is not in UTF-8; save it as UTF-8.") from None
    except (OSError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    if len(rows) < 2:
        raise TableError(f"{path} has no rows below its header.")
    (_, header), *rest = rows
    return header, tuple(CsvRow(path.name, line, header, row) for line, row in rest)


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def require_columns(path: Path, header: Sequence[str], names: Iterable[str]) -> None:
    """Raise TableError for the first of `names` that `header` lacks."""
    for name in names:
        if name not in header:
            columns = ", ".join(header)
            hint = ""
            if len(header) == 1 and re.search("[,;\t]", header[0]):
                between = "tabs" if _delimiter(path) == "\t" else "commas"
                hint = f" Save it with {between} between the columns."
            raise TableError(f'{path} has no column "{name}" (found: {columns}).{hint}')


def plain_text(text: str, where: str) -> str:
    """`text`, which is to name something in the table and in messages.

    Raises:
        TableError: it holds a line break, a NUL or another character that no one sees:
            two names that look the same must be the same.
    """
    # `isprintable` is quick and true of nearly all texts; spaces of other scripts are
    # not printable to it either.
    if not text.isprintable() and any(
        unicodedata.category(letter) in _UNSEEN for letter in text
    ):
        raise TableError(f"{where}: {text!a} holds a control character.")
    return text


def relative_path(root: Path, text: str, where: str) -> str:
    """`text` as a normalised path below `root`, with forward slashes.

    Args:
        where: it stands, for messages.

    Raises:
        TableError: it is empty, absolute, or leaves `root`, be it by a link; or its end
            reads as a part of a file (`table.split_address`).
    """
    if not text:
        raise TableError(f"{where} names no file.")
    if split_address(text)[1]:
        raise TableError(
            f'{where}: "{text}" ends like a part of a file; rename the file.'
        )
    path = PurePosixPath(text.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in text[:2]
    if not path.parts or outside or not _inside(root, path):
        raise TableError(f'{where}: the path "{text}" leaves the folder {root}.')
    return str(path)


def _inside(root: Path, path: PurePosixPath) -> bool:
    file = root / path
    try:
        # Files of one folder share what their folder resolves to.
        real = file.resolve() if file.is_symlink() else _resolved(file.parent)
        return real.is_relative_to(_resolved(root))
    except RuntimeError:  # links that lead to each other, in Python up to 3.12
        return False


@lru_cache(maxsize=2)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def source_digest(
    options: Mapping[str, Any], lists: Iterable[Path], root: Path, files: Iterable[str]
) -> str:
    """Digest of an import: its options, its lists' content, its images' state.

    Images count by path, size and time of change; reading them all would take about
    as long as importing them. A file that is not there counts as that.
    """
    return sha256_bytes(
        canonical_json(
            {
                "options": options,
                "lists": {path.name: sha256_file(path) for path in lists},
                "files": [file_state(root, name) for name in files],
            }
        )
    )


def chosen_classes(
    known: Sequence[str], wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """`wanted` in its own order, or all that are `known`.

    Raises:
        UsageError: a wanted class is not known, or is named twice.
    """
    if wanted is None:
        return tuple(known)
    for name in wanted:
        if name not in known:
            raise UsageError(f'Unknown class "{name}"; known: {", ".join(known)}.')
    if len(set(wanted)) != len(wanted):
        raise UsageError("--classes names a class twice.")
    return tuple(wanted)
