"""What the ratings of a report are: the words for its primary question's answers."""

from readerstudy.analysis.table import Analysis

_KINDS = {"yes_no": "Yes (1) or no (0)", "slider": "Answers from 0 to 100"}


def ratings_words(analysis: Analysis) -> str:
    """What is rated, to begin a caption: "Ratings from 0 to 5"."""
    question = analysis["run"]["question"]
    scores = question["scores"]
    if question["kind"] == "points":
        return "Points that hit their finding"
    if question["kind"] == "scale":
        return f"Ratings from {scores[0]} to {scores[-1]}"
    return _KINDS.get(question["kind"], "Answers")


def scale_words(analysis: Analysis) -> str:
    """How maps were rated, to stand after "rated": "on a scale from 0 to 5"."""
    question = analysis["run"]["question"]
    scores = question["scores"]
    return {
        "scale": f"on a scale from {scores[0]} to {scores[-1]}" if scores else "",
        "slider": "on a slider from 0 to 100",
        "yes_no": "by yes or no",
        "points": "by pointing at their findings, a hit counting 1",
    }.get(question["kind"], f"by the question {question['key']!r}")


def without_ratings(analysis: Analysis) -> list[str]:
    """In place of an answer: why the primary question's answers are no ratings; empty
    where they are."""
    question = analysis["run"]["question"]
    if question["why_not"] is None:
        return []
    return [
        f"The primary question, {question['key']!r}, gives no ratings: "
        f"{question['why_not']}."
    ]
