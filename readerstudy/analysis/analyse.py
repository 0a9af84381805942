"""Analysis of a ratings table: every table of results, and how they are written."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from mlcore.files import (
    atomic_file,
    canonical_json,
    sha256_bytes,
    sha256_file,
    write_json,
)
from readerstudy.analysis.answers.answers import Reading
from readerstudy.analysis.context import Context, Options
from readerstudy.analysis.questions import Question, is_key
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.results_folder import csv_text, results_folder
from readerstudy.analysis.secondary import secondary
from readerstudy.analysis.table import Analysis, Row
from readerstudy.analysis.tables import all_tables

# What `report` writes beside the tables, and where the figures lie.
FIGURES = "figures"
# A folder a secondary question lies in this one; of a text only what was written.
SECONDARY = "secondary"
REMARKS = "texts"
_DRAWN = (
    "scores",
    "scores_by_reader",
    "means",
    "differences",
    "pooled_differences",
    "kappa",
)
FILES = (
    "report.html",
    "table1_means.md",
    *(f"{FIGURES}/{name}.{ending}" for name in _DRAWN for ending in ("png", "svg")),
)
# The folders whose code numbers come from; `mlcore.files` and `mlcore.reporting` only
# write them down.
ROOT = Path(__file__).parents[2]
CODE = ("readerstudy/analysis",)
LIBRARIES = ("numpy", "scipy", "pandas", "statsmodels")


def analyse(
    ratings: Ratings,
    *,
    source: str,
    ledger: Row | None = None,
    end_of_study: Mapping[str, int] | None = None,
    reading: Reading | None = None,
    **options: Any,
) -> Analysis:
    """Every table, by name, each a list of rows; and `run`, which says how it was made.

    Of a `reading`, whose `ratings` are the ones given, also the tables that the primary
    question's kind has, and under `secondary` those of the other questions, by key.

    `source` names the input in `run`; `options` are those of Options. `ledger`, kept in
    `run`, is the record of the study that the ratings come from: `number` and `hash` of
    the event that locked it, in `chains`, for each `reader` and `run` the `length` and
    `head` of the chain, and in `voided` the runs that are not among the ratings.
    `end_of_study`, kept there too, counts the answers to the question whether the kinds
    of map could be told apart. Both are None for a table without a study. Values that
    are not defined are None and the row's `reason` says why; no value is NaN or
    infinite.
    """
    context = Context(ratings, Options(**options))
    if reading:
        context = replace(context, answers=reading.primary, cases=reading.cases)
    told_apart = None if end_of_study is None else dict(end_of_study)
    run = _run(context, source) | {"ledger": ledger, "end_of_study": told_apart}
    run["question"] = _question(context, reading)
    analysis: Analysis = {"run": run} | _primary(context)
    if reading and reading.others:
        analysis["secondary"] = secondary(reading, context.options)
    return analysis


def _primary(context: Context) -> dict[str, list[Row]]:
    """The tables of ratings, and those of the question's kind.

    Where answers are no ratings, the former say why for whatever they lack.
    """
    tables = {table.name: table.rows(context) for table in all_tables.TABLES}
    if why := context.why_no_ratings:
        for row in (row for rows in tables.values() for row in rows):
            row["reason"] = why if row["reason"] else None
    own = all_tables.kind_tables(context.question)
    return tables | {table.name: table.rows(context) for table in own}


def _question(context: Context, reading: Reading | None) -> Row:
    """Which question leads, what its ratings are, and which others there are.

    `scores` are the ratings there can be, none for a slider; `why_not` says why the
    answers are no ratings at all.
    """
    question, why_not = context.question, context.why_no_ratings
    return _words(question) | {
        "scores": [] if why_not else list(context.ratings.question.scores),
        "why_not": why_not,
        "others": [_words(answers.question) for answers in reading.others]
        if reading
        else [],
    }


def _words(question: Question) -> Row:
    return {"key": question.key, "kind": question.kind, "title": question.title}


def write_analysis(
    analysis: Analysis, folder: Path, *, files: Mapping[str, bytes] | None = None
) -> None:
    """Write `analysis.json` and a CSV per table into `folder`, whole or not at all.

    `files` lie beside them, by name, as those of FILES may: the report with its
    figures. An earlier analysis in `folder` is replaced. Raises RatingsError if
    `folder` is a file, holds anything else or cannot be written.
    """
    tables = {
        f"{table.name}.csv": csv_text(analysis[table.name]).encode()
        for table in (*all_tables.TABLES, *all_tables.KIND_TABLES)
        if table.name in analysis
    }
    for key, of_question in analysis.get("secondary", {}).items():
        for name, rows in of_question.items():
            tables[f"{SECONDARY}/{key}/{name}.csv"] = csv_text(rows).encode()
    with results_folder(folder, {"analysis.json", *tables, *_earlier(folder)}) as new:
        write_json(new / "analysis.json", analysis)
        for name, content in (tables | dict(files or {})).items():
            with atomic_file(new / name) as file:
                file.write(content)


def _earlier(folder: Path) -> set[str]:
    """The files of an earlier analysis, whose questions may have been others."""
    names = [table.name for table in (*all_tables.TABLES, *all_tables.KIND_TABLES)]
    of_question = {f"{name}.csv" for name in (*names, REMARKS)}
    others = {
        path.relative_to(folder).as_posix()
        for path in folder.glob(f"{SECONDARY}/*/*.csv")
        if path.name in of_question and is_key(path.parent.name)
    }
    return {*FILES, *(f"{name}.csv" for name in names), *others}


def _run(context: Context, source: str) -> Row:
    ratings, options = context.ratings, context.options
    missing = ratings.missing()
    return {
        "schema_version": 2,
        "input": {"name": source, "sha256": ratings.sha256},
        "options": {
            **{name: v for name, v in asdict(options).items() if name != "seed"},
            "p": "asymptotic, two-sided; zeros dropped, no continuity correction",
            "intervals": "95 %; percentiles of redrawn images, but for ICC, MRMC, odds "
            "ratios, means, shifts and Kendall's W",
        },
        "seed": options.seed,
        "versions": versions(),
        "code_sha256": code_sha256(),
        "readers": list(ratings.readers),
        "datasets": list(ratings.datasets),
        "variants": list(ratings.variants),
        "images": len(ratings.images),
        "expected": int(ratings.assigned.sum()) * len(ratings.variants),
        "n_missing": len(missing),
        "missing": missing,
        "repeats": len(ratings.repeats),
        "training": ratings.n_training,
    }


def versions() -> Row:
    """Of this application, of Python and of the libraries that numbers come from."""
    return {
        "readerstudy": _version(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def _version() -> str | None:
    """None when this runs from a folder that was never installed."""
    try:
        return metadata.version("readerstudy")
    except metadata.PackageNotFoundError:
        return None


def code_sha256() -> str:
    """Of the code that numbers come from: SHA-256 of its files' paths and contents."""
    sources = {
        path.relative_to(ROOT).as_posix(): sha256_file(path)
        for name in CODE
        for path in (ROOT / name).rglob("*.py")
    }
    return sha256_bytes(canonical_json(sources))
