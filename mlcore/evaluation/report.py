"""An evaluation as files: a page to read, figures, one CSV per table, one JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlcore.evaluation.answer import answer, limits
from mlcore.evaluation.methods import methods
from mlcore.files import atomic_file, atomic_folder, canonical_json, write_json
from mlcore.reporting.figures import Drawing, Picture, rendered
from mlcore.reporting.page import (
    Block,
    Facts,
    Page,
    Section,
    Table,
    columns_of,
    page_html,
    shown,
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
    (
        "Robustness",
        ("attack", "robustness"),
        ("robustness_verdicts", "robustness"),
    ),
    ("Loss surface", ("landscape",), ("lipschitz", "landscape")),
    ("Likeness of layers (CKA)", ("cka_biased", "cka_unbiased"), ("cka",)),
)


@dataclass(frozen=True)
class View:
    """A table of the page: the rows that hold `where`, without the columns `hidden`."""

    caption: str
    where: Mapping[str, object] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()


_OPERATING = ("cutoff", "sensitivity", "specificity")
_BEST = ("best_cutoff", "best_sensitivity", "best_specificity")
_VIEWS: Mapping[str, tuple[View, ...]] = {
    "localization": (
        View(
            "Share of the map inside the finding, beside chance: the map readers see.",
            {"map": "all findings", "measure": "energy_inside"},
            hidden=("patients", "area_share"),
        ),
        View("Every measure, for both kinds of map.", hidden=("patients",)),
    ),
    "localization_compare": (
        View("Differences between maps, A minus B, image by image."),
    ),
    "randomization": (
        View("Likeness to the trained network's maps as parts become random."),
    ),
    "classifier_metrics": (
        View(
            "Discrimination on clean images, with 95 % intervals.",
            {"split": "test"},
            hidden=(*_OPERATING, *_BEST),
        ),
        View(
            "Operating points at the cutoff chosen on the development split.",
            {"split": "test"},
            hidden=("auc", "ap", "undefined_redraws", *_BEST),
        ),
        View(
            "Operating points at the best cutoff of the split itself: too good by "
            "what was gained in choosing it.",
            {"split": "test"},
            hidden=("auc", "ap", "undefined_redraws", *_OPERATING),
        ),
    ),
    "classifier_compare": (View("Differences between variants, A minus B."),),
    "data_size": (View("AUC of networks trained on a part of the images."),),
    "label_distribution": (View("Labels per data set, split and finding."),),
    "matching": (View("Findings of both data sets, matched by name."),),
    "robustness_verdicts": (View("Up to which strength the variants hold."),),
    "robustness": (View("AUC and loss of all findings together under attack."),),
    "lipschitz": (View("Slope of the loss along the gradient's sign."),),
}
_TITLES = {
    "ap": "average precision",
    "auc": "AUC",
    "diff": "difference",
    "hi": "upper",
    "lo": "lower",
    "n_pos": "n positive",
    "p_delong": "p, DeLong",
    "p_swap_paper": "p, swaps (paper)",
    "p_swap_rank": "p, swaps of ranks",
    "sd": "SD",
    "significant_001": "P < 0.001",
}
_UNITS = {"eps": "of [0, 1]", "alpha": "of [0, 1]", "estimate": "loss per unit"}
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
    """Write figures/, report.html, a CSV per table and evaluation.json, in this order.

    Any table, figure or setting may be missing; the page says what there is. Figures
    of an earlier report in the folder go.

    Args:
        tables: rows by the name of the table.
        run: how they came about: dataset, runs, checkpoints, settings, versions, seed,
            redraws.
        drawings: of `figures.draw`, and others, which are shown at the end.

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
    readable, note = _readable(name, rows)
    if name in _ONLY_CSV or len(readable) > _MOST_ROWS:
        return [f"The {len(rows):,} rows behind this are in {name}.csv."]
    words = f"{name.replace('_', ' ').capitalize()}."
    views = _VIEWS.get(name, (View(words),))
    return [
        _shown_table(view, own, note, f"{name}.csv")
        for view in views
        if (own := [row for row in readable if _holds(row, view.where)])
    ]


def _holds(row: Row, where: Mapping[str, object]) -> bool:
    return all(row.get(key) == value for key, value in where.items())


def _shown_table(view: View, rows: Sequence[Row], note: str, source: str) -> Table:
    hidden = {*view.hidden, *(common := _in_common(rows))}
    columns = [
        replace(
            column,
            title=_TITLES.get(column.key, ""),
            unit=_UNITS.get(column.key, ""),
        )
        for column in columns_of(rows)
        if column.key not in hidden
    ]
    said = [
        f"{_TITLES.get(key, key.replace('_', ' '))} {shown(value)}"
        for key, value in common.items()
        if key not in view.hidden
    ]
    if said:
        note = f"In all rows: {', '.join(said)}. {note}"
    return Table(view.caption, rows, columns, note.strip(), source=source)


def _readable(name: str, rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """Of robustness, all findings together at a few strengths; else every row."""
    if name != "robustness":
        return rows, ""
    strengths = sorted({row["eps"] for row in rows})
    step = max(1, (len(strengths) - 1) // (_STRENGTHS - 1))
    few = {*strengths[::step], *strengths[-1:]}
    few_rows = [row for row in rows if row["finding"] == "all" and row["eps"] in few]
    return few_rows, f"Single findings and all strengths are in {name}.csv."


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
