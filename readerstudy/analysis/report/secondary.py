"""Secondary questions in the report: one table of their tests, then each folded."""

from collections.abc import Iterator, Mapping, Sequence

from mlcore.reporting.page import Block, Column, Section
from mlcore.reporting.page import Table as PageTable
from readerstudy.analysis.analyse import REMARKS, SECONDARY
from readerstudy.analysis.answers.answers import Remark
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.report.answer import level_text
from readerstudy.analysis.report.views import shown
from readerstudy.analysis.results_folder import csv_text
from readerstudy.analysis.table import Analysis, Row, Table, View
from readerstudy.analysis.tables import all_tables
from readerstudy.analysis.tables.agreement import AGREEMENT
from readerstudy.analysis.tables.by_part import OMNIBUS
from readerstudy.analysis.tables.descriptives import TABLE1_MEANS
from readerstudy.analysis.tables.rank_tables import FRIEDMAN, WILCOXON

# Of texts, on the page.
_MOST_REMARKS = 200
_TESTS = View(
    "The test of each secondary question: Friedman's, by image, the readers pooled.",
    (
        *("question", "finding", "option", "dataset", "n_images"),
        *(Column("n_readers", "readers"), "chi2", Column("p", "P")),
        Column("p_holm_secondary", "P, Holm"),
        Column("significant", "difference"),
    ),
)
_MEANS = View(
    "Answers, mean ± SD over all readers.",
    ("dataset", Column("text", "{}")),
    value="text",
    keep=lambda row: row["reader"] == ALL,
)
_PAIRS = View(
    "The pairs by Wilcoxon's test, answers pooled over the readers.",
    ("dataset", "pair", "n", "n_zero", "mean_diff", "hl_shift", "p_exact", "p_holm"),
    keep=lambda row: row["primary"],
    note="Holm's P is adjusted for the pairs of one question, not for the questions: a "
    "pair counts where the test of its question does.",
)
_READERS = (
    View(
        "Friedman's test of each reader, which of yes and no is Cochran's Q.",
        ("reader", "dataset", "n", "all_tied", "chi2", "df", Column("p_chi2", "P")),
        value="n",
        keep=lambda row: row["level"] == "reader" and row["dataset"] != ALL,
    ),
    View(
        "The pairs of each reader; of yes and no, the exact P is McNemar's.",
        ("reader", "dataset", "pair", "n", "n_pos", "n_neg", "p_exact"),
        keep=lambda row: row["level"] == "reader" and row["dataset"] != ALL,
    ),
)


def kind_blocks(analysis: Analysis) -> list[Block]:
    """What the primary question's kind has beside the tables of ratings."""
    return [
        block
        for table in all_tables.KIND_TABLES
        if table.name in analysis
        for view in _views(table)
        for block in shown(analysis, table, view)
    ]


def _views(table: Table) -> Sequence[View]:
    return table.views if table is not OMNIBUS else (_PART_TESTS,)


_PART_TESTS = View(
    "The test of each part: Friedman's, by image, the readers pooled.",
    (
        *("finding", "option", "dataset", "n_images", Column("n_readers", "readers")),
        *("chi2", Column("p", "P"), "p_holm"),
    ),
)


def secondary_blocks(analysis: Analysis, remarks: Sequence[Remark]) -> list[Block]:
    """All tests together, then each question and each text by itself, folded."""
    questions: Mapping[str, Analysis] = analysis.get("secondary", {})
    titles = {row["key"]: row["title"] for row in analysis["run"]["question"]["others"]}
    folded = [
        Section(f"{titles[key]} ({key})", list(_blocks(key, tables, analysis)), True)
        for key, tables in questions.items()
    ]
    texts = [
        Section(f"Texts ({key})", [_remarks(key, of_key)], True)
        for key, of_key in _by_key(remarks).items()
    ]
    return [*_tests(analysis, questions), *folded, *texts]


def _tests(analysis: Analysis, questions: Mapping[str, Analysis]) -> Iterator[Block]:
    rows = [
        {"question": key} | row
        for key, tables in questions.items()
        for row in tables.get(OMNIBUS.name, [])
    ]
    if not rows:
        return
    yield (
        "One question was named beforehand, and the answer above is about that one "
        "alone. The others are secondary: a difference counts where P is below "
        f"{level_text(analysis)} after Holm's adjustment for all of them in its data "
        "set."
    )
    together = {"run": analysis["run"], OMNIBUS.name: rows}
    yield from shown(together, OMNIBUS, _TESTS, f"{SECONDARY}/*/")


def _blocks(key: str, tables: Analysis, analysis: Analysis) -> Iterator[Block]:
    whole = {"run": analysis["run"], **tables}
    is_scored = TABLE1_MEANS.name in tables
    of_kind = [
        (table, view)
        for table in all_tables.KIND_TABLES
        if table is not OMNIBUS
        for view in table.views
    ]
    scored = [(TABLE1_MEANS, _MEANS), (WILCOXON, _PAIRS)]
    scored += [(AGREEMENT, view) for view in AGREEMENT.views]
    yes_no = [(WILCOXON, _PAIRS), (FRIEDMAN, _READERS[0]), (WILCOXON, _READERS[1])]
    for table, view in [*of_kind, *(scored if is_scored else yes_no)]:
        if table.name in tables:
            yield from shown(whole, table, view, f"{SECONDARY}/{key}/")
    tests: list[Row] = tables.get(OMNIBUS.name, [])
    if tests and all(row["p"] is None for row in tests):
        reasons = dict.fromkeys(row["reason"] for row in tests)
        yield f"Not tested: {'; '.join(reasons)}."


def _by_key(remarks: Sequence[Remark]) -> dict[str, list[Remark]]:
    by_key: dict[str, list[Remark]] = {}
    for remark in remarks:
        by_key.setdefault(remark.key, []).append(remark)
    return by_key


def _remark_rows(remarks: Sequence[Remark]) -> list[Row]:
    names = ("reader", "dataset", "image", "variant", "repeat", "text")
    return [{name: getattr(remark, name) for name in names} for remark in remarks]


def _remarks(key: str, remarks: Sequence[Remark]) -> Block:
    note = ""
    if len(remarks) > _MOST_REMARKS:
        note = f"And {len(remarks) - _MOST_REMARKS:,} more, in the file."
    return PageTable(
        "What readers wrote: listed, and not counted.",
        _remark_rows(remarks[:_MOST_REMARKS]),
        [
            *map(Column, ("reader", "dataset", "image", "variant", "text")),
        ],
        note,
        source=f"{SECONDARY}/{key}/{REMARKS}.csv",
    )


def remark_files(remarks: Sequence[Remark]) -> dict[str, bytes]:
    """A CSV for each question that wants a text, by its name in a results folder."""
    return {
        f"{SECONDARY}/{key}/{REMARKS}.csv": csv_text(_remark_rows(of_key)).encode()
        for key, of_key in _by_key(remarks).items()
    }
