"""Folder of results, whole or not at all and replacing only earlier ones; CSV text."""

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mlcore.files import atomic_folder
from readerstudy.analysis.csv_records import RatingsError

# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@")


@contextmanager
def results_folder(
    folder: Path, names: Collection[str], kind: str = "analysis"
) -> Iterator[Path]:
    """Yield a new folder that takes the place of `folder` at the end of the block.

    `names` are the files, relative to the folder, that results of this kind consist of.
    Raises RatingsError as `check_replaceable` does, and where it cannot be written.
    """
    try:
        check_replaceable(folder, names, kind)
        # Resolved: renaming "." or a link would not do what it says.
        with atomic_folder(folder.resolve()) as new:
            yield new
    except OSError as error:
        raise RatingsError(
            f"cannot write the {kind} to {folder}: {error.strerror}"
        ) from error


def check_replaceable(folder: Path, names: Collection[str], kind: str) -> None:
    """Raise RatingsError unless `folder` is new, empty, or holds nothing but `names`:
    whatever it holds is deleted when new results take its place."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise RatingsError(f"{path} is a file; name a folder for the {kind}")
    if folder.is_dir():
        folders = {
            above.as_posix() for name in names for above in PurePosixPath(name).parents
        }
        others = sorted(
            name
            for path in folder.rglob("*")
            if (name := path.relative_to(folder).as_posix()) not in names
            and not (name in folders and path.is_dir())
        )
        if others:
            raise RatingsError(
                f"{folder} holds other files ({others[0]}); name a folder that is "
                f"empty, new or an earlier {kind}"
            )


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows` as CSV: full precision, None as an empty cell, truth as in JSON.

    Texts that a spreadsheet would take for a formula get an apostrophe in front.
    """
    flat = [dict(_flat(row)) for row in rows]
    header = list(dict.fromkeys(name for row in flat for name in row))
    header.sort(key="reason".__eq__)  # to the end
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield prefix + name, str(value).lower()
        elif isinstance(value, str) and value.startswith(FORMULA_CHARACTERS):
            yield prefix + name, f"'{value}"
        else:
            yield prefix + name, value
