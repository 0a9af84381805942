"""Answers as tables: a row a presentation, or one a question. Pure Python.

Columns and rows follow the protocol's list of questions. A column is called by the key
of its question, with the finding and the item of its value behind it where there are
such: `trust`, `probability.Nodule`, `wrong_where.marker`, `point.Nodule.x`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from readerstudy.trial.exports import codebook
from readerstudy.trial.exports.codebook import Column
from readerstudy.trial.exports.csv_table import Cell, ExportedTable, text_cell
from readerstudy.trial.exports.question_words import range_of, words_of
from readerstudy.trial.protocol.answers import Place, findings_at, questions_at
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question, Stage

NO_ANSWER: Mapping[str, Any] = {"answers": {}}
AXES: Mapping[str, str] = {"points": "xy", "box": "xywh"}
# They stand at the end, in every study.
LAST = (codebook.CONFIDENCE, codebook.COMMENT)


@dataclass(frozen=True, slots=True)
class Presented:
    """What was answered to one presentation.

    Args:
        facts: by column, the cells that no question gives.
        answers: by stage the document of the answer that stood at the end.
        place: what decided on what was asked.
    """

    facts: Mapping[str, Cell]
    answers: Mapping[Stage, Mapping[str, Any]]
    place: Place

    def given(self, question: Question) -> Any:
        """The value of an answer, by finding where it is asked so; None without one."""
        return self._document(question)["answers"].get(question.key)

    def reason(self, question: Question) -> str:
        """Why the questions of that stage were not answered, if the reader said so."""
        return str(self._document(question).get("cannot_judge", ""))

    def status(self, protocol: Protocol, question: Question, finding: str) -> str:
        """Why there is an answer or none, as `codebook.STATUS` has it."""
        if question not in questions_at(protocol, question.stage, self.place):
            return "not_asked"
        if question.stage not in self.answers:
            return "missing"
        given = self.given(question)
        if given is not None and (not finding or finding in given):
            return "answered"
        if self.reason(question):
            return "cannot_judge"
        condition = question.show_if
        answers = self._document(question)["answers"]
        is_asked = condition is None or condition.holds(answers)
        return "empty" if is_asked else "not_asked"

    def _document(self, question: Question) -> Mapping[str, Any]:
        return self.answers.get(question.stage, NO_ANSWER)


def ratings_columns(protocol: Protocol, findings: Sequence[str]) -> list[Column]:
    """The columns of the ratings table, first of all the primary question's.

    Args:
        findings: of all cases, for points and boxes of a protocol that names none.
    """
    of_question = {
        question.key: _columns_of(protocol, question, findings)
        for question in protocol.questions
    }
    primary = of_question.pop(protocol.primary)
    others = [column for columns in of_question.values() for column in columns]
    # A question that has one of their names, and no finding or item, has their place.
    last = [
        next((own for own in others if own.name == column.name), column)
        for column in LAST
        if column.name not in [own.name for own in primary]
    ]
    return [
        *codebook.RATED,
        *primary,
        *codebook.CONDUCT,
        *(column for column in others if column not in last),
        *last,
        codebook.CANNOT_JUDGE,
    ]


def ratings_table(
    protocol: Protocol, rows: Sequence[Presented], findings: Sequence[str]
) -> ExportedTable:
    """A row a presentation, see `ratings_columns`; rows stay in their order."""
    columns = ratings_columns(protocol, findings)
    empty: dict[str, Cell] = {
        column.name: None if column.type == "integer" else "" for column in columns
    }
    cells = [empty | dict(_ratings_cells(protocol, row)) for row in rows]
    names = [column.name for column in columns]
    return ExportedTable(columns, [[row[name] for name in names] for row in cells])


def answers_table(protocol: Protocol, rows: Iterable[Presented]) -> ExportedTable:
    """A row a question, finding and item of every presentation, in the same order."""
    lines = [
        [*(row.facts[column.name] for column in codebook.SHOWN), *answer]
        for row in rows
        for question in protocol.questions
        for answer in _answer_rows(protocol, question, row)
    ]
    return ExportedTable(codebook.ANSWERS_TABLE, lines)


def items_of(question: Question) -> Sequence[str]:
    """What a value is told apart into, once for each column; "" for the value itself.

    Several points have none, for nobody knows how many there will be, and boxes: they
    are in the long table alone.
    """
    if question.kind == "several":
        return question.option_keys
    if question.is_place:
        return "xy" if question.kind == "points" and question.most == 1 else ()
    return ("",)


def column_name(question: Question, finding: str, item: str) -> str:
    """What the column of a question's value, of its finding and item, is called."""
    return ".".join(filter(None, (question.key, finding, item)))


def _columns_of(
    protocol: Protocol, question: Question, findings: Sequence[str]
) -> list[Column]:
    is_text = question.kind in ("choice", "text")
    return [
        Column(
            column_name(question, finding, item),
            "text" if is_text else "integer",
            range_of(question),
            words_of(protocol, question, finding, item),
        )
        for finding in _findings(question, protocol.findings or findings)
        for item in items_of(question)
    ]


def _ratings_cells(protocol: Protocol, row: Presented) -> Iterator[tuple[str, Cell]]:
    yield from row.facts.items()
    for question in protocol.questions:
        given = row.given(question)
        for finding in _findings_at(protocol, question, row.place):
            cells = _cells(question, _of_finding(given, finding))
            for item in items_of(question):
                if item in cells:
                    yield column_name(question, finding, item), cells[item]
    yield "cannot_judge", row.reason(protocol.primary_question)


def _answer_rows(
    protocol: Protocol, question: Question, row: Presented
) -> Iterator[list[Cell]]:
    given = row.given(question)
    for finding in _findings_at(protocol, question, row.place):
        status = row.status(protocol, question, finding)
        cells = _cells(question, _of_finding(given, finding))
        for item, cell in (cells or _no_cells(question)).items():
            yield [
                question.stage,
                question.key,
                text_cell(finding),
                item,
                cell,
                status,
            ]


def _findings_at(protocol: Protocol, question: Question, place: Place) -> Sequence[str]:
    return _findings(question, findings_at(protocol, question, place))


def _findings(question: Question, findings: Sequence[str]) -> Sequence[str]:
    return findings if question.needs_finding else ("",)


def _of_finding(given: Any, finding: str) -> Any:
    return given.get(finding) if finding and given is not None else given


def _cells(question: Question, value: Any) -> dict[str, Cell]:
    """The cells of a value by item; none without a value."""
    if value is None:
        return {}
    if question.kind == "several":
        return {key: int(key in value) for key in question.option_keys}
    if question.is_place:
        return {
            _axis(question, number, axis): pixels
            for number, place in enumerate(value, 1)
            for axis, pixels in zip(AXES[question.kind], place, strict=True)
        }
    if question.kind == "yes_no":
        return {"": int(value)}
    return {"": text_cell(value) if isinstance(value, str) else value}


def _no_cells(question: Question) -> dict[str, Cell]:
    if question.is_place:
        return {_axis(question, 1, axis): None for axis in AXES[question.kind]}
    return dict.fromkeys(items_of(question))


def _axis(question: Question, number: int, axis: str) -> str:
    return axis if question.most == 1 else f"{number}.{axis}"
