"""Every table of an analysis, in the order of analysis.json and of the report.

To add one: a file beside this one that makes a `Table`, and a line here.
"""

from readerstudy.analysis.table import Table
from readerstudy.analysis.tables.agreement import AGREEMENT, AGREEMENT_PAIRS
from readerstudy.analysis.tables.descriptives import (
    CANNOT_JUDGE,
    SCORE_DISTRIBUTION,
    TABLE1_MEANS,
)
from readerstudy.analysis.tables.intra_reader import INTRA_READER
from readerstudy.analysis.tables.mrmc import MRMC
from readerstudy.analysis.tables.ordinal_model import ORDINAL_MODEL
from readerstudy.analysis.tables.periods import PERIOD_EFFECTS, PERIOD_TESTS
from readerstudy.analysis.tables.rank_tables import FRIEDMAN, WILCOXON

TABLES: tuple[Table, ...] = (
    TABLE1_MEANS,
    SCORE_DISTRIBUTION,
    FRIEDMAN,
    WILCOXON,
    MRMC,
    AGREEMENT,
    AGREEMENT_PAIRS,
    ORDINAL_MODEL,
    INTRA_READER,
    CANNOT_JUDGE,
    PERIOD_EFFECTS,
    PERIOD_TESTS,
)
