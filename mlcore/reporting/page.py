"""A report as one self-contained HTML page: sections, figures, tables from rows."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10
from statistics import median
from typing import Any

from mlcore.reporting.figures import FULL_WIDTH, Picture
from mlcore.reporting.stylesheet import STYLESHEET

Row = Mapping[str, Any]

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

# Tables with more rows are folded on the screen.
LONG_TABLE = 30
# Tables with more columns print across a sheet turned on its side.
WIDE_TABLE = 9


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: of the rows.
        title: default: the key, with spaces.
        unit: shown under the title.
        digits: decimal places of floats; None: three significant ones at the median.
        interval: the keys of the lower and upper limit, shown in the same cell.
    """

    key: str
    title: str = ""
    unit: str = ""
    digits: int | None = None
    interval: tuple[str, str] | None = None


@dataclass(frozen=True)
class Table:
    """Rows to show; without `columns` all of them (see `columns_of`).

    An undefined value (None) is shown as a dash, with the row's `reason` at the foot;
    `source` names the file that has it all.
    """

    caption: str
    rows: Sequence[Row]
    columns: Sequence[Column] | None = None
    note: str = ""
    source: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and their values, such as settings; nested mappings are written out."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A heading over blocks; a string is a paragraph. Sections nest once.

    `folded` shows the heading alone on a screen, until somebody opens it.
    """

    title: str
    blocks: Sequence["Block"]
    folded: bool = False


Block = str | Picture | Table | Facts | Section


@dataclass(frozen=True)
class Page:
    """A page that leads with its answer: a paragraph per entry of `lead`."""

    title: str
    subtitle: str
    lead: Sequence[str]
    sections: Sequence[Section]


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Every key of the rows as a column, in order of appearance, but `reason`.

    A key and its limits (`auc`, `auc_lo`, `auc_hi`) are one column, as are a `value`,
    `diff` or `share` and the limits `lo` and `hi`.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row if key != "reason"))
    limits: dict[str, tuple[str, str]] = {}
    for key in keys:
        own = (f"{key}_lo", f"{key}_hi")
        if set(own) <= set(keys):
            limits[key] = own
    bare = [key for key in keys if key in {"value", "diff", "auc", "share"}]
    if {"lo", "hi"} <= set(keys) and bare and bare[0] not in limits:
        limits[bare[0]] = ("lo", "hi")
    hidden = {key for pair in limits.values() for key in pair}
    return [Column(key, interval=limits.get(key)) for key in keys if key not in hidden]


def page_html(page: Page) -> str:
    """The page as one HTML document.

    It asks for nothing outside itself (its own policy forbids it), needs no script, and
    has a figure number, a text alternative and a caption for every picture.
    """
    return _Writer().document(page)


class _Writer:
    """Counts what the page numbers: figures, tables, headings."""

    def __init__(self) -> None:
        self.figures = self.tables = 0

    def document(self, page: Page) -> str:
        sections = [
            self.section(section, level=2, anchor=f"s{number}")
            for number, section in enumerate(page.sections, 1)
        ]
        entries = "".join(
            f'<li><a href="#s{number}">{escape(section.title)}</a></li>'
            for number, section in enumerate(page.sections, 1)
        )
        lead = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in page.lead)
        return _DOCUMENT.format(
            title=escape(page.title),
            subtitle=escape(page.subtitle),
            style=STYLESHEET,
            contents=entries,
            lead=lead,
            sections="\n".join(sections),
        )

    def section(self, section: Section, *, level: int, anchor: str) -> str:
        blocks = [
            self.section(block, level=level + 1, anchor=f"{anchor}-{number}")
            if isinstance(block, Section)
            else self.block(block)
            for number, block in enumerate(section.blocks, 1)
        ]
        heading = f"<h{level}>{escape(section.title)}</h{level}>"
        content = "\n".join(blocks)
        if section.folded:
            content = f"<details><summary>Show</summary>{content}</details>"
        return f'<section id="{anchor}">{heading}\n{content}</section>'

    def block(self, block: str | Picture | Table | Facts) -> str:
        if isinstance(block, str):
            return f"<p>{escape(block)}</p>"
        if isinstance(block, Picture):
            return self.picture(block)
        if isinstance(block, Table):
            return self.table(block)
        return _facts(block)

    def picture(self, picture: Picture) -> str:
        self.figures += 1
        data = base64.b64encode(picture.svg).decode()
        width = min(100.0, 100 * picture.width / FULL_WIDTH)
        return (
            f'<figure><img style="width:{width:.4g}%" alt="{escape(picture.alt)}" '
            f'src="data:image/svg+xml;base64,{data}">'
            f"<figcaption><b>Figure {self.figures}.</b> {escape(picture.caption)} "
            f"<small>{escape(picture.name)}</small></figcaption></figure>"
        )

    def table(self, table: Table) -> str:
        self.tables += 1
        source = f" <small>{escape(table.source)}</small>" if table.source else ""
        head = f"<b>Table {self.tables}.</b> {escape(table.caption)}{source}"
        if not table.rows:
            return f'<p class="caption">{head} No rows.</p>'
        columns = table.columns or columns_of(table.rows)
        reasons: dict[str, str] = {}
        cells = [_cells(column, table.rows, reasons) for column in columns]
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
        heads = "".join(_head(column, table.rows) for column in columns)
        notes = [escape(table.note)] if table.note else []
        notes += [f"<sup>{m}</sup> {escape(reason)}." for reason, m in reasons.items()]
        foot = f'<p class="notes">{" ".join(notes)}</p>' if notes else ""
        wide = " wide" if len(columns) > WIDE_TABLE else ""
        caption = f'<p class="caption" id="t{self.tables}">{head}</p>'
        # A region that scrolls must be reached, and named, without a mouse.
        grid = (
            f'<div class="scroll" role="region" tabindex="0" '
            f'aria-labelledby="t{self.tables}"><table><thead><tr>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>{foot}"
        )
        if len(table.rows) > LONG_TABLE:
            fold = f"<summary>Show its {len(table.rows)} rows</summary>"
            grid = f"<details>{fold}{grid}</details>"
        return f'<div class="table{wide}">{caption}{grid}</div>'


def _numeric(column: Column, rows: Sequence[Row]) -> bool:
    values = [row.get(column.key) for row in rows]
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in known
    )


def _head(column: Column, rows: Sequence[Row]) -> str:
    title = escape(column.title or column.key.replace("_", " "))
    unit = f"<br><small>{escape(column.unit)}</small>" if column.unit else ""
    kind = ' class="n"' if _numeric(column, rows) else ""
    return f'<th scope="col"{kind}>{title}{unit}</th>'


def _cells(column: Column, rows: Sequence[Row], reasons: dict[str, str]) -> list[str]:
    digits = column.digits
    if digits is None:
        digits = _digits([row.get(column.key) for row in rows])
    kind = ' class="n"' if _numeric(column, rows) else ""
    whole = all(not isinstance(row.get(column.key), float) for row in rows)
    texts = [_cell(column, row, 0 if whole else digits, reasons) for row in rows]
    return [f"<td{kind}>{text}</td>" for text in texts]


def _cell(column: Column, row: Row, digits: int, reasons: dict[str, str]) -> str:
    value = row.get(column.key)
    if value is None:
        return DASH + _mark(row.get("reason"), reasons)
    text = (
        shown_p(value)
        if column.key.startswith("p_") and isinstance(value, float)
        else _decimal(value, digits)
    )
    if column.interval:
        low, high = (row.get(key) for key in column.interval)
        if low is not None and high is not None:
            text += f" ({_decimal(low, digits)} to {_decimal(high, digits)})"
    return escape(text)


def _decimal(value: object, digits: int) -> str:
    """As `shown`, with the column's decimal places also for whole numbers in it."""
    if digits and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return shown(value, digits)


