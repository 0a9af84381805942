"""The report of an evaluation: a page to read, figures, a CSV per table, one JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlcore.evaluation.answer import answer, limitations
from mlcore.evaluation.evaluate import in_page_order
from mlcore.evaluation.part import Part, Row, Tables, View
from mlcore.files import atomic_file, atomic_folder, canonical_json, write_json
from mlcore.reporting.figures import Drawing, Picture, rendered
from mlcore.reporting.page import (
    Block,
    Column,
    Facts,
    Page,
    Section,
    Table,
    columns_of,
    page_html,
    shown,
)
from mlcore.reporting.words import told_once

# Of more than one part; each has its own beside them.
_COLUMNS = (
    Column("auc", "AUC"),
    Column("diff", "difference"),
    Column("hi", "upper"),
    Column("lo", "lower"),
    Column("n_pos", "n positive"),
    Column("sd", "SD"),
)
_MOST_ROWS = 400


def write_report(
    folder: Path,
    tables: Tables,
    run: Mapping[str, Any],
    drawings: Sequence[Drawing] = (),
) -> Path:
    """Write figures/, report.html, a CSV per table and evaluation.json, in this order.

    Any table, figure or setting may be missing; the page says what there is. Figures
    of an earlier report in the folder go.

    Args:
        tables: rows by the name of the table.
        run: how they came about: dataset, runs, checkpoints, settings, versions, seed,
            redraws.
        drawings: of `evaluate.draw`, and others, which are shown at the end.

    Returns:
        The page's path.

    Raises:
        ValueError: a value is NaN or infinite; nothing is written.
    """
    canonical_json({**tables, "run": run})  # refuse NaN before anything is written
    pictures = [rendered(drawing) for drawing in drawings]
    with atomic_folder(folder / "figures") as figures:
        for picture in pictures:
            (figures / f"{picture.name}.png").write_bytes(picture.png)
            (figures / f"{picture.name}.svg").write_bytes(picture.svg)
    page = folder / "report.html"
    with atomic_file(page) as file:
        file.write(page_html(evaluation_page(tables, run, pictures)).encode())
    write_evaluation(folder, tables, run)
    return page


def write_evaluation(folder: Path, tables: Tables, run: Mapping[str, Any]) -> None:
    """Write the tables, each a list of rows, and how they came about.

    `evaluation.json` is written after the tables: where it lies, they lie beside it.
    Then the tables of an earlier evaluation that this one does not have go: beside
    these they would pass for theirs.
    """
    before = _tables_of(folder / "evaluation.json")
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_file(folder / f"{name}.csv") as file:
            file.write(text.getvalue().encode())
    write_json(folder / "evaluation.json", {**tables, "run": run})
    for name in before - set(tables):
        (folder / f"{name}.csv").unlink(missing_ok=True)


def _tables_of(path: Path) -> set[str]:
    """Names of the tables that an evaluation holds; none if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return {name for name, rows in content.items() if isinstance(rows, list)}


def evaluation_page(
    tables: Tables, run: Mapping[str, Any], pictures: Sequence[Picture]
) -> Page:
    """The answer, figures, tables, methods, limits and identifiers as one page."""
    dataset = run.get("dataset", "unnamed data set")
    variants = ", ".join(run.get("runs", {}))
    made = run.get("generated_at")
    subtitle = [
        f"Variants: {variants}" if variants else "",
        f"Made {made}" if made else "",
    ]
    return Page(
        title=f"Evaluation of {dataset}",
        subtitle=". ".join(text for text in subtitle if text),
        lead=answer(tables),
        sections=[
            *_sections(tables, {picture.name: picture for picture in pictures}),
            Section("Methods", _methods(tables, run)),
            Section("What this cannot show", limitations(tables)),
            Section("Run identifiers and settings", [Facts(run)]),
        ],
    )


