"""Multi-reader multi-case tables, as the iMRMC package for R takes them. Pure Python.

A slider that asks for findings whose truth is known gives a table for each: a row a
score, and for each case a row of its truth, with `truth` for reader and modality. What
was answered before the map is of the modality `unaided`.
"""

from collections.abc import Iterator, Mapping, Sequence

from readerstudy.trial.exports import codebook
from readerstudy.trial.exports.answer_tables import Presented, column_name
from readerstudy.trial.exports.csv_table import Cell, ExportedTable
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question

TRUTH = "truth"
UNAIDED = "unaided"
NUMBERS = ("scale", "slider", "yes_no")

# By finding whether the case has it, 1 or 0; what is not known is not there.
Truth = Mapping[str, int]
# Data set and name of a case: images of two data sets may share a name.
Case = tuple[Cell, Cell]
# By reader, case and modality.
Scores = dict[tuple[Cell, Case, Cell], Cell]


class UnfitScores(ValueError):  # noqa: N818  (a study may well have them)
    """The package cannot take the answers of this study: one line that says why."""


def imrmc_tables(
    protocol: Protocol, rows: Sequence[Presented], truths: Mapping[Case, Truth]
) -> dict[str, ExportedTable]:
    """Each table by the column of the ratings table that its scores are from.

    Of the first presentations alone. Where no slider has a truth, the tables are of the
    primary question and without one.

    Args:
        rows: in the order of the ratings table.
        truths: of the cases whose truth is known.

    Raises:
        UnfitScores: the primary answer is no number, or one row would stand for two
            scores, which the package takes without a word.
    """
    first = [row for row in rows if not row.facts["repeat"]]
    tables = {}
    for question in protocol.questions:
        if question.kind != "slider" or question.stage != "map":
            continue
        for finding in protocol.findings if question.needs_finding else ():
            known = {case: of[finding] for case, of in truths.items() if finding in of}
            if known:
                scores = _scores(question, finding, first)
                unaided = _unaided_scores(protocol, finding, first)
                for key in unaided.keys() & scores.keys():
                    raise _ambiguous(key)
                table = _table(scores | unaided, known)
                tables[column_name(question, finding, "")] = table
    return tables or _primary_tables(protocol, first)


def _primary_tables(
    protocol: Protocol, rows: Sequence[Presented]
) -> dict[str, ExportedTable]:
    primary = protocol.primary_question
    if primary.kind not in NUMBERS:
        raise UnfitScores(
            f"'{primary.key}' is no scale, slider or yes_no, and iMRMC takes numbers; "
            "use 'ratings'."
        )
    return {
        column_name(primary, finding, ""): _table(_scores(primary, finding, rows))
        for finding in (protocol.findings if primary.needs_finding else ("",))
    }


def _scores(question: Question, finding: str, rows: Sequence[Presented]) -> Scores:
    scores: Scores = {}
    for row, score in _given(question, finding, rows):
        key = (row.facts["reader"], _case(row), row.facts["variant"])
        if key in scores:
            raise _ambiguous(key)
        scores[key] = score
    return scores


def _unaided_scores(
    protocol: Protocol, finding: str, rows: Sequence[Presented]
) -> Scores:
    """What was answered before the map; of a case, before the first of its maps."""
    before = [
        question
        for question in protocol.questions
        if (question.stage, question.kind) == ("image", "slider")
        and question.needs_finding
    ]
    if len(before) != 1:
        return {}  # nobody knows which of them asks the same as after the map
    in_order = sorted(rows, key=lambda row: int(row.facts["position"] or 0))
    scores: Scores = {}
    for row, score in _given(before[0], finding, in_order):
        scores.setdefault((row.facts["reader"], _case(row), UNAIDED), score)
    return scores


def _given(
    question: Question, finding: str, rows: Sequence[Presented]
) -> Iterator[tuple[Presented, Cell]]:
    for row in rows:
        given = row.given(question)
        value = given.get(finding) if given and finding else given
        if value is not None:
            yield row, int(value)


def _table(scores: Scores, truth: Mapping[Case, int] | None = None) -> ExportedTable:
    """Of all scores, or of those whose truth is known, and then with it."""
    if truth is not None:
        scores = {key: score for key, score in scores.items() if key[1] in truth}
    cases: dict[str, Case] = {}
    for key in scores:
        if cases.setdefault(_name(key[1]), key[1]) != key[1]:
            raise _ambiguous(key)
    if truth is not None:
        known: Scores = {(TRUTH, it, TRUTH): truth[it] for it in cases.values()}
        for key in known.keys() & scores.keys():
            raise _ambiguous(key)
        scores = known | scores
    lines = [
        (reader, _name(case), modality, score)
        for (reader, case, modality), score in scores.items()
    ]
    return ExportedTable(codebook.IMRMC_TABLE, lines)


def _case(row: Presented) -> Case:
    return row.facts["dataset"], row.facts["image"]


def _name(case: Case) -> str:
    return "/".join(map(str, case))


def _ambiguous(key: tuple[Cell, Case, Cell]) -> UnfitScores:
    reader, case, modality = key
    one = ", ".join(map(str, (reader, _name(case), modality)))
    return UnfitScores(f"{one}: two ratings would be one; use 'ratings'.")
