"""Conclusions of an analysis in sentences computed from its rows; its limitations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from math import comb
from typing import Any

from mlcore.reporting.words import listed
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.report.questions import (
    above_words,
    missing_words,
    without_ratings,
)
from readerstudy.analysis.table import Analysis, Row

# Given beside the paper's level everywhere. Readers in general are judged by it alone:
# their t test has few degrees of freedom, and hardly reaches .001 with six readers.
WEAKER_LEVEL = 0.05
_FEW_READERS = 5
_FEW_IMAGES = 15


@dataclass(frozen=True)
class Finding:
    """A pair of variants of which one was found to be rated higher than the other.

    in_general: whether that holds for readers in general too; None where it is not
    defined, as with one reader.
    """

    dataset: str
    higher: str
    lower: str
    in_general: bool | None


def answer(analysis: Analysis) -> list[str]:
    """Two sentences: what these readers found different; what holds beyond them. One,
    where what they answered can be no difference."""
    if why := without_ratings(analysis):
        return why
    differences = findings(analysis)
    return [_these(analysis, differences), _others(analysis, differences)]


def findings(analysis: Analysis) -> list[Finding]:
    """The pairs that the leading profile finds different, data set by data set."""
    differences = []
    for row in primary_rows(analysis, "wilcoxon"):
        if is_different(analysis, row, analysis["run"]["options"]["profile"]):
            higher = higher_of(row["pair"], row["z"], analysis)
            names = set(variants_of(row["pair"], analysis)) - {higher}
            general = general_row(analysis, row["dataset"], row["pair"])
            differences.append(
                Finding(row["dataset"], higher, names.pop(), _holds(row, general))
            )
    return differences


def is_different(
    analysis: Analysis, row: Row, profile: str, level: float | None = None
) -> bool:
    """Whether a profile finds the pair of a row of `wilcoxon` different.

    At `level`, or the analysis' own; always strictly below it.

    "paper": Friedman's P and Wilcoxon's, both asymptotic, are below the level.
    "robust": the exact P of Friedman's test (where there is none, the asymptotic one)
    and Holm's P of the pair are.
    The paper's rule is for three variants. Of two there is one pair and no gate; behind
    a gate of more than three Holm's P decides in both, or too much would be found.
    """
    alpha: float = analysis["run"]["options"]["alpha"] if level is None else level
    (omnibus,) = (
        gate
        for gate in where(analysis["friedman"], level=row["level"])
        if all(gate[key] == row[key] for key in ("reader", "dataset", "pooling"))
    )
    exact = omnibus["p_exact"] if profile == "robust" else None
    gate = omnibus["p_chi2"] if exact is None else exact
    variants = n_variants(analysis)
    pair = row["p"] if profile == "paper" and variants == 3 else row["p_holm"]
    p_values = (pair,) if variants == 2 else (gate, pair)
    return all(p is not None and p < alpha for p in p_values)


def n_variants(analysis: Analysis) -> int:
    return len(analysis["run"]["variants"])


def n_pairs(analysis: Analysis) -> int:
    return comb(n_variants(analysis), 2)


def primary_rows(analysis: Analysis, table: str) -> list[Row]:
    """The rows of the tests named beforehand: per data set, readers pooled."""
    pooling = analysis["run"]["options"]["pooling"]
    return [
        row
        for row in where(analysis[table], level="pooled", pooling=pooling)
        if row["dataset"] != ALL
    ]


def shown_once(rows: Iterable[Row], analysis: Analysis) -> list[Row]:
    """The rows but those of ALL where there is one data set, which say the same."""
    several = len(analysis["run"]["datasets"]) > 1
    return [row for row in rows if several or row["dataset"] != ALL]


def general_row(analysis: Analysis, dataset: str, pair: str) -> Row | None:
    """The pair's row of `mrmc` with readers and images random, if there is one."""
    rows = where(analysis.get("mrmc", []), dataset=dataset, pair=pair, inference="RRRC")
    return rows[0] if rows else None


def variants_of(pair: str, analysis: Analysis) -> tuple[str, str]:
    """A and B of "A-B"; a code may hold a hyphen itself."""
    variants = analysis["run"]["variants"]
    return next((a, b) for a in variants for b in variants if f"{a}-{b}" == pair)


def higher_of(pair: str, sign: float, analysis: Analysis) -> str:
    """The variant of the pair that `sign`, of A minus B, says is rated higher."""
    a, b = variants_of(pair, analysis)
    return a if sign > 0 else b


def _holds(row: Row, general: Row | None) -> bool | None:
    if general is None or general["p"] is None:
        return None
    same_way = general["mean_diff"] * row["z"] > 0
    return bool(same_way and general["p"] < WEAKER_LEVEL)


def these_readers(analysis: Analysis) -> str:
    """'these 6 readers': those who rated anything."""
    number = len(analysis["run"]["readers"]) - len(silent_readers(analysis))
    return "this one reader" if number == 1 else f"these {number} readers"


def silent_readers(analysis: Analysis) -> list[str]:
    """Readers without a single rating."""
    return [
        row["reader"]
        for row in analysis["table1_means"]
        if row["reader"] != ALL == row["dataset"] and not any(row["n"].values())
    ]


def level_text(analysis: Analysis) -> str:
    """The level of the tests, as the paper prints it: ".001"."""
    return f"{analysis['run']['options']['alpha']:g}".removeprefix("0")


