"""A part of an evaluation: what it measures, and how that is shown and told.

To add one, write a module with a `Part` and put it into `evaluate.PARTS`.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.runs import LoadedRun
from mlcore.errors import UsageError
from mlcore.reporting.figures import Drawing
from mlcore.reporting.page import Column

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class Option:
    """A number on the command line, such as `--cka-images 202`.

    Attributes:
        name: in an evaluation's settings; on the command line with hyphens.
        default: a float stands for a share of one, None for all there are.
        help: what it is, in few words.
        least: the smallest whole number that will do.
    """

    name: str
    default: int | float | None
    help: str
    least: int = 1

    def add_to(self, parser: ArgumentParser) -> None:
        """Declare it on a command line."""
        default = "all" if self.default is None else self.default
        parser.add_argument(
            f"--{self.name.replace('_', '-')}",
            type=float if isinstance(self.default, float) else int,
            default=self.default,
            metavar="N",
            help=f"{self.help} ({default})",
        )

    def check(self, value: int | float | None) -> None:
        """Refuse a value out of range.

        Raises:
            UsageError: what would do.
        """
        share = isinstance(self.default, float)
        if value is None or (0 < value <= 1 if share else value >= self.least):
            return
        wanted = "above 0, at most 1" if share else f"{self.least} or more"
        raise UsageError(f"{self.name.replace('_', '-')} must be {wanted}.")


@dataclass(frozen=True)
class Subject:
    """What is evaluated, on what, and how.

    Attributes:
        table: the data set that the runs were trained on.
        external: another one to test them on, or None.
        settings: the values of all parts' options, by name.
        warn: is told of what had to be passed over.
    """

    table: ImageTable
    external: ImageTable | None
    runs: Sequence[LoadedRun]
    device: torch.device
    settings: Mapping[str, Any]
    warn: Callable[[str], object]


@dataclass(frozen=True)
class Evaluation:
    """What has been measured.

    Attributes:
        tables: rows by the name of the table.
        exhibits: what figures need beyond the tables, such as single images.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    exhibits: dict[str, Any] = field(default_factory=dict)


def _all(rows: Sequence[Row]) -> Sequence[Row]:
    return rows


def _no_lines(_tables: Tables) -> list[str]:
    return []


def _no_figures(_tables: Tables, _exhibits: Mapping[str, Any]) -> list[Drawing | None]:
    return []


@dataclass(frozen=True)
class View:
    """A table of the page, without what all its rows have in common.

    Attributes:
        table: whose rows, by name.
        where: what the rows hold.
        hidden: columns that are left out.
        pick: of the table's rows, those that a page has room for.
        note: says what else is in the table's file.
    """

    table: str
    caption: str
    where: Mapping[str, object] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    pick: Callable[[Sequence[Row]], Sequence[Row]] = _all
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that an evaluation measures, from the command line to the page.

    Attributes:
        name: on the command line.
        asks: the question it answers, for the help.
        measure: makes its tables, and what its figures need beyond them.
        options: settings that it has to itself.
        leads: whether the page shows it before the others.
        headings: names of figures and of tables by the heading that they stand under;
            parts may share a heading.
        views: how its tables are shown. One that has none cannot be read as numbers:
            the page then names its file.
        columns: titles and units of its tables' columns.
        methods: how it was measured: by table, a title and a text in which {redraws},
            {seed} and {maps} are the evaluation's.
        draw: its figures, of tables and exhibits; None for one that lacks its rows.
        answer: what the page leads with.
        limits: what the numbers cannot show.
        summary: lines for the terminal.
    """

    name: str
    asks: str
    measure: Callable[[Subject], Evaluation]
    options: tuple[Option, ...] = ()
    leads: bool = False
    headings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    views: tuple[View, ...] = ()
    columns: tuple[Column, ...] = ()
    methods: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    draw: Callable[[Tables, Mapping[str, Any]], list[Drawing | None]] = _no_figures
    answer: Callable[[Tables], list[str]] = _no_lines
    limits: Callable[[Tables], list[str]] = _no_lines
    summary: Callable[[Tables], list[str]] = _no_lines