def _sections(tables: Tables, pictures: Mapping[str, Picture]) -> list[Section]:
    """Of the parts, then of what no part has a place for; only what there is."""
    part_of: dict[str, dict[str, Part | None]] = {}
    for part in in_page_order():
        for title, names in part.headings.items():
            part_of.setdefault(title, {}).update(dict.fromkeys(names, part))
    placed = {name for names in part_of.values() for name in names}
    others = [name for name in (*pictures, *tables) if name not in placed]
    part_of.setdefault("More", {}).update(dict.fromkeys(others))
    sections = []
    for title, parts in part_of.items():
        blocks: list[Block] = [pictures[name] for name in parts if name in pictures]
        for name, owner in parts.items():
            if rows := tables.get(name):
                blocks += table_blocks(name, rows, owner)
        if blocks:
            sections.append(Section(title, blocks))
    return sections


def table_blocks(
    name: str, rows: Sequence[Row], part: Part | None = None
) -> list[Block]:
    """A table of the evaluation as its part shows it.

    Tables without a view, and very long ones, are only named: their CSV file has them.
    """
    if part is None:
        views = [View(name, f"{name.replace('_', ' ').capitalize()}.")]
    else:
        views = [view for view in part.views if view.table == name]
    picked = [(view, view.pick(rows)) for view in views]
    if not picked or any(len(some) > _MOST_ROWS for _, some in picked):
        return [f"The {len(rows):,} rows behind this are in {name}.csv."]
    columns = (*_COLUMNS, *part.columns) if part else _COLUMNS
    known = {column.key: column for column in columns}
    return [
        _shown_table(view, held, known)
        for view, some in picked
        if (held := [row for row in some if _holds(row, view.where)])
    ]


def _holds(row: Row, where: Mapping[str, object]) -> bool:
    return all(row.get(key) == value for key, value in where.items())


def _shown_table(view: View, rows: Sequence[Row], known: Mapping[str, Column]) -> Table:
    common = _in_common(rows)
    columns = [
        replace(known[column.key], interval=column.interval)
        if column.key in known
        else column
        for column in columns_of(rows)
        if column.key not in {*view.hidden, *common}
    ]
    shared = [
        f"{_title(key, known)} {shown(value)}"
        for key, value in common.items()
        if key not in view.hidden
    ]
    note = view.note
    if shared:
        note = f"In all rows: {', '.join(shared)}. {note}"
    return Table(view.caption, rows, columns, note.strip(), source=f"{view.table}.csv")


def _title(key: str, known: Mapping[str, Column]) -> str:
    column = known.get(key, Column(key))
    return column.title or key.replace("_", " ")


def _in_common(rows: Sequence[Row]) -> dict[str, Any]:
    """The columns of text, truth or whole numbers that have one value in all rows."""
    if len(rows) < 2:
        return {}
    first = rows[0]
    return {
        key: value
        for key, value in first.items()
        if isinstance(value, str | bool | int)
        and key != "reason"
        and all(row.get(key) == value and type(row[key]) is type(value) for row in rows)
    }


def _methods(tables: Tables, run: Mapping[str, Any]) -> list[Block]:
    """A word on data and networks, then a section per table that was made."""
    values = {
        "redraws": _recorded(run.get("redraws")),
        "seed": _recorded(run.get("seed")),
        "maps": told_once(run.get("maps", {})) or "not recorded",
    }
    sections = [
        Section(title, [text.format(**values)])
        for part in in_page_order()
        for table, (title, text) in part.methods.items()
        if table in tables
    ]
    return [_data(run), *sections]


def _data(run: Mapping[str, Any]) -> str:
    text = f"Data set {run.get('dataset', 'not named')}"
    if run.get("external"):
        text += f"; external test set {run['external']}"
    runs = run.get("runs", {})
    if runs:
        text += "; networks " + ", ".join(f"{name} ({runs[name]})" for name in runs)
    versions = run.get("versions", {})
    if versions:
        text += "; " + ", ".join(f"{name} {versions[name]}" for name in versions)
    return (
        f"{text}; random seed {_recorded(run.get('seed'))}. Method after Han et al., "
        "Nature Communications 12:4315 (2021). Every setting is listed at the end of "
        "this page; each table lies beside it as CSV and each figure as PNG and SVG."
    )


def _recorded(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not recorded"
