"""Every table of an analysis, in the order of analysis.json and of the report.

To add one: a file beside this one that makes a `Table`, and a line here.
"""

from readerstudy.analysis.questions import Question
from readerstudy.analysis.table import Table
from readerstudy.analysis.tables.agreement import AGREEMENT, AGREEMENT_PAIRS
from readerstudy.analysis.tables.by_part import (
    FRIEDMAN_BY_PART,
    MEANS_BY_PART,
    OMNIBUS,
    SHARES,
    WILCOXON_BY_PART,
)
from readerstudy.analysis.tables.cannot_judge_tests import CANNOT_JUDGE_TESTS
from readerstudy.analysis.tables.descriptives import (
    CANNOT_JUDGE,
    SCORE_DISTRIBUTION,
    TABLE1_MEANS,
)
from readerstudy.analysis.tables.flow import FLOW, MISSING
from readerstudy.analysis.tables.intra_reader import INTRA_READER
from readerstudy.analysis.tables.mrmc import MRMC
from readerstudy.analysis.tables.mrmc_omnibus import MRMC_OMNIBUS
from readerstudy.analysis.tables.ordinal_model import ORDINAL_MODEL
from readerstudy.analysis.tables.periods import PERIOD_EFFECTS, PERIOD_TESTS
from readerstudy.analysis.tables.points import MAP_PEAKS, POINTS
from readerstudy.analysis.tables.rank_tables import FRIEDMAN, WILCOXON

TABLES: tuple[Table, ...] = (
    TABLE1_MEANS,
    SCORE_DISTRIBUTION,
    FLOW,
    FRIEDMAN,
    WILCOXON,
    MRMC,
    MRMC_OMNIBUS,
    AGREEMENT,
    AGREEMENT_PAIRS,
    ORDINAL_MODEL,
    INTRA_READER,
    CANNOT_JUDGE,
    CANNOT_JUDGE_TESTS,
    MISSING,
    PERIOD_EFFECTS,
    PERIOD_TESTS,
)

# Tables that answers of other kinds have: see `kind_tables`.
KIND_TABLES: tuple[Table, ...] = (
    OMNIBUS,
    SHARES,
    MEANS_BY_PART,
    POINTS,
    MAP_PEAKS,
    FRIEDMAN_BY_PART,
    WILCOXON_BY_PART,
)


def kind_tables(question: Question) -> tuple[Table, ...]:
    """What a question of its kind has beside the tables of a rating, or in place."""
    if question.kind == "points":
        return (POINTS,) if question.before else (SHARES, POINTS, MAP_PEAKS)
    if question.kind == "box":
        return () if question.before else (OMNIBUS,)
    described = SHARES if question.is_yes_no else MEANS_BY_PART
    if question.before:  # of no arm, so that there is nothing to compare
        return (described,)
    if not question.has_items:
        return (SHARES,) if question.is_yes_no else ()
    if question.kind == "slider":
        return (described, OMNIBUS)
    return (described, OMNIBUS, FRIEDMAN_BY_PART, WILCOXON_BY_PART)


def secondary_tables(question: Question) -> tuple[Table, ...]:
    """Of a question that is not the primary one: the test first that is adjusted for
    how many were asked, then what a rating has where it is one, then its own."""
    own = kind_tables(question)
    if question.before or question.has_items or question.kind == "box":
        return own
    if question.is_yes_no:
        return (OMNIBUS, *own, FRIEDMAN, WILCOXON)
    tables = [table for table in TABLES if table is not SCORE_DISTRIBUTION]
    return (OMNIBUS, *(tables if question.kind == "slider" else TABLES))
