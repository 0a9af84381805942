"""Summary of an analysis as text: numbers as the paper prints them, and for each table
one sentence on whom it speaks for."""

import io
import textwrap
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from mlcore.reporting.words import counted
from readerstudy.analysis.context import PROFILES
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.report.answer import (
    answer,
    general_row,
    n_pairs,
    n_variants,
    shown_once,
    silent_readers,
    these_readers,
    where,
)
from readerstudy.analysis.report.questions import missing_words, ratings_words
from readerstudy.analysis.table import Analysis, Row

# Above this share of missing ratings the reader is warned.
MANY_MISSING = 0.05

# Characters; wider than any table.
NATURAL = 1000


@dataclass(frozen=True)
class TextTable:
    """A table for people, and what may and may not be read from it."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str


def summary(analysis: Analysis, *, width: int, terminal: bool) -> str:
    """The analysis as text, its prose in lines of `width`; for a terminal with rules.

    Tables keep their natural width: a number cut short would be another number.
    """
    out = io.StringIO()
    # Names come from the ratings table, and markup in them stays text.
    console = Console(
        file=out,
        width=NATURAL,
        force_terminal=terminal,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for line in overview(analysis):
        console.print(textwrap.fill(line, width))
    for table in text_tables(analysis):
        grid = RichTable(
            box=box.SIMPLE_HEAD if terminal else None,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0) if terminal else (0, 1),
        )
        for i, name in enumerate(table.header):
            grid.add_column(name, justify="left" if i == 0 else "right")
        for row in table.rows:
            grid.add_row(*row)
        console.print()
        console.print(textwrap.fill(table.title, width), style="bold")
        console.print(grid)
        console.print(textwrap.fill(table.note, width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def overview(analysis: Analysis) -> list[str]:
    """What went in, one line each, warnings among them; what came out, in two."""
    run = analysis["run"]
    share = run["n_missing"] / run["expected"]
    lines = [
        f"{run['input']['name']}: {counted(len(run['readers']), 'reader')}, "
        f"{counted(run['images'], 'image')} in "
        f"{counted(len(run['datasets']), 'data set')}, "
        f"variants {', '.join(run['variants'])}.",
    ]
    missing = missing_words(analysis)
    if missing:
        lines.append(
            f"{missing}; analysis.json lists them. An image that lacks one of a "
            "reader's is left out of that reader's tests."
        )
    if missing and share > MANY_MISSING:
        lines.append(
            "Warning: more than 5% of the ratings are missing; what is left may not "
            "stand for all."
        )
    if missing and (silent := silent_readers(analysis)):
        lines.append(
            f"Without a single rating, and so in no test: {', '.join(silent)}."
        )
    if run["repeats"]:
        lines.append(
            f"{counted(run['repeats'], 'repeated rating')} kept out of every table."
        )
    return [*lines, *_record(run["ledger"]), *answer(analysis)]


def text_tables(analysis: Analysis) -> list[TextTable]:
    """Table 1, then Friedman's test and the pairs, the readers pooled, per data set:
    as the leading profile has them, and as the other does."""
    leading = analysis["run"]["options"]["profile"]
    profiles = sorted(PROFILES, key=lambda name: name != leading)
    # Of two variants there is one pair, and no other test.
    parts = (_pairs,) if n_variants(analysis) == 2 else (_omnibus, _pairs)
    return [
        _means(analysis),
        *(
            part(analysis, robust=profile == "robust")
            for profile in profiles
            for part in parts
        ),
    ]


def p_text(p: float | None) -> str:
    """P as the paper prints it, to stand after "P": "< .001", "= .034"."""
    if p is None:
        return "undefined"
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace(" 0.", " .")


def _record(ledger: Row | None) -> list[str]:
    """Where the study's hash chains ended, to compare with `verify_ledger`."""
    if ledger is None:
        return []
    lock = f"Record: locked by event {ledger['number']}, hash {ledger['hash']}."
    return [
        lock,
        *(
            f"Record of {chain['reader']}: {counted(chain['length'], 'event')}, "
            f"head {chain['head']}."
            for chain in ledger["chains"]
        ),
        *(
            f"Not analysed, voided: run {run['run']} of {run['reader']} "
            f"({run['reason']})."
            for run in ledger["voided"]
        ),
    ]