def _these(analysis: Analysis, differences: Sequence[Finding]) -> str:
    by_outcome: dict[str, list[str]] = {}
    for dataset in analysis["run"]["datasets"]:
        of_dataset = [found for found in differences if found.dataset == dataset]
        outcome = _outcome(analysis, dataset, of_dataset)
        by_outcome.setdefault(outcome, []).append(dataset)
    # Differences before their absence; the data sets otherwise in their order.
    outcomes = sorted(
        by_outcome.items(), key=lambda item: item[0] == above_words(analysis).nothing
    )
    parts = [f"in {listed(names)}, {outcome}" for outcome, names in outcomes]
    text = "; ".join(parts)
    adjusted = (
        f", adjusted for {n_pairs(analysis)} pairs (Holm),"
        if n_variants(analysis) > 3
        else ""
    )
    level = f"P < {level_text(analysis)}{adjusted} counts as a difference"
    return f"{text[0].upper()}{text[1:]} ({level})."


def _outcome(analysis: Analysis, dataset: str, differences: Sequence[Finding]) -> str:
    if differences:
        return _order(differences, analysis)
    rows = where(primary_rows(analysis, "friedman"), dataset=dataset)
    if rows and rows[0]["n"] == 0:
        if analysis["run"]["options"]["pooling"] == "complete":
            return "no image has every rating, so nothing was tested"
        return "no image was rated under all variants, so nothing was tested"
    return above_words(analysis).nothing


def _order(differences: Sequence[Finding], analysis: Analysis) -> str:
    """'maps of B and C were rated higher than those of A', in few words."""
    above: dict[tuple[str, ...], list[str]] = {}
    for variant in analysis["run"]["variants"]:
        lower = tuple(pair.lower for pair in differences if pair.higher == variant)
        if lower:
            above.setdefault(lower, []).append(variant)
    # The variant above most others first.
    ordered = sorted(above.items(), key=lambda item: -len(item[0]))
    above_in_words = above_words(analysis)
    verbs = chain([above_in_words.first], repeat(above_in_words.again))
    return ", and ".join(
        f"maps of {listed(higher)} {verb} {listed(lower)}"
        for (lower, higher), verb in zip(ordered, verbs, strict=False)
    )


def _others(analysis: Analysis, differences: Sequence[Finding]) -> str:
    start = f"This speaks for {these_readers(analysis)} and images such as these"
    if these_readers(analysis) == "this one reader":
        return f"{start}; one reader says nothing of others."
    if not differences:
        return f"{start}; a difference that was not found is not shown to be absent."
    holds = [finding for finding in differences if finding.in_general]
    fails = [finding for finding in differences if finding.in_general is False]
    if not holds and not fails:
        return f"{start}; for readers in general it could not be tested."
    level = f"at P < {WEAKER_LEVEL:g}".replace("0.", ".")
    if not fails:
        return f"{start}; all of it holds for readers in general as well ({level})."
    shown = f"only for {_pairs(holds)}" if holds else "for none of it"
    return (
        f"{start}; for readers in general it is shown {shown} (tested with readers and "
        f"images random, {level})."
    )


def _pairs(differences: Iterable[Finding]) -> str:
    by_pair: dict[str, list[str]] = {}
    for finding in differences:
        pair = f"{finding.higher} over {finding.lower}"
        by_pair.setdefault(pair, []).append(finding.dataset)
    return listed([f"{pair} in {listed(names)}" for pair, names in by_pair.items()])


def limitations(analysis: Analysis) -> list[str]:
    """What a reader of the report must not take from it."""
    return [
        "A rating says how plausible a map looks to a reader who knows the diagnosis: "
        "whether its hot spots lie where the reader expects them. It does not say "
        "whether the map explains what the network computed: a plausible map can be "
        "an untrue explanation, and an implausible one a true one.",
        "Readers were not told which variant a map came from. But maps of differently "
        "trained networks differ in texture, coarse or fine: a reader can come to "
        "recognise a style and prefer it as such.",
        f"Tests of ratings pooled over the readers speak for {these_readers(analysis)} "
        "and images such as these. What other readers would say is told by the "
        "analysis with readers as a random sample, and its interval is wide when they "
        "are few.",
        *_few(analysis),
        "A difference that was not found is not shown to be absent; intervals say "
        "which differences remain possible.",
    ]


def _few(analysis: Analysis) -> list[str]:
    run = analysis["run"]
    paragraphs = []
    if 1 < len(run["readers"]) < _FEW_READERS:
        paragraphs.append(
            f"{len(run['readers'])} readers are few for a statement about readers in "
            "general: its interval rests on their spread alone."
        )
    small = [
        f"{row['dataset']} ({row['n']})"
        for row in primary_rows(analysis, "friedman")
        if row["n"] < _FEW_IMAGES
    ]
    if small:
        paragraphs.append(
            f"Few images could be tested in {listed(small)}: only large differences "
            "can be found there, and exact P should be preferred."
        )
    missing = missing_words(analysis)
    if run["n_missing"] and missing:
        paragraphs.append(
            f"{missing}. None was filled in; if they are missing for a reason that has "
            "to do with the maps, results are distorted."
        )
    return paragraphs


def where(rows: Iterable[Row], **values: Any) -> list[Row]:
    """The rows that have these values."""
    wanted = values.items()
    return [row for row in rows if all(row.get(key) == v for key, v in wanted)]
