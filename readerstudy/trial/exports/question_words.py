"""Questions in the words of a codebook: what a column's values may be and mean."""

from collections.abc import Iterator

from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question, in_language

OF_AXIS = {
    "x": "x of the pixel in the image as sent, 0 at the left",
    "y": "y of the pixel in the image as sent, 0 at the top",
}


def range_of(question: Question) -> str:
    """What the values of a question's column may be."""
    if question.kind == "scale":
        return f"{question.levels[0]} to {question.levels[-1]}, or empty"
    return {
        "points": "from 0, pixels, or empty",
        "choice": f"{', '.join(question.option_keys)}, or empty",
        "several": "0 or 1, or empty",
        "yes_no": "0 or 1, or empty",
        "slider": "0 to 100, or empty",
        "text": "any, or empty",
    }[question.kind]


def words_of(protocol: Protocol, question: Question, finding: str, item: str) -> str:
    """What a question's column means, in the first language of the study."""
    language = protocol.languages[0]
    text = in_language(question.text, language)
    if question.short:
        text = f"{in_language(question.short, language)}: {text}"
    if question.key == protocol.primary:
        text = f"the answer that stood at the end. {text}"
    if question.kind == "text":
        text = f"the reader's words; line ends are one line feed: {text}"
    parts = [*_values(question, item, language), *_circumstances(question, finding)]
    return " ".join(filter(None, (text, "; ".join(parts))))


def _values(question: Question, item: str, language: str) -> Iterator[str]:
    if question.kind == "scale":
        for level, anchor in zip(question.levels, question.anchors, strict=True):
            if words := in_language(anchor, language):
                yield f"{level}: {words}"
    if question.kind == "slider":
        low, high = (in_language(end, language) for end in question.ends)
        yield f"0: {low}; 100: {high}"
    if question.kind == "yes_no":
        yield "1: yes; 0: no"
    for option in question.options:
        words = in_language(option.text, language)
        if question.kind == "choice":
            yield f"{option.key}: {words}"
        elif option.key == item:
            yield f"1 where this was chosen: {words}"
    if question.is_place:
        yield OF_AXIS[item]


def _circumstances(question: Question, finding: str) -> Iterator[str]:
    if finding:
        yield f"of the finding {finding}"
    if question.when == "before":
        again = " for the first time" if question.repeat == "first" else ""
        yield f"asked before the map of the case was shown{again}"
    if condition := question.show_if:
        values = " or ".join(str(_cell(value)) for value in condition.values)
        is_so = "is not" if condition.negated else "is"
        yield f"asked where {condition.question} {is_so} {values}"


def _cell(value: int | str | bool) -> int | str:
    return int(value) if isinstance(value, bool) else value
