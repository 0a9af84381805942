"""Leading tables of the report: means, both profiles side by side, effect sizes."""

from mlcore.reporting.page import Column
from mlcore.reporting.page import Table as PageTable
from mlcore.reporting.words import number_word
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.report.answer import (
    WEAKER_LEVEL,
    general_row,
    higher_of,
    is_different,
    level_text,
    n_variants,
    primary_rows,
    shown_once,
    these_readers,
)
from readerstudy.analysis.report.questions import ratings_words
from readerstudy.analysis.report.views import PAIR, column, flat, minus
from readerstudy.analysis.table import Analysis, Row

GENERAL = "readers in general"
NOT_TESTED = "not tested"
NEITHER = "neither"


def means_table(analysis: Analysis, *, by_reader: bool) -> PageTable:
    """Table 1 of the paper: of all readers, or of each."""
    variants = analysis["run"]["variants"]
    rows = [
        {"reader": row["reader"], "dataset": row["dataset"], "reason": row["reason"]}
        | {variant: row["text"][variant] for variant in variants}
        for row in shown_once(analysis["table1_means"], analysis)
        if (row["reader"] != ALL) == by_reader
    ]
    who = "of each reader" if by_reader else f"over {these_readers(analysis)}"
    columns = [Column("dataset", "data set"), *(Column(name) for name in variants)]
    if by_reader:
        columns.insert(0, Column("reader"))
    return PageTable(
        f"{ratings_words(analysis)}, mean ± SD {who}.",
        rows,
        columns,
        source="table1_means.csv, table1_means.md",
    )


def profiles_table(analysis: Analysis) -> PageTable:
    """What both profiles make of each pair, and whom each number speaks for."""
    these = these_readers(analysis)
    rows = [_profile_row(row, analysis) for row in primary_rows(analysis, "wilcoxon")]
    level = level_text(analysis)
    paper_p = "paper: Holm P" if n_variants(analysis) > 3 else "paper: P"
    paper = [Column("p_paper", paper_p, these), Column("paper", "paper: higher")]
    robust = [
        Column("p_exact", "robust: exact P", these),
        Column("p_holm", "Holm P", these),
        Column("robust", "robust: higher"),
        Column("p_general", "MRMC P", GENERAL),
        Column("general", "MRMC: higher"),
    ]
    leading = analysis["run"]["options"]["profile"]
    both = [*paper, *robust] if leading == "paper" else [*robust, *paper]
    return PageTable(
        "The pairs of variants as both profiles see them.",
        rows,
        [Column("dataset", "data set"), Column("pair", PAIR), *both],
        note=f"Higher: the variant found to be rated higher at P < {level}, or else at "
        "P < .05 where it says so. "
        "Each image counts once, ratings pooled over the readers; MRMC takes readers "
        f"and images as random. {_pair_note(analysis)}",
        source="wilcoxon.csv, mrmc.csv",
    )


def _pair_note(analysis: Analysis) -> str:
    if n_variants(analysis) == 2:
        return "There is one pair: no test goes before its own, and Holm's P is its P."
    gate = "pairs where Friedman's test of their data set is below the level"
    if n_variants(analysis) == 3:
        return f"The paper's rule tests {gate}; the robust one judges by Holm's P."
    return f"Both rules test {gate}, and judge by Holm's P."


def _profile_row(row: Row, analysis: Analysis) -> Row:
    p_paper = row["p_holm"] if n_variants(analysis) > 3 else row["p"]
    general = general_row(analysis, row["dataset"], row["pair"]) or {}
    return {
        "dataset": row["dataset"],
        "pair": minus(row["pair"], analysis),
        "p_paper": p_paper if row["tested"] else NOT_TESTED,
        "paper": _finding(row, analysis, "paper"),
        "p_exact": row["p_exact"],
        "p_holm": row["p_holm"],
        "robust": _finding(row, analysis, "robust"),
        "p_general": general.get("p"),
        "general": _general_finding(general, analysis) if general else None,
        "reason": row["reason"] or general.get("reason") or "not computed",
    }


def _finding(row: Row, analysis: Analysis, profile: str) -> str:
    """Which variant a profile finds rated higher, and at which level."""
    if is_different(analysis, row, profile):
        return higher_of(row["pair"], row["z"], analysis)
    if is_different(analysis, row, profile, WEAKER_LEVEL):
        return f"{higher_of(row['pair'], row['z'], analysis)} at .05"
    return NEITHER


def _general_finding(row: Row, analysis: Analysis) -> str | None:
    if row["p"] is None:
        return None
    if row["p"] >= WEAKER_LEVEL or not row["mean_diff"]:
        return NEITHER
    higher = higher_of(row["pair"], row["mean_diff"], analysis)
    alpha: float = analysis["run"]["options"]["alpha"]
    return higher if row["p"] < alpha else f"{higher} at .05"


def omnibus_table(analysis: Analysis) -> PageTable:
    """Friedman's test per data set, with the paper's P and the exact one.

    Of two variants it gives their mean ranks, and says why there is no test.
    """
    these, df = these_readers(analysis), f"{n_variants(analysis) - 1} df"
    rows = [
        flat(row, analysis) | {"gate": _gate(row, analysis)}
        for row in primary_rows(analysis, "friedman")
    ]
    return PageTable(
        f"Friedman's test of the {number_word(n_variants(analysis))} variants, by "
        "image.",
        rows,
        [
            Column("dataset", "data set"),
            Column("n", "images"),
            Column("all_tied", "all tied"),
            *(
                Column(f"mean_rank: {variant}", f"mean rank {variant}", digits=2)
                for variant in analysis["run"]["variants"]
            ),
            Column("chi2", "chi\N{SUPERSCRIPT TWO}", df, digits=2),
            Column("p_chi2", "paper: P", these),
            Column("gate", "pairs", f"P < {level_text(analysis)}"),
            Column("p_exact", "robust: exact P", these),
            column("W", rows),
        ],
        source="friedman.csv",
    )


def _gate(row: Row, analysis: Analysis) -> str:
    if n_variants(analysis) == 2:
        return "no gate"
    alpha = analysis["run"]["options"]["alpha"]
    is_open = row["p_chi2"] is not None and row["p_chi2"] < alpha
    return "open" if is_open else "closed"


def effects_table(analysis: Analysis) -> PageTable:
    """How large the differences are, of the images behind the tests."""
    rows = [flat(row, analysis) for row in primary_rows(analysis, "wilcoxon")]
    counts = ("dataset", "pair", "n", "n_pos", "n_zero", "n_neg")
    return PageTable(
        f"Size of the differences, as read by {these_readers(analysis)}; at the right, "
        "the exact P that ranks the ties too (Pratt).",
        rows,
        [
            *(column(key, rows) for key in counts),
            Column("mean_diff", "mean", "points", digits=2),
            Column("hl_shift", "shift (HL)", "points", digits=2),
            column("rbc", rows),
            column("p_pratt", rows),
        ],
        source="wilcoxon.csv",
    )
