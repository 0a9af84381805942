"""Tables of results as the report shows them: by their views, with common columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlcore.reporting.page import MINUS, Block, Column
from mlcore.reporting.page import Table as PageTable
from readerstudy.analysis.table import Analysis, Heading, Row, Table, View
from readerstudy.analysis.tables import all_tables

PAIR = f"pair A {MINUS} B"
# Longer tables are only named on the page: their CSV holds them.
_MOST_ROWS = 400

# Columns of several tables, by name; any other is titled by its own.
COMMON = {
    column.key: column
    for column in (
        Column("W", "Kendall's W", digits=2),
        Column("by", "period"),
        Column("chi2", "chi\N{SUPERSCRIPT TWO}", digits=2),
        Column("dataset", "data set"),
        Column("hl_shift", "shift (HL)", digits=2),
        Column("n_images", "images"),
        Column("n_neg", "B higher"),
        Column("n_pos", "A higher"),
        Column("n_zero", "ties"),
        Column("mean", "mean {}", digits=2),
        Column("mean_diff", f"mean A {MINUS} B", digits=2),
        Column("p_exact", "P, exact"),
        Column("p_holm", "P, Holm", "asymptotic"),
        Column("p_pratt", "P, Pratt"),
        Column("p_value", "P"),
        Column("pair", PAIR),
        Column("qkappa", "kappa", digits=2),
        Column("rbc", "rank-biserial r", digits=2),
    )
}


def view_blocks(analysis: Analysis, heading: Heading) -> list[Block]:
    """The tables under the heading as their views show them; none without rows."""
    return [
        block
        for table in all_tables.TABLES
        for view in table.views
        if heading is (view.heading or table.heading)
        for block in shown(analysis, table, view)
    ]


def shown(
    analysis: Analysis, table: Table, view: View, folder: str = ""
) -> Iterator[Block]:
    """The table as the view shows it; its CSV lies in `folder` ("name/") of the
    results. A column that is empty in every row is left out."""
    kept = [row for row in analysis[table.name] if view.keep(row)]
    if not kept:
        return
    source = f"{folder}{table.name}.csv"
    value = view.value or table.value
    if all(row[value] is None for row in kept):
        why = dict.fromkeys(row["reason"] for row in kept if row["reason"])
        yield f"{view.caption} Not given: {', '.join(why) or 'no value is defined'}."
    elif len(kept) > _MOST_ROWS:
        yield f"{view.caption} Its {len(kept):,} rows are in {source}."
    else:
        rows = [flat(row, analysis) for row in kept]
        columns = [
            column
            for name in view.columns
            for column in _columns(name, rows)
            if any(row.get(column.key) != "" for row in rows)
        ]
        yield PageTable(view.caption, rows, columns, view.note, source=source)


def _columns(name: str | Column, rows: Sequence[Row]) -> Iterator[Column]:
    """One column, or with {} in its title one for each entry of an object."""
    shown = column(name, rows)
    if "{}" not in shown.title:
        yield shown
        return
    for key in dict.fromkeys(key for row in rows for key in row):
        of, _, entry = key.partition(": ")
        if of == shown.key and entry:
            yield replace(shown, key=key, title=shown.title.format(entry))


def column(name: str | Column, rows: Sequence[Row]) -> Column:
    """A column by name, with its interval in the same cells where rows have one."""
    shown = COMMON.get(name, Column(name)) if isinstance(name, str) else name
    limits = shown.interval or (f"{shown.key}_lo", f"{shown.key}_hi")
    if rows and set(limits) <= rows[0].keys():
        return replace(shown, unit="95 % interval", interval=limits)
    return shown


def flat(row: Row, analysis: Analysis) -> Row:
    """The row as the page takes it: objects as columns, P and pairs under fit names."""
    return dict(_flat(row, analysis))


def _flat(row: Mapping[str, Any], analysis: Analysis) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}: {key}", entry) for key, entry in value.items())
        elif name in {"pair", "variant"}:
            yield name, minus(value, analysis)
        else:
            # The page prints as P what is named so.
            yield "p_value" if name == "p" else name, value


def minus(pair: str, analysis: Analysis) -> str:
    """A pair with a minus between its variants, whose codes may hold hyphens."""
    variants = analysis["run"]["variants"]
    for a in variants:
        for b in variants:
            if pair == f"{a}-{b}":
                return f"{a} {MINUS} {b}"
    return pair
