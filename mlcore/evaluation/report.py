"""An evaluation as files: a page to read, figures, one CSV per table, one JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlcore.evaluation.answer import answer, limits
from mlcore.evaluation.methods import methods
from mlcore.files import atomic_file, atomic_folder, write_json
from mlcore.reporting.figures import Drawing, Picture, rendered
from mlcore.reporting.page import (
    Block,
    Facts,
    Page,
    Section,
    Table,
    columns_of,
    page_html,
)

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

# The page's parts: title, figures, tables; in this order, and only what there is.
_PARTS = (
    (
        "Where the maps point",
        ("saliency", "localization_all", "localization_own", "randomization"),
        ("localization", "localization_compare", "randomization"),
    ),
    (
        "Diagnosis",
        ("auc", "roc", "precision_recall", "data_size"),
        ("classifier_metrics", "classifier_compare", "data_size"),
    ),
    (
        "Data",
        ("label_distribution",),
        ("label_distribution", "matching"),
    ),
    ("Robustness", ("attack", "robustness"), ("robustness",)),
    ("Loss surface", ("landscape",), ("lipschitz", "landscape")),
    ("Likeness of layers (CKA)", ("cka_biased", "cka_unbiased"), ("cka",)),
)
_CAPTIONS = {
    "localization": "Where the maps point, beside chance.",
    "localization_compare": "Differences between maps, A minus B, image by image.",
    "randomization": "Likeness to the trained network's maps as parts become random.",
    "classifier_metrics": "Discrimination, with 95 % bootstrap intervals.",
    "classifier_compare": "Differences between variants, A minus B.",
    "data_size": "AUC of networks trained on a part of the images.",
    "label_distribution": "Labels per data set, split and finding.",
    "matching": "Findings of both data sets, matched by name.",
    "robustness": "AUC (mean over findings) and loss under attack.",
    "lipschitz": "Slope of the loss along the gradient's sign.",
}
# What cannot be read as numbers is a figure on the page, and whole in its CSV.
_ONLY_CSV = frozenset({"landscape", "cka"})
_MOST_ROWS = 400
_STRENGTHS = 5


def write_report(
    folder: Path,
    tables: Tables,
    run: Mapping[str, Any],
    drawings: Sequence[Drawing] = (),
) -> Path:
    """Write report.html, figures/, one CSV per table and evaluation.json, in this order.

    Any table, figure or setting may be missing; the page says what there is. Figures
    of an earlier report in the folder go.

    Args:
        tables: rows by the name of the table.
        run: how they came about: dataset, runs, checkpoints, settings, versions, seed,
            redraws.
        drawings: of `figures.draw`, and others, which are shown at the end.

    Returns:
        The page's path.
    """
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

    `evaluation.json` is written last: where it lies, its tables lie beside it.
    """
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_file(folder / f"{name}.csv") as file:
            file.write(text.getvalue().encode())
    write_json(folder / "evaluation.json", {**tables, "run": run})


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
        subtitle=". ".join(part for part in subtitle if part),
        lead=answer(tables),
        sections=[
            *_parts(tables, {picture.name: picture for picture in pictures}),
            Section("Methods", methods(tables, run)),
            Section("What this cannot show", limits(tables)),
            Section("Run identifiers and settings", [Facts(run)]),
        ],
    )


def _parts(tables: Tables, pictures: Mapping[str, Picture]) -> list[Section]:
    placed_figures = {name for _, figures, _ in _PARTS for name in figures}
    placed_tables = {name for _, _, names in _PARTS for name in names}
    others = (
        "More",
        tuple(name for name in pictures if name not in placed_figures),
        tuple(name for name in tables if name not in placed_tables),
    )
    sections = []
    for title, figures, names in (*_PARTS, others):
        blocks: list[Block] = [pictures[name] for name in figures if name in pictures]
        for name in names:
            if tables.get(name):
                blocks += table_blocks(name, tables[name])
        if blocks:
            sections.append(Section(title, blocks))
    return sections


def table_blocks(name: str, rows: Sequence[Row]) -> list[Block]:
    """A table of the evaluation as it is shown: without what all rows have in common.

    Tables of grids, and very long ones, are only named: they are in their CSV file.
    """
    caption = _CAPTIONS.get(name, f"{name.replace('_', ' ').capitalize()}.")
    shown, note = _readable(name, rows)
    if name in _ONLY_CSV or len(shown) > _MOST_ROWS:
        return [f"The {len(rows):,} rows behind this are in {name}.csv."]
    common = _in_common(shown)
    columns = [column for column in columns_of(shown) if column.key not in common]
    said = [f"{key.replace('_', ' ')} {value}" for key, value in common.items()]
    if said:
        note = f"In all rows: {', '.join(said)}. {note}"
    return [Table(caption, shown, columns, note.strip(), source=f"{name}.csv")]


def _readable(name: str, rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """Of robustness, all findings together at a few strengths; else every row."""
    if name != "robustness":
        return rows, ""
    strengths = sorted({row["eps"] for row in rows})
    step = max(1, (len(strengths) - 1) // (_STRENGTHS - 1))
    few = {*strengths[::step], *strengths[-1:]}
    shown = [row for row in rows if row["finding"] == "all" and row["eps"] in few]
    return shown, f"Single findings and all strengths are in {name}.csv."


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
        and all(row.get(key) == value for row in rows)
    }
