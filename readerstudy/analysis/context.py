"""Context of an analysis: the ratings and options that tables are computed from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from readerstudy.analysis.answers.answers import NO_TRUTH, Answers, no_number
from readerstudy.analysis.answers.cases import Cases
from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.questions import Question
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.statistics.resampling import Bootstrap
from readerstudy.analysis.units import MISSING, POOLINGS, under_policy

PROFILES = ("paper", "robust")
ALPHA = 0.001  # the paper's, and strict: P < 0.001
# Below this number, the ends of an interval would hang on single redraws.
FEWEST_REDRAWS = 100

Computed = TypeVar("Computed")


@dataclass(frozen=True)
class Options:
    """How ratings are analysed. Raises RatingsError for what cannot be done.

    profile: which of PROFILES a report leads with; it changes no number.
    alpha: the level of the gate. A pair of variants counts as `tested` where Friedman's
      test of its unit gives P < alpha; all pairs are computed all the same.
    pooling: which of POOLINGS is primary: images as means over the readers who rated
      all of their maps, or only images that every reader rated throughout.
    missing: one of MISSING, see `under_policy`. Descriptions use every rating.
    blocks: also take reader x image blocks as if they were independent.
    redraws, seed: of the bootstrap intervals.
    """

    profile: str = PROFILES[0]
    alpha: float = ALPHA
    pooling: str = POOLINGS[0]
    missing: str = MISSING[0]
    blocks: bool = False
    redraws: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.redraws < FEWEST_REDRAWS:
            raise RatingsError(
                f"{self.redraws} redraws are too few for an interval; take at least "
                f"{FEWEST_REDRAWS}"
            )
        if self.seed < 0:
            raise RatingsError(f"the seed {self.seed} is below 0")


@dataclass(frozen=True, eq=False)
class Context:
    """One analysis: its ratings and options, and what several tables share of them.

    ratings: one question's answers as numbers. answers: the same by finding and option,
      and as points; None where there is nothing but a rating. cases: what is known of
      the cases beside.
    """

    ratings: Ratings
    options: Options
    answers: Answers | None = None
    cases: Cases = field(default_factory=Cases)
    _results: dict[Callable[["Context"], Any], Any] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def question(self) -> Question:
        """As it was asked; `ratings` are of what its answers add up to."""
        return self.answers.question if self.answers else self.ratings.question

    @property
    def why_no_ratings(self) -> str | None:
        """Why the answers add up to no ratings; None where they do."""
        if self.question.kind == "points" and not self.cases.truths:
            return NO_TRUTH
        return no_number(self.question)

    @cached_property
    def tested(self) -> Ratings:
        """The ratings that tests may use; descriptions use all."""
        return under_policy(self.ratings, self.options.missing)

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Redraws for the intervals."""
        return Bootstrap(self.options.redraws, self.options.seed)

    def once(self, compute: Callable[["Context"], Computed]) -> Computed:
        """`compute(self)`, computed at the first call only: tables that come out of one
        computation each take their rows from it."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        result: Computed = self._results[compute]
        return result
