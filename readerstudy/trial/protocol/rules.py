"""Rules of a protocol that concern more than one of its fields."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from readerstudy.trial.protocol.fields import ProtocolError, quoted
from readerstudy.trial.protocol.questions import A_KIND, Question

MOST_REQUIRED = 5  # at one stage
PRIMARY_KINDS = ("scale", "slider", "choice", "yes_no", "points")
CONDITION_KINDS = ("scale", "choice", "yes_no")


def check_rules(document: Mapping[str, Any]) -> None:
    """Refuse a document whose fields do not go together, each right by itself.

    Raises:
        ProtocolError: the first of them, with its place.
    """
    questions = [Question.of(question) for question in document["questions"]]
    for index, question in enumerate(questions):
        rule = _Rule(index, question)
        rule.check_key(questions[:index])
        rule.check_stage(document)
        rule.check_finding(document)
        rule.check_condition(questions)
        rule.check_required(questions[: index + 1])
    _check_primary(document["primary"], questions)
    _check_reading(document, questions)


class _Rule:
    """What one question of a list must be, among the others."""

    def __init__(self, index: int, question: Question) -> None:
        self.index = index
        self.question = question

    def refuse(self, problem: str) -> NoReturn:
        raise ProtocolError(
            f"questions[{self.index}] '{self.question.key}': {problem}."
        )

    def check_key(self, earlier: Sequence[Question]) -> None:
        if self.question.key in (question.key for question in earlier):
            self.refuse("that key stands twice; choose another")

    def check_stage(self, document: Mapping[str, Any]) -> None:
        question, reading = self.question, document["reading"]
        if question.when == "with":
            if question.repeat == "first":
                self.refuse("asked with the map, and so of each; set repeat to 'each'")
            return
        if reading != "sequential":
            self.refuse(
                f"asked before the map, and reading is '{reading}'; set reading to "
                "'sequential'"
            )
        # From its second map on a reader knows one of the case's.
        if question.repeat == "each" and document["sessions"] == "one":
            self.refuse(
                "asked before each map of a case in one session, where only the first "
                "is new; set repeat to 'first' or sessions to 'per_arm'"
            )

    def check_finding(self, document: Mapping[str, Any]) -> None:
        if not self.question.needs_finding or self.question.is_place:
            return
        if not document["findings"]:
            self.refuse("it asks per finding; name them in findings")
        if document["reference"] == "shown":
            self.refuse(
                "it asks per finding what the page tells; set reference to 'hidden'"
            )

    def check_condition(self, questions: Sequence[Question]) -> None:
        condition = self.question.show_if
        if condition is None:
            return
        named = {question.key: question for question in questions}
        other = named.get(condition.question)
        problems = (
            ["is no question"] if other is None else self._unfit(other, questions)
        )
        if other is None or problems:
            self.refuse(
                f"show_if names {quoted(condition.question)}, which "
                f"{' and '.join(problems)}; name an earlier one"
            )
        possible = [(type(value), value) for value in other.condition_values]
        for value in condition.values:
            if (type(value), value) not in possible:
                self.refuse(
                    f"show_if names {quoted(value)}, which is no answer to "
                    f"'{other.key}'"
                )

    def _unfit(self, other: Question, questions: Sequence[Question]) -> list[str]:
        """Why an answer to `other` cannot decide whether this question is asked."""
        problems = {
            "comes later": questions.index(other) > self.index,
            "is itself": other is self.question,
            f"is no {', '.join(CONDITION_KINDS[:-1])} or {CONDITION_KINDS[-1]}": (
                other.kind not in CONDITION_KINDS
            ),
            "is asked per finding": other.needs_finding,
            "is asked at another stage": other.stage != self.question.stage,
        }
        return [problem for problem, is_so in problems.items() if is_so]

    def check_required(self, so_far: Sequence[Question]) -> None:
        stage = [q for q in so_far if q.required and q.stage == self.question.stage]
        if len(stage) > MOST_REQUIRED:
            self.refuse(
                f"{MOST_REQUIRED} questions {self.question.when} the map may be "
                f"required, and this is number {len(stage)}"
            )


def _check_primary(primary: str, questions: Sequence[Question]) -> None:
    named = {question.key: question for question in questions}
    wanted = "name a required " + ", ".join(PRIMARY_KINDS[:-1])
    wanted += f" or {PRIMARY_KINDS[-1]}"
    if primary not in named:
        raise ProtocolError(f"primary: {quoted(primary)} is no question; {wanted}.")
    question = named[primary]
    problems = {
        A_KIND[question.kind]: question.kind not in PRIMARY_KINDS,
        "not required": not question.required,
        "asked on a condition": question.show_if is not None,
        "asked before the map": question.when == "before",
    }
    if any(problems.values()):
        words = " and ".join(problem for problem, is_so in problems.items() if is_so)
        raise ProtocolError(f"primary: '{primary}' is {words}; {wanted}.")


def _check_reading(document: Mapping[str, Any], questions: Sequence[Question]) -> None:
    reading = document["reading"]
    if reading == "crossover" and document["sessions"] != "per_arm":
        raise ProtocolError(
            "reading: 'crossover' shows a case once in each session; set sessions to "
            "'per_arm'."
        )
    if reading == "sequential" and all(q.when == "with" for q in questions):
        raise ProtocolError(
            "reading: 'sequential' asks something before the map, and no question "
            "does; set when to 'before' or reading to 'map'."
        )
    if document["reference"] == "hidden" and not document["findings"]:
        raise ProtocolError(
            "reference: 'hidden' wants the findings that are asked about in every "
            "case, or prompts would tell the diagnosis; name them in findings."
        )
