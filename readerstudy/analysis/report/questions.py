"""What the ratings of a report are: the words for its primary question's answers."""

from collections.abc import Mapping
from dataclasses import dataclass

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


def missing_words(analysis: Analysis) -> str:
    """How many of the primary question's answers are missing; empty where they are no
    ratings, of which nothing is counted yet."""
    run = analysis["run"]
    if run["question"]["why_not"] is not None:
        return ""
    number, share = f"{run['n_missing']:,} of {run['expected']:,}", run["n_missing"]
    share /= run["expected"]
    if run["question"]["kind"] == "points":
        return (
            f"{number} points are missing or cannot be scored, for no reference is "
            f"known ({share:.1%})"
        )
    return f"{number} ratings are missing ({share:.1%})"


@dataclass(frozen=True)
class Above:
    """How an answer says that the maps of one variant are above those of another.

    Each stands between the two variants; `again` where another such pair follows, and
    `nothing` where no pair was found.
    """

    first: str
    again: str
    nothing: str


_RATED = Above(
    "were rated higher than those of",
    "higher than those of",
    "no variant's maps were found to be rated higher than another's",
)
_ABOVE: Mapping[str, Above] = {
    "points": Above(
        "let readers point at the findings more often than those of",
        "more often than those of",
        "no variant's maps were found to let readers point at the findings more often "
        "than another's",
    ),
    "yes_no": Above(
        "were answered with yes more often than those of",
        "more often than those of",
        "no variant's maps were found to be answered with yes more often than those of "
        "another",
    ),
}


def above_words(analysis: Analysis) -> Above:
    """The words for what a higher answer to the primary question means."""
    return _ABOVE.get(analysis["run"]["question"]["kind"], _RATED)


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
