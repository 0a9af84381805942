"""Which tables of an analysis the report shows, which of their rows and columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlcore.reporting.page import MINUS, Block, Column, Table
from readerstudy.analysis.analyse import Analysis, Row
from readerstudy.analysis.ratings import ALL

PAIR = f"pair A {MINUS} B"
# Longer tables are only named on the page: their CSV holds them.
_MOST_ROWS = 400

_TITLES = {
    "ICC2_1": "ICC(2,1)",
    "ICC2_k": "ICC(2,k)",
    "OR": "odds ratio",
    "W": "Kendall's W",
    "all_tied": "all tied",
    "alpha_ordinal": "alpha",
    "by": "period",
    "by_reason": "",
    "chi2": "chi\N{SUPERSCRIPT TWO}",
    "dataset": "data set",
    "exact": "the same",
    "fleiss": "Fleiss' kappa",
    "hl_shift": "shift (HL)",
    "mean_change": "later \N{MINUS SIGN} first",
    "mean_diff": f"mean A {MINUS} B",
    "n_cannot_judge": "cannot be judged",
    "n_images": "images",
    "n_neg": "B higher",
    "n_pos": "A higher",
    "n_zero": "ties",
    "p_chi2": "P",
    "p_exact": "P, exact",
    "p_holm": "P, Holm",
    "p_pratt": "P, Pratt",
    "p_value": "P",
    "pair": PAIR,
    "qkappa": "kappa",
    "qkappa_max": "highest",
    "qkappa_mean": "mean kappa",
    "qkappa_min": "lowest",
    "rbc": "rank-biserial r",
    "speaks_for": "speaks for",
    "tested": "gate open",
    "var_case": "variance of images",
    "var_reader": "of readers",
    "var_reader_case": "of both",
    "within_1": "within 1",
}
_UNITS = {"exact": "%", "within_1": "%", "percent": "%"}
_TWO_PLACES = frozenset(
    {
        *("ICC2_1", "ICC2_k", "OR", "W", "alpha_ordinal", "chi2", "fleiss", "hl_shift"),
        *("mean", "mean_diff", "mean_rank", "qkappa", "qkappa_max", "qkappa_mean"),
        *("qkappa_min", "rbc"),
    }
)
# Limits that are not named after what they belong to.
_LIMITS = {
    "alpha_ordinal": ("alpha_lo", "alpha_hi"),
    "mean_diff": ("ci_lo", "ci_hi"),
    "qkappa_mean": ("qkappa_lo", "qkappa_hi"),
}


@dataclass(frozen=True)
class View:
    """A table of the analysis on the page.

    columns: in this order; an object of the table is one column per entry.
    value: what the table is for: where no row has it, a sentence says why.
    keep: which rows.
    """

    table: str
    caption: str
    columns: tuple[str, ...]
    value: str
    keep: Callable[[Row], bool] = lambda _: True
    note: str = ""


def _of_a_reader(row: Row) -> bool:
    return bool(row["level"] == "reader" and row["dataset"] != ALL)


_PAIR_TESTS = ("n", "n_zero", "mean_diff", "hl_shift", "rbc", "p_value", "p_exact")

MRMC = (
    View(
        "mrmc",
        "Mean differences with readers and images random (RRRC), with readers fixed "
        "(FRRC) and with images fixed (RRFC), and the components of their variance.",
        (
            *("dataset", "pair", "inference", "speaks_for", "mean_diff", "df"),
            *("p_value", "var_reader", "var_case", "var_reader_case"),
        ),
        "mean_diff",
    ),
)
EACH_READER = (
    View(
        "friedman",
        "Friedman's test of each reader; P speaks for that reader alone.",
        (
            *("reader", "dataset", "n", "all_tied", "mean_rank", "chi2", "p_chi2"),
            *("p_exact", "W"),
        ),
        "n",
        _of_a_reader,
    ),
    View(
        "wilcoxon",
        "Wilcoxon's test of each reader; P speaks for that reader alone.",
        ("reader", "dataset", "pair", *_PAIR_TESTS, "p_holm", "tested"),
        "n",
        _of_a_reader,
    ),
)
AGREEMENT = (
    View(
        "agreement",
        "Agreement between readers about the ratings.",
        (
            *("dataset", "variant", "n_images", "alpha_ordinal", "ICC2_1", "ICC2_k"),
            *("qkappa_mean", "qkappa_min", "qkappa_max", "fleiss"),
        ),
        "alpha_ordinal",
        lambda row: row["kind"] == "rating",
        "Kappa with quadratic weights is of pairs of readers (agreement_pairs.csv); "
        "Fleiss' kappa takes neighbouring scores for as different as 0 and 5.",
    ),
    View(
        "agreement",
        "Agreement between readers about the differences between variants, on which "
        "the conclusion rests.",
        (
            *("dataset", "variant", "n_images", "alpha_ordinal", "ICC2_1", "ICC2_k"),
            *("qkappa_mean", "qkappa_min", "qkappa_max"),
        ),
        "alpha_ordinal",
        lambda row: row["kind"] != "rating",
    ),
    View(
        "intra_reader",
        "Readers against themselves, on maps that they were shown once more.",
        ("reader", "dataset", "n", "exact", "within_1", "mean_change", "qkappa"),
        "qkappa",
    ),
)
SENSITIVITY = (
    View(
        "wilcoxon",
        "The pairs pooled over whichever readers rated all three maps of an image, so "
        "that an image with a missing rating counts too.",
        ("dataset", "pair", *_PAIR_TESTS, "p_holm"),
        "n",
        lambda row: row["pooling"] == "available",
    ),
    View(
        "wilcoxon",
        "Every reader's rating of an image taken for an image of its own. Ratings of "
        "one image are alike, so these P are too small and speak for nobody.",
        ("dataset", "pair", *_PAIR_TESTS, "p_holm"),
        "n",
        lambda row: row["level"] == "blocks",
    ),
    View(
        "ordinal_model",
        "Odds of a higher rating of A against B, by a cumulative-logit model.",
        ("dataset", "pair", "n", "n_images", "OR", "p_value"),
        "OR",
        lambda row: row["ratings"] == "all",
    ),
    View(
        "ordinal_model",
        "The same of the first map that a reader saw of each image.",
        ("dataset", "pair", "n", "n_images", "OR", "p_value"),
        "OR",
        lambda row: row["ratings"] == "first",
    ),
    View(
        "period_effects",
        "Mean rating by when a map was shown.",
        ("dataset", "by", "period", "n", "mean"),
        "period",
    ),
    View(
        "period_tests",
        "Whether ratings, or the differences between variants, drifted.",
        ("dataset", "by", "effect", "n", "chi2", "df", "p_value"),
        "p_value",
    ),
)
NOT_JUDGED = (
    View(
        "cannot_judge",
        "Maps that readers said cannot be judged.",
        ("dataset", "variant", "n", "n_cannot_judge", "percent", "by_reason"),
        "n_cannot_judge",
        lambda row: row["reader"] == ALL,
    ),
)


def view_blocks(analysis: Analysis, views: Sequence[View]) -> list[Block]:
    """The tables of the analysis as the views show them; none where it has no rows."""
    return [block for view in views for block in _view_blocks(analysis, view)]


def _view_blocks(analysis: Analysis, view: View) -> Iterator[Block]:
    rows = [
        flat(row, analysis) for row in analysis.get(view.table) or [] if view.keep(row)
    ]
    if not rows:
        return
    source = f"{view.table}.csv"
    if all(row.get(view.value) is None for row in rows):
        why = dict.fromkeys(row["reason"] for row in rows if row["reason"])
        yield f"{view.caption} Not given: {', '.join(why) or 'no value is defined'}."
    elif len(rows) > _MOST_ROWS:
        yield f"{view.caption} Its {len(rows):,} rows are in {source}."
    else:
        keys = [key for name in view.columns for key in _keys(name, rows)]
        columns = [column(key, rows) for key in keys]
        yield Table(view.caption, rows, columns, view.note, source=source)


def _keys(name: str, rows: Sequence[Row]) -> list[str]:
    """The column of a name; of an object, one for each of its entries."""
    found = dict.fromkeys(key for row in rows for key in row)
    return [key for key in found if key == name or key.startswith(f"{name}: ")]


def column(key: str, rows: Sequence[Row], digits: int | None = None) -> Column:
    """The column of a key, with its interval in the same cells where rows have one."""
    limits = _LIMITS.get(key, (f"{key}_lo", f"{key}_hi"))
    interval = limits if rows and set(limits) <= rows[0].keys() else None
    unit = "95 % interval" if interval else _UNITS.get(key, "")
    name, _, entry = key.partition(": ")
    if digits is None and name in _TWO_PLACES:
        digits = 2
    title = _TITLES.get(name, name.replace("_", " "))
    return Column(key, f"{title} {entry}".strip(), unit, digits, interval)


def flat(row: Row, analysis: Analysis) -> Row:
    """The row as the page takes it: objects as columns, P and pairs under fit names."""
    return dict(_flat(row, analysis))


def _flat(row: Mapping[str, Any], analysis: Analysis) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}: {key}", entry) for key, entry in value.items())
        elif name in {"pair", "variant"}:
            yield name, minus(value, analysis)
        else:
            # The page prints as P what is named so.
            yield "p_value" if name == "p" else name, value


def minus(pair: str, analysis: Analysis) -> str:
    """A pair with a minus between its variants, whose codes may hold hyphens."""
    variants = analysis["run"]["variants"]
    for a in variants:
        for b in variants:
            if pair == f"{a}-{b}":
                return f"{a} {MINUS} {b}"
    return pair
