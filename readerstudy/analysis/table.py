"""A table of results: how its rows are computed, how a report shows them, and what the
methods section says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mlcore.reporting.page import Column
from readerstudy.analysis.context import Context

Row = dict[str, Any]
# Rows by the name of their table; under "run", how they came about.
Analysis = dict[str, Any]


def verdict(p: float | None, reason: str | None, tested: bool | None = None) -> Row:
    """The last columns of a test.

    `significant_...` compare p alone, strictly. `tested` says whether the procedure
    came to this test at all: a difference is found where both hold. By default it did
    where there is a p.
    """
    return {
        "significant_001": p is not None and p < 0.001,
        "significant_05": p is not None and p < 0.05,
        "tested": p is not None if tested is None else tested,
        "reason": reason,
    }


class Heading(Enum):
    """The headings of a report under which tables stand, in its order."""

    RATINGS = "The ratings"
    DIFFERENCES = "Do the variants differ?"
    EACH_READER = "Each reader"
    AGREEMENT = "Do the readers agree?"
    SENSITIVITY = "Does it depend on the analysis?"
    SECONDARY = "Secondary questions"
    ASIDES = "What readers could not judge, and thought"


@dataclass(frozen=True)
class View:
    """Rows and columns of a table as the report shows them.

    columns: in this order; a name stands for a column that many tables have (see
      `report.views.COMMON`). A title with {} makes a column of each entry of an object,
      such as the means by variant. Limits `KEY_lo` and `KEY_hi` join their KEY.
    value: the key that the view is there for: where no row has it, a sentence says why.
      By default the table's.
    keep: which rows.
    heading: where it stands; by default under the table's.
    """

    caption: str
    columns: tuple[str | Column, ...]
    value: str = ""
    keep: Callable[[Row], bool] = lambda _: True
    note: str = ""
    heading: Heading | None = None


@dataclass(frozen=True)
class Table:
    """One table of an analysis. `all_tables.TABLES` lists them.

    name: its key in analysis.json and the stem of its CSV.
    rows: computed from the context. All have the same keys, the last one `reason`: why
      a value is None.
    heading: of the report, to which the table's views and methods belong.
    views: how the report shows it; without any, the CSV alone has it.
    title, methods: of its paragraph in the methods section, where {level} stands for
      the level of the tests, {df}, {pairs} and {rule} for what the number of variants
      makes of them; "" where another table's paragraph tells of it.
    value: the key that the table is there for: where no row has it, nothing was done,
      and the methods section is silent.
    """

    name: str
    rows: Callable[[Context], list[Row]]
    heading: Heading
    views: tuple[View, ...] = ()
    title: str = ""
    methods: str = ""
    value: str = ""

    def was_computed(self, analysis: Analysis) -> bool:
        """Whether any row has what the table is there for."""
        return any(row[self.value] is not None for row in analysis[self.name])