def _mark(reason: str | None, reasons: dict[str, str]) -> str:
    if not reason:
        return ""
    if reason not in reasons:
        number = len(reasons)
        reasons[reason] = chr(ord("a") + number) if number < 26 else str(number)
    return f"<sup>{reasons[reason]}</sup>"


def _digits(values: Sequence[Any]) -> int:
    sizes = [abs(value) for value in values if isinstance(value, float) and value]
    return min(6, max(1, 2 - floor(log10(median(sizes))))) if sizes else 1


def shown(value: object, digits: int = 3) -> str:
    """A value as a reader wants it: yes and no, 22,433, 0.812, a proper minus."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, float):
        return f"{value:,.{digits}f}".replace("-", MINUS)
    return str(value)


def shown_p(value: float) -> str:
    """A p value to four places, and never 0 where it is only small."""
    if value == 0:  # a share of swaps can be
        return "0"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _facts(facts: Facts) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
        for name, text in _flat(facts.values)
    )
    return f"<dl>{rows}</dl>"


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        words = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}: ")
        elif isinstance(value, list | tuple):
            yield words, ", ".join(str(entry) for entry in value) or "none"
        elif value is None or isinstance(value, bool):
            yield words, "none" if value is None else shown(value)
        else:
            yield words, str(value)


_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<nav aria-label="Contents"><ol>{contents}</ol></nav>
<main>
<header><h1>{title}</h1><p>{subtitle}</p></header>
<div class="lead">{lead}</div>
{sections}
</main>
</body>
</html>
"""
