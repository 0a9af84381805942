"""Adjustment of P for how many pairs of treatments are compared."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import comb

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    number = len(p_values)
    return _step_down(p_values, [number - place for place in range(number)])


def shaffer(p_values: Sequence[float], treatments: int) -> list[float]:
    """Shaffer's step-down adjustment of all pairs of 2 to 6 treatments, in the order
    given, for use behind a test that not all treatments are equal.

    If some treatments differ, only so many pairs of them can be equal; of three
    treatments at most one, so that their P stay as they are.

    J. P. Shaffer, Journal of the American Statistical Association 81 (1986) 826-831.
    """
    return _step_down(p_values, shaffer_multipliers(treatments))


@lru_cache
def shaffer_multipliers(treatments: int) -> tuple[int, ...]:
    """For the smallest P first."""
    pairs = comb(treatments, 2)
    equal = {sum(comb(n, 2) for n in parts) for parts in _partitions(treatments)}
    # The gate says that not all are equal.
    most = max(equal - {pairs}, default=1) or 1
    return tuple(
        min(most, max(number for number in equal if number <= pairs - place) or 1)
        for place in range(pairs)
    )


def _partitions(number: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Ways to split treatments into groups of equal ones."""
    if number == 0:
        yield ()
    for part in range(min(number, largest or number), 0, -1):
        for rest in _partitions(number - part, part):
            yield (part, *rest)


def _step_down(p_values: Sequence[float], multipliers: Sequence[int]) -> list[float]:
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, multipliers[place] * p_values[i]))
        adjusted[i] = highest
    return adjusted
