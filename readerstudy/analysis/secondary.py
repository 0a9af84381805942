"""Secondary questions: the tables of each, and P adjusted for how many were asked.

One question was named beforehand; with four more at 5 % each, one study in five of maps
that do not differ would claim something. So the others claim by Holm's P alone.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from readerstudy.analysis.answers.answers import (
    Answers,
    Reading,
    numbers,
    without_map,
)
from readerstudy.analysis.context import Context, Options
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.statistics.multiplicity import holm
from readerstudy.analysis.table import Row
from readerstudy.analysis.tables import all_tables
from readerstudy.analysis.tables.by_part import OMNIBUS

# By the question's key, rows by table.
Secondary = dict[str, dict[str, list[Row]]]
# What the procedure of the primary question makes of a P.
_VERDICT = {"significant_001", "significant_05", "tested"}


def secondary(reading: Reading, options: Options) -> Secondary:
    """Each question's tables (see `secondary_tables`), in the order they were asked.

    Rows are those of the primary question's tables without its verdicts. `omnibus` has
    them: `p_holm_secondary` is adjusted for all secondary questions that have a test in
    the data set, and `significant` where it is below the level. A question with parts
    (options, findings) enters with its smallest P, adjusted for them.
    """
    results = {
        answers.question.key: _tables(answers, reading, options)
        for answers in reading.others
    }
    tests = [row for tables in results.values() for row in tables.get(OMNIBUS.name, [])]
    for row in tests:
        row |= {"p_holm_secondary": None, "significant": False}
        row["reason"] = row.pop("reason")  # the last, as everywhere
    for dataset in reading.ratings.datasets:
        _adjust([list(_tested(tables, dataset)) for tables in results.values()])
    for row in tests:
        p = row["p_holm_secondary"]
        row["significant"] = p is not None and p < options.alpha
    return results


def _tables(
    answers: Answers, reading: Reading, options: Options
) -> dict[str, list[Row]]:
    question = answers.question
    laid_out = _laid_out(answers, reading)
    context = Context(laid_out, options, answers, reading.cases)
    return {
        table.name: [_without_verdict(row) for row in table.rows(context)]
        for table in all_tables.secondary_tables(question)
    }


def _laid_out(answers: Answers, reading: Reading) -> Ratings:
    """The answers as numbers; before the map they are of no arm."""
    if not answers.question.before:
        return numbers(answers, reading.ratings, reading.cases)
    if answers.parts:
        return answers.parts[0].ratings
    empty = np.full(reading.ratings.values.shape, np.nan)
    return without_map(reading.ratings, empty, answers.question)


def _without_verdict(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in _VERDICT}


def _tested(tables: Mapping[str, list[Row]], dataset: str) -> Iterator[Row]:
    for row in tables.get(OMNIBUS.name, []):
        if row["dataset"] == dataset and row["p_holm"] is not None:
            yield row


def _adjust(questions: Sequence[Sequence[Row]]) -> None:
    """Fill in `p_holm_secondary`, Holm's over the questions that have rows.

    At its turn a question's parts share what is left of the level as Holm has it, so
    that its smallest P comes out as the question's.
    """
    asked = [rows for rows in questions if rows]
    smallest = [min(row["p_holm"] for row in rows) for rows in asked]
    adjusted = holm(smallest)
    for turn, place in enumerate(np.argsort(smallest, kind="stable")):
        for row in asked[place]:
            own = min(1.0, (len(asked) - turn) * row["p_holm"])
            row["p_holm_secondary"] = max(adjusted[place], own)
