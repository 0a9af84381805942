"""Answers to one question, laid out as ratings: by finding and by option."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from readerstudy.analysis.answers.cases import Cases
from readerstudy.analysis.questions import Question, summed
from readerstudy.analysis.ratings import RatingRow, Ratings
from readerstudy.analysis.statistics.arrays import Booleans, Floats

# Stands where an arm's label would, for what was answered without a map. No arm is
# called so: labels hold no spaces.
BEFORE = "before the map"

# More than any position, so that sessions come one after the other.
_SESSION = 10**7


@dataclass(frozen=True)
class Part:
    """One part of the answers: of a finding ("" where it was not asked by finding) and
    of an option ("" for a number), as ratings of their own."""

    finding: str
    option: str
    ratings: Ratings


@dataclass(frozen=True)
class Point:
    """A point that a reader set at one presentation, in pixels of the image.

    variant: of the map that the reader then saw or was about to see.
    """

    reader: str
    dataset: str
    image: str
    variant: str
    repeat: int
    finding: str
    x: int
    y: int

    @property
    def case(self) -> tuple[str, str]:
        return self.dataset, self.image


@dataclass(frozen=True, eq=False)
class Answers:
    """What readers answered to one question.

    parts: one for a number that was asked once a case, else one for each finding and
      option. None for points and texts.
    points: for a question about points. before: those that the same readers set before
      they saw the map; None where they were not asked to.
    """

    question: Question
    parts: tuple[Part, ...] = ()
    points: tuple[Point, ...] = ()
    before: tuple[Point, ...] | None = None


@dataclass(frozen=True)
class Remark:
    """A text that a reader wrote. It is listed and never counted."""

    key: str
    reader: str
    dataset: str
    image: str
    variant: str
    repeat: int
    text: str


@dataclass(frozen=True, eq=False)
class Reading:
    """Everything that readers answered.

    ratings: the primary question as numbers: its own, or of its parts the sum (see
      `numbers`). cases: what is known of the cases beside.
    """

    ratings: Ratings
    primary: Answers
    others: tuple[Answers, ...]
    remarks: tuple[Remark, ...]
    cases: Cases


def numbers(answers: Answers, laid_out: Ratings, cases: Cases) -> Ratings:
    """The answers as one number each, laid out like `laid_out`: the answer itself; of
    findings that were asked one by one the sum; of points how many hit. Missing where
    any of a case's is; all missing where there is no such number, see `no_number`."""
    question = answers.question
    if question.kind == "points":
        return hits(answers, laid_out, cases)
    if no_number(question):
        return replace(filled(laid_out, {}), question=question)
    if not question.has_items:
        return answers.parts[0].ratings
    return _sum([part.ratings for part in answers.parts], question)


NO_TRUTH = "it is not known where the findings are"


def no_number(question: Question) -> str | None:
    """Why a question's answers are not one number each; None where they are."""
    if question.kind == "slider" and question.per_finding:
        return "values by finding want ROC analysis, which is not part of this version"
    if question.kind in ("choice", "several"):
        return "what is chosen is no number: see the tables by option"
    if question.kind == "box":
        return "boxes are in the long table of answers alone"
    return None


def _sum(parts: Sequence[Ratings], question: Question) -> Ratings:
    """Over the findings that anybody answered of an image; missing where the reader
    answered one of them not."""
    values = np.stack([part.values for part in parts])
    # (findings, images): a case is asked about its own findings only.
    asked: Booleans = np.any(~np.isnan(values), axis=(1, 3))
    sums = np.where(asked[:, None, :, None], values, 0.0).sum(axis=0)
    sums[:, ~asked.any(axis=0)] = np.nan
    most = int(asked.sum(axis=0).max(initial=1))
    due = dict(zip(parts[0].images, asked.sum(axis=0).tolist(), strict=True))
    repeats = [
        _summed_repeat(rows, due[rows[0].dataset, rows[0].image])
        for rows in zip(*(part.repeats for part in parts), strict=True)
    ]
    return replace(
        parts[0],
        values=sums,
        repeats=tuple(repeats),
        question=summed(question, most) if most > 1 else question,
    )


def _summed_repeat(rows: tuple[RatingRow, ...], due: int) -> RatingRow:
    given = [row.rating for row in rows if row.rating is not None]
    complete = given and len(given) == due
    return replace(rows[0], rating=sum(given) if complete else None)


def hits(answers: Answers, laid_out: Ratings, cases: Cases) -> Ratings:
    """How many points of each presentation hit their finding."""
    question = replace(answers.question, kind="yes_no", per_finding=False)
    outcomes: dict[tuple[str, str, str, str, int], list[bool]] = {}
    for point in answers.points:
        region = cases.region(point.case, point.finding)
        if region is not None:
            key = (point.reader, *point.case, point.variant, point.repeat)
            outcomes.setdefault(key, []).append(region.holds(point.x, point.y))
    # As many points as any reader set on the case's findings.
    due: dict[tuple[str, str], int] = {}
    for (_, dataset, image, _, _), inside in outcomes.items():
        due[dataset, image] = max(due.get((dataset, image), 0), len(inside))
    rated = {
        key: sum(inside)
        for key, inside in outcomes.items()
        if len(inside) == due[key[1], key[2]]
    }
    most = max(due.values(), default=1)
    return replace(
        filled(laid_out, rated),
        question=summed(question, most) if most > 1 else question,
    )


def filled(
    laid_out: Ratings, given: dict[tuple[str, str, str, str, int], int]
) -> Ratings:
    """`laid_out` with other values: by reader, data set, image, variant and repeat."""
    readers = {name: place for place, name in enumerate(laid_out.readers)}
    images = {image: place for place, image in enumerate(laid_out.images)}
    variants = {name: place for place, name in enumerate(laid_out.variants)}
    values = np.full(laid_out.values.shape, np.nan)
    for (reader, dataset, image, variant, repeat), value in given.items():
        if repeat == 0:
            at = readers[reader], images[dataset, image], variants[variant]
            values[at] = value
    repeats = tuple(replace(row, rating=given.get(row.key)) for row in laid_out.repeats)
    return replace(laid_out, values=values, repeats=repeats)


def without_map(laid_out: Ratings, values: Floats, question: Question) -> Ratings:
    """Answers (readers, images, variants) that were given before the map, with BEFORE
    for an arm: of each case what its reader answered first, when it was new."""
    sessions, positions = map(np.nan_to_num, (laid_out.sessions, laid_out.positions))
    order = np.where(np.isnan(values), np.inf, sessions * _SESSION + positions)
    first = order.argmin(axis=2)[:, :, np.newaxis]
    nowhere = np.full(first.shape, np.nan)
    return replace(
        laid_out,
        variants=(BEFORE,),
        values=np.take_along_axis(values, first, axis=2),
        positions=nowhere,
        sessions=nowhere,
        repeats=(),
        refusals=None,
        question=question,
    )
