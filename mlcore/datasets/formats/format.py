"""Source formats as each is declared: name, options, reader, recognition, display."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.decoding.image_files import read_grey
from mlcore.datasets.record import DecodedIn, ImageRecord

OnError = Literal["stop", "skip"]

# From a file, the part of it that `source_path` names, and the options of the import.
ReadPart = Callable[[Path, tuple[int, ...], Mapping[str, Any]], GreyImage]
# From a `source_path`, the pixels a side, and the options of the import.
Redraw = Callable[[str, int, Mapping[str, Any]], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a reader found: all that the table needs, images not yet decoded.

    Attributes:
        format: name of the format.
        root: folder that the records' `source_path` starts from; None if there is none.
        modality, classes, label_policy, notes: see `TableDescription`.
        records: the images, in the table's order; read once.
        count: number of records.
        digest: stands for the source's content and the options of the import.
        options: of the import, as JSON values; `display` reads cases by them too.
        decoded_in: `threads` where decoding releases the interpreter lock (Pillow),
            else `processes`.
    """

    format: str
    root: Path | None
    modality: str
    classes: tuple[str, ...]
    label_policy: str
    records: Iterable[ImageRecord]
    count: int
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)
    decoded_in: DecodedIn = "threads"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of the import that not every format takes.

    Formats that take one of the same name declare it alike; only its `help` may differ.

    Attributes:
        name: of the reader's keyword argument, such as `test_list`.
        help: what it does in this format, in a few words.
        type, choices, nargs, metavar: as in `argparse.ArgumentParser.add_argument`.
    """

    name: str
    help: str
    type: Callable[[str], Any] = str
    choices: tuple[str, ...] | None = None
    nargs: int | str | None = None
    metavar: str | tuple[str, ...] | None = None

    @property
    def flag(self) -> str:
        """As it is written on the command line, such as `--test-list`."""
        return flag_of(self.name)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of source that can be imported.

    Attributes:
        name: on the command line and in `dataset.json`.
        title: what it is, in a few words.
        read: makes a `Source` of what it is given as keyword arguments: those that
            `needs` names, and the `options` that were asked for. It raises TableError.
        needs: the attributes of `importing.ImportOptions` that `read` takes.
        options: those that `read` takes besides.
        recognises: whether a folder or file looks like this format; it opens no image
            and raises nothing.
        read_part: decodes one image of a table of this format for the reading page;
            None if there are no files.
        redraw: draws it again in that case, at any size.
    """

    name: str
    title: str
    read: Callable[..., Source]
    recognises: Callable[[Path], bool]
    needs: tuple[str, ...] = ("root", "seed")
    options: tuple[Option, ...] = ()
    read_part: ReadPart | None = None
    redraw: Redraw | None = None


def read_whole_file(
    path: Path, _part: tuple[int, ...], _options: Mapping[str, Any]
) -> GreyImage:
    """The `read_part` of a format where each image is a file of its own."""
    return read_grey(path)


def flag_of(name: str) -> str:
    """The flag of the option of that name.

    >>> flag_of("test_list")
    '--test-list'
    """
    return f"--{name.replace('_', '-')}"


def whole_number(least: int, most: float = inf) -> Callable[[str], int]:
    """A type of option: whole numbers from `least` on, up to `most`."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        up_to = f" to {most}" if most < inf else " on"
        raise ArgumentTypeError(f'"{text}" is not a whole number from {least}{up_to}')

    return parse


CLASSES_OPTION = Option(
    name="classes",
    help="the findings to import, in this order; default all",
    nargs="+",
    metavar="NAME",
)
WINDOW_OPTION = Option(
    name="window",
    help="the default window, of grey levels, in HU for CT",
    type=float,
    nargs=2,
    metavar=("CENTER", "WIDTH"),
)