def _means(analysis: Analysis) -> TextTable:
    variants = analysis["run"]["variants"]
    rows = [
        (row["dataset"], *(row["text"][v] or "no rating" for v in variants))
        for row in shown_once(analysis["table1_means"], analysis)
        if row["reader"] == ALL
    ]
    return TextTable(
        f"{ratings_words(analysis)}, mean ± SD over all ratings",
        ("data set", *variants),
        rows,
        f"This describes the ratings that {these_readers(analysis)} gave; "
        "table1_means.csv has each of them.",
    )


def _omnibus(analysis: Analysis, *, robust: bool) -> TextTable:
    variants = analysis["run"]["variants"]
    rows = []
    for row in _pooled(analysis, "friedman"):
        cells = [row["dataset"], str(row["n"])]
        cells += [_decimal(row["mean_rank"][v]) for v in variants]
        cells += [_decimal(row["chi2"]), _decimal(row["W"]), _p_cell(row, "p_chi2")]
        rows.append((*cells, p_text(row["p_exact"])) if robust else tuple(cells))
    complete = analysis["run"]["options"]["pooling"] == "complete"
    who = "every reader" if complete else "any reader"
    header = ["data set", "images", *(f"rank {v}" for v in variants), "chi2", "W", "P"]
    if robust:
        header.append("exact P")
    return TextTable(
        f"{_profile(robust)}: Friedman's test by image, ratings pooled over the "
        f"readers: mean ranks, chi2 ({n_variants(analysis) - 1} df), Kendall's W",
        tuple(header),
        rows,
        f"An image counts once, if {who} rated it under all variants. P speaks "
        f"for such images as read by {these_readers(analysis)}, not for readers in "
        "general.",
    )


def _pairs(analysis: Analysis, *, robust: bool) -> TextTable:
    alpha = p_text(analysis["run"]["options"]["alpha"]).lstrip("= ")
    header = ["data set", "pair A-B", "ties", "mean", "shift", "P"]
    gate = (
        ""
        if n_variants(analysis) == 2
        else f"A pair is tested where Friedman's P is below {alpha}. "
    )
    note = (
        f"{gate}P speaks for such images as read by {these_readers(analysis)}, not for "
        "readers in general"
    )
    if n_variants(analysis) > 3:
        note += f"; of {n_pairs(analysis)} pairs, Holm's P decides"
        header += [] if robust else ["Holm P"]
    if robust:
        header += ["exact P", "Pratt P", "Holm P", "gate", "MRMC P"]
        note += "; MRMC P, of the mean with readers and images random, does"
    return TextTable(
        f"{_profile(robust)}: Wilcoxon's signed-rank test of the same images: ties, "
        "mean and Hodges-Lehmann shift of A - B in rating points",
        tuple(header),
        [_pair(row, analysis, robust) for row in _pooled(analysis, "wilcoxon")],
        f"{note}.",
    )


def _pair(row: Row, analysis: Analysis, robust: bool) -> tuple[str, ...]:
    cells = [row["dataset"], row["pair"], str(row["n_zero"])]
    cells += [_decimal(row["mean_diff"]), _decimal(row["hl_shift"])]
    if not robust:
        many = n_variants(analysis) > 3
        if not row["tested"]:
            return (*cells, *["not tested"] * (1 + many))
        return (*cells, _p_cell(row, "p"), *([p_text(row["p_holm"])] if many else []))
    names = ("p_exact", "p_pratt", "p_holm")
    cells += [_p_cell(row, "p"), *(p_text(row[name]) for name in names)]
    cells.append("open" if row["tested"] else "closed")
    general = general_row(analysis, row["dataset"], row["pair"])
    return (*cells, p_text(general["p"] if general else None))


def _profile(robust: bool) -> str:
    return "Robust profile" if robust else "The paper's profile"


def _pooled(analysis: Analysis, table: str) -> list[Row]:
    """The rows that answer the question: readers pooled as was named beforehand."""
    pooling = analysis["run"]["options"]["pooling"]
    return shown_once(where(analysis[table], pooling=pooling), analysis)


def _p_cell(row: Row, name: str) -> str:
    """P, and where it does not come from a test, why."""
    undefined = row.get("chi2", row.get("z")) is None
    return f"{p_text(row[name])} ({row['reason']})" if undefined else p_text(row[name])


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
